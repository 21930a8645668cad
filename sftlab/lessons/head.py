"""The figure of lesson 02, Head, that no other lesson draws: what a stage hands on for one image."""

from __future__ import annotations

from typing import Any

import numpy as np

from sftlab.plot import base


def maps(x: Any, name: str = "", *, n: int = 12, columns: int = 4, licence: str = "", ax: Any = None) -> Any:
    """Draw the channels of one image at one stage that vary most, each in its own range of grey.

    x: C×H×W. name: of the stage. n: how many channels at most. licence: of the picture they were made from.
    """
    values = np.asarray(x, dtype=float)
    if values.ndim != 3:
        raise ValueError(f"maps of shape {'×'.join(map(str, values.shape))}; expected one image's C×H×W")
    channels, height, width = values.shape
    single = height * width == 1  # such a map varies over the channels only, so all of them share one range of grey
    spread = values[:, 0, 0] if single else values.std(axis=(1, 2))
    chosen = values[np.sort(np.argsort(-spread, kind="stable")[:n])]
    low, high = (end(chosen, axis=None if single else (1, 2), keepdims=True) for end in (np.min, np.max))
    grey = (chosen - low) / np.maximum(high - low, 1e-9)
    columns = min(columns, len(grey))
    rows = -(-len(grey) // columns)
    ax = base.axes(ax, 1.3 * columns, 1.3 * rows + 0.5)
    for k, image in enumerate(grey):
        left, top = k % columns, -(k // columns)
        ax.imshow(
            image, cmap="gray", vmin=0, vmax=1, extent=(left, left + 0.94, top - 0.94, top), interpolation="nearest"
        )
    ax.set(xlim=(0, columns), ylim=(-rows, 0))
    ax.set_axis_off()
    base.licence_line(ax, licence)
    shown = f"{len(grey)} of {channels}" if len(grey) < channels else f"{channels}"
    finding = f"{name + ': ' if name else ''}{shown} maps, {height}×{width}"
    base.title(ax, finding, f"The {len(grey)} channels that vary most over the picture, white is high.")
    return ax
