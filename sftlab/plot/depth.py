"""The network from the inside: where its numbers are, what a stage hands on, how well a head reads it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sftlab.core.records import Interval
from sftlab.plot import base, style


def depth(
    scores: Mapping[str, Interval], *, majority: float, widths: Mapping[str, int] | None = None, at: str | None = None,
    guess: Any = None, label: str = "valid accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the accuracy of a head that reads after each stage, with intervals, the majority rate dashed.

    scores: {stage: Interval}, stem first. widths: how many numbers an image the stage hands on, written below its
    name. at: the stage to point out; the others are then drawn pale. guess: the number of the stage (from 1) that the
    learner expected to be best.
    """
    if not scores:
        raise ValueError("no stage was measured, so there is no curve to draw")
    if at is not None and at not in scores:
        raise ValueError(f"no stage {at!r} was measured, only {', '.join(scores)}")
    from matplotlib.ticker import MaxNLocator

    ax = base.axes(ax, 8.2, 3.4)
    names = list(scores)
    ax.plot([scores[n].value for n in names], color="#C7D6E3", linewidth=1.5, zorder=1)
    for i, (name, score) in enumerate(scores.items()):
        strong = at in (None, name)
        colour = style.VALID if strong else "#A9C7DE"
        ax.plot([i, i], [score.low, score.high], color=colour, linewidth=2.2 if name == at else 1.5, zorder=2)
        ax.plot(i, score.value, "o", color=colour, markersize=9 if name == at else 6, zorder=3, gid=name)
        if name == at or (at is None and name in (names[-1], _best(scores))):
            text = f"{100 * score.value:.1f}"
            base.note(ax, text, (i, score.high), (0, 3), ha="center", va="bottom", fontsize=9, color=style.INK)
    if guess is not None:
        i = min(len(names), max(1, round(float(guess)))) - 1
        low = scores[names[i]].low
        ax.plot(i, low, "D", color=style.GUESS, markerfacecolor="none", markersize=8, gid="guess", zorder=4)
        base.note(ax, "your guess", (i, low), (0, -9), ha="center", va="top", color=style.GUESS)
    base.majority_line(ax, majority)
    right = len(names) - 0.5
    base.note(ax, "majority", (right, majority), (4, 0))
    values = [v for s in scores.values() for v in (s.low, s.high)] + [majority]
    span = max(0.05, max(values) - min(values))
    ax.set(xlim=(-0.5, right), ylim=(max(-0.02, min(values) - 0.08 * span), max(values) + 0.14 * span))
    ax.set_xticks(range(len(names)), [f"{n}\n{widths[n]}" if widths else n for n in names])
    ax.tick_params(axis="x", length=0, labelsize=8.5)
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f}")
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.grid(axis="y")
    below = " and how many numbers it hands on" if widths else ""
    ax.set(xlabel=f"stage the head reads{below}", ylabel=f"{label} (%)")
    every = ", ".join(f"{n} {base.percent(s.value)} ({100 * s.low:.1f}–{100 * s.high:.1f})" for n, s in scores.items())
    words = f"{label.capitalize()} by stage: {every}. Majority rate {base.percent(majority)}."
    finding = _finding(scores, at, widths) + (f"; you guessed {names[i]}" if guess is not None else "")
    base.title(ax, finding, words)
    return ax


def _best(scores: Mapping[str, Interval]) -> str:
    return max(scores, key=lambda name: scores[name].value)


def _finding(scores: Mapping[str, Interval], at: str | None, widths: Mapping[str, int] | None) -> str:
    if at is not None:
        size = f", on {widths[at]} numbers" if widths else ""
        s = scores[at]
        return f"Head after {at}{size}: {base.percent(s.value)} ({100 * s.low:.1f}–{100 * s.high:.1f})"
    best, last = _best(scores), list(scores)[-1]
    top, end = scores[best], scores[last]
    if best == last:
        return f"The head reads best at the last stage, {last}: {base.percent(end.value)}"
    told = f"Highest after {best}, {base.percent(top.value)}; at the last stage {base.percent(end.value)}"
    return told + (", and the intervals overlap" if top.low <= end.high else ", outside its interval")


def parameters(networks: Mapping[str, Any], *, ax: Any = None) -> Any:
    """Draw where the parameters are: a bar a network, a piece a stage; what is frozen is cold and hatched.

    networks: {name: Summary}, as `summary(model, profile)` returns them; the profile says what learns.
    """
    if not networks:
        raise ValueError("no network to draw")
    ax = base.axes(ax, 8.6, 1.15 + 0.55 * len(networks))
    widest = max(sum(count for _, _, count, _, _ in s.rows) for s in networks.values())
    learning, words = {}, []
    for row, (name, summary) in enumerate(networks.items()):
        left, learning[name] = 0, 0
        for stage, _, count, _, rate in summary.rows:
            cold = rate in ("", "frozen")
            how = {"hatch": style.HATCH, "gid": "frozen"} if cold else {"gid": "learning"}
            colour = style.COLD if cold else style.heat(1e-3)
            ax.barh(row, count, left=left, height=0.62, color=colour, edgecolor="#7C8CA0", linewidth=0.6, **how)
            text = f"{stage}\n{_short(count)}"
            if count / widest > 0.075:
                back = {"facecolor": colour, "edgecolor": "none", "pad": 1.0} if cold else None
                ink = style.ink_on(colour)
                ax.text(left + count / 2, row, text, ha="center", va="center", fontsize=7.5, color=ink, bbox=back)
            left, learning[name] = left + count, learning[name] + (0 if cold else count)
        base.note(ax, f"{_short(left)}", (left, row), (6, 0), fontsize=9, color=style.INK)
        words.append(f"{name}: {left:,} parameters, {learning[name]:,} of them learn.")
    ax.set(xlim=(0, 1.09 * widest), ylim=(len(networks) - 0.5, -0.5), xlabel="parameters (millions)")
    ax.set_yticks(range(len(networks)), [base.clip(n, 26) for n in networks])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}")
    base.title(ax, _parameters_finding(networks, learning), " ".join(words))
    return ax


