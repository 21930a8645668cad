"""Figures of the further lesson on calibration: which strangers a score rejects, and heat maps over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style
from sftlab.plot.images import image_grid


def rejected(
    scores: Mapping[str, Sequence[float] | np.ndarray], limit: float, *, label: str, below: bool = False, ax: Any = None
) -> Any:
    """Draw a score a picture, a row a kind, and the share beyond the limit, which is rejected.

    scores: {kind: scores}; the first kind is what the network is for, the others are strangers. below: reject low
    scores instead of high ones.
    """
    ax = base.axes(ax, 7.5, 0.95 + 0.5 * len(scores))
    base.rows(ax, list(scores))
    rng, shares = np.random.default_rng(0), {}
    right = max(float(np.max(values)) for values in scores.values())
    for row, (name, values) in enumerate(scores.items()):
        x = np.asarray(values, dtype=float)
        gone = x < limit if below else x > limit
        shares[name] = float(gone.mean())
        height = row + rng.uniform(-0.26, 0.26, len(x))
        ax.plot(x[~gone], height[~gone], "o", color=style.VALID, markersize=3.5, alpha=0.6)
        ax.plot(x[gone], height[gone], "x", color=style.WRONG, markersize=4, alpha=0.7)
        base.note(ax, f"{100 * shares[name]:.0f} % rejected", (right, row), (12, 0), color=style.INK, fontsize=9)
    ax.axvline(limit, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
    ax.set_xlabel(f"{label}, ✗ rejected")
    least, most = (base.percent(end(list(shares.values())[1:]), 0) for end in (min, max))
    words = base.listed([f"{base.percent(share, 0)} of the {name}" for name, share in shares.items()])
    finding = f"{label.capitalize()} rejects {least} to {most} of each kind of stranger"
    base.title(ax, finding, f"It rejects {words}.")
    return ax


def heatmaps(pixels: np.ndarray, rows: Mapping[str, Any], *, licence: str, title: str, ax: Any = None) -> Any:
    """Draw the same images (N×C×H×W) once a row, under the heat maps of the row, each scaled to its own maximum.

    rows: {caption: N maps h×w, or None for the images alone}.
    """
    n = len(pixels)
    captions = [name for name in rows for _ in range(n)]
    ax = image_grid(ax, np.concatenate([pixels] * len(rows)), captions, n, licence)
    for k, maps in enumerate(rows.values()):
        for picture, heat in zip(ax.images[k * n :], () if maps is None else maps, strict=False):
            look = {"cmap": "inferno", "vmin": 0, "alpha": 0.55, "interpolation": "bilinear"}
            ax.imshow(heat, extent=picture.get_extent(), vmax=max(float(heat.max()), 1e-12), **look)
    base.title(ax, title, f"{n} images, row by row: {', '.join(rows)}.")
    return ax
