"""Which learning rate? `find_lr` raises it step by step; `lr_sweep` trains a head at many rates at once.

The finder shows loss against rate, measured on a throw-away copy (Smith, 2017): the rate of every learning stage rises
together, exponentially; the profile's proportions stay. Model, buffers, gradients, random generators and every file
except the kept features are left as they were.

The sweep: heads at L rates and S seeds on the same frozen features are one batched product. A run of a small head is
mostly waiting for Python; L × S of them, stacked, wait once. Optimizer and gradient act number by number, so the runs
cannot see each other: each is the run that `fit` would make alone.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sftlab.core import records
from sftlab.core.features import features
from sftlab.core.model import card, is_constant, replace_head
from sftlab.core.monitors import Diverged
from sftlab.core.profiles import Schedule, check, constant, factor
from sftlab.core.records import Step
from sftlab.core.training import check_learning, train
from sftlab.data import Data, Split, batch_positions
from sftlab.data.dataset import check_labels, with_labels

Update = Callable[[Tensor, float], None]
UNUSED = ("epochs", "schedule", "patience", "keep_best", "checkpoint", "verbose")  # settings of `fit`, not of a search
ROUNDING = 1e-3  # nats; a loss that stands still rises and falls by its last digits


@dataclass
class LRFinder:
    """What `find_lr` saw: the highest rate of the profile at each step, the loss there, and the rate to try first.

    `steepest` is where the smoothed loss falls fastest; `diverged` is the rate at which it was ended, if it was.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    diverged: float | None

    def __repr__(self) -> str:
        end = f", diverged at {self.diverged:.2g}" if self.diverged else ""
        return f"LRFinder(from {self.rates[0]:.1g} to {self.rates[-1]:.2g}, try {self.steepest:.2g}{end})"


def find_lr(
    model: nn.Sequential,
    data: Data,
    profile: Mapping[str, float],
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    smoothing: float = 0.9,
    **settings: Any,
) -> LRFinder:
    """Raise the rate from `low` to `high` over `steps` updates and record the loss.

    profile: says which stages learn and in which proportion. settings: those of `fit` (batch_size, optimizer, seed …);
    what they say of how long it goes on and what it leaves (UNUSED) is for `fit` alone. It ends early once the
    smoothed loss is above its lowest by twice the range of the losses up to there, or no finite number.
    """
    settings = {name: value for name, value in settings.items() if name not in UNUSED}
    if not 0 < low < high or steps < 10:
        raise ValueError(f"low={low}, high={high}, steps={steps}: 0 < low < high and at least 10 steps")
    top = max(check(model, profile).values())
    data = with_labels(data)  # of a batch without a label there is no loss to see
    an_epoch = len(batch_positions(len(data.train), settings.get("batch_size", 32)))
    epochs = math.ceil(steps / an_epoch)

    def ramp(t: float) -> float:
        return low / top * (high / low) ** min(1.0, t * epochs * an_epoch / steps)

    rates, losses, smoothed, mean, diverged = list[float](), list[float](), list[float](), 0.0, None
    stream = train(copy.deepcopy(model), data, profile, epochs, schedule=ramp, keep_best=False, **settings)
    try:
        with closing(stream):  # type: ignore[type-var]
            for record in stream:
                if not isinstance(record, Step):
                    continue
                rate = max(record.rates.values())
                if not math.isfinite(record.loss):
                    continue
                rates.append(rate)
                losses.append(record.loss)
                mean = smoothing * mean + (1 - smoothing) * record.loss
                smoothed.append(mean / (1 - smoothing ** len(losses)))
                lowest = int(np.argmin(smoothed))
                if smoothed[-1] - smoothed[lowest] > 2 * np.ptp(losses[: max(10, lowest + 1)]) + ROUNDING:
                    diverged = rate
                if diverged or len(losses) == steps:
                    break
    except Diverged:
        diverged = rate
    if not rates:
        raise ValueError(f"the loss is no finite number even at a rate of {low:.2g}: look at the weights and the data")
    return LRFinder(rates, losses, smoothed, _steepest(rates, smoothed), diverged)


