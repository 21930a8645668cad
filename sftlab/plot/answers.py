"""One photograph and what the network says of it: the picture, where it looked, how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from sftlab.deploy.predict import Prediction
from sftlab.plot import base, style

MOST_BARS = 6
SIZE = (7.8, 2.9)  # inches
TILE = 0.31  # width of a picture, as a share of the figure's: about as wide as high


def answer(
    pixels: np.ndarray, prediction: Prediction, heat: np.ndarray | None = None, *, limit: float = 0.0,
    licence: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw a picture (uint8 C×H×W) as the network gets it, a heat map over it, and a bar for each likely class.

    heat: h×w ≥ 0, the evidence for the likeliest class; without it the map is left out. limit: the least probability
    of an answer, drawn as a dashed line. licence: of the picture.
    """
    ax = base.axes(ax, *SIZE)
    ax.set_axis_off()
    photo = pixels.transpose(1, 2, 0)
    left = ax.inset_axes((0.0, 0.0, TILE, 0.9))
    _picture(left, photo, base.clip(prediction.file or "as the network gets it", 30))
    if heat is not None:
        middle = ax.inset_axes((TILE + 0.02, 0.0, TILE, 0.9))
        _picture(middle, photo, f"what speaks for ‘{base.clip(prediction.label, 16)}’")
        share = np.asarray(heat, dtype=float) / max(float(np.max(heat)), 1e-12)
        extent = middle.images[0].get_extent()
        middle.imshow(share, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=0.55, interpolation="bilinear")
    start = (2 if heat is not None else 1) * (TILE + 0.02) + 0.03
    _bars(ax.inset_axes((start, 0.0, min(0.4, 0.98 - start), 0.9)), prediction, limit)
    base.title(ax, headline(prediction), f"{told(prediction)}. {'With' if heat is not None else 'Without'} a heat map.")
    if licence:
        base.note(ax, base.clip(f"Picture: {licence}", 110), (0, -0.07), xycoords="axes fraction", fontsize=7)
    return ax


def headline(prediction: Prediction) -> str:
    """Return the answer in a few words: 'rust, 93 %', or 'neither: …' with the reason."""
    if prediction.error:
        return f"cannot be read: {prediction.error}"
    if prediction.refused:
        return f"{prediction.answer}: {prediction.refused}"
    return f"{prediction.label}, {sureness(prediction.confidence)}"


def told(prediction: Prediction) -> str:
    """Return the likeliest classes with their probabilities: 'rust 93 %, fine 7 %'."""
    return ", ".join(f"{name} {sureness(p)}" for name, p in _likeliest(prediction))


def sureness(p: float) -> str:
    """Return a probability in whole percent that never rounds to certainty."""
    return "> 99 %" if p > 0.995 else "< 1 %" if p < 0.005 else base.percent(p, 0)


def _likeliest(prediction: Prediction) -> list[tuple[str, float]]:
    return sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:MOST_BARS]


def _picture(ax: Any, photo: np.ndarray, words: str) -> None:
    ax.imshow(photo if photo.shape[2] == 3 else photo[..., 0], cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_anchor("W")
    ax.set_title(words, fontsize=8.5, loc="left", fontweight="normal", color=style.QUIET, pad=4)


def _bars(ax: Any, prediction: Prediction, limit: float) -> None:
    """Draw a bar a class, its name and probability above it, and the limit that the longest one must reach."""
    found = _likeliest(prediction)
    rows = max(3, len(found))  # two bars need not fill the height of a picture
    for i, (name, p) in enumerate(found):
        colour, hatch = (style.VALID, "") if i == 0 and not prediction.refused else ("#BFC9D4", "//")
        ax.barh(i, p, height=0.3, color=colour, hatch=hatch, edgecolor="white")
        base.note(ax, f"{base.clip(name, 18)} {sureness(p)}", (0, i - 0.2), va="bottom", fontsize=9, color=style.INK)
    if limit:
        ends = (-0.17, len(found) - 0.83)
        ax.plot((limit, limit), ends, color=style.INK, linestyle=(0, (3, 2)), linewidth=1, gid="limit")
        base.note(ax, f"limit {limit:.2f}", (limit, ends[1]), (0, -3), ha="center", va="top", fontsize=8)
    ax.set(xlim=(0, 1), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
