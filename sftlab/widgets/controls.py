"""Sliders, bars, choices, strips, toggles, words, buttons: what each can say, and the panels that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import traitlets

from sftlab.widgets.base import Element, Panel, remembered, script

GONE = "····"  # in place of a word that was clicked out


@dataclass(frozen=True)
class Control:
    """One control: what it is, its label, the values it can take, how each is written, where it starts.

    A position is an index into `values`; a button has no values, and its position is the number of clicks. look: what
    else the page should know.
    """

    kind: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    start: Any = 0
    look: Mapping[str, Any] = field(default_factory=dict)

    def value(self, position: Any) -> Any:
        """Return what the control says at a position."""
        return self.values[position] if self.values else position

    def text(self, position: Any) -> str:
        """Return what it says in words, as in '160 px'."""
        return self.texts[position] if self.texts else str(position)

    def position(self, value: Any) -> Any:
        """Return where `value` stands; raises ValueError if the control cannot say it."""
        if value in self.values:
            return self.values.index(value)
        if self.kind == "slider" and isinstance(value, (int, float)) and self.values[0] <= value <= self.values[-1]:
            return min(range(len(self.values)), key=lambda i: abs(self.values[i] - value))
        raise ValueError(f"{self.label}: {value!r} is not among {', '.join(self.texts[:12])}")


class _Bars(Control):
    """Bars that share a hundred percent: the position is the percentage of each, `texts` are their names."""

    def value(self, position: Any) -> Any:
        return [share / 100 for share in position]

    def text(self, position: Any) -> str:
        return ", ".join(f"{name} {share} %" for name, share in zip(self.texts, position, strict=True))

    def position(self, value: Any) -> Any:
        """Return whole percents that sum to 100; what rounding leaves over goes to the largest bar."""
        if len(value) != len(self.texts) or min(value) < 0 or abs(sum(value) - 1) > 1e-3:
            raise ValueError(f"{self.label}: {list(value)} is not one probability for each of {', '.join(self.texts)}")
        shares = [round(100 * v) for v in value]
        shares[shares.index(max(shares))] += 100 - sum(shares)
        return shares


class _Words(Control):
    """Words of a text: the position is 1 for each that is kept, else 0."""

    def value(self, position: Any) -> Any:
        return [bool(kept) for kept in position]

    def text(self, position: Any) -> str:
        return " ".join(word if kept else GONE for word, kept in zip(self.texts, position, strict=True))

    def position(self, value: Any) -> Any:
        if len(value) != len(self.texts):
            raise ValueError(f"{self.label}: kept has {len(value)} values for {len(self.texts)} words")
        return [int(kept) for kept in value]


def slider(
    label: str,
    values: Iterable[Any],
    *,
    value: Any = None,
    unit: str = "",
    text: Callable[[Any], str] | None = None,
) -> Control:
    """Make a slider over `values`: a list, a `range`, `np.geomspace(1e-3, 1, 31)` for a log scale.

    value: where it starts (default: the first); the nearest one for a number between them. unit: written after the
    value. text: how a value is written.
    """
    write = text or (lambda v: f"{v:.3g}" if isinstance(v, float) else str(v))
    chosen = tuple(values)
    return starting(Control("slider", label, chosen, tuple(f"{write(v)} {unit}".strip() for v in chosen)), value)


def choice(label: str, options: Sequence[Any], value: Any = None) -> Control:
    """Make a row of options of which one is chosen (default: the first)."""
    return starting(Control("choice", label, tuple(options), tuple(map(str, options))), value)


def strip(label: str, stage_names: Sequence[str], value: str | None = None) -> Control:
    """Make the network's stages a row, stem to head, of which one is chosen (default: the first)."""
    return replace(choice(label, stage_names, value), kind="strip")


def toggle(label: str, value: bool = False) -> Control:
    """Make a box to tick: True or False."""
    return Control("toggle", label, (False, True), ("off", "on"), int(value))