def _steepest(rates: list[float], smoothed: list[float]) -> float:
    """Return the rate in the middle of the steepest fall before the lowest smoothed loss.

    The slope is that of a line through an eighth of all steps: from step to step, noise is steeper than descent.
    """
    x, y = np.log(rates), np.array(smoothed)
    window, end = max(3, len(rates) // 8), int(np.argmin(smoothed)) + 1
    if end < window:
        return rates[0]
    slopes = [np.polyfit(x[i : i + window], y[i : i + window], 1)[0] for i in range(end - window + 1)]
    return rates[int(np.argmin(slopes)) + window // 2]


@dataclass
class LRSweep:
    """The curves of many runs, as nested lists [seed][rate][epoch]; epoch 0 is the head before its first step.

    train_loss at epoch 0 and everything after a divergence is nan. `majority` is the rate of the most frequent class
    among the validation images, `n` their number, `groups` that of their groups, 0 if none are known.
    """

    rates: list[float]
    seeds: list[int]
    epochs: int
    optimizer: str
    majority: float
    n: int
    train_loss: list[list[list[float]]]
    valid_loss: list[list[list[float]]]
    valid_accuracy: list[list[list[float]]]
    settings: dict[str, Any] = field(default_factory=dict)
    groups: int = 0

    def __repr__(self) -> str:
        span = f"{len(self.rates)} rates from {min(self.rates):.1g} to {max(self.rates):.1g} × {len(self.seeds)} seeds"
        return f"LRSweep({span}, {self.optimizer}, {self.epochs} epochs; best at {self.best:.2g})"

    @property
    def best(self) -> float:
        """The rate with the lowest validation loss after the last epoch, on average over the seeds; nan without any."""
        last = np.array(self.valid_loss)[:, :, -1].mean(axis=0)
        finite = np.isfinite(last)
        return self.rates[int(np.argmin(np.where(finite, last, np.inf)))] if finite.any() else math.nan


records.KINDS |= {"LRFinder": LRFinder, "LRSweep": LRSweep}


def lr_sweep(
    model: nn.Sequential,
    data: Data,
    rates: Iterable[float],
    epochs: int = 10,
    *,
    optimizer: str = "adamw",
    seeds: Iterable[int] = (0,),
    schedule: Schedule | None = None,
    weight_decay: float = 0.01,
    batch_size: int = 32,
) -> LRSweep:
    """Train the head of `model` on its frozen features at every rate and seed; return an LRSweep. `model` is untouched.

    Run (rate, seed) is what `fit` makes of `replace_head(model, …, seed=seed)` with `linear_probe(model, lr=rate)` and
    `seed=seed`, to rounding: a fresh head, the same batches in the same order, cross-entropy. optimizer: "adamw" or
    "sgd" (momentum 0.9). Raises ValueError for a model with several heads, with a hidden layer or dropout before its
    head, and for rates, seeds or epochs that cannot be.
    """
    rates, seeds = [float(rate) for rate in rates], [int(seed) for seed in seeds]
    _check(model, data, rates, seeds, epochs, optimizer)
    (x, p), (x_valid, p_valid) = (_whole(model[:-1], split) for split in (data.train, data.valid))
    starts = [replace_head(model[-1:], data.classes, seed=seed).parameters() for seed in seeds]
    # the bias is the weight of a feature that is 1
    w = torch.stack([torch.cat([weight, bias[:, None]], dim=1) for weight, bias in starts]).detach()
    w = w[:, None].repeat(1, len(rates), 1, 1).requires_grad_()
    decay = torch.tensor([weight_decay] * (w.shape[-1] - 1) + [0.0])
    update = OPTIMIZERS[optimizer](w, torch.tensor(rates)[None, :, None, None], decay)
    schedule = schedule or constant()
    curves: dict[str, list[Tensor]] = {"train_loss": [], "valid_loss": [], "valid_accuracy": []}
    total, step = epochs * len(batch_positions(len(x), batch_size)), 0
    for epoch in range(epochs + 1):
        batches = [batch_positions(len(x), batch_size, seed=seed, epoch=epoch - 1) for seed in seeds] if epoch else []
        loss_sum, images = torch.zeros(len(seeds), len(rates)), torch.zeros(len(seeds), 1)
        for rows in (torch.from_numpy(np.stack(same_step)) for same_step in zip(*batches, strict=True)):
            loss, n = _loss(forward(x[rows], w), p[rows])
            update(torch.autograd.grad(loss.sum(), w)[0], factor(schedule, step / total))
            loss_sum, images, step = loss_sum + loss.detach() * n, images + n, step + 1
        with torch.no_grad():
            logits = forward(x_valid[None].expand(len(seeds), -1, -1), w)
            curves["train_loss"].append(loss_sum / images)
            curves["valid_loss"].append(_loss(logits, p_valid[None])[0])
            curves["valid_accuracy"].append(_accuracy(logits, p_valid))
    settings = {
        "model": card(model).get("name"),
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "train": data.train.digest,
        "torch": torch.__version__,
    }
    return LRSweep(
        rates=rates,
        seeds=seeds,
        epochs=epochs,
        optimizer=optimizer,
        majority=data.valid.majority,
        n=int(p_valid.any(dim=-1).sum()),
        settings=settings,
        groups=len(set(data.valid.groups)),
        **{name: torch.stack(curve, dim=2).tolist() for name, curve in curves.items()},
    )


def _check(model: nn.Sequential, data: Data, rates: list[float], seeds: list[int], epochs: int, optimizer: str) -> None:
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"rates={rates}: at least one learning rate, each a finite number > 0")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds}: at least one, each once")
    if epochs < 1:
        raise ValueError(f"epochs={epochs}: at least one pass over the training images")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: {' or '.join(map(repr, OPTIMIZERS))}")
    if not isinstance(data.classes, list):
        raise ValueError("these data have several tasks; lr_sweep trains one head: load one target")
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or head.out_features != len(data.classes):
        raise ValueError("the head does not fit the data: model = replace_head(model, data.classes)")
    check_labels(data)
    check_learning(model)
    for name, stage in model.named_children():
        if name == "hidden" or not is_constant(stage):
            raise ValueError(
                f"stage {name!r} ({type(stage).__name__}) before the head learns or rolls dice, so features are not a "
                "constant; lr_sweep needs a backbone without a hidden layer or dropout there (drop_rate=0)"
            )


