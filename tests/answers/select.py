"""Wrong answers to the exercises of lesson 01, and words of the sentence that each must get."""

import numpy as np
import torch


def most_accurate(scores, work):
    return scores.mean(axis=1).argmax()


def least_work(scores, work):
    return np.argmin(work)


def standard_deviation(scores, work):
    means, best = scores.mean(axis=1), scores.mean(axis=1).argmax()
    return np.where(means >= means[best] - scores[best].std(), work, np.inf).argmin()


def mean_and_std_only(photo):
    return torch.tensor(photo).permute(2, 0, 1)[None] / 127.5 - 1


def stretched(photo):  # right for a photograph with both black and white in it
    x = torch.tensor(photo).permute(2, 0, 1)[None].flip(1).float()
    return 2 * (x - x.min()) / (x.max() - x.min()) - 1


def not_scaled(photo):
    return torch.tensor(photo).permute(2, 0, 1)[None].flip(1).float()


def habit(photo):
    x = torch.tensor(photo).permute(2, 0, 1)[None].flip(1) / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (x - mean[:, None, None]) / std[:, None, None]


def wrong_axis(photo):
    return torch.tensor(photo).permute(2, 0, 1).flip(1)[None] / 127.5 - 1


ANSWERS = [
    ("work_of_size", 300 / 160, "two edges"),
    ("work_of_size", 1, "parameters"),
    ("work_of_size", 0.73, "Divide it"),
    ("work_of_size", (300 / 160) ** 4, "not the number"),
    ("work_of_size", "four", "Asked is a number"),
    ("one_standard_error", most_accurate, "most accurate"),
    ("one_standard_error", standard_deviation, "too many"),
    ("one_standard_error", least_work, "another one"),
    ("one_standard_error", lambda scores, work: "network 1", "Asked is a number; this is of type str."),
    ("one_standard_error", lambda scores, work: work < 3, "Asked is a number; this is of type ndarray."),
    ("prepares", mean_and_std_only, "a colour"),
    ("prepares", stretched, "between -1.00 and 1.00"),
    ("prepares", not_scaled, "between 9.00 and 199.00"),
    ("prepares", habit, "not as these weights"),
    ("prepares", wrong_axis, "not as these weights"),
    ("prepares", lambda photo: torch.tensor(photo), "the shape"),
    ("prepares", lambda photo: 0, "AttributeError"),
]
