"""Choosing a starting point: what a network says and knows, how starting points rank, what the image size does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, placing, style

if TYPE_CHECKING:
    from sftlab.analysis.cost import Gallery

Start = Mapping[str, Any]  # network, weights, size, stage, accuracy (an Interval), logme
LOOKS = {"ImageNet": (style.VALID, "o", "-"), "random": (style.LINE, "s", (0, (4, 2)))}
MARKS = ("o", "^", "D", "s", "v", "P")


def candidates(shelf: Gallery, *, ax: Any = None) -> Any:
    """Draw published top-1 accuracy against measured images a second: ● on this machine, □ to be downloaded."""
    ax = base.axes(ax, 8.2, 4.0)
    rows = [row for row in shelf.rows if row.top1 is not None]
    for row in rows:
        how = {"color": style.VALID, "marker": "o"} if row.here else {"color": style.QUIET, "marker": "s"}
        ax.plot(row.images_per_second, row.top1, markersize=8 if row.here else 6, linestyle="none", gid=row.name,
                markerfacecolor=style.VALID if row.here else "white", **how)  # fmt: skip
    ax.set_xscale("log")
    speeds = [row.images_per_second for row in rows]
    ax.set_xlim(min(speeds) / 2.6, max(speeds) * 2.6)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.xaxis.set_minor_formatter(lambda x, _: "")
    ax.set(xlabel=f"images a second on this machine, {shelf.size} pixels (log)", ylabel="ImageNet top-1 (%)")
    ax.grid()
    ends = [(row.images_per_second, row.top1 or 0.0) for row in rows]
    names = [_beside(ax, row.name, at, row.here) for row, at in zip(rows, ends, strict=True)]
    placing.place(ax, sorted(names, key=lambda name: name.at[0]), marks=ends)
    words = "● on this machine · □ to be downloaded"
    base.note(ax, words, (0.99, 0.98), xycoords="axes fraction", ha="right", va="top")
    here = [row for row in rows if row.here]
    fast, slow = max(speeds), min(speeds)
    finding = f"{len(here)} of {len(rows)} networks are on this machine; speeds differ {fast / slow:.0f}-fold"
    told = [f"{r.name} {r.top1} % at {r.images_per_second:.0f} images/s{', here' if r.here else ''}" for r in rows]
    base.title(ax, finding, f"{'; '.join(told)}.")
    return ax


def _beside(ax: Any, name: str, at: tuple[float, float], here: bool) -> placing.Name:
    """Return a network's name, to be written beside its point."""
    look = {"color": style.INK, "fontweight": "bold"} if here else {"color": style.QUIET}

    def write(offset: tuple[float, float]) -> None:
        base.note(ax, name, at, offset, va="bottom", **look)

    return placing.Name(at, (placing.width(name, 9.5 if here else 8.5), 10.5), write)


