"""Which learning rate? `find_lr` raises it step by step; `lr_sweep` trains a head at many rates at once.

Heads at L rates and S seeds on the same frozen features are one batched product.

A run of a small head is mostly waiting for Python; L × S of them, stacked, wait once. Optimizer and gradient act
number by number, so the runs cannot see each other: each is the run that `fit` would make alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sftlab.core import cache, records
from sftlab.core.losses import target_distribution
from sftlab.core.model import card, is_constant, replace_head
from sftlab.core.monitors import Diverged
from sftlab.core.profiles import Schedule, check, constant
from sftlab.core.records import Step
from sftlab.core.training import train
from sftlab.data import Data, batch_positions


@dataclass
class LRFinder:
    """The sweep: the highest rate of the profile at each step, the loss there, and the rate we would try first.

    `steepest` is where the smoothed loss falls fastest; `diverged` is the rate at which the sweep was ended, if it was.
    `noun` says what the loss is a mean of: images or texts.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    diverged: float | None
    noun: str = "images"

    def __repr__(self) -> str:
        end = f", diverged at {self.diverged:.2g}" if self.diverged else ""
        span = f"from {self.rates[0]:.1g} to {self.rates[-1]:.2g}"
        return f"LRFinder({len(self.rates)} steps {span}, try {self.steepest:.2g}{end})"


records.KINDS["LRFinder"] = LRFinder


