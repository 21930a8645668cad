"""Many runs of one head: validation accuracy against the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.core.statistics import wilson
from sftlab.plot import base
from sftlab.plot.style import INK, VALID, WRONG

if TYPE_CHECKING:
    from sftlab.core.lr_search import LRSweep


def lr_sweep(sweep: LRSweep, *, epoch: int | None = None, ax: Any = None) -> Any:
    """Draw valid accuracy against the learning rate after `epoch` passes (default: all), the majority rate dashed.

    One seed: a line with the Wilson band of its validation images. More seeds: their mean and the range from the
    lowest to the highest. Rates at which a run diverged are crossed out at the foot.
    """
    epoch = sweep.epochs if epoch is None else epoch
    if not 0 <= epoch <= sweep.epochs:
        raise ValueError(f"epoch={epoch}: this sweep has epochs 0 to {sweep.epochs}")
    ax = base.axes(ax, 7.0, 3.4)
    found = np.array(sweep.valid_accuracy)[:, :, epoch]
    whole = np.isfinite(found).all(axis=0)
    rates, mean = np.array(sweep.rates), np.where(whole, found.mean(axis=0), np.nan)
    if len(sweep.seeds) > 1:
        low, high, spread = found.min(axis=0), found.max(axis=0), f"lowest to highest of {len(sweep.seeds)} seeds"
    else:
        ends = [wilson(round(share * sweep.n), sweep.n) if share == share else None for share in mean]
        low, high = (np.array([getattr(end, side, np.nan) for end in ends]) for side in ("low", "high"))
        spread = f"95 % interval for {sweep.n} images"
    ax.fill_between(rates, low, high, where=whole, color=VALID, alpha=0.15, linewidth=0)
    ax.plot(rates, mean, color=VALID, marker="o", markersize=3.5)
    base.majority_line(ax, sweep.majority)
    top = max(np.nanmax(np.where(whole, high, np.nan)), sweep.majority) if whole.any() else 1.0
    bottom = min(np.nanmin(np.where(whole, low, np.nan)), sweep.majority) if whole.any() else 0.0
    span = max(0.05, top - bottom)
    ax.set_ylim(bottom - 0.14 * span, top + 0.08 * span)
    for rate in rates[~whole]:
        ax.plot(rate, bottom - 0.07 * span, marker="x", color=WRONG, markersize=7, gid="diverged")
    ax.set_xscale("log")
    passes = f"{epoch} epoch{'' if epoch == 1 else 's'}"
    ax.set(xlabel=f"learning rate ({sweep.optimizer}, log scale)", ylabel="valid accuracy (%)")
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f}")
    ax.grid(axis="y")
    base.note(ax, "majority", (1, sweep.majority), (5, 0), xycoords=ax.get_yaxis_transform(), color=INK)
    words = f"Majority rate {base.percent(sweep.majority)}; band: {spread}."
    if not whole.any():
        base.title(ax, f"Every rate has diverged after {passes}", words)
        return ax
    if not epoch:
        base.title(ax, f"Before the first step every rate has the same head: {base.percent(mean[0])}", words)
        return ax
    best = int(np.nanargmax(mean))
    near = rates[whole & (mean >= mean[best] - 0.01)]
    reach = f"{base.rate_text(near.min())} to {base.rate_text(near.max())}" if len(near) > 1 else "one rate"
    ax.plot(rates[best], mean[best], "o", color=VALID, markersize=8, gid="best")
    finding = f"After {passes} the best rate is {base.rate_text(rates[best])}: {base.percent(mean[best])}"
    base.title(ax, finding, f"Within one point of it: {reach}. {words}")
    return ax
