"""The network as a strip of stages, stem left and head right, coloured by heat: what learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftlab.plot import base, style

EDGE = "#7C8CA0"


def box(ax: Any, i: float, colour: str, lines: Sequence[str], *, row: float = 0, cold: bool = False) -> None:
    """Draw one stage of a strip at (i, row), one unit high, with its lines of words; hatched if `cold`."""
    look = {"hatch": style.HATCH, "gid": "frozen"} if cold else {"gid": "learning"}
    ax.bar(i, 0.94, bottom=row + 0.03, width=0.94, color=colour, edgecolor=EDGE, linewidth=0.7, **look)
    behind = {"facecolor": colour, "edgecolor": "none", "pad": 1.2} if cold else None  # no hatch behind letters
    for k, line in enumerate(lines):
        y, weight = row + 1 - (k + 0.5) / len(lines) * 0.9 - 0.05, "normal" if k else "bold"
        ink = {"color": style.ink_on(colour), "fontweight": weight, "bbox": behind, "ha": "center", "va": "center"}
        ax.text(i, y, line, fontsize=7.8, **ink)


def frame(ax: Any, stages: int, low: float = 0) -> None:
    """Fit the Axes around a strip of so many stages, without axes of its own."""
    ax.set(xlim=(-0.55, stages - 0.45), ylim=(low - 0.02, 1.02))
    ax.set_axis_off()


def profile(*profiles: Mapping[str, float], names: list[str] | None = None, ax: Any = None) -> Any:
    """Draw learning-rate profiles ({stage: rate}), a strip each: a box a stage in the heat of its rate, frozen hatched.

    names: what to call them. Raises ValueError if they are not of one network.
    """
    if not profiles:
        raise ValueError("no profile to draw; give at least one, such as linear_probe(model)")
    stage_names = list(profiles[0])
    if any(list(p) != stage_names for p in profiles):
        raise ValueError("these profiles name different stages, so they belong to different networks; draw them apart")
    if names is not None and len(names) != len(profiles):
        raise ValueError(f"{len(names)} names for {len(profiles)} profiles")
    called = names or ([""] if len(profiles) == 1 else [f"profile {i + 1}" for i in range(len(profiles))])
    ax = base.axes(ax, 8.2, 1.0 + 0.62 * len(profiles))
    for row, (name, rates) in enumerate(zip(called, profiles, strict=True)):
        for i, (stage, rate) in enumerate(rates.items()):
            lines = [stage, base.rate_text(rate) if rate else "frozen"]
            box(ax, i, style.heat(rate), lines, row=-1.1 * row, cold=not rate)
        base.note(ax, base.clip(name, 28), (-0.58, 0.5 - 1.1 * row), ha="right", color=style.INK, fontsize=9)
    frame(ax, len(stage_names), -1.1 * (len(profiles) - 1))
    learning = [[f"{stage} at {base.rate_text(rate)}" for stage, rate in p.items() if rate] for p in profiles]
    finding = f"{len(learning[0])} of {len(stage_names)} stages learn: {_listed(learning[0])}"
    if len(profiles) > 1:
        counts = [f"{name} trains {len(rates)}" for name, rates in zip(called, learning, strict=True)]
        finding = f"Of {len(stage_names)} stages, {base.listed(counts)}"
    words = " ".join(
        f"{name}: {_listed(rates)}.".removeprefix(": ") for name, rates in zip(called, learning, strict=True)
    )
    base.title(ax, finding, f"Learning rates from the image (left) to the answer (right). {words}")
    return ax


def _listed(rates: Sequence[str]) -> str:
    return (base.listed(rates) if len(rates) <= 3 else f"{rates[0]} to {rates[-1]}") or "nothing"
