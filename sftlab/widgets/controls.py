"""Sliders, bars, choices, strips, words, buttons: what each can say, and the panels that are made of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import traitlets

from sftlab.widgets.base import Element, Panel, remembered, script

GONE = "····"  # in place of a word that was clicked out


@dataclass(frozen=True)
class Control:
    """One control: what it is, its label, the values it can take, how each is written, where it starts.

    A position is an index into `values`, or one for each of the `parts`; a button has no values, and its position is
    the number of clicks. look: what else the page should know.
    """

    kind: str
    label: str
    values: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()
    start: Any = 0
    parts: tuple[str, ...] = ()
    look: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.texts and not self.parts and self.kind != "button":
            raise ValueError(f"{self.label}: there is nothing to choose from")

    def value(self, position: Any) -> Any:
        """Return what the control says at a position."""
        if self.parts:
            return [self.values[place] for place in position]
        return self.values[position] if self.values else position

    def text(self, position: Any) -> str:
        """Return what it says in words, as in '160 px', 'crack 20 %, dust 80 %' or 'not ···· bad'."""
        if self.kind == "words":
            return " ".join(word if kept else GONE for word, kept in zip(self.parts, position, strict=True))
        if self.parts:
            return ", ".join(f"{part} {self.texts[place]}" for part, place in zip(self.parts, position, strict=True))
        return self.texts[position] if self.texts else str(position)

    def position(self, value: Any) -> Any:
        """Return where `value` stands; raises ValueError if the control cannot say it."""
        if value in self.values:
            return self.values.index(value)
        if self.kind == "slider" and isinstance(value, (int, float)) and self.values[0] <= value <= self.values[-1]:
            return min(range(len(self.values)), key=lambda i: abs(self.values[i] - value))
        raise ValueError(f"{self.label}: {value!r} is not among {', '.join(self.texts[:12])}")


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


def words(label: str, text: Sequence[str]) -> Control:
    """Make a text whose words are struck out, and back in, by clicking them; a draw function gets a bool a word."""
    return Control("words", label, (False, True), start=[1] * len(text), parts=tuple(text))


def button(label: str) -> Control:
    """Make a button that counts its clicks; running the cell again starts at 0."""
    return Control("button", label)


def distribution(label: str, names: Sequence[str], value: Sequence[float]) -> Control:
    """Make a bar for each name, together one distribution: raise a bar, and the others give way in proportion.

    value: where they start, a probability each, summing to one. A draw function gets them as a list of floats.
    """
    if len(value) != len(names) or min(value) < 0 or abs(sum(value) - 1) > 1e-3:
        raise ValueError(f"{label}: {list(value)} is not one probability for each of {', '.join(map(str, names))}")
    shares = [round(100 * v) for v in value]
    shares[shares.index(max(shares))] += 100 - sum(shares)  # what rounding leaves over goes to the largest bar
    values, texts = zip(*((k / 100, f"{k} %") for k in range(101)), strict=True)
    return Control("bars", label, values, texts, shares, tuple(map(str, names)))


def starting(control: Control, value: Any) -> Control:
    """Return the control as it stands at `value`; None: at its first one."""
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
        self.lock = threading.RLock()  # a click and a run's end may answer at once, and the newest must come last
        self.lasting = [key for key, c in controls.items() if c.kind != "button"]
        specs = [
            {"key": key, "kind": c.kind, "label": c.label, "texts": [*c.texts], "parts": [*c.parts], **c.look}
            for key, c in controls.items()
        ]
        self.memory = remembered.setdefault((*key, str(specs)), {})
        start = {key: c.start for key, c in controls.items()}
        if self.memory.get("start") != start:  # where code says another start than before, code is right
            self.memory |= {"start": start, "state": {}}
        self.inputs = Controls(
            fixed={"name": name, "title": title, "specs": specs, "live": live},
            state=start | self.memory["state"],
        )
        self.inputs.observe(self._changed, "state")
        self.view = self.inputs

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {key: control.value(self.inputs.state[key]) for key, control in self.controls.items()}

    def changed(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Answer a change of the controls, given where they stood and where they stand."""
        raise NotImplementedError

    def answer(self, **words: Any) -> None:
        """Answer where the controls stand; what is not said stays as it was."""
        with self.lock:
            self.inputs.answer = {**self.inputs.answer, "state": self.inputs.state, **words}

    def _changed(self, change: Any) -> None:
        """Remember where the controls stand, but for clicks, which are counted from 0 again, and answer."""
        with self.lock:
            self.memory["state"] = {key: change["new"][key] for key in self.lasting}
            self.changed(change["old"], change["new"])
