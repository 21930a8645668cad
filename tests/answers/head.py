"""Wrong answers to the exercises of lesson 02, and words of the sentence that each must get."""

import copy
from collections import OrderedDict

import torch
from torch import nn

import sftlab as sft


def with_weight(weights):
    def for_grey(conv):
        grey = copy.deepcopy(conv)
        grey.in_channels = 1
        grey.weight = nn.Parameter(weights(conv.weight.detach()))
        return grey

    return for_grey


def in_place(conv):
    conv.in_channels = 1
    conv.weight = nn.Parameter(conv.weight.detach().sum(dim=1, keepdim=True))
    return conv


def fresh(conv):
    return nn.Conv2d(1, conv.out_channels, conv.kernel_size)


def without_padding(conv):
    grey = nn.Conv2d(1, conv.out_channels, conv.kernel_size, conv.stride, bias=conv.bias is not None)
    grey.weight.data, grey.bias = conv.weight.detach().sum(dim=1, keepdim=True), conv.bias
    return grey


def same_network(model, classes):
    model.head = nn.Linear(model.head.in_features, classes)
    return model


def same_stages(model, classes):
    edited = nn.Sequential(OrderedDict(model.named_children()))
    edited.head = nn.Linear(model.head.in_features, classes)
    return edited


def from_scratch(model, classes):
    return sft.replace_head(sft.backbone("efficientnet_lite0", weights=None), classes)


def wrong_name(model, classes):
    edited = copy.deepcopy(model)
    edited.classifier = nn.Linear(model.head.in_features, classes)
    return edited


ANSWERS = [
    ("points_before_neck", 13.5, "32 pixels"),
    ("points_before_neck", -4, "other way round"),
    ("points_before_neck", 9, "not the number"),
    ("points_before_neck", "few", "Asked is a number"),
    ("as_before_on_grey", with_weight(lambda w: w.mean(dim=1, keepdim=True)), "a third"),
    ("as_before_on_grey", with_weight(lambda w: w[:, :1]), "another one"),
    ("as_before_on_grey", in_place, "has changed too"),
    ("as_before_on_grey", fresh, "another one"),
    ("as_before_on_grey", with_weight(torch.zeros_like), "RuntimeError"),
    ("as_before_on_grey", without_padding, "must match the size"),
    ("as_before_on_grey", lambda conv: "conv", "TypeError"),
    ("leaves_the_old_one", same_network, "two networks"),
    ("leaves_the_old_one", same_stages, "share stages"),
    ("leaves_the_old_one", from_scratch, "from ImageNet"),
    ("leaves_the_old_one", wrong_name, "a head for 2 classes"),
    ("leaves_the_old_one", lambda model, classes: classes, "AttributeError"),
]
