"""Wrong answers to the exercises of lesson 04, and words of the sentence that each must get."""

import copy

import torch


def gradients_off(module):
    module.requires_grad_(False)


def eval_once(module):
    module.requires_grad_(False).eval()


def eval_only(module):
    for part in module.modules():
        part.eval()
        part.train = lambda mode=True, part=part: part


def by_reference(module, training):
    before = module.state_dict()
    training()
    return [name for name, now in module.state_dict().items() if not torch.equal(now, before[name])]


def parameters_only(module, training):
    before = copy.deepcopy(module.state_dict())
    training()
    return [name for name, p in module.named_parameters() if not torch.equal(p, before[name])]


ANSWERS = [
    ("work_left", 0.79, "parameters"),
    ("work_left", 0.63, "saved"),
    ("work_left", 0.5, "not the number"),
    ("survives_train", gradients_off, "statistics of BatchNorm"),
    ("survives_train", eval_once, "model.train()"),
    ("survives_train", eval_only, "still get gradients"),
    ("all_changes", by_reference, "not copies"),
    ("all_changes", parameters_only, "more than its parameters"),
    ("all_changes", lambda module, training: 1 / 0, "ZeroDivisionError"),
]