def words(label: str, text: Sequence[str], kept: Sequence[bool] | None = None) -> Control:
    """Make a text whose words are struck out, and back in, by clicking them; a draw function gets a bool a word.

    kept: which of them are there at the start (default: all).
    """
    return starting(_Words("words", label, (), tuple(text)), [True] * len(text) if kept is None else kept)


def button(label: str) -> Control:
    """Make a button that counts its clicks; running the cell again starts at 0."""
    return Control("button", label, (), ())


def distribution(label: str, names: Sequence[str], value: Sequence[float]) -> Control:
    """Make a bar for each name, together one distribution: raise a bar, and the others give way in proportion.

    value: where they start, a probability each, summing to one. A draw function gets them as a list of floats.
    """
    return starting(_Bars("bars", label, (), tuple(map(str, names))), value)


def starting(control: Control, value: Any) -> Control:
    """Return the control as it stands at `value`; None: at its first one."""
    if not control.texts:
        raise ValueError(f"{control.label}: there is nothing to choose from")
    return control if value is None else replace(control, start=control.position(value))


class Controls(Element):
    """The controls on the page: native inputs with labels, a status line and a picture.

    fixed: `name`, `title`, `specs` (what the page must know of each control), and whether it is `live`: positions are
    sent while a slider is dragged as well, at most every 40 ms; else on release only. state: {key: position}. answer:
    the kernel's to a `state`: a picture (`src`, `alt`, `width`), or words (`said`, `error`). disabled: buttons that do
    nothing at present.
    """

    _esm = script("controls")
    state = traitlets.Dict().tag(sync=True)
    disabled = traitlets.List(traitlets.Unicode()).tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)


class ControlPanel(Panel):
    """A panel of controls: `values` are what they say now. Subclasses answer a change in `changed`.

    memory: what is remembered for this key when the cell runs again; `state` in it is where the controls stood.
    lasting: the controls that are no buttons.
    """

    def __init__(
        self, key: tuple[Any, ...], controls: Mapping[str, Control], *, name: str, title: str, live: bool
    ) -> None:
        self.controls = dict(controls)
        self.memory = remembered.setdefault((*key, *((k, c.kind, c.label, c.texts) for k, c in controls.items())), {})
        self.lasting = [key for key, c in controls.items() if c.kind != "button"]
        specs = [
            {"key": key, "kind": c.kind, "label": c.label, "texts": list(c.texts), **c.look}
            for key, c in controls.items()
        ]
        start = {key: c.start for key, c in controls.items()}
        if self.memory.get("start") != start:  # where code says another start than before, code is right
            self.memory |= {"start": start, "state": {}}
        self.inputs = Controls(
            fixed={"name": name, "title": title, "specs": specs, "live": live},
            state=start | self.memory["state"],
        )
        self.inputs.observe(self._changed, "state")

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {key: control.value(self.inputs.state[key]) for key, control in self.controls.items()}

    def changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Answer a change of the controls, given where they stood and where they stand."""
        raise NotImplementedError

    def place(self, **values: Any) -> None:
        """Let the controls say these values, without an answer."""
        self.inputs.unobserve(self._changed, "state")
        positions = {key: self.controls[key].position(value) for key, value in values.items()}
        self.inputs.state = {**self.inputs.state, **positions}
        self.inputs.observe(self._changed, "state")

    def answer(self, **words: Any) -> None:
        """Answer where the controls stand; what is not said stays as it was."""
        self.inputs.answer = {**self.inputs.answer, "state": self.inputs.state, **words}

    def keep(self, state: Mapping[str, Any]) -> None:
        """Remember where the controls stand; clicks are counted from 0 again."""
        self.memory["state"] = {key: state[key] for key in self.lasting}

    def _changed(self, change: Any) -> None:
        self.keep(change["new"])
        self.changed(change["old"], change["new"])
