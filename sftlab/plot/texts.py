"""Texts: which tokens ask which, what models say when words are taken out, what tuning a share of the weights buys."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import t_interval
from sftlab.plot import base, style

GONE = "····"
MARKS = {"encoder": (style.VALID, "#A9C7DE"), "bag of words": (style.OTHERS[3], "#DCCFAF")}


def attention(tokens: Sequence[str], weights: Any, *, name: str = "", ax: Any = None) -> Any:
    """Draw attention: row i says how much token i takes from each token of its text.

    tokens: T names. weights: T×T, rows sum to one. name: of the head, for the title. Raises ValueError for weights of
    another shape.
    """
    w = np.asarray(weights, dtype=float)
    if w.shape != (len(tokens), len(tokens)):
        raise ValueError(f"weights of shape {'×'.join(map(str, w.shape))} for {len(tokens)} tokens; expected T×T")
    side = 1.5 + 0.27 * len(tokens)
    ax = base.axes(ax, side + 1.4, side)
    ax.pcolormesh(w, cmap="Blues", vmin=0, vmax=w.max(), edgecolors="white", linewidth=0.6)
    ax.set(xlim=(0, len(tokens)), ylim=(len(tokens), 0), aspect="equal", xlabel="takes from", ylabel="token")
    ax.set_xticks(np.arange(len(tokens)) + 0.5, tokens, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(len(tokens)) + 0.5, tokens)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    asked = w.argmax(axis=1)
    back, favourite = int((asked[1:] == np.arange(len(asked) - 1)).sum()), int(np.bincount(asked).argmax())
    finding = f"{(asked == favourite).sum()} of {len(asked)} tokens take most from ‘{tokens[favourite]}’"
    if back > (asked == favourite).sum():
        finding = f"{back} of {len(asked)} tokens take most from the one before"
    told = "; ".join(f"{t}: most from {tokens[k]}" for t, k in zip(tokens, asked, strict=True))
    base.title(ax, f"{name}: {finding}" if name else finding, f"{told}.")
    return ax


def left_out(
    tokens: Sequence[str], drops: Mapping[str, Sequence[float]], *, truth: str = "the truth", ax: Any = None
) -> Any:
    """Draw how the probability of the right class changes when one word is taken out of a text, a row a word.

    drops: {model: a change of the probability of `truth` a word, −1 to 1}, bars to the left are losses.
    """
    ax = base.axes(ax, 8.2, 1.3 + 0.2 * len(tokens) * max(1, len(drops)))
    height, told = 0.8 / max(1, len(drops)), []
    for m, (name, change) in enumerate(drops.items()):
        values = 100 * np.asarray(change, dtype=float)
        if len(values) != len(tokens):
            raise ValueError(f"{name}: {len(values)} changes for {len(tokens)} words")
        y = np.arange(len(tokens)) + (m - (len(drops) - 1) / 2) * height
        colour, pale = MARKS.get(name, (style.OTHERS[m % len(style.OTHERS)], style.LINE))
        ax.barh(y, values, height=0.86 * height, color=pale, edgecolor=colour, hatch=("", "///")[m % 2], linewidth=1)
        k = int(values.argmin())
        told.append(f"{name} loses most without ‘{tokens[k]}’ ({values[k]:+.0f} points)")
        here = {"xycoords": "axes fraction", "ha": "right", "color": style.ink_safe(colour), "fontsize": 9}
        base.note(ax, f"{('□', '▨')[m % 2]} {name}", (1, 0), (-4, 10 + 14 * (len(drops) - 1 - m)), **here)
    ax.axvline(0, color=style.INK, linewidth=1)
    ax.set_yticks(range(len(tokens)), list(tokens))
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(tokens) - 0.4, -0.6), xlabel=f"points of probability for {truth}, without the word")
    ax.grid(axis="x")
    finding = base.listed(told)
    base.title(ax, finding[:1].upper() + finding[1:])
    return ax


def without(
    words: Sequence[str], kept: Sequence[bool], says: Mapping[str, Sequence[float]], classes: Sequence[str], truth: str,
    *, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw what each model says of a text from which words were taken out, a column of bars a model.

    kept: for each word whether it is still there. says: {model: a probability a class}. truth: the right class.
    """
    ax = base.axes(ax, 8.6, 1.7 + 0.33 * len(classes))
    ax.set_axis_off()
    text = textwrap.fill(" ".join(w if k else GONE for w, k in zip(words, kept, strict=True)), 100)
    base.note(ax, text, (0, 1), (0, 0), xycoords="axes fraction", va="top", fontsize=9.5, color=style.INK)
    top = 0.72 - 0.06 * text.count("\n")
    wide = (0.84 - 0.05 * (len(says) - 1)) / len(says)
    verdicts = []
    for column, (name, p) in enumerate(says.items()):
        values = np.asarray(p, dtype=float)
        if len(values) != len(classes):
            raise ValueError(f"{name}: {len(values)} probabilities for {len(classes)} classes")
        panel = ax.inset_axes((0.15 + column * (wide + 0.05), 0.02, wide, top))
        best = int(values.argmax())
        strong, pale = MARKS.get(name, (style.VALID, "#A9C7DE"))
        panel.barh(range(len(classes)), values, color=[strong if k == best else pale for k in range(len(classes))])
        for k, value in enumerate(values):
            base.note(panel, base.percent(value, 0), (value, k), (4, 0), fontsize=8.5, color=style.INK)
        panel.set(xlim=(0, 1.12), ylim=(len(classes) - 0.5, -0.5), xticks=[])
        panel.set_yticks(range(len(classes)), [] if column else list(classes))
        panel.tick_params(length=0, labelcolor=style.INK)
        panel.spines["bottom"].set_visible(False)
        mark = "✓" if classes[best] == truth else "✗"
        panel.set_title(f"{mark} {name}: {classes[best]}", fontsize=10, color=style.ink_safe(strong), loc="left", pad=5)
        verdicts.append(f"{name} says {classes[best]} ({base.percent(values[best], 0)})")
    left = sum(map(bool, kept))
    told = "; ".join(f"{n}: " + ", ".join(f"{c} {base.percent(v, 0)}" for c, v in zip(classes, p, strict=True))
                     for n, p in says.items())  # fmt: skip
    finding = f"{left} of {len(words)} words: {base.listed(verdicts)}; it is {truth}"
    base.title(ax, finding, f"{text}. {told}.")
    return ax