def seen(
    pictures: Sequence[Any], titles: Sequence[str], names: Sequence[str], p: Sequence[Sequence[float]], *,
    top: int = 4, licence: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw pictures (H×W×3) in a row and below each the most probable names, with their probabilities.

    p: a row of probabilities a picture. The title says how surely the network speaks of the first and of the last.
    """
    values = np.asarray(p, dtype=float)
    k = len(pictures)
    ax = base.axes(ax, max(6.6, 2.75 * k), 4.3)
    ax.set_axis_off()
    boxes = [((i + 0.02) / k, low, 0.93 / k, high) for low, high in ((0.4, 0.6), (0.04, 0.33)) for i in range(k)]
    shown = [ax.inset_axes(box) for box in boxes]
    told = []
    for i in range(k):
        picture, bars = shown[i], shown[k + i]
        edge = min(pictures[i].shape[:2])
        top_, left = ((side - edge) // 2 for side in pictures[i].shape[:2])
        picture.imshow(pictures[i][top_ : top_ + edge, left : left + edge])
        picture.set_axis_off()
        picture.set_title(titles[i], fontsize=9.5, fontweight="normal", loc="center", pad=4)
        order = np.argsort(-values[i], kind="stable")[:top]
        bars.barh(range(top), values[i, order], color="#DADADA", height=0.86)
        for row, j in enumerate(order):
            words = f"{names[j]}  {base.percent(values[i, j], 0)}"
            base.note(bars, words, (0, row), (4, 0), color=style.INK, fontsize=9)
        bars.set(xlim=(0, max(0.5, values.max())), ylim=(top + 0.3, -0.7))
        bars.set_axis_off()
        told.append(f"{titles[i]}: " + ", ".join(f"{names[j]} {base.percent(values[i, j], 0)}" for j in order))
    first, last = (base.percent(values[i].max(), 0) for i in (0, k - 1))
    finding = f"Surest name: {first} for {titles[0]}, {last} for {titles[-1]}"
    if licence:
        base.note(ax, base.clip(f"Pictures: {licence}", 100), (0, 0), (0, -2), xycoords="axes fraction", fontsize=7)
    base.title(ax, finding, f"{'. '.join(told)}.", pad=24)
    return ax


def projections(maps: Mapping[str, Any], labels: Mapping[str, tuple[Any, Sequence[str]]], *, ax: Any = None) -> Any:
    """Draw 2-D maps of features side by side, each image a point, coloured and shaped by class.

    maps: {title: n×2}. labels: {title: (n class numbers, class names)}, for the same titles. The figure's title says
    how often the nearest neighbour of a point on the map is of the same class.
    """
    ax = base.axes(ax, 4.1 * len(maps), 4.1)
    shown = base.panels(ax, 1, len(maps), (0, 0.1))
    looks = ((style.VALID, "o"), (style.WRONG, "^"), (style.RIGHT, "s"), (style.OTHERS[1], "D"))
    told = []
    for panel, (title, xy) in zip(shown, maps.items(), strict=True):
        points, (numbers, names) = np.asarray(xy), labels[title]
        y = np.asarray(numbers)
        for k, (name, (colour, mark)) in enumerate(zip(names, looks, strict=False)):
            words = f"{name} ({int((y == k).sum())})"
            panel.scatter(*points[y == k].T, s=14, marker=mark, color=colour, alpha=0.55, linewidth=0, label=words)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_title(title, fontsize=9.5, fontweight="normal", pad=22)
        panel.legend(loc="lower left", bbox_to_anchor=(-0.03, 0.985), ncols=4, fontsize=8.5, handletextpad=0.1,
                     columnspacing=1, borderpad=0)  # fmt: skip
        far = ((points[:, None] - points[None]) ** 2).sum(axis=2) + np.diag(np.full(len(y), np.inf))
        same = (y[far.argmin(axis=1)] == y).mean()
        chance = float(np.square(np.bincount(y) / len(y)).sum())
        told.append((f"{base.percent(same, 0)} {title}", f"by chance it would be {base.percent(chance, 0)}"))
    finding = f"Nearest neighbour of the same class: {base.listed([share for share, _ in told])}"
    words = "; ".join(f"{share}, {luck}" for share, luck in told)
    base.title(ax, finding, f"Maps of {len(y)} images. {words}.", pad=44)
    return ax


def taps(
    starts: Sequence[Start], *, majority: float, yardstick: float | None = None,
    now: Mapping[str, Interval] | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw accuracy against the stage that is tapped, a line a network; ImageNet solid, random start dashed.

    starts: of one image size, from stored records, hollow. now: {stage: accuracy} computed just now, solid, with its
    interval. yardstick: what a probe without any network scores.
    """
    ax = base.axes(ax, 8.2, 4.2)
    stages = list(dict.fromkeys(s["stage"] for s in starts))
    networks = list(dict.fromkeys(s["network"] for s in starts))
    ends, told = [], []
    for network in networks:
        for weights, (colour, _, line) in LOOKS.items():
            mine = [s for s in starts if (s["network"], s["weights"]) == (network, weights)]
            if not mine:
                continue
            x, values = [stages.index(s["stage"]) for s in mine], [s["accuracy"].value for s in mine]
            mark = MARKS[networks.index(network) % len(MARKS)]
            ax.plot(x, values, mark, linestyle=line, color=colour, markerfacecolor="white", linewidth=1.4, markersize=6)
            name = f"{network.replace('efficientnet_', '')}, {weights}"
            ends.append((x[-1], values[-1], name, style.ink_safe(colour)))
            told.append(f"{network} {weights}: {', '.join(f'{100 * v:.1f}' for v in values)}")
    now = now or {}
    for stage, score in now.items():
        i = stages.index(stage)
        ax.plot([i, i], [score.low, score.high], color=style.VALID, linewidth=2.2)
        ax.plot(i, score.value, "o", color=style.VALID, markersize=9, gid="computed")
    base.majority_line(ax, majority)
    ends.append((len(stages) - 1, majority, "majority rate", style.INK))
    if yardstick is not None:
        ax.axhline(yardstick, color=style.GUESS, linestyle=":", linewidth=1.5, gid="yardstick")
        base.note(ax, "two numbers: brightness, contrast", (-0.4, yardstick), (5, 7), color=style.GUESS)
    values = [s["accuracy"].value for s in starts] + [score.high for score in now.values()] + [majority]
    ax.set(xlim=(-0.4, len(stages) - 0.9), ylim=(min(values) - 0.01, max(values) + 0.012))
    ax.set_xticks(range(len(stages)), stages)
    _percent_axis(ax)
    ax.set(xlabel="stage the probe reads", ylabel="accuracy, groups held out (%)")
    base.label_ends(ax, ends)
    best = max(starts, key=lambda s: s["accuracy"].value)
    below = sum(s["accuracy"].value < (yardstick or majority) for s in starts)
    finding = f"Best: {best['network']} at {best['stage']}, {base.percent(best['accuracy'].value)}"
    finding += f"; {below} of {len(starts)} taps score less than two numbers do" if yardstick else ""
    base.title(ax, finding, f"Accuracy in percent by stage, {', '.join(stages)}. {'; '.join(told)}.")
    return ax


def ranked(starts: Sequence[Start], tied: Sequence[bool], *, majority: float, yardstick: float, ax: Any = None) -> Any:
    """Draw starting points from best to worst with their intervals; hollow, because they come from records.

    tied: for each, whether its accuracy cannot be told from the best one's; the others are drawn pale.
    """
    ax = base.axes(ax, 8.2, 3.9)
    order = np.argsort([-s["accuracy"].value for s in starts], kind="stable")
    for place, i in enumerate(order, 1):
        score: Interval = starts[i]["accuracy"]
        colour, mark, _ = LOOKS[starts[i]["weights"]]
        alpha = 1.0 if tied[i] else 0.4
        ax.plot([place, place], [score.low, score.high], color=colour, linewidth=0.9, alpha=0.6 * alpha)
        ax.plot(place, score.value, mark, color=colour, markerfacecolor="white", markersize=4, alpha=alpha)
    count, last = int(np.sum(tied)), max(p for p, i in enumerate(order, 1) if tied[i])
    ax.axvspan(0, last + 0.5, color="#EAF2F8", zorder=0, linewidth=0)
    base.majority_line(ax, majority)
    ax.axhline(yardstick, color=style.GUESS, linestyle=":", linewidth=1.5)
    right = len(starts) + 1
    base.note(ax, "majority rate", (right, majority), (4, 0))
    base.note(ax, "brightness\nand contrast", (right, yardstick), (4, 0), color=style.GUESS)
    best = starts[order[0]]
    ax.set(xlim=(0, right), xlabel="place", ylabel="accuracy, groups held out (%)")
    _percent_axis(ax)
    top = f"{best['network']}, {best['size']} px, {best['stage']}"
    base.note(ax, f"1: {top}", (1, best["accuracy"].high), (2, 6), color=style.INK)
    words = "○ ImageNet · □ random start · shaded: up to the last that cannot be told from the first"
    base.note(ax, words, (0.99, 0.88), xycoords="axes fraction", ha="right", va="top")
    finding = f"{count} of {len(starts)} starting points cannot be told from the best"
    base.title(ax, finding, f"Best is {top} with {base.percent(best['accuracy'].value)}.")
    return ax


def _percent_axis(ax: Any) -> None:
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f}")
    ax.grid(axis="y")
