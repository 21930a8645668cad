"""The compass of the lesson on two tasks: gradients as arrows, each at its angle to another gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Circle, Wedge

from sftlab.plot import base, style


def compass(cosines: Mapping[str, Sequence[float]], *, ax: Any = None) -> Any:
    """Draw gradients as arrows of one length, each at its angle to the gradient of all labels, which points up.

    cosines: {name: cosines with that gradient}, such as one a draw of labels; the first is drawn strong and the others
    pale. An arrow in the upper half helps: a small step against that gradient lowers the loss of all labels. Names
    alternate between right and left; only the angle to the vertical has a meaning.
    """
    cosines = {name: np.clip(v, -1, 1).tolist() for name, v in cosines.items()}  # with itself it may be 1.0000001
    ax, words = base.axes(ax, 6.2, 3.9), []
    ax.add_patch(Wedge((0, 0), 1, 0, 180, color="#EFF5EF"))
    ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor=style.LINE, linewidth=0.8))
    ax.plot((-1, 1), (0, 0), color=style.LINE, linewidth=0.8, linestyle="--")
    _arrow(ax, 0, 1, color="#BBBBBB", linewidth=4)
    base.note(ax, "all labels", (0, 1), (0, 9), ha="center")
    base.note(ax, "dashed, a right angle: neither helps nor harms", (0, -1), (0, -9), ha="center", fontsize=8)
    for i, (name, values) in enumerate(cosines.items()):
        side, colour = (1, -1)[i % 2], style.hue(name, i)
        strong, *pale = ((side * math.sqrt(1 - y**2), y) for y in values)
        for place in pale:
            _arrow(ax, *place, color=colour, linewidth=0.8, alpha=0.35, name=name)
        _arrow(ax, *strong, color=colour, linewidth=2.2, name=name)
        words.append(f"{name} {values[0]:+.2f}")
        where = {"ha": "left" if side > 0 else "right", "color": style.ink_safe(colour), "fontsize": 9}
        base.note(ax, words[-1], strong, (8 * side, math.copysign(4, values[0])), **where)
    ax.set(xlim=(-2.3, 2.3), ylim=(-1.25, 1.3), aspect="equal")
    ax.set_axis_off()
    angles = [f"{name} {math.degrees(math.acos(values[0])):.0f} degrees" for name, values in cosines.items()]
    base.title(ax, f"Cosine with all labels: {base.listed(words)}", f"{'; '.join(angles)}.")
    return ax


def _arrow(ax: Any, x: float, y: float, name: str = "", **look: Any) -> None:
    ax.annotate("", (x, y), (0, 0), gid=name, arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **look})
