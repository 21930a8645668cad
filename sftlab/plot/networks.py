"""The network as a strip of stages, stem left and head right, coloured by heat: what learns, changed, moved."""

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


def side_names(ax: Any, names: Sequence[str], row: float = 0) -> None:
    """Write at the left of a strip what its lines of words are."""
    for k, name in enumerate(names):
        base.note(ax, name, (-0.58, row + 1 - (k + 0.5) / len(names) * 0.9 - 0.05), ha="right", fontsize=8)


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
            words = [stage, base.rate_text(rate) if rate else "frozen"]
            box(ax, i, style.heat(rate), words, row=-1.1 * row, cold=not rate)
        base.note(ax, base.clip(name, 28), (-0.58, 0.5 - 1.1 * row), ha="right", color=style.INK, fontsize=9)
    frame(ax, len(stage_names), -1.1 * (len(profiles) - 1))
    words = [f"{name + ': ' if name else ''}{_rates_in_words(p)}" for name, p in zip(called, profiles, strict=True)]
    counts = [sum(rate > 0 for rate in p.values()) for p in profiles]
    training = base.listed([f"{name} trains {count}" for name, count in zip(called, counts, strict=True)])
    finding = f"Of {len(stage_names)} stages, {training}"
    if len(profiles) == 1:
        finding = f"{counts[0]} of {len(stage_names)} stages learn: {_rates_in_words(profiles[0])}"
    base.title(ax, finding, f"Learning rates from the image (left) to the answer (right). {' '.join(words)}")
    return ax


def _rates_in_words(rates: Mapping[str, float]) -> str:
    learning = {name: base.rate_text(rate) for name, rate in rates.items() if rate}
    if len(learning) > 3 and len(set(learning.values())) == 1:
        return f"all from {next(iter(learning))} on at {next(iter(learning.values()))}"
    ends = list(learning.items())
    some = ends if len(ends) <= 3 else [ends[0], ends[-1]]
    return (base.listed if len(ends) <= 3 else " to ".join)([f"{name} at {rate}" for name, rate in some]) or "nothing"


def changed(before: Mapping[str, str], after: Mapping[str, str], *, ax: Any = None) -> Any:
    """Draw which stages' fingerprints differ.

    before, after: {stage: hash}, as `fingerprint` returns them.
    """
    if list(before) != list(after):
        raise ValueError("the two fingerprints name different stages, so they are not of one network")
    differ = [name for name in before if before[name] != after[name]]
    ax = base.axes(ax, 8.2, 1.5)
    for i, name in enumerate(before):
        hot = name in differ
        box(ax, i, style.heat(1e-2 if hot else 0), [name, "changed" if hot else "same"], cold=not hot)
    frame(ax, len(before))
    base.title(ax, f"{len(differ)} of {len(before)} stages changed", f"Changed: {base.listed(differ) or 'none'}.")
    return ax


def moved(
    changes: Mapping[str, Mapping[str, float]], profiles: Mapping[str, Mapping[str, float]], *, ax: Any = None
) -> Any:
    """Draw how far each stage moved, ‖w′ − w‖ / ‖w‖ in percent, a row a strategy, in the heat of its rate.

    changes: {strategy: {stage: share}}. profiles: {strategy: {stage: rate}}, the same strategies.
    """
    if not changes or set(changes) != set(profiles):
        raise ValueError("give the changes and the profiles of the same strategies, at least one")
    ax = base.axes(ax, 7.8, 0.9 + 0.95 * len(changes))
    rows = [ax] if len(changes) == 1 else base.panels(ax, len(changes), 1, (0.1, 0))
    top = max(share for change in changes.values() for share in change.values())
    for row, (name, change) in zip(rows, changes.items(), strict=True):
        for i, (stage, share) in enumerate(change.items()):
            rate = profiles[name][stage]
            look = {"gid": "moved"} if rate else {"hatch": style.HATCH, "gid": "frozen"}
            row.bar(i, share, width=0.7, color=style.heat(rate), edgecolor=EDGE, linewidth=0.6, **look)
            words = (
                f"{base.percent(share, 1 if top >= 0.01 else 2)} {'at ' + base.rate_text(rate) if rate else 'frozen'}"
            )
            base.note(row, words, (i, share), (0, 2), ha="center", va="bottom", color=style.INK)
        row.set_xticks(range(len(change)), list(change) if row is rows[-1] else [])
        row.set(ylim=(0, 1.3 * top or 1), ylabel="moved (%)", xlim=(-0.6, len(change) - 0.4))
        base.percent_axis(row.yaxis)
        row.tick_params(axis="x", length=0)
        base.corner(row, name, color=style.ink_safe(style.hue(name)), fontweight="bold")
    first, change = next(iter(changes.items()))
    far, near = max(change, key=lambda s: change[s]), min(change, key=lambda s: change[s])
    finding = f"{first}: {far} moves by {base.percent(change[far])}, {near} by {base.percent(change[near])}"
    words = "; ".join(f"{n}: " + ", ".join(f"{s} {base.percent(v)}" for s, v in c.items()) for n, c in changes.items())
    base.title(ax, finding, f"Change of each stage's weights. {words}.", pad=24)
    return ax


def parameters(networks: Mapping[str, Any], *, ax: Any = None) -> Any:
    """Draw where the parameters are: a bar a network, a piece a stage; what is frozen is cold and hatched.

    networks: {name: Summary}, as `summary(model, profile)` returns them; the profile says what learns.
    """
    if not networks:
        raise ValueError("no network to draw")
    ax = base.axes(ax, 8.6, 1.15 + 0.55 * len(networks))
    base.rows(ax, list(networks), 26)
    widest = max(sum(count for _, _, count, _, _ in s.rows) for s in networks.values())
    learning: dict[str, int] = {}
    for row, (name, summary) in enumerate(networks.items()):
        left = learning[name] = 0
        for stage, _, count, _, rate in summary.rows:
            cold = rate in ("", "frozen")
            look = {"hatch": style.HATCH, "gid": "frozen"} if cold else {"gid": "learning"}
            colour = style.heat(0 if cold else 1e-3)
            ax.barh(row, count, left=left, height=0.62, color=colour, edgecolor=EDGE, linewidth=0.6, **look)
            if count / widest > 0.075:
                behind = {"facecolor": colour, "edgecolor": "none", "pad": 1.0} if cold else None
                how = {"ha": "center", "va": "center", "color": style.ink_on(colour), "bbox": behind}
                ax.text(left + count / 2, row, f"{stage}\n{base.short(count)}", fontsize=7.5, **how)
            left, learning[name] = left + count, learning[name] + (0 if cold else count)
        base.note(ax, base.short(left), (left, row), (6, 0), fontsize=9, color=style.INK)
    ax.set(xlim=(0, 1.09 * widest), xlabel="parameters (millions)")
    ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}")
    learned = [f"{name} {base.short(count)}" for name, count in learning.items()]
    words = " ".join(f"{name}: {sum(row[2] for row in s.rows):,} parameters." for name, s in networks.items())
    base.title(ax, f"Numbers that learn: {base.listed(learned)}", words)
    return ax
