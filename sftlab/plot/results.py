"""What evaluations found: a guess beside its result, confusion, reliability, an old task beside a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.analysis.decisions import BINS, bin_of, calibration
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import proportion, t_interval
from sftlab.plot import base, style


def guess_vs_result(
    truth: float | Interval, guess: Any, *, low: float = 0.0, high: float = 100.0, unit: str = "%", ax: Any = None
) -> Any:
    """Draw a guess (hollow diamond) beside the measured number (solid dot, and its interval, if any).

    guess: a number, or what `widgets.predict` returned: it is drawn only if the learner touched it. low, high: ends of
    the axis, which grows where the measured number lies beyond them.
    """
    measured = truth if isinstance(truth, Interval) else Interval(truth, truth, truth, "exact")
    guessed = base.guessed(guess)
    low, high = min(low, *base.ends(measured)), max(high, *base.ends(measured))
    pad = 0.03 * (high - low)
    ax = base.axes(ax, 7.0, 1.35)
    ax.set(xlim=(low - pad, high + pad), ylim=(-1, 1), yticks=[], xlabel=unit)
    ax.spines["left"].set_visible(False)

    def write(text: str, x: float, colour: str, up: float) -> None:
        side, right = ("right", -9) if x > (low + high) / 2 else ("left", 9)  # the words stay inside
        base.note(ax, f"{text} {x:.3g}".replace("-", "−"), (x, 0), (right, up), color=colour, ha=side)

    base.dot(ax, measured, 0, style.VALID)
    write("measured", measured.value, style.VALID, 9)
    finding, words = f"Measured {measured.value:.3g} {unit}", ""
    if guessed is not None:
        base.guess_mark(ax, (guessed, 0))
        write("your guess", guessed, style.GUESS, -9)
        finding += f"; you guessed {guessed:.3g} {unit}"
        words = f"The guess is {abs(measured.value - guessed):.3g} {unit} off."
    base.title(ax, finding.replace("-", "−"), words)
    return ax


def confusion(result: Result, *, ax: Any = None) -> Any:
    """Draw the confusion matrix: true classes down, called ones across, shaded by the share of the row."""
    counts = np.array(result.confusion)
    k = len(counts)
    side = min(7.0, max(2.7, 0.42 * k + 1.2))
    ax = base.axes(ax, min(8.2, side + 1.3), side + 0.8)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for i, j in np.ndindex(counts.shape) if k <= 20 else ():
        text = f"{counts[i, j]}\n{100 * shares[i, j]:.0f} %" if k <= 5 else str(counts[i, j] or "")
        how = {"color": "white" if shares[i, j] > 0.55 else style.INK, "weight": "bold" if i == j else "normal"}
        ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=11 if k <= 5 else 8, **how)
    names = [base.clip(name, 18) if k <= 40 else "" for name in result.classes]
    unit = "%: share of the true class" if k <= 5 else "images"
    ax.set(xlabel=f"called ({unit})", ylabel="true", aspect="equal", xlim=(0, k), ylim=(k, 0))
    ax.set_xticks(np.arange(k) + 0.5, names)
    ax.set_yticks(np.arange(k) + 0.5, names)
    ax.tick_params(length=0)
    if max(map(len, names)) > 3:  # such names do not fit side by side: turned, each ends below its tick
        ax.set_xticks(ax.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
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


def reliability(result: Result, *, ax: Any = None) -> Any:
    """Draw accuracy against confidence in equal bins, with intervals and the number of images in each.

    On the diagonal a network that says 80 % is right four times in five (Guo et al., 2017). Beside it the expected
    calibration error over the same bins, and what a calibrated network shows on as many images.
    """
    labelled = np.array(result.targets) >= 0
    p, y = np.array(result.probabilities)[labelled], np.array(result.targets)[labelled]
    groups = np.array(result.groups)[labelled] if result.groups else None
    right, confidence = p.argmax(axis=1) == y, p.max(axis=1)
    which, error = bin_of(confidence), calibration(p, y)
    sizes, middles = np.bincount(which, minlength=BINS), (np.arange(BINS) + 0.5) / BINS
    ax = base.axes(ax, 5.6, 4.3)
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, zorder=1)
    base.majority_line(ax, result.majority)
    ax.bar(middles, 0.22 * sizes / sizes.max(), width=0.9 / BINS, color="#E3EAF1", zorder=0, gid="sizes")
    for b in np.flatnonzero(sizes):
        inside = which == b
        score = proportion(right[inside], () if groups is None else groups[inside])
        base.dot(ax, score, confidence[inside].mean(), style.VALID, upright=True)
        base.note(ax, str(sizes[b]), (middles[b], 0), (0, 3), ha="center", va="bottom", fontsize=7.5)
    low = max(0.0, min(1 / len(result.classes), confidence.min()) - 0.03)
    ax.set(xlim=(low, 1.01), ylim=(0, 1.02))
    ax.set(xlabel="confidence: probability of the called class (%)", ylabel="right (%)")
    base.percent_axis(ax.xaxis, ax.yaxis)
    base.note(ax, "majority rate", (1.01, result.majority), (4, 0))
    base.note(ax, "as sure as right", (1, 1), (6, 0))
    words = f"ECE {error.ece:.3f}\ncalibrated: {error.expected:.3f},\nup to {error.most:.3f}"
    base.note(ax, words, (0.98, 0.33), xycoords="axes fraction", ha="right", fontsize=9, color=style.INK)
    sure, true, always = (
        base.percent(confidence.mean(), 0),
        base.percent(right.mean(), 0),
        base.percent(result.majority),
    )
    words = f"Expected calibration error over {result.n} images: {error}. Majority rate {always}."
    base.title(ax, f"Says {sure} on average, is right {true} of the time", words)
    return ax


def old_and_new(
    points: Mapping[str, Sequence[tuple[Interval, Interval]]],
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
            for pair in points.get(name, ()):
                score = pair[side]
                base.dot(panel, score, row, colour)
            words.append(f"{name}, {task}: {base.percent(score.value)}")
        base.majority_line(panel, majority[side], vertical=True)
        panel.set_xlabel(f"{task} task, accuracy (%)")
        base.percent_axis(panel.xaxis)
        panel.grid(axis="x")
    base.title(ax, finding, f"{'; '.join(words)}.")
    return ax
