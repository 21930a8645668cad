"""What evaluations found: a guess beside its result, confusion, an old task beside a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Interval, Result
from sftlab.core.statistics import t_interval
from sftlab.plot import base, style


def guess_vs_result(
    truth: float, guess: Any, *, low: float = 0.0, high: float = 100.0, unit: str = "%", ax: Any = None
) -> Any:
    """Draw a guess (hollow diamond) beside the measured number (solid dot).

    guess: a number, or what `widgets.predict` returned: it is drawn only if the learner touched it. low, high: ends of
    the axis, which grows where the measured number lies beyond them.
    """
    guessed = base.guessed(guess)
    low, high = min(low, truth), max(high, truth)
    pad = 0.03 * (high - low)
    ax = base.axes(ax, 7.0, 1.35)
    ax.set(xlim=(low - pad, high + pad), ylim=(-1, 1), yticks=[], xlabel=unit)
    ax.spines["left"].set_visible(False)
    ax.plot(truth, 0, "o", color=style.VALID, markersize=8.6)
    finding, words = f"Measured {truth:.3g} {unit}", ""
    marks = [("measured", truth, style.VALID, 9)]
    if guessed is not None:
        base.guess_mark(ax, (guessed, 0))
        marks.append(("your guess", guessed, style.GUESS, -9))
        finding += f"; you guessed {guessed:.3g} {unit}"
        words = f"The guess is {abs(truth - guessed):.3g} {unit} off."
    for text, x, colour, up in marks:
        side, right = ("right", -9) if x > (low + high) / 2 else ("left", 9)  # the words stay inside
        base.note(ax, f"{text} {x:.3g}".replace("-", "−"), (x, 0), (right, up), color=colour, ha=side)
    base.title(ax, finding.replace("-", "−"), words)
    return ax


def confusion(result: Result, *, ax: Any = None) -> Any:
    """Draw the confusion matrix: true classes down, called ones across, shaded by the share of the row."""
    from sklearn.metrics import ConfusionMatrixDisplay

    counts = np.array(result.confusion)
    k = len(counts)
    side = min(7.0, max(2.7, 0.42 * k + 1.2))
    ax = base.axes(ax, min(8.2, side + 1.3), side + 0.8)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [base.clip(name, 18) if k <= 40 else "" for name in result.classes]
    turned = "vertical" if max(map(len, names)) > 3 else "horizontal"  # long names do not fit side by side
    look = {"cmap": "Blues", "im_kw": {"vmin": 0, "vmax": 1}, "text_kw": {"fontsize": 11 if k <= 5 else 8}}
    shown = ConfusionMatrixDisplay(shares, display_labels=names)
    shown.plot(include_values=k <= 20, xticks_rotation=turned, colorbar=False, ax=ax, **look)
    for place in np.ndindex(counts.shape) if k <= 20 else ():
        text = f"{counts[place]}\n{100 * shares[place]:.0f} %" if k <= 5 else counts[place] or ""
        shown.text_[place].set(text=text, color="white" if shares[place] > 0.55 else style.INK)
    ax.set(xlabel=f"called ({'%: share of the true class' if k <= 5 else 'images'})", ylabel="true")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    errors = counts - np.diag(np.diag(counts))
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    finding = f"All {result.n} images called right"
    if errors.max():
        mistake = f"{counts[i, j]} of {counts[i].sum()} ‘{result.classes[i]}’ were called ‘{result.classes[j]}’"
        finding = mistake if k == 2 else f"Most common mistake: {mistake}"
    recalls = ", ".join(f"{c} {counts[a, a]} of {counts[a].sum()}" for a, c in enumerate(result.classes))
    base.title(ax, finding, f"Called right: {recalls}.")
    return ax


def old_and_new(
    points: Mapping[str, tuple[Interval, Interval]],
    *,
    stored: Mapping[str, Sequence[tuple[float, float]]],
    majority: Sequence[float],
    finding: str,
    test_to_train: float,
    ax: Any = None,
) -> Any:
    """Draw what is left of an old task (left) and what is learned of a new one (right), a row a strategy or run.

    points: {name: (old, new) accuracies}, computed now: solid. stored: from records, hollow: the mean with its 95 %
    t-interval over the runs. majority: rates of the two tasks, dashed. test_to_train: of stored runs over random splits
    of one set, see `t_interval`.
    """
    names, words = list(dict.fromkeys([*points, *stored])), []
    ax = base.axes(ax, 8.2, 1.4 + 0.34 * len(names))
    for side, (panel, task) in enumerate(zip(base.panels(ax, 1, 2, (0, 0.06)), ("old", "new"), strict=True)):
        base.rows(panel, [""] * len(names) if side else names, 30)
        for row, name in enumerate(names):
            colour = style.hue(name, row)
            if name in stored:
                score = t_interval([pair[side] for pair in stored[name]], test_to_train=test_to_train)
                base.dot(panel, score, row, colour, stored=True)
            if name in points:
                score = points[name][side]
                base.dot(panel, score, row, colour)
            words.append(f"{name}, {task}: {base.percent(score.value)}")
        base.majority_line(panel, majority[side], vertical=True)
        panel.set_xlabel(f"{task} task, accuracy (%)")
        base.percent_axis(panel.xaxis)
        panel.grid(axis="x")
    base.title(ax, finding, f"{'; '.join(words)}.")
    return ax