def tuning(
    runs: Mapping[str, Sequence[float]], sizes: Mapping[str, Sequence[int]], to: str, *,
    live: Mapping[str, tuple[float, float]] | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw what each strategy gains over the strategy `to`, in points, against the share of the weights that learn.

    runs: {strategy: accuracies, one a split, the same splits}, from records: hollow means with 95 % intervals of the
    mean difference, each split a dot. sizes: {strategy: (numbers that learn, numbers stored)}. live: {name: (share,
    points)}, computed now, solid.
    """
    if to not in runs or len(runs) < 2:
        raise ValueError(f"give {to!r} and at least one other strategy")
    rows: list[tuple[float, str, np.ndarray | float]] = []
    for name in (other for other in runs if other != to):
        points = 100 * (np.asarray(runs[name], dtype=float) - np.asarray(runs[to], dtype=float))
        rows.append((sizes[name][0] / sizes[name][1], name, points))
    rows += [(share, name, points) for name, (share, points) in (live or {}).items()]
    rows.sort(key=lambda row: row[0])
    ax = base.axes(ax, 8.2, 1.2 + 0.5 * len(rows))
    told, clear = [], []
    for y, (_, name, found) in enumerate(rows):
        colour = style.hue(name, y)
        if isinstance(found, np.ndarray):
            mean = t_interval(found)
            ax.plot(found, np.full(len(found), y), ".", color=colour, markersize=4, alpha=0.45)
            ax.plot((mean.low, mean.high), (y, y), color=colour, linewidth=2.2, alpha=0.8)
            ax.plot(mean.value, y, "o", color=colour, markerfacecolor="white", markersize=8, gid="stored")
            told.append(f"{name} {mean:+.1f} points")
            clear += [name] if mean.low * mean.high > 0 else []
        else:
            ax.plot(found, y, "o", color=colour, markersize=8, gid="live")
            told.append(f"{name}, one split, {found:+.1f} points")
    ax.axvline(0, color=style.INK, linewidth=1)
    base.note(ax, f"as good as the {to}", (0, len(rows) - 0.5), (5, 4), va="bottom")
    ax.set_yticks(range(len(rows)), [f"{name}: {_percent(share)} learn" for share, name, _ in rows])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"points of accuracy more than the {to} (95 % interval of the mean)")
    ax.grid(axis="x")
    what = f"Clear of zero: {base.listed(clear)}" if clear else f"No difference from the {to} is clear of zero"
    base.title(ax, f"{what}, over {len(runs[to])} splits", f"{'; '.join(told)}.")
    return ax


def _percent(share: float) -> str:
    """Return two digits of a share: 0.0012 → '0.12 %', 1 → '100 %'."""
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
