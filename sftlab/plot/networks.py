"""The network and what may learn in it: stages run left to right, stem to head; colour is heat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sftlab.core.records import Interval
from sftlab.plot import base, style

ROW = 1.25  # inches a profile takes


def profile(*profiles: Mapping[str, float], names: list[str] | None = None, ax: Any = None) -> Any:
    """Draw learning-rate profiles ({stage: rate}), a row each: a bar a stage, log scale, frozen ones hatched.

    names: what to call them; a strategy's name also gives its colour. Raises ValueError if they are not of
    one network.
    """
    if not profiles:
        raise ValueError("no profile to draw; give at least one, such as linear_probe(model)")
    stage_names = list(profiles[0])
    if any(list(p) != stage_names for p in profiles):
        raise ValueError("these profiles name different stages, so they belong to different networks; draw them apart")
    if names is not None and len(names) != len(profiles):
        raise ValueError(f"{len(names)} names for {len(profiles)} profiles")
    called = names or ([""] if len(profiles) == 1 else [f"profile {i + 1}" for i in range(len(profiles))])
    ax = base.axes(ax, 7.8, 1.45 + ROW * len(profiles))
    rows = [ax] if len(profiles) == 1 else base.panels(ax, len(profiles), 1, (0.14, 0))
    learning = [rate for p in profiles for rate in p.values() if rate > 0] or [1e-3]
    low = 10.0 ** (math.floor(math.log10(min(learning)) - 0.3) - 0.4)
    high = max(learning) * (max(learning) / low) ** 0.28
    for i, (row, rates, name) in enumerate(zip(rows, profiles, called, strict=True)):
        _bars(row, rates, low, high)
        if name and len(profiles) > 1:
            colour = style.ink_safe(style.hue(name, i))
            top = {"xycoords": "axes fraction", "va": "bottom", "fontweight": "bold", "fontsize": 9.5}
            base.note(row, base.clip(name, 28), (0, 1), (0, 4), color=colour, **top)
        row.set_xticks(range(len(rates)), stage_names if row is rows[-1] else [])
    _crowded(rows[-1], stage_names)
    rows[-1].set_xlabel("stage, from the image (left) to the answer (right)")
    (ax if len(profiles) == 1 else rows[len(rows) // 2]).set_ylabel("learning rate (log)")
    words = [f"{n + ': ' if n else ''}{_profile_words(p)}" for n, p in zip(called, profiles, strict=True)]
    base.title(ax, _profile_finding(profiles, called), " ".join(words), pad=None if len(profiles) == 1 else 24)
    return ax


def stages(network: Any, profile: Mapping[str, float] | None = None, *, ax: Any = None) -> Any:
    """Draw the network as a strip: a box a stage with its output shape and parameters, coloured by heat.

    network: a `Summary`, or a model, which is then summarised with `profile`.
    """
    if not hasattr(network, "rows"):
        from sftlab.core.model import summary

        network = summary(network, profile)
    rows = network.rows
    ax = base.axes(ax, 8.2, 2.5)
    rates = {name: _rate(text) for name, _, count, _, text in rows if count}
    wide = 7.4 / len(rows)
    for i, (name, output, count, _, text) in enumerate(rows):
        colour = style.heat(rates[name]) if name in rates else "white"
        ink = style.ink_on(colour)
        _box(ax, i, colour, frozen=name in rates and not rates[name])
        lines = [(0.76, name, "bold")]
        if count:
            rate = text if text in ("frozen", "trainable") else base.rate_text(float(text))
            lines += [(0.5, _short(count), "normal"), (0.24, rate, "normal")]
        for y, line, weight in lines:
            back = colour if name in rates and not rates[name] else None
            _tag(ax, i, y, base.clip(line, max(6, int(wide * 10.5))), ink, weight, back)
        shape = output if 0.068 * len(output) < wide else output.replace("×", "\n×", 1)
        base.note(ax, shape, (i, -0.07), ha="center", va="top", fontsize=6.8)
    for y, line in ((0.76, "stage"), (0.5, "parameters"), (0.24, "rate"), (-0.11, "output")):
        base.note(ax, line, (-0.58, y), ha="right", fontsize=8)
    ax.set(xlim=(-0.55, len(rows) - 0.45), ylim=(-0.02, 1.02))
    ax.set_axis_off()
    total = sum(count for _, _, count, _, _ in rows)
    learn = sum(count for name, _, count, _, _ in rows if rates.get(name))
    share = f"{_short(learn)} ({base.percent(learn / total)})" if 0 < learn < total else "all" if learn else "none"
    finding = f"{len(rates)} stages store {_short(total)} parameters; {share} of them learn"
    base.title(ax, finding, " ".join(f"{n}: {o}, {c:,} parameters, {t}." for n, o, c, _, t in rows if c))
    return ax


def changed(before: Mapping[str, str], after: Mapping[str, str], guess: Any = None, *, ax: Any = None) -> Any:
    """Draw which stages' fingerprints differ; with a `guess` of their number, both on one line below.

    before, after: {stage: hash}, as `fingerprint` returns them.
    """
    if list(before) != list(after):
        raise ValueError("the two fingerprints name different stages, so they are not of one network")
    names = list(before)
    differ = [name for name in names if before[name] != after[name]]
    ax = base.axes(ax, 8.2, 1.7 if guess is None else 2.9)
    for i, name in enumerate(names):
        hot = name in differ
        colour = style.heat(1e-2) if hot else style.COLD
        _box(ax, i, colour, frozen=not hot)
        _tag(ax, i, 0.66, name, style.ink_on(colour), "bold", None if hot else colour)
        _tag(ax, i, 0.32, "changed" if hot else "same", style.ink_on(colour), "normal", None if hot else colour)
    ax.set(xlim=(-0.55, len(names) - 0.45), ylim=(-0.05 if guess is None else -1.15, 1.02))
    ax.set_axis_off()
    finding = f"{len(differ)} of {len(names)} stages changed"
    if guess is not None:
        finding += f"; you guessed {float(guess):g}"
        line = ax.inset_axes((0.0, 0.10, 1, 0.30))
        exact = Interval(len(differ), len(differ), len(differ), "exact")
        base.guess_line(line, exact, float(guess), 0, len(names))
        line.set_xlabel("stages whose fingerprint changed")
    base.title(ax, finding, f"Changed: {base.listed(differ) or 'none'}.")
    return ax


def _bars(ax: Any, rates: Mapping[str, float], low: float, high: float) -> None:
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    for i, rate in enumerate(rates.values()):
        frozen = not rate
        top = low * (high / low) ** 0.13 if frozen else rate
        how = {"edgecolor": "#7C8CA0", "hatch": style.HATCH, "gid": "frozen"} if frozen else {"gid": "learning"}
        ax.bar(i, top - low, bottom=low, width=0.78, color=style.heat(rate), linewidth=0.6, **how)
        text, colour = ("frozen", style.QUIET) if frozen else (base.rate_text(rate), style.INK)
        base.note(ax, text, (i, top), (0, 2), ha="center", va="bottom", fontsize=8, color=colour)
    ax.set_xlim(-0.55, len(rates) - 0.45)
    ax.tick_params(axis="x", length=0)
    ax.minorticks_off()


def _crowded(ax: Any, names: list[str]) -> None:
    """Turn the stage names when they would touch."""
    if max(map(len, names)) * len(names) > 95:
        ax.tick_params(axis="x", rotation=40)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _box(ax: Any, i: int, colour: str, *, frozen: bool) -> None:
    how = (
        {"edgecolor": "#7C8CA0", "hatch": style.HATCH, "gid": "frozen"}
        if frozen
        else {"edgecolor": "#999999", "gid": "learning"}
    )
    ax.bar(i, 1, width=0.94, color=colour, linewidth=0.7, **how)


def _tag(ax: Any, x: float, y: float, text: str, ink: str, weight: str, under: str | None) -> None:
    """Write inside a box; `under` is laid below the letters where a hatch would cross them."""
    back = {"facecolor": under, "edgecolor": "none", "pad": 1.5} if under else None
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color=ink, fontweight=weight, bbox=back)


def _rate(text: str) -> float:
    """Read the rate column of a Summary back; 'trainable' stands for a middling 1e-3."""
    words = {"frozen": 0.0, "trainable": 1e-3}
    return words[text] if text in words else float(text)


def _short(count: int) -> str:
    """Return 1652640 as '1.65 M'."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _profile_finding(profiles: Sequence[Mapping[str, float]], called: list[str]) -> str:
    """Say what learns: of one profile which stages and how fast, of several how many stages each."""
    learn = [{name: rate for name, rate in p.items() if rate > 0} for p in profiles]
    count = len(profiles[0])
    if len(profiles) > 1:
        each = [f"{name} trains {len(some)}" for name, some in zip(called, learn, strict=True)]
        return f"Of {count} stages, {base.listed(each)}"
    first = learn[0]
    how_many = f"All {count} stages learn" if len(first) == count else f"{len(first) or 'None'} of {count} stages learn"
    if len(first) > 3:
        (low, slow), (high, fast) = (pick(first.items(), key=lambda item: item[1]) for pick in (min, max))
        slowest, fastest = base.rate_text(slow), base.rate_text(fast)
        how_many += f" at {fastest}" if slowest == fastest else f", {low} at {slowest} to {high} at {fastest}"
    elif first:
        how_many += f": {base.listed([f'{name} at {base.rate_text(rate)}' for name, rate in first.items()])}"
    return f"{called[0]}: {how_many}" if called[0] else how_many


def _profile_words(rates: Mapping[str, float]) -> str:
    learn = [f"{name} {base.rate_text(rate)}" for name, rate in rates.items() if rate > 0]
    frozen = [name for name, rate in rates.items() if not rate]
    return f"{base.listed(learn) or 'nothing'} learn; frozen: {base.listed(frozen) or 'none'}."
