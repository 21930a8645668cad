"""What all figures share: where they draw, how they say what they found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sftlab.core.records import Interval
from sftlab.plot import style

_offscreen: ContextVar[bool] = ContextVar("offscreen", default=False)


@contextmanager
def offscreen() -> Iterator[None]:
    """Keep figures that are made inside from pyplot, which is not made for threads and would show them once more."""
    token = _offscreen.set(True)
    try:
        yield
    finally:
        _offscreen.reset(token)


def axes(ax: Any, width: float = 7.5, height: float = 3.2) -> Any:
    """Return `ax`, or the Axes of a new figure of that size in inches; only then, and not `offscreen`, pyplot's."""
    if ax is not None:
        return ax
    how: dict[str, Any] = {"figsize": (width, height), "layout": "constrained"}
    if _offscreen.get():
        from matplotlib.figure import Figure

        return Figure(**how).add_subplot()
    import matplotlib.pyplot as plt

    return plt.figure(**how).add_subplot()


def panels(ax: Any, rows: int, columns: int, gap: tuple[float, float] = (0.16, 0.13)) -> list[Any]:
    """Turn `ax` into an empty frame and return rows × columns Axes inside it, row by row.

    gap: space between rows and between columns, as shares of the frame.
    """
    ax.set_axis_off()
    height, width = (1 - gap[0] * (rows - 1)) / rows, (1 - gap[1] * (columns - 1)) / columns
    return [
        ax.inset_axes((c * (width + gap[1]), 1 - r * (height + gap[0]) - height, width, height))
        for r in range(rows)
        for c in range(columns)
    ]


def title(ax: Any, finding: str, alt: str = "", **how: Any) -> None:
    """Write the finding above the Axes, wrapped, and keep it with `alt` as the text alternative."""
    figure = ax.get_figure(root=True)
    room, letter = ax.get_position().width * figure.get_figwidth() * 72, 7.2  # points; a bold letter is about so wide
    if figure.axes == [ax] and letter * len(finding) > room:  # alone, a title may run on to the figure's edge
        ax.set_title("?", loc="left", **how)
        figure.draw_without_rendering()
        room = figure.get_figwidth() * 72 - ax.get_window_extent().x0 / figure.dpi * 72 - 8
    ax.set_title("\n".join(textwrap.wrap(finding, max(20, int(room / letter)))), loc="left", **how)
    style.describe(ax, f"{finding}. {alt}".strip() if alt else f"{finding}.")


def note(ax: Any, text: str, at: tuple[float, float], shift: tuple[float, float] = (0, 0), **how: Any) -> None:
    """Write small quiet words at a point, `shift` points away from it; they may stand outside the Axes."""
    usual = {"va": "center", "fontsize": 8.5, "color": style.QUIET, "annotation_clip": False}
    ax.annotate(text, at, xytext=shift, textcoords="offset points", **(usual | how))


def label_ends(ax: Any, ends: Iterable[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) where its line ends, moved down where it would touch another or leave the top."""
    points = max(40.0, ax.get_window_extent().height / ax.get_figure(root=True).dpi * 72)
    low, high = ax.get_ylim()
    room = points + 7
    for x, y, text, colour in sorted(ends, key=lambda end: -end[1]):
        height = (y - low) / (high - low) * points
        room = min(height, room - 13)
        note(ax, text, (x, y), (8, room - height), color=colour, fontsize=9)


def majority_line(ax: Any, rate: float, *, vertical: bool = False, share: float = 0, height: float = 1) -> None:
    """Draw the dashed line that every accuracy must beat: always answering the most frequent class."""
    draw = ax.axvline if vertical else ax.axhline
    how = {"color": style.INK, "linestyle": (0, (4, 3)), "linewidth": 1, "zorder": 1, "gid": "majority"}
    draw(rate, share, share + height, **how)


def guess_line(ax: Any, truth: Interval, guess: float, low: float, high: float) -> None:
    """Turn `ax` into a number line with a solid dot at the truth and a hollow diamond at the guess."""
    pad = 0.03 * (high - low)
    ax.set(xlim=(low - pad, high + pad), ylim=(-1, 1))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.plot((truth.low, truth.high), (0, 0), color=style.VALID, linewidth=2.2, alpha=0.8)
    dot = {"marker": "o", "markersize": 9, "color": style.VALID}
    diamond = {"marker": "D", "markersize": 8, "color": style.GUESS, "markerfacecolor": "none"}
    both = ((truth.value, guess, "measured", dot, 9), (guess, truth.value, "your guess", diamond, -9))
    for x, other, text, marker, up in both:
        ax.plot(x, 0, markeredgewidth=1.6, clip_on=False, gid=text, **marker)
        share, apart = (x - low) / (high - low), (x - other) / (high - low)
        side = -1 if share > 0.5 else 1  # the words stay inside
        if 0 < abs(apart) < 0.2 and 0.15 < share < 0.88:
            side = 1 if apart > 0 else -1  # and those of close neighbours on either side of the two
        note(
            ax,
            f"{text} {x:.3g}",
            (x, 0),
            (9 * side, up),
            color=marker["color"],
            ha="right" if side < 0 else "left",
        )


def percent(x: float, digits: int = 1) -> str:
    """Return 0.8712 as '87.1 %'."""
    return f"{100 * x:.{digits}f} %"


def rate_text(rate: float) -> str:
    """Return a learning rate as one types it: 0.0003 → '3e-4'."""
    if not rate:
        return "0"
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def clip(text: str, length: int) -> str:
    """Return `text`, its middle replaced by … if it is longer than `length`."""
    return text if len(text) <= length else f"{text[: length - length // 3 - 1]}…{text[-(length // 3) :]}"


def listed(items: Sequence[str]) -> str:
    """Return 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