def _whole(prefix: nn.Sequential, split: Split) -> tuple[Tensor, Tensor]:
    """Return all features, a 1 behind each (N×(D+1)), and their target distributions (N×C, zeros without a label)."""
    x, y = features(prefix, split).take(np.arange(len(split)))
    assert isinstance(y, Tensor)  # several tasks were refused
    p = y if y.ndim == 2 else F.one_hot(y.clamp(min=0), len(split.classes)) * (y >= 0)[:, None]
    return F.pad(x, (0, 1), value=1.0), p.float()


def forward(x: Tensor, w: Tensor) -> Tensor:
    """Return the logits (S×R×N×C) of S×R heads for features x (S×N×(D+1)); w: weights and biases, S×R×C×(D+1).

    It needs no copy of x: the heads of one seed see the same images, so their weights are laid side by side.
    """
    return torch.bmm(x, w.flatten(1, 2).transpose(1, 2)).unflatten(2, w.shape[1:3]).movedim(2, 1)


def _loss(logits: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of H(p, q) over the labelled images of each run (S×R), and their number (S×1)."""
    h = -(p[:, None] * F.log_softmax(logits, dim=-1)).sum(dim=-1)
    n = p.any(dim=-1).sum(dim=-1, keepdim=True)
    return h.sum(dim=-1) / n.clamp(min=1), n


def _accuracy(logits: Tensor, p: Tensor) -> Tensor:
    """Return correct / n of each run (S×R); nan where a run has diverged, because its answers are no numbers."""
    known = p.any(dim=-1)
    share = ((logits.argmax(dim=-1) == p.argmax(dim=-1)) & known).sum(dim=-1) / known.sum()
    return torch.where(logits.isfinite().all(dim=(-2, -1)), share, torch.nan)


# SGD and AdamW by hand, for the heads of many runs in one tensor: torch's own take one rate and one decay a group,
# these a tensor of rates that is broadcast over the runs, and one of decays over the features.


def sgd(w: Tensor, rates: Tensor, decay: Tensor) -> Update:
    """Momentum as torch has it: v ← 0.9 v + g + λ w, w ← w − η v (Polyak, 1964). Returns update(gradient, factor)."""
    velocity = torch.zeros_like(w)

    @torch.no_grad()
    def update(g: Tensor, factor: float) -> None:
        velocity.mul_(0.9).add_(g).addcmul_(decay, w)
        w.addcmul_(rates * factor, velocity, value=-1)

    return update


def adamw(w: Tensor, rates: Tensor, decay: Tensor) -> Update:
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019), torch's defaults."""
    b1, b2, eps, steps = 0.9, 0.999, 1e-8, itertools.count(1)
    mean, square = torch.zeros_like(w), torch.zeros_like(w)

    @torch.no_grad()
    def update(g: Tensor, factor: float) -> None:
        lr, step = rates * factor, next(steps)
        w.mul_(1 - lr * decay)
        mean.lerp_(g, 1 - b1)
        square.mul_(b2).addcmul_(g, g, value=1 - b2)
        size = square.sqrt().div_(math.sqrt(1 - b2**step)).add_(eps)
        w.sub_(mean.mul(lr / (1 - b1**step)).div_(size))

    return update


OPTIMIZERS: dict[str, Callable[[Tensor, Tensor, Tensor], Update]] = {"adamw": adamw, "sgd": sgd}