def _parameters_finding(networks: Mapping[str, Any], learning: Mapping[str, int]) -> str:
    learn = {name: count for name, count in learning.items() if count}
    if len(learn) > 1:
        least, most = min(learn, key=lambda n: learn[n]), max(learn, key=lambda n: learn[n])
        times = f"{learn[most] / learn[least]:.0f} times as many as {least}"
        return f"{most} learns {_short(learn[most])} numbers, {times}"
    summary = next(iter(networks.values()))
    stage, _, count, share, _ = max(summary.rows, key=lambda row: row[2])
    return f"{stage} holds {_short(count)} of the parameters, {base.percent(share, 0)}"


def _short(count: int) -> str:
    """Return 1652640 as '1.65 M'."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


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
    chosen = np.sort(np.argsort(-spread, kind="stable")[:n])
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    gap = max(1, round(0.06 * max(height, width)))
    if max(height, width) < 16:  # a gap of one pixel would be as wide as what it parts
        values, height, width, gap = np.kron(values, np.ones((1, 8, 8))), 8 * height, 8 * width, 4
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for k, channel in enumerate(chosen):
        own = values if single else values[channel]
        low, high = own.min(), own.max()
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = (values[channel] - low) / max(high - low, 1e-9)
    ax = base.axes(ax, 1.3 * columns, 1.3 * rows + 0.5)
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if licence:
        where = {"xycoords": "axes fraction", "fontsize": 7, "va": "top"}
        base.note(ax, base.clip(licence, 60), (0, 0), (0, -4), **where)
    size = f"{np.shape(x)[1]}×{np.shape(x)[2]}"
    shown = f"{len(chosen)} of {channels}" if len(chosen) < channels else f"{channels}"
    maps_ = f"{name}: {shown} maps" if name else f"{shown} maps"
    base.title(ax, f"{maps_}, {size}", f"The {len(chosen)} channels that vary most over the picture, white is high.")
    return ax


def filters(weight: Any, *, columns: int = 8, ax: Any = None) -> Any:
    """Draw the filters of a first layer in colour, with the share of each that a grey picture can excite.

    weight: N×3×k×k. A grey picture has three equal channels, so it meets only the mean of a filter over them; the
    share is that mean's part of the filter's energy. Most grey first; filters that are all zero are crossed out.
    """
    w = np.asarray(weight, dtype=float)
    if w.ndim != 4 or w.shape[1] != 3:
        raise ValueError(f"filters of shape {'×'.join(map(str, w.shape))}; expected N×3×k×k, as a first layer has them")
    energy = (w**2).sum(axis=(1, 2, 3))
    dead = energy < 1e-6 * energy.max()
    share = 3 * (w.mean(axis=1) ** 2).sum(axis=(1, 2)) / np.maximum(energy, 1e-12)
    order = np.argsort(np.where(dead, -1, share), kind="stable")[::-1]
    rows = -(-len(w) // columns)
    ax = base.axes(ax, 0.85 * columns, 1.0 * rows + 0.5)
    for k, i in enumerate(order):
        x, y = k % columns, k // columns
        tile = 0.5 + w[i].transpose(1, 2, 0) / (2 * max(np.abs(w[i]).max(), 1e-12))
        if not dead[i]:
            ax.imshow(tile, extent=(x, x + 0.9, y + 0.78, y), interpolation="nearest", aspect="auto")
        else:
            ax.plot([x, x + 0.9, np.nan, x, x + 0.9], [y, y + 0.78, np.nan, y + 0.78, y], color=style.LINE, gid="dead")
        base.note(ax, "zero" if dead[i] else f"{100 * share[i]:.0f} %", (x + 0.45, y + 0.87), ha="center", fontsize=7.5)
    ax.set(xlim=(-0.05, columns), ylim=(rows + 0.02, -0.05))
    ax.set_axis_off()
    colour = int((share[~dead] < 0.1).sum())
    finding = f"Of {len(w)} filters, {colour} look for colour alone and {int(dead.sum())} are zero"
    ranks = ", ".join(f"{100 * s:.0f}" for s in share[order][: int((~dead).sum())])
    base.title(ax, finding, f"Share of each filter that a grey picture can excite, in percent: {ranks}.")
    return ax
