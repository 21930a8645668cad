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


def first_epoch_only(module):  # the second model.train() reaches them
    module.requires_grad_(False).eval()
    for stage in module:
        stage.train = lambda mode=True, stage=stage: vars(stage).pop("train") and stage


def by_reference(module, training):
    before = module.state_dict()
    training()
    return [name for name, now in module.state_dict().items() if not torch.equal(now, before[name])]


def parameters_only(module, training):
    before = copy.deepcopy(module.state_dict())
    training()
    return [name for name, p in module.named_parameters() if not torch.equal(p, before[name])]


def nearly_equal(module, training):
    before = copy.deepcopy(module.state_dict())
    training()
    return [name for name, now in module.state_dict().items() if not torch.allclose(now, before[name])]


def all_but_biases(module, training):  # as if they never learned
    training()
    return [name for name in module.state_dict() if "bias" not in name]


ANSWERS = [
    ("work_left", 0.79, "parameters"),
    ("work_left", 0.63, "saved"),
    ("work_left", 0.5, "not the number"),
    ("work_left", torch.ones(3), "Asked is a number"),
    ("survives_train", gradients_off, "statistics of BatchNorm"),
    ("survives_train", eval_once, "model.train()"),
    ("survives_train", eval_only, "still get gradients"),
    ("survives_train", first_epoch_only, "statistics of BatchNorm"),
    ("all_changes", by_reference, "not copies"),
    ("all_changes", parameters_only, "more than its parameters"),
    ("all_changes", nearly_equal, "more than what moved, or less"),
    ("all_changes", all_but_biases, "more than what moved, or less"),
    ("all_changes", lambda module, training: 1 / 0, "ZeroDivisionError"),
]