def find_lr(
    model: nn.Sequential, data: Data, profile: Mapping[str, float], *, low: float = 1e-6, high: float = 1.0,
    steps: int = 100, smoothing: float = 0.9, **settings: Any,
) -> LRFinder:  # fmt: skip
    """Raise the rate from `low` to `high` over `steps` updates and record the loss.

    profile: says which stages learn and in which proportion. settings: as for `fit` (batch_size, optimizer, seed …).
    The sweep ends early once the smoothed loss is four times its lowest.
    """
    if not 0 < low < high or steps < 10:
        raise ValueError(f"low={low}, high={high}, steps={steps}: 0 < low < high and at least 10 steps")
    rates = check(model, profile)
    top = max(rates.values())
    if not top:
        raise ValueError("every stage of this profile is frozen, so there is no rate to find")
    batch_size = settings.get("batch_size", 32)
    epochs = math.ceil(steps / max(1, len(data.train) // batch_size))
    total = epochs * -(-len(data.train) // batch_size)
    span = math.log(high / low)

    def ramp(t: float) -> float:
        return low / top * math.exp(span * min(1.0, t * total / steps))

    tried, losses, smooth, mean = [], [], [], 0.0
    diverged = None
    stream = train(copy.deepcopy(model), data, rates, epochs, schedule=ramp, keep_best=False, **settings)
    try:
        for record in stream:
            if not isinstance(record, Step):
                continue
            if not math.isfinite(record.loss):
                break
            tried.append(max(record.rates.values()))
            losses.append(record.loss)
            mean = smoothing * mean + (1 - smoothing) * record.loss
            smooth.append(mean / (1 - smoothing ** len(losses)))
            if len(losses) >= steps:
                break
            if smooth[-1] > 4 * min(smooth):
                diverged = tried[-1]
                break
    except Diverged:
        diverged = tried[-1] if tried else low
    finally:
        stream.close()  # type: ignore[attr-defined]
    return LRFinder(tried, losses, smooth, _steepest(tried, smooth), diverged, data.train.noun)


def _steepest(rates: list[float], smooth: list[float]) -> float:
    """Return the rate in the middle of the steepest fall before the lowest smoothed loss.

    The slope is that of a line through an eighth of the sweep: from step to step, noise is steeper than descent.
    """
    x, y = np.log(np.array(rates)), np.array(smooth)
    window, end = max(3, len(rates) // 8), int(np.argmin(smooth)) + 1
    if end < window:
        return rates[0]
    slopes = [np.polyfit(x[i : i + window], y[i : i + window], 1)[0] for i in range(end - window + 1)]
    return rates[int(np.argmin(slopes)) + window // 2]


@dataclass
class LRSweep:
    """The curves of many runs, as nested lists [seed][rate][epoch]; epoch 0 is the head before its first step.

    train_loss at epoch 0 and everything after a divergence is nan. `majority` is the rate of the most frequent class
    among the validation images, `n` their number.
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

    def __repr__(self) -> str:
        low, high = min(self.rates), max(self.rates)
        return (
            f"LRSweep({len(self.rates)} rates from {low:.1g} to {high:.1g} × {len(self.seeds)} seeds, "
            f"{self.optimizer}, {self.epochs} epochs; best at {self.best:.2g})"
        )

    @property
    def best(self) -> float:
        """The rate with the lowest validation loss after the last epoch, on average over the seeds."""
        last = np.array(self.valid_loss)[:, :, -1].mean(axis=0)
        return self.rates[int(np.argmin(np.where(np.isfinite(last), last, np.inf)))]


records.KINDS["LRSweep"] = LRSweep


def lr_sweep(
    model: nn.Sequential, data: Data, rates: Iterable[float], epochs: int = 10, *, optimizer: str = "adamw",
    seeds: Iterable[int] = (0,), schedule: Schedule | None = None, weight_decay: float = 0.01, batch_size: int = 32,
    encoder: str = "torch",
) -> LRSweep:  # fmt: skip
    """Train the head of `model` on its frozen features at every rate and seed; return an LRSweep. `model` is untouched.

    Run (rate, seed) is what `fit` makes of `replace_head(model, …, seed=seed)` with `linear_probe(model, lr=rate)` and
    `seed=seed`, to rounding: a fresh head (a `hidden` stage starts as it is), the same batches in the same order,
    cross-entropy. encoder: as in `fit`.
    optimizer: "adamw" or "sgd" (momentum 0.9). Raises ValueError for a model with several heads or with
    dropout before its head, and for rates, seeds or epochs that cannot be.
    """
    tried, drawn = [float(r) for r in rates], [int(s) for s in seeds]
    _check(model, data, tried, drawn, epochs, optimizer)
    prefix, first = _prefix(model)
    train, valid = (cache.features(prefix, split, encoder=encoder) for split in (data.train, data.valid))
    x, p, known = _whole(train, len(data.classes))
    x_valid, p_valid, known_valid = _whole(valid, len(data.classes))
    layers = _stack([replace_head(model[first:], data.classes, seed=seed) for seed in drawn], len(tried))
    update = HEAD_OPTIMIZERS[optimizer](layers, torch.tensor(tried)[None, :, None, None], weight_decay)
    schedule = schedule or constant()
    losses, valid_losses, accuracies = list[Tensor](), list[Tensor](), list[Tensor]()
    total, step = epochs * len(batch_positions(len(x), batch_size)), 0
    for epoch in range(epochs + 1):
        summed, images = torch.zeros(len(drawn), len(tried)), torch.zeros(len(drawn), 1)
        batches = [batch_positions(len(x), batch_size, seed=seed, epoch=epoch - 1) for seed in drawn] if epoch else []
        for rows in (torch.from_numpy(np.stack(same_step)) for same_step in zip(*batches, strict=True)):
            loss = _loss(forward(x[rows], layers), p[rows], known[rows])
            update(torch.autograd.grad(loss.sum(), layers), schedule(step / total))
            summed, images, step = summed + loss.detach() * rows.shape[1], images + rows.shape[1], step + 1
        with torch.no_grad():
            logits = forward(x_valid[None].expand(len(drawn), -1, -1), layers)
            losses.append(summed / images)
            valid_losses.append(_loss(logits, p_valid[None], known_valid[None]))
            accuracies.append(_accuracy(logits, p_valid, known_valid))
    settings = {
        "model": card(model).get("name"), "weight_decay": weight_decay, "batch_size": batch_size, "encoder": encoder,
        "train": data.train.digest, "torch": torch.__version__,
    }  # fmt: skip
    curves = {"train_loss": losses, "valid_loss": valid_losses, "valid_accuracy": accuracies}
    return LRSweep(
        rates=tried, seeds=drawn, epochs=epochs, optimizer=optimizer, majority=data.valid.majority,
        n=int(known_valid.sum()), settings=settings,
        **{name: torch.stack(curve, dim=2).tolist() for name, curve in curves.items()},
    )  # fmt: skip


def forward(x: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """Return the logits (S×R×N×C) of S×R heads for features x (S×N×D): Linear, or Linear, ReLU, Linear.

    layers: weight (S×R×out×in) and bias (S×R×1×out) of each Linear. The first product needs no copy of x: the heads
    of one seed see the same images, so their weights are laid side by side.
    """
    weight, bias = layers[:2]
    _, r, out, _ = weight.shape
    z = torch.bmm(x, weight.flatten(1, 2).transpose(1, 2)).unflatten(2, (r, out)).movedim(2, 1) + bias
    for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
        z = z.relu() @ weight.transpose(2, 3) + bias
    return z


def _check(
    model: nn.Sequential, data: Data, rates: Sequence[float], seeds: Sequence[int], epochs: int, optimizer: str
) -> None:
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"rates={list(rates)}: at least one learning rate, each a finite number > 0")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)}: at least one, each once")
    if epochs < 1:
        raise ValueError(f"epochs={epochs}: at least one pass over the training images")
    if optimizer not in HEAD_OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: {' or '.join(map(repr, HEAD_OPTIMIZERS))}")
    if not isinstance(data.classes, list):
        raise ValueError("these data have several tasks; lr_sweep trains one head: load one target")
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or head.out_features != len(data.classes):
        raise ValueError("the head does not fit the data: model = replace_head(model, data.classes)")


def _prefix(model: nn.Sequential) -> tuple[nn.Sequential, int]:
    """Return the frozen part and the number of the first stage that learns: `hidden` if there is one, or `head`."""
    names = [name for name, _ in model.named_children()]
    first = names.index("hidden") if "hidden" in names else names.index("head")
    for name, stage in list(model.named_children())[:first]:
        if not cache.has_parameters(stage) and not is_constant(stage):
            raise ValueError(
                f"stage {name!r} ({type(stage).__name__}) before the head rolls dice, so features are not a constant; "
                "lr_sweep needs a backbone without dropout there (drop_rate=0)"
            )
    return model[:first], first


def _whole(features: cache.Features, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return all features (N×D), their target distributions (N×C) and which of them have a label (N)."""
    x, y = features.take(np.arange(len(features)))
    assert isinstance(y, Tensor)  # several tasks were refused
    return x, *target_distribution(y, classes)


def _stack(tails: Sequence[nn.Sequential], rates: int) -> list[Tensor]:
    """Stack the Linears of one tail a seed, the same start for each rate: weights S×R×out×in, biases S×R×1×out."""
    linears = [[m for m in tail.modules() if isinstance(m, nn.Linear)] for tail in tails]
    layers = []
    for same_layer in zip(*linears, strict=True):
        weight = torch.stack([m.weight for m in same_layer])[:, None].expand(-1, rates, -1, -1)
        bias = torch.stack([m.bias for m in same_layer])[:, None, None].expand(-1, rates, -1, -1)
        layers += [weight, bias]
    return [w.detach().clone().requires_grad_() for w in layers]


def _loss(logits: Tensor, p: Tensor, known: Tensor) -> Tensor:
    """Return the mean of H(p, q) over the labelled images of each run (S×R)."""
    h = -(p[:, None] * F.log_softmax(logits, dim=-1)).sum(dim=-1)
    return h.sum(dim=-1) / known.sum(dim=-1, keepdim=True).clamp(min=1)


def _accuracy(logits: Tensor, p: Tensor, known: Tensor) -> Tensor:
    """Return correct / n of each run (S×R); nan where a run has diverged, because its answers are no numbers."""
    hits = (logits.argmax(dim=-1) == p.argmax(dim=-1)) & known
    share = hits.sum(dim=-1) / known.sum().clamp(min=1)
    return torch.where(logits.isfinite().all(dim=-1).all(dim=-1), share, torch.nan)


class SGD:
    """Momentum as torch has it: v ← μ v + g + λ w, w ← w − η v (Polyak, 1964)."""

    momentum = 0.9

    def __init__(self, layers: Sequence[Tensor], rates: Tensor, weight_decay: float) -> None:
        self.layers, self.rates = layers, rates
        self.decays = [weight_decay if i % 2 == 0 else 0.0 for i in range(len(layers))]  # biases are not decayed
        self.velocity = [torch.zeros_like(w) for w in layers]

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move the layers by one step; factor: what the schedule says of every rate."""
        for w, g, v, decay in zip(self.layers, gradients, self.velocity, self.decays, strict=True):
            v.mul_(self.momentum).add_(g).add_(w, alpha=decay)
            w.addcmul_(self.rates * factor, v, value=-1)


class AdamW:
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019), torch's defaults."""

    betas, eps = (0.9, 0.999), 1e-8

    def __init__(self, layers: Sequence[Tensor], rates: Tensor, weight_decay: float) -> None:
        self.layers, self.rates, self.steps = layers, rates, 0
        self.decays = [weight_decay if i % 2 == 0 else 0.0 for i in range(len(layers))]  # biases are not decayed
        self.mean, self.square = ([torch.zeros_like(w) for w in layers] for _ in range(2))

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], factor: float) -> None:
        """Move the layers by one step; factor: what the schedule says of every rate."""
        self.steps += 1
        (b1, b2), rates = self.betas, self.rates * factor
        scale = rates / (1 - b1**self.steps)
        for w, g, m, v, decay in zip(self.layers, gradients, self.mean, self.square, self.decays, strict=True):
            w.mul_(1 - rates * decay)
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            size = v.sqrt().div_(math.sqrt(1 - b2**self.steps)).add_(self.eps)
            w.sub_(m.mul(scale).div_(size))


HEAD_OPTIMIZERS: dict[str, Any] = {"adamw": AdamW, "sgd": SGD}
