"""What evaluations found: scores, a guess beside its result, confusion, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.analysis.decisions import BINS, bin_of, calibration
from sftlab.core.records import Interval, Result
from sftlab.core.statistics import proportion, t_interval
from sftlab.plot import base, style

Score = Result | Interval | float


def scores(
    results: Mapping[str, Score],
    *,
    stored: Mapping[str, Score] | None = None,
    majority: float | None = None,
    guess: Any = None,
    label: str = "accuracy",
    ax: Any = None,
) -> Any:
    """Draw accuracies with their intervals, a row a name in its strategy's colour, the majority rate dashed.

    results: computed now, drawn solid. stored: from records, drawn hollow; a name may be in both. majority: taken from
    the Results where they have one. guess: the number that the learner expected, in percent or as a share of 1.
    """
    stored = stored or {}
    names = list(dict.fromkeys([*results, *stored]))
    if not names:
        raise ValueError("no result to draw")
    ax = base.axes(ax, 7.8, 1.3 + 0.42 * len(names))
    base.rows(ax, names)
    shown: dict[str, Interval] = {}
    for i, name in enumerate(names):
        for source, hollow in ((stored, True), (results, False)):
            if name in source:
                shown[name] = as_interval(source[name])
                aside = 0.18 if hollow and name in results else 0
                base.dot(ax, shown[name], i + aside, style.hue(name, i), stored=hollow)
        text = f"{100 * shown[name].value:.1f}" + ("" if name in results else " (stored)")
        base.note(ax, text, (base.ends(shown[name])[1], i), (7, 0), fontsize=9, color=style.INK)
    rates = {name: s.majority for name, s in {**stored, **results}.items() if isinstance(s, Result)}
    lines = {majority} if majority is not None else set(rates.values())
    if len(lines) == 1:
        base.majority_line(ax, next(iter(lines)), vertical=True)
    else:  # each row has a test set and a majority of its own
        for name, rate in rates.items():
            base.majority_line(
                ax, rate, vertical=True, share=1 - (names.index(name) + 0.9) / len(names), height=0.8 / len(names)
            )
    if lines:
        base.note(ax, f"majority rate{'s' * (len(lines) > 1)}", (max(lines), -0.55), (0, 3), ha="center", va="bottom")
    values = [*lines, *(end for score in shown.values() for end in base.ends(score))]
    low, high = (end(score.value for score in shown.values()) for end in (min, max))
    alone, finding = len(names) == 1, f"{len(names)} results from {base.percent(low)} to {base.percent(high)}"
    finding = f"{names[0]}: {base.percent(low)}" if alone else finding
    if len(lines) == 1:
        points = 100 * (low - (rate := next(iter(lines))))
        above = sum(base.ends(score)[0] > rate for score in shown.values())
        beside = f", {abs(points):.1f} points {'above' if points >= 0 else 'below'} the majority rate"
        finding += beside if alone else f"; {above} of the intervals lie above the majority rate"
    if (number := base.guessed(guess)) is not None:
        expected = number / 100 if number > 1 else number
        base.guess_mark(ax, (expected, len(names) - 0.45))
        ax.set_ylim(len(names) - 0.2, None)
        values.append(expected)
        finding += f"; you guessed {base.percent(expected, 0)}"
    span = max(0.05, max(values) - min(values))
    ax.set_xlim(max(-0.01, min(values) - 0.08 * span), min(1.03, max(values) + 0.1 * span))
    over = {score.groups for score in shown.values()} - {0}
    among = f" over {max(over)} groups" if len(over) == 1 else ""
    ax.set_xlabel(f"{label} (%), with its 95 % interval{among}")
    base.percent_axis(ax.xaxis)
    ax.grid(axis="x")
    words = "; ".join(f"{name} {base.interval(score)}" for name, score in shown.items())
    beside = f" Majority rate {base.listed([base.percent(rate) for rate in sorted(lines)])}." if lines else ""
    pad = 24 if lines else None
    base.title(ax, finding[0].upper() + finding[1:], f"{label.capitalize()}: {words}.{beside}", pad=pad)
    return ax


def as_interval(score: Score) -> Interval:
    """Return the accuracy of a Result, an Interval as it is, a number as an Interval without width."""
    if isinstance(score, Result):
        return score.accuracy
    return score if isinstance(score, Interval) else Interval(score, score, score, "exact")


def guess_vs_result(
    truth: float | Interval, guess: Any, *, low: float = 0.0, high: float = 100.0, unit: str = "%", ax: Any = None
) -> Any:
    """Draw a guess (hollow diamond) beside the measured number (solid dot, and its interval, if any).

    guess: a number, or what `widgets.predict` returned: it is drawn only if the learner touched it. low, high: ends of
    the axis, which grows where the measured number lies beyond them.
    """
    measured, guessed = as_interval(truth), base.guessed(guess)
    low, high = min(low, *base.ends(measured)), max(high, *base.ends(measured))
    pad = 0.03 * (high - low)
    ax = base.axes(ax, 7.0, 1.35)
    ax.set(xlim=(low - pad, high + pad), ylim=(-1, 1), yticks=[], xlabel=unit)
    ax.spines["left"].set_visible(False)
    ax.plot(base.ends(measured), (0, 0), color=style.VALID, linewidth=2.2, alpha=0.8)
    solid = {"marker": "o", "color": style.VALID}
    hollow = {"marker": "D", "color": style.GUESS, "markerfacecolor": "none"}
    marks: list[Any] = [(measured.value, "measured", solid, 9)]
    finding, words = f"Measured {measured.value:.3g} {unit}", ""
    if guessed is not None:
        marks += [(guessed, "your guess", hollow, -9)]
        finding += f"; you guessed {guessed:.3g} {unit}"
        words = f"The guess is {abs(measured.value - guessed):.3g} {unit} off."
    for x, text, look, up in marks:
        ax.plot(x, 0, markersize=8, markeredgewidth=1.6, clip_on=False, gid=text, **look)
        side, shift = ("right", (-9, up)) if x > (low + high) / 2 else ("left", (9, up))  # the words stay inside
        base.note(ax, f"{text} {x:.3g}".replace("-", "−"), (x, 0), shift, color=look["color"], ha=side)
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
    if max(map(len, names)) > 3:
        base.turned(ax)
    for edge in ax.spines.values():
        edge.set_visible(False)
    errors = counts - np.diag(np.diag(counts))
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    finding = f"All {result.n} images called right"
    if errors.max():
        mistake = f"{counts[i, j]} of {counts[i].sum()} ‘{result.classes[i]}’ were called ‘{result.classes[j]}’"
        finding = mistake if k == 2 else f"Most common mistake: {mistake}"
    recalls = ", ".join(f"{c} {counts[a, a]} of {counts[a].sum()}" for a, c in enumerate(result.classes))
    base.title(ax, finding, f"Called right: {recalls}.")
    return ax


def reliability(result: Result, *, bins: int = BINS, ax: Any = None) -> Any:
    """Draw accuracy against confidence in equal bins, with intervals and the number of images in each.

    On the diagonal a network that says 80 % is right four times in five (Guo et al., 2017). Beside it the expected
    calibration error over the same bins, and what a calibrated network shows on as many images.
    """
    labelled = [i for i, target in enumerate(result.targets) if target >= 0]
    p, y = np.array(result.probabilities)[labelled], np.array(result.targets)[labelled]
    groups = np.array(result.groups)[labelled if result.groups else []]
    right, confidence = p.argmax(axis=1) == y, p.max(axis=1)
    which, error = bin_of(confidence, bins), calibration(p, y, bins=bins)
    sizes, middles = np.bincount(which, minlength=bins), (np.arange(bins) + 0.5) / bins
    ax = base.axes(ax, 5.6, 4.3)
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=1, zorder=1)
    base.majority_line(ax, result.majority)
    ax.bar(middles, 0.22 * sizes / sizes.max(), width=0.9 / bins, color="#E3EAF1", zorder=0, gid="sizes")
    for b in np.flatnonzero(sizes):
        inside = which == b
        score = proportion(right[inside], groups[inside] if len(groups) else groups)
        base.dot(ax, score, confidence[inside].mean(), style.VALID, upright=True)
        base.note(ax, str(sizes[b]), (middles[b], 0), (0, 3), ha="center", va="bottom", fontsize=7.5)
    low = max(0.0, min(1 / len(result.classes), confidence.min()) - 0.03)
    ax.set(
        xlim=(low, 1.01), ylim=(0, 1.02), ylabel="right (%)", xlabel="confidence: probability of the called class (%)"
    )
    base.percent_axis(ax.xaxis, ax.yaxis)
    base.note(ax, "majority rate", (1.01, result.majority), (4, 0))
    base.note(ax, "as sure as right", (1, 1), (6, 0))
    words = f"ECE {error.ece:.3f}\ncalibrated: {error.expected:.3f},\nup to {error.most:.3f}"
    base.note(ax, words, (0.98, 0.33), xycoords="axes fraction", ha="right", fontsize=9, color=style.INK)
    finding = (
        f"Says {base.percent(confidence.mean(), 0)} on average, is right {base.percent(right.mean(), 0)} of the time"
    )
    words = (
        f"Expected calibration error over {result.n} images: {error}. Majority rate {base.percent(result.majority)}."
    )
    base.title(ax, finding, words)
    return ax


def by_stage(
    scores: Mapping[str, Interval],
    *,
    majority: float,
    stored: Mapping[str, Mapping[str, Interval]] | None = None,
    widths: Mapping[str, int] | None = None,
    at: str | None = None,
    guess: Any = None,
    label: str = "valid accuracy",
    ax: Any = None,
) -> Any:
    """Draw the accuracy of a head that reads after each stage, stem first, with intervals; the majority rate dashed.

    scores: {stage: Interval}, computed now. stored: {network: {stage: Interval}} from records, hollow. widths: how many
    numbers an image the stage hands on, written below its name. at: the stage to point out; the others are then pale.
    guess: the number of the stage (from 1) that the learner expected to be best.
    """
    if at is not None and at not in scores:
        raise ValueError(f"no stage {at!r} was measured, only {', '.join(scores)}")
    stored = stored or {}
    names = max([list(scores), *(list(curve) for curve in stored.values())], key=len)
    ax = base.axes(ax, 8.2, 3.4 if not stored else 4.0)
    ends = [(len(names) - 0.5, majority, "majority", style.INK)]
    for i, (network, curve) in enumerate(stored.items()):
        x, colour = [names.index(stage) for stage in curve], style.LINE if "random" in network else style.VALID
        values, marker = [score.value for score in curve.values()], "o^Dsvp"[i % 6]
        line = "--" if "random" in network else "-"
        ax.plot(x, values, marker + line, color=colour, markerfacecolor="white", linewidth=1.4, gid="stored")
        ends.append((x[-1], values[-1], network, colour))
    if not stored:
        ax.plot([score.value for score in scores.values()], color="#C7D6E3", linewidth=1.5, zorder=1)
    best, low = max(scores, key=lambda stage: scores[stage].value), min(score.value for score in scores.values())
    for stage, score in scores.items():
        i = names.index(stage)
        base.dot(ax, score, i, style.VALID if at in (None, stage) else "#A9C7DE", upright=True)
        if stage == at or (at is None and stage in (best, names[-1])):
            base.note(
                ax,
                f"{100 * score.value:.1f}",
                (i, base.ends(score)[1]),
                (0, 8),
                ha="center",
                color=style.INK,
                fontsize=9,
            )
    base.majority_line(ax, majority)
    ax.margins(y=0.12)
    if (number := base.guessed(guess)) is not None:
        guessed = names[min(len(names), max(1, round(number))) - 1]
        base.guess_mark(ax, (names.index(guessed), base.ends(scores[guessed])[0]), (0, -11), ha="center")
    ax.set_xticks(range(len(names)), [f"{name}\n{widths[name]}" if widths else name for name in names])
    ax.tick_params(axis="x", length=0, labelsize=8.5)
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    below = " and how many numbers it hands on" if widths else ""
    ax.set(xlim=(-0.5, len(names) - 0.5), xlabel=f"stage the head reads{below}", ylabel=f"{label} (%)")
    base.label_ends(ax, ends)
    finding = f"Head after {at or list(scores)[-1]}: {base.interval(scores[at or list(scores)[-1]])}"
    if not at:
        finding += f"; over {len(scores)} stages {base.percent(low)} to {base.percent(scores[best].value)}"
    finding += f"; you guessed {guessed}" if number is not None else ""
    every = ", ".join(f"{stage} {base.interval(score)}" for stage, score in scores.items())
    words = [f"{name}: {', '.join(base.percent(s.value) for s in curve.values())}." for name, curve in stored.items()]
    text = f"{label.capitalize()} by stage: {every}. {' '.join(words)} Majority rate {base.percent(majority)}."
    base.title(ax, finding, text)
    return ax


def old_and_new(
    points: Mapping[str, Sequence[tuple[Score, Score]]],
    *,
    stored: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    majority: Sequence[float | None] = (None, None),
    labels: tuple[str, str] = ("old task, accuracy", "new task, accuracy"),
    finding: str = "",
    test_to_train: float = 0.0,
    ax: Any = None,
) -> Any:
    """Draw what is left of an old task (left) and what is learned of a new one (right), a row a strategy or run.

    points: {name: [(old, new), one a seed]}, computed now: solid; Intervals are drawn with their ends. stored: from
    records, hollow: the mean with its 95 % t-interval over the runs. majority: rates of the two tasks, dashed.
    test_to_train: of stored runs over random splits of one set, see `t_interval`.
    """
    stored = stored or {}
    names = list(dict.fromkeys([*points, *stored]))
    if not names:
        raise ValueError("no strategy and no run to draw")
    ax = base.axes(ax, 8.2, 1.4 + 0.34 * len(names))
    sides, words = base.panels(ax, 1, 2, (0, 0.06)), []
    for side, panel in enumerate(sides):
        base.rows(panel, names if not side else [""] * len(names), 30)
        for row, name in enumerate(names):
            colour, numbers = style.hue(name, row), [pair[side] for pair in points.get(name, ())]
            if name in stored:
                mean = t_interval([pair[side] for pair in stored[name]], test_to_train=test_to_train)
                base.dot(panel, mean, row, colour, stored=True)
            for number in numbers:
                if isinstance(number, Interval):
                    base.dot(panel, number, row, colour)
                else:
                    panel.plot(number, row + 0.2, "o", color=colour, markersize=4, alpha=0.85, gid="computed")
            value = float(np.mean([as_interval(n).value for n in numbers])) if numbers else mean.value
            words.append(f"{name}, {('old', 'new')[side]}: {base.percent(value)}")
        rate = majority[side]
        if rate is not None:
            base.majority_line(panel, rate, vertical=True)
        panel.set_xlabel(f"{labels[side]} (%)")
        base.percent_axis(panel.xaxis)
        panel.grid(axis="x")
    first, last = words[0].split(": ")[1], words[len(names)].split(": ")[1]
    base.title(ax, finding or f"{names[0]}: {first} of the old task, {last} of the new one", f"{'; '.join(words)}.")
    return ax
