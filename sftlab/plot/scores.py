"""Scores with their intervals, a row a name, and a guess beside the number it was about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftlab.core.records import Interval, Result
from sftlab.plot import base, style

Score = Result | Interval | float


def scores(
    results: Mapping[str, Score], *, stored: Mapping[str, Score] | None = None, majority: float | None = None,
    guess: Any = None, label: str = "accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw accuracies with their intervals, a row a name in its strategy's colour, the majority rate dashed.

    results: computed now, drawn solid. stored: from records, drawn hollow; a name may be in both. majority:
    taken from the Results where they have one. guess: a number the learner expected, as a share of 1 (or in
    percent).
    """
    stored = stored or {}
    names = list(dict.fromkeys([*results, *stored]))
    if not names:
        raise ValueError("no result to draw")
    ax = base.axes(ax, 7.8, 1.3 + 0.42 * len(names))
    shown = {name: _interval(results[name] if name in results else stored[name]) for name in names}
    every = [_interval(score) for score in [*results.values(), *stored.values()]]
    rates = {s.majority for s in [*results.values(), *stored.values()] if isinstance(s, Result)}
    lines = {majority} if majority is not None else rates
    expected = None if guess is None else float(guess) / 100 if float(guess) > 1 else float(guess)
    values = [*lines, *(end for score in every for end in (score.low, score.high))]
    values += [] if expected is None else [expected]
    _rows(ax, names, results, stored, shown)
    _majorities(ax, names, {**stored, **results}, lines)
    if expected is not None:
        at = (expected, len(names) - 0.45)
        ax.plot(*at, "D", color=style.GUESS, markerfacecolor="none", markersize=8, gid="guess", clip_on=False)
        base.note(ax, "your guess", at, (8, 0), color=style.GUESS)
    span = max(0.05, max(values) - min(values))
    ax.set_xlim(max(-0.01, min(values) - 0.08 * span), min(1.03, max(values) + 0.1 * span))
    ax.set_ylim(len(names) - (0.5 if guess is None else 0.2), -0.55)
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:g}")
    ax.grid(axis="x")
    ax.set_xlabel(f"{label} (%), with its 95 % interval")
    best = max(shown, key=lambda name: shown[name].value)
    finding = f"{best}{' is highest' if len(names) > 1 else ''}: {base.percent(shown[best].value)}"
    if len(lines) == 1:
        points = 100 * (shown[best].value - next(iter(lines)))
        finding += f", {abs(points):.1f} points {'above' if points >= 0 else 'below'} the majority rate"
    if expected is not None:
        finding += f"; you guessed {base.percent(expected, 0)}"
    words = "; ".join(f"{n} {base.percent(s.value)} ({100 * s.low:.1f}–{100 * s.high:.1f})" for n, s in shown.items())
    beside = f" Majority rate {base.listed([base.percent(r) for r in sorted(lines)])}." if lines else ""
    text = f"{label.capitalize()}: {words}.{beside}"
    base.title(ax, finding[0].upper() + finding[1:], text, pad=24 if lines else None)
    return ax


def _rows(
    ax: Any, names: Sequence[str], results: Mapping[str, Score], stored: Mapping[str, Score],
    shown: Mapping[str, Interval],
) -> None:  # fmt: skip
    """Draw a row a name: computed solid, stored hollow and a little below where both are there."""
    for i, name in enumerate(names):
        colour = style.hue(name, i)
        if name in stored:
            _dot(ax, _interval(stored[name]), i + (0.18 if name in results else 0), colour, solid=False)
        if name in results:
            _dot(ax, _interval(results[name]), i, colour, solid=True)
        text = f"{100 * shown[name].value:.1f}" + ("" if name in results else " (stored)")
        base.note(ax, text, (shown[name].high, i), (7, 0), fontsize=9, color=style.INK)
    ax.set_yticks(range(len(names)), [base.clip(n, 34) for n in names])
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)


def _majorities(ax: Any, names: Sequence[str], scores: Mapping[str, Score], lines: set[float]) -> None:
    """Draw one majority rate as a line through all rows, several as each row's own: it has its own test set."""
    if not lines:
        return
    if len(lines) == 1:
        base.majority_line(ax, next(iter(lines)), vertical=True)
    else:
        n = len(names)
        for i, name in enumerate(names):
            own = scores[name]
            if isinstance(own, Result):
                base.majority_line(ax, own.majority, vertical=True, share=(n - i - 0.9) / n, height=0.8 / n)
    words = "majority rate" if len(lines) == 1 else "majority rates"
    base.note(ax, words, (max(lines), -0.55), (0, 3), ha="center", va="bottom")


def guess_vs_result(
    truth: float | Interval,
    guess: Any,
    *,
    low: float = 0.0,
    high: float = 100.0,
    unit: str = "%",
    ax: Any = None,
) -> Any:
    """Draw a guess (hollow diamond) beside the measured number (solid dot, and its interval, if any)."""
    measured, said = _interval(truth), float(guess)
    ax = base.axes(ax, 7.0, 1.35)
    base.guess_line(ax, measured, said, low, high)
    ax.set_xlabel(unit)
    finding = f"Measured {measured.value:.3g} {unit}; you guessed {said:.3g} {unit}"
    base.title(ax, finding, f"The guess is {abs(measured.value - said):.3g} {unit} off.")
    return ax


def _interval(score: Score) -> Interval:
    if isinstance(score, Result):
        return score.accuracy
    return score if isinstance(score, Interval) else Interval(score, score, score, "exact")


def _dot(ax: Any, score: Interval, y: float, colour: str, solid: bool) -> None:
    ax.plot([score.low, score.high], [y, y], color=colour, linewidth=2.2, alpha=0.8, solid_capstyle="butt")
    how = {"gid": "computed"} if solid else {"gid": "stored", "markerfacecolor": "white"}
    ax.plot(score.value, y, "o", color=colour, markersize=8, markeredgewidth=1.6, **how)
