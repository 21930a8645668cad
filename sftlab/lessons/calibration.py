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
    others = list(shares)[1:]
    finding = f"{label.capitalize()} rejects {base.percent(min(shares[name] for name in others), 0)}"
    finding += f" to {base.percent(max(shares[name] for name in others), 0)} of each kind of stranger"
    words = base.listed([f"{base.percent(share, 0)} of the {name}" for name, share in shares.items()])
    base.title(ax, finding, f"It rejects {words}.")
    return ax


def heatmaps(
    pixels: Any, rows: Mapping[str, Any], *, licence: str = "", title: str = "Heat maps", ax: Any = None
) -> Any:
    """Draw the same images (N×C×H×W) once a row, under the heat maps of the row, each scaled to its own maximum.

    rows: {caption: N maps h×w, or None for the images alone}.
    """
    pixels, n = np.asarray(pixels), len(pixels)
    captions = [name for name in rows for _ in range(n)]
    maps = [heat for row in rows.values() for heat in ([None] * n if row is None else np.asarray(row))]
    ax = image_grid(ax, np.concatenate([pixels] * len(rows)), captions, n, licence)
    room = (ax.get_xlim(), ax.get_ylim())
    for picture, heat in zip(list(ax.images), maps, strict=True):
        if heat is not None:
            share = heat / max(float(heat.max()), 1e-12)
            look = {"cmap": "inferno", "vmin": 0, "vmax": 1, "alpha": 0.55, "interpolation": "bilinear"}
            ax.imshow(share, extent=picture.get_extent(), **look)
    ax.set(xlim=room[0], ylim=room[1])
    base.title(ax, title, f"{n} images, row by row: {', '.join(rows)}.")
    return ax
