"""Figure of the lesson on shift: what a threshold makes of the answers at home and away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import logit

from sftlab.plot import base, style

TICKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def threshold(
    places: Mapping[str, tuple[np.ndarray, np.ndarray]], at: float, *, classes: Sequence[str], ax: Any = None
) -> Any:
    """Draw what a network says in several places, a row a place: both classes, and the threshold between the answers.

    Probabilities stand at their log-odds, because answers crowd near 0 and 1. places: {place: (n probabilities of class
    1, n labels 0 or 1)}. at: the threshold.
    """
    ax, words = base.axes(ax, 7.8, 0.8 + 1.5 * len(places)), []
    rows = base.panels(ax, len(places), 1, (0.28, 0))
    every = np.concatenate([log_odds(p) for p, _ in places.values()])
    low, high = min(-3.0, every.min() - 0.2), max(3.0, every.max() + 0.2)
    ticks = [t for t in TICKS if low <= log_odds(t) <= high]
    for row, (place, (p, y)) in zip(rows, places.items(), strict=True):
        bins = np.linspace(low, high, 41)
        row.hist(log_odds(p[y == 0]), bins, color=style.VALID, alpha=0.35, label=classes[0])
        row.hist(log_odds(p[y == 1]), bins, color=style.WRONG, histtype="step", linewidth=1.6, label=classes[1])
        row.axvline(np.clip(log_odds(at), low, high), color=style.GUESS, linewidth=2, gid="threshold")
        row.set(xlim=(low, high), yticks=[])
        row.set_xticks([log_odds(t) for t in ticks], [f"{100 * t:g}" for t in ticks] if row is rows[-1] else [])
        right, majority = np.mean((p >= at) == (y == 1)), max(y.mean(), 1 - y.mean())
        words.append(f"{place}: {base.percent(right)} right, majority rate {base.percent(majority)}")
        base.corner(row, words[-1], color=style.INK)
    rows[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2, fontsize=9)
    rows[-1].set_xlabel(f"probability of ‘{classes[1]}’ (%), called so from the line upwards")
    finding = f"Called ‘{classes[1]}’ from {100 * at:.4g} % upwards" if at <= 1 else f"Never called ‘{classes[1]}’"
    base.title(ax, finding, f"{'; '.join(words)}.", pad=24)
    return ax


def log_odds(p: Any) -> Any:
    """Return log(p / (1 − p)), of probabilities within a hundred-thousandth of 0 and 1."""
    return logit(np.clip(p, 1e-5, 1 - 1e-5))
