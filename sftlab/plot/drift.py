"""What drifts in a stage that nobody trains, what each cut costs, and how an old head's answers fade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlab.plot import base, style

if TYPE_CHECKING:
    from sftlab.analysis.explain import Drift

GLOW = 0.02  # a statistic that moved by one standard deviation is as hot as a rate of 0.02


def drift(found: Drift, *, cut: str | None = None, step: int | None = None, train: bool = True, ax: Any = None) -> Any:
    """Draw which statistics of the frozen stages moved after `step` batches, and how many old answers with them.

    cut: the first stage that learns (default: the last stage, the head). step: one of `found.steps` (default: the
    last). train: whether the frozen stages are in train mode; in eval mode nothing moves.
    """
    cut, step = cut or found.stages[-1], found.steps[-1] if step is None else step
    if cut not in found.stages or step not in found.steps:
        raise ValueError(f"cut={cut!r}, step={step}: stages {', '.join(found.stages)}; steps {found.steps}")
    at, frozen = found.steps.index(step), found.stages.index(cut)
    ax = base.axes(ax, 8.2, 3.6)
    ax.set_axis_off()
    strip = ax.inset_axes((0, 0.64, 1, 0.36))
    shifts = found.statistics[at] if train else dict.fromkeys(found.stages, 0.0)
    for i, name in enumerate(found.stages):
        _stage(strip, i, name, shifts[name] if i < frozen else None)
    strip.set(xlim=(-0.55, len(found.stages) - 0.45), ylim=(-0.02, 1.02))
    strip.set_axis_off()
    for y, words in ((0.78, "stage"), (0.5, "weights"), (0.22, "statistics")):
        base.note(strip, words, (-0.58, y), ha="right", fontsize=8)
    curve = ax.inset_axes((0.07, 0.0, 0.86, 0.47))
    shares = [look[cut] * train for look in found.answers]
    curve.plot(found.steps, shares, color=style.WRONG, marker="o", markersize=4)
    curve.plot(step, shares[at], "o", color=style.WRONG, markersize=9, gid="now")
    base.note(curve, f"{100 * shares[at]:.0f} %", (step, shares[at]), (0, 7), ha="center", va="bottom", fontsize=10,
              color=style.INK, fontweight="bold")  # fmt: skip
    curve.set(xlim=(-0.3, found.steps[-1] + 0.5), ylim=(-0.04, 1.1), xlabel="training steps of somebody else's head")
    curve.set_ylabel("answers\nchanged (%)")
    curve.set_yticks([0, 0.5, 1], ["0", "50", "100"])
    curve.set_xticks(found.steps)
    share = base.percent(shares[at], 0)
    finding = f"{_count(frozen)} frozen: 0 parameters changed, {share} of the answers did"
    moved = [f"{n} {shifts[n]:.2f}" for n in found.stages[:frozen] if shifts[n]]
    words = f"{'Train' if train else 'Eval'} mode, after {step} steps; statistics moved, in standard deviations: "
    base.title(ax, finding, f"{words}{base.listed(moved) or 'none'}.")
    return ax


def _stage(ax: Any, i: int, name: str, shift: float | None) -> None:
    """Draw one stage: white if it learns, cold if it stands still, glowing by how far its statistics have moved."""
    learns = shift is None
    glow = style.heat(GLOW * shift) if shift else style.COLD
    colour, hatch = ("white", None) if learns else (glow, None if shift else style.HATCH)
    how = {"edgecolor": "#7C8CA0", "linewidth": 0.7, "hatch": hatch, "gid": "drift" if shift else "still"}
    ax.bar(i, 1, width=0.94, color=colour, **how)
    ink, back = style.ink_on(colour), {"facecolor": colour, "edgecolor": "none", "pad": 1.2}
    lines = [(0.78, name, "bold"), (0.5, "learn" if learns else "same", "normal")]
    if not learns:
        lines.append((0.22, f"by {shift:.2f} σ" if shift else "same", "normal"))
    for y, text, weight in lines:
        ax.text(i, y, text, ha="center", va="center", fontsize=7.8, color=ink, fontweight=weight, bbox=back)


def costs(rows: Mapping[str, Sequence[float]], *, ax: Any = None) -> Any:
    """Draw what one training step costs for each cut, in two panels: seconds and memory.

    rows: {first stage that learns: (seconds a step with the frozen part run, seconds with its features kept, bytes
    that the backward pass keeps)}, stem first.
    """
    if not rows:
        raise ValueError("no cut was measured, so there is nothing to draw")
    ax = base.axes(ax, 8.4, 3.6)
    left, right = base.panels(ax, 1, 2, (0, 0.2))
    names, at = list(rows), range(len(rows))
    lines = (("frozen part run", style.LINE, "s"), ("features kept", style.VALID, "o"))
    for column, (label, colour, marker) in enumerate(lines):
        values = [1000 * row[column] for row in rows.values()]
        left.plot(at, values, color=colour, marker=marker, linestyle="--" if column == 0 else "-")
        base.note(left, label, (len(rows) - 1, values[-1]), (7, 0), color=style.QUIET if column == 0 else colour)
    left.set(ylabel="one step (milliseconds)", ylim=(0, None))
    memory = [row[2] / 1e6 for row in rows.values()]
    right.bar(at, memory, color="#A9C7DE", width=0.8)
    for i in (0, len(rows) - 1):
        text = f"{memory[i]:.0f}" if memory[i] >= 10 else f"{memory[i]:.1f}"
        base.note(right, text, (i, memory[i]), (0, 2), ha="center", va="bottom", fontsize=9, color=style.INK)
    right.set(ylabel="kept for the backward pass (MB)")
    for panel in (left, right):
        panel.set_xticks(at, names, rotation=45, ha="right", rotation_mode="anchor")
        panel.set_xlabel("first stage that learns")
        panel.grid(axis="y")
    first, last = next(iter(rows.values())), list(rows.values())[-1]
    ran, kept = first[0] / last[0], first[0] / last[1]
    finding = f"Only {names[-1]} learns: {ran:.1f} times as fast; features kept: {_round(kept)} times"
    words = [f"{n}: {1000 * a:.0f} ms, kept {1000 * b:.1f} ms, {m / 1e6:.1f} MB." for n, (a, b, m) in rows.items()]
    base.title(ax, finding, " ".join(words))
    return ax


def _round(times: float) -> str:
    return f"{times:.1f}" if times < 10 else f"{float(f'{times:.1g}'):,.0f}"


def _count(stages: int) -> str:
    return "No stage" if not stages else "1 stage" if stages == 1 else f"{stages} stages"


def fading(
    crops: Any, before: Sequence[Mapping[str, float]], now: Sequence[Mapping[str, float]], *, kept: float,
    beside: str = "", licence: str = "", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw images and how sure an old head is of its old answers to them: pale before, solid now.

    crops: N×3×H×W. before, now: for each image {class: probability}, the same classes. kept: the share of a larger
    set of images to which the answer is still the old one. beside: what else there is to say of this network.
    """
    pixels, told = np.asarray(crops), []
    ax = base.axes(ax, 7.8, 0.9 + 1.45 * len(pixels))
    ax.set_axis_off()
    height = 1 / len(pixels)
    for k, (picture, was, has) in enumerate(zip(pixels, before, now, strict=True)):
        bottom = 1 - (k + 1) * height
        tile = ax.inset_axes((0, bottom + 0.05 * height, 0.24, 0.9 * height))
        tile.imshow(picture.transpose(1, 2, 0))
        tile.set_axis_off()
        bars = ax.inset_axes((0.5, bottom + 0.12 * height, 0.46, 0.76 * height))
        names = sorted(was, key=lambda name: -was[name])
        for y, name in enumerate(names):
            bars.barh(y, 100 * was[name], height=0.78, color=style.COLD)
            bars.barh(y, 100 * has[name], height=0.4, color=style.VALID)
        bars.set_yticks(range(len(names)), [base.clip(name, 26) for name in names])
        bars.tick_params(axis="y", length=0, labelcolor=style.INK)
        bars.set(xlim=(0, 100), ylim=(len(names) - 0.4, -0.6), xticks=[0, 50, 100])
        if k == len(pixels) - 1:
            bars.set_xlabel("probability (%): pale before, dark now")
        told.append(f"{names[0]} {base.percent(was[names[0]], 0)}, now {base.percent(has[names[0]], 0)}")
    finding = f"The old head still gives {base.percent(kept, 0)} of its old answers"
    base.title(ax, finding, f"{'; '.join(told)}. {beside}".strip(), pad=24 if beside else None)
    base.note(ax, beside, (0, 1), (0, 9), xycoords="axes fraction", color=style.INK, fontsize=9)
    if licence:
        base.note(ax, base.clip(f"Pictures: {licence}", 110), (0, -0.05), xycoords="axes fraction", fontsize=7)
    return ax
