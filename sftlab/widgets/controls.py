"""Sliders, bars, choices, strips, toggles, words and buttons: what each can say. `inputs` puts them on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftlab.plot.texts import GONE

MOST = 2000  # positions of a slider; more than pixels are of no use

Position = int | list[int]


@dataclass(frozen=True)
class Control:
    """One control: what it is, its label, the values it can take, how each is written, where it starts.

    A position is an index into `values`; a button has no values, and its position is the number of clicks; the position
    of bars is the percentage of each, and `texts` are their names; that of words is 1 for each that is kept, else 0.
    """

    kind: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    start: Position = 0

    def value(self, position: Any) -> Any:
        """Return what the control says at a position."""
        if self.kind == "bars":
            return [share / 100 for share in position]
        if self.kind == "words":
            return [bool(kept) for kept in position]
        return self.values[position] if self.values else position

    def text(self, position: Any) -> str:
        """Return label and value in words, as in 'image size 160 px'."""
        if self.kind == "bars":
            said = ", ".join(f"{name} {share} %" for name, share in zip(self.texts, position, strict=True))
        elif self.kind == "words":
            said = " ".join(word if kept else GONE for word, kept in zip(self.texts, position, strict=True))
        else:
            said = self.texts[position] if self.texts else str(position)
        return f"{self.label}: {said}"

    def position(self, value: Any) -> Position:
        """Return where `value` stands; raises ValueError if the control cannot say it."""
        if self.kind == "bars":
            return _percent(self.label, self.texts, value)
        if self.kind == "words":
            if len(value) != len(self.texts):
                raise ValueError(f"{self.label}: kept has {len(value)} values for {len(self.texts)} words")
            return [int(kept) for kept in value]
        if not self.values:
            return int(value)
        if value in self.values:
            return self.values.index(value)
        if self.kind == "slider" and isinstance(value, (int, float)) and self.values[0] <= value <= self.values[-1]:
            return min(range(len(self.values)), key=lambda i: abs(self.values[i] - value))
        raise ValueError(f"{self.label}: {value!r} is not among {', '.join(self.texts[:12])}")


def slider(
    label: str, values: Sequence[Any] | None = None, *, low: float | None = None, high: float | None = None,
    step: float | None = None, value: Any = None, unit: str = "", log: bool = False,
    text: Callable[[Any], str] | None = None,
) -> Control:  # fmt: skip
    """Make a slider over `values`, or from `low` to `high`.

    step: distance of neighbours (default: a hundredth of the scale, or 1 between whole numbers); with `log` the
    factor between them (default: ten to the decade). value: where it starts (default: the first). unit: written
    after the number. text: how a value is written. Raises ValueError for a scale that does not rise.
    """
    if values is None:
        if low is None or high is None:
            raise ValueError(f"{label}: a slider needs a list of values, or low and high")
        values = _scale(label, low, high, step, log)
    write = text or _number
    written = tuple(f"{write(v)} {unit}".strip() for v in values)
    return _starting(Control("slider", label, tuple(values), written), value)


def choice(label: str, options: Sequence[Any], value: Any = None) -> Control:
    """Make a row of options of which one is chosen (default: the first)."""
    return _starting(Control("choice", label, tuple(options), tuple(map(str, options))), value)


def strip(label: str, stage_names: Sequence[str], value: str | None = None) -> Control:
    """Make the network's stages a row, stem to head, of which one is chosen (default: the first)."""
    return _starting(Control("strip", label, tuple(stage_names), tuple(map(str, stage_names))), value)


def toggle(label: str, value: bool = False) -> Control:
    """Make a box to tick: True or False."""
    return Control("toggle", label, (False, True), ("off", "on"), int(value))


def words(label: str, text: Sequence[str], kept: Sequence[bool] | None = None) -> Control:
    """Make a text whose words are struck out, and back in, by clicking them; a draw function gets a bool a word.

    kept: which of them are there at the start (default: all).
    """
    return _starting(Control("words", label, (), tuple(text)), [True] * len(text) if kept is None else kept)


def button(label: str) -> Control:
    """Make a button that counts its clicks; running the cell again starts at 0."""
    return Control("button", label, (), ())


def distribution(label: str, names: Sequence[str], value: Sequence[float]) -> Control:
    """Make a bar for each name, together one distribution: raise a bar, and the others give way in proportion.

    value: where they start, a probability each, summing to one. A draw function gets them as a list of floats.
    """
    return _starting(Control("bars", label, (), tuple(map(str, names))), value)


def _percent(label: str, names: Sequence[str], value: Sequence[float]) -> list[int]:
    """Return probabilities in whole percent that sum to 100; what rounding leaves over goes to the largest bar."""
    if len(value) != len(names) or min(value) < 0 or abs(sum(value) - 1) > 1e-3:
        raise ValueError(f"{label}: {list(value)} is not one probability for each of {', '.join(names)}")
    shares = [round(100 * v) for v in value]
    shares[shares.index(max(shares))] += 100 - sum(shares)
    return shares


def _starting(control: Control, value: Any) -> Control:
    if not control.texts:
        raise ValueError(f"{control.label}: there is nothing to choose from")
    start = 0 if value is None else control.position(value)
    return Control(control.kind, control.label, control.values, control.texts, start)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _scale(label: str, low: float, high: float, step: float | None, log: bool) -> list[float]:
    if not low < high or (log and low <= 0):
        raise ValueError(f"{label}: low={low}, high={high}: the scale must rise{', from above 0' if log else ''}")
    whole = all(float(v).is_integer() for v in (low, high, 1 if step is None else step))
    if step is None:
        step = 10**0.1 if log else 1 if whole and high - low >= 2 else (high - low) / 100
    if step <= (1 if log else 0):
        raise ValueError(f"{label}: step={step}: a {'factor above 1' if log else 'distance above 0'}")
    steps = (math.log(high / low) / math.log(step)) if log else (high - low) / step
    count = math.floor(steps + 1e-6)
    if count > MOST:
        raise ValueError(f"{label}: {count} positions are more than a slider can show; take a larger step")
    if log:
        return [float(f"{low * step**i:.6g}") for i in range(count + 1)]
    values = [low + step * i for i in range(count + 1)]
    return [int(v) for v in values] if whole else [float(f"{v:.12g}") for v in values]


def specs(controls: Mapping[str, Control]) -> list[dict[str, Any]]:
    """Return what the browser needs to know of each control."""
    return [{"key": key, "kind": c.kind, "label": c.label, "texts": list(c.texts)} for key, c in controls.items()]
