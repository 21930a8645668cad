"""Where to write the names of points that lie close together, so that no name covers another or a mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GAPS = (6, 13, 22, 34, 48)  # points between a mark and its name, the nearest first
ANGLES = (25, 155, -25, -155, 60, 120, -60, -120, 90, -90, 0, 180)  # degrees
FAR = 12  # points from which a thin line leads from the mark to its name
MARK, LINE, OUTSIDE = 90.0, 12.0, 4.0  # what it costs to cover a mark, a point of a line, a square point off the frame


@dataclass(frozen=True)
class Name:
    """A name and the point it belongs to. size: width and height in points. write: draws it at an offset in points.

    The offset is that of the lower left corner from the point.
    """

    at: Sequence[float]
    size: tuple[float, float]
    write: Callable[[tuple[float, float]], None]


def width(text: str, fontsize: float) -> float:
    """Return about how many points wide a text will be."""
    return 0.56 * fontsize * len(text) + 2


def place(ax: Any, names: Sequence[Name], *, marks: Any = (), lines: Any = ()) -> None:
    """Write each name at the best free place near its point; the first ones choose first.

    marks: n × 2, points not to be covered. lines: m × 2, points along lines, better not covered. All in data
    coordinates; the limits of the Axes must be final.
    """
    frame = _points(ax, [(ax.get_xlim()[0], ax.get_ylim()[0]), (ax.get_xlim()[1], ax.get_ylim()[1])]).ravel()
    taken: list[tuple[float, float, float, float]] = []
    seen, along = _points(ax, marks), _points(ax, lines)
    for name in names:
        x, y = _points(ax, [name.at])[0]

        def price(choice: tuple[float, tuple[float, float]], x: float = x, y: float = y, name: Name = name) -> float:
            gap, (dx, dy) = choice
            box = (x + dx, y + dy, x + dx + name.size[0], y + dy + name.size[1])
            covered = sum(_overlap(box, other) for other in taken)
            off = name.size[0] * name.size[1] - _overlap(box, (frame[0], frame[1], frame[2], frame[3]))
            marked = MARK * _inside(seen, box, 4) + LINE * _inside(along, box, 1)
            return 2 * covered + marked + OUTSIDE * off + 1.5 * gap

        gap, (dx, dy) = min(_choices(name.size), key=price)
        taken.append((x + dx - 1, y + dy - 1, x + dx + name.size[0] + 1, y + dy + name.size[1] + 1))
        if gap > FAR:
            _lead(ax, name, (dx, dy))
        name.write((dx, dy))


def _choices(size: tuple[float, float]) -> list[tuple[float, tuple[float, float]]]:
    """Return (gap, offset of the lower left corner) of every place beside a point."""
    found = []
    for gap in GAPS:
        for angle in ANGLES:
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            offset = [
                gap * share - (0 if share > 0.3 else length if share < -0.3 else length / 2)
                for share, length in zip((across, up), size, strict=True)
            ]
            found.append((float(gap), (offset[0], offset[1])))
    return found


def _lead(ax: Any, name: Name, offset: tuple[float, float]) -> None:
    """Draw a thin line from a point to the nearest place of its name."""
    near = [min(max(0.0, low), low + length) for low, length in zip(offset, name.size, strict=True)]
    look = {"arrowstyle": "-", "color": "#9AA3AB", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
    ax.annotate("", name.at, near, textcoords="offset points", arrowprops=look, zorder=2)


def _points(ax: Any, data: Any) -> np.ndarray:
    """Return data coordinates in points of the figure, n × 2."""
    pairs = np.asarray(data, dtype=float).reshape(-1, 2)
    return ax.transData.transform(pairs) * 72 / ax.get_figure(root=True).dpi


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _inside(points: np.ndarray, box: Sequence[float], around: float) -> int:
    x, y = points[:, 0], points[:, 1]
    wide = (x > box[0] - around) & (x < box[2] + around)
    return int((wide & (y > box[1] - around) & (y < box[3] + around)).sum())
