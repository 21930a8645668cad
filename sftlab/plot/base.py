"""What all figures share: where they draw, titles with text alternatives, labels, percent axes. All figures use it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from sftlab.core.records import Interval
from sftlab.plot import style

_offscreen: ContextVar[bool] = ContextVar("offscreen", default=False)


@contextmanager
def offscreen() -> Iterator[None]:
    """Keep figures that are made inside from pyplot, which would show them once more; one thread at a time."""
    with style.drawing:
        token = _offscreen.set(True)
        try:
            yield
        finally:
            _offscreen.reset(token)


def axes(ax: Any, width: float, height: float) -> Any:
    """Return `ax`, or the Axes of a new figure of that size in inches; only then, and not `offscreen`, pyplot's."""
    if ax is not None:
        return ax
    how: dict[str, Any] = {"figsize": (width, height), "layout": "constrained"}
    if _offscreen.get():
        from matplotlib.figure import Figure

        return Figure(**how).add_subplot()
    import matplotlib.pyplot as plt

    return plt.figure(**how).add_subplot()


def panels(ax: Any, rows: int, columns: int, gap: tuple[float, float]) -> list[Any]:
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
    figure, letter = ax.get_figure(root=True), 0.1  # inches; a bold letter is about so wide
    room = ax.get_position().width * figure.get_figwidth()
    if figure.axes == [ax] and letter * len(finding) > room:  # alone, a title may run on to the figure's edge
        ax.set_title("?", loc="left", **how)
        figure.draw_without_rendering()
        room = figure.get_figwidth() - ax.get_window_extent().x0 / figure.dpi - 0.1
    ax.set_title("\n".join(textwrap.wrap(finding, max(20, int(room / letter)))), loc="left", **how)
    ax.alternative = f"{finding}. {alt}".strip()  # for `style.alt`


def empty(ax: Any, finding: str) -> Any:
    """Draw an empty frame that says why it is empty."""
    ax = axes(ax, 7.5, 1.2)
    ax.set_axis_off()
    title(ax, finding)
    return ax


def note(ax: Any, text: str, at: tuple[float, float], shift: tuple[float, float] = (0, 0), **how: Any) -> None:
    """Write small quiet words at a point, `shift` points away from it; they may stand outside the Axes."""
    usual = {"va": "center", "fontsize": 8.5, "color": style.QUIET, "annotation_clip": False}
    ax.annotate(text, at, xytext=shift, textcoords="offset points", **(usual | how))


def corner(ax: Any, text: str, **how: Any) -> None:
    """Write words above the left end of the Axes' upper edge: the name of a row or a panel."""
    note(ax, text, (0, 1), (0, 4), **({"xycoords": "axes fraction", "va": "bottom", "fontsize": 9.5} | how))


def licence_line(ax: Any, licence: str) -> None:
    """Write the licence of the pictures below the Axes, if there is one."""
    if licence:
        words = clip(f"Pictures: {licence}", int(17 * ax.get_figure(root=True).get_figwidth()))
        note(ax, words, (0, 0), (2, -2), xycoords="axes fraction", va="top", fontsize=7)


def label_ends(ax: Any, ends: Iterable[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) where its line ends, moved down where it would touch another or leave the top."""
    points = max(40.0, ax.get_window_extent().height / ax.get_figure(root=True).dpi * 72)
    low, high = ax.get_ylim()
    room = points + 7
    for x, y, text, colour in sorted(ends, key=lambda end: -end[1]):
        height = (y - low) / (high - low) * points
        room = min(height, room - 13)
        note(ax, text, (x, y), (8, room - height), color=style.ink_safe(colour), fontsize=9)


def majority_line(ax: Any, rate: float, *, vertical: bool = False) -> None:
    """Draw the dashed line that every accuracy must beat: always answering the most frequent class."""
    draw = ax.axvline if vertical else ax.axhline
    draw(rate, color=style.INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1, gid="majority")


def percent_axis(*some: Any) -> None:
    """Label each axis (such as `ax.yaxis`) in percent: its data are shares of 1."""
    for axis in some:
        axis.set_major_formatter(lambda share, _: f"{100 * share:.4g}")


def rows(ax: Any, names: Sequence[str], longest: int = 34) -> None:
    """Give the Axes a row a name, the first on top, in ink and without ticks."""
    ax.set_yticks(range(len(names)), [clip(name, longest) for name in names])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set_ylim(len(names) - 0.5, -0.55)


def dot(ax: Any, score: Interval, at: float, colour: str, *, stored: bool = False, upright: bool = False) -> None:
    """Draw a value with its interval along a row, or upright: computed solid, from a record (`stored`) hollow."""
    reach, place = ends(score), (at, at)
    how = {"markerfacecolor": "white", "gid": "stored"} if stored else {"gid": "computed"}
    ax.plot(*((place, reach) if upright else (reach, place)), color=colour, linewidth=2.2, alpha=0.8)
    centre = (at, score.value) if upright else (score.value, at)
    ax.plot(*centre, "o", color=colour, markersize=8, markeredgewidth=1.6, **how)


def ends(score: Interval) -> tuple[float, float]:
    """Return the ends of an interval as they are drawn: both the value, where there is no interval."""
    return (score.value, score.value) if score.why else (score.low, score.high)


def guessed(guess: Any) -> float | None:
    """Return a guess as a number; None without one, or where nobody has touched the control of `widgets.predict`."""
    return float(guess) if guess is not None and getattr(guess, "touched", True) else None


def guess_mark(ax: Any, at: tuple[float, float]) -> None:
    """Draw the hollow diamond of what the learner guessed."""
    look = {"color": style.GUESS, "markerfacecolor": "none", "markersize": 8, "markeredgewidth": 1.6}
    ax.plot(*at, "D", clip_on=False, gid="guess", zorder=4, **look)


def percent(x: float, digits: int = 1) -> str:
    """Return 0.8712 as '87.1 %'."""
    return f"{100 * x:.{digits}f} %"


def interval(score: Interval) -> str:
    """Return an accuracy with its interval: '87.1 % (84.0–89.7)'."""
    return f"{points(score):.1f}".replace(" (", " % (", 1)


def points(score: Interval) -> Interval:
    """Return an interval of shares of 1 as one of percent, or of points."""
    return replace(score, value=100 * score.value, low=100 * score.low, high=100 * score.high)


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
