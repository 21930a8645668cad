"""A sweep in one picture: what the validation images say of every setting, and the test images of the chosen one."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style
from sftlab.runs import grids
from sftlab.runs.grids import Setting

SHADES = "Blues"  # of an accuracy; heat is kept for learning rates
SPAN = 0.05  # at least so much accuracy from light to dark: what is nearly equal shall look so


def grid(runs: Any, vary: Sequence[str], *, ax: Any = None) -> Any:
    """Draw runs that differ in `vary`: one name as a curve, two as a map, none or more as ranked rows.

    runs: rows of parameters and metrics, as `sft.load_runs` returns them (a DataFrame or a list of dicts). What is
    drawn is the validation accuracy, mean over seeds with its interval after Student; the setting chosen by it is
    framed and has its test accuracy beside it. Raises ValueError if no run has a validation accuracy.
    """
    rows = runs.to_dict("records") if hasattr(runs, "to_dict") else list(runs)
    found = grids.settings(rows, vary)
    chosen = grids.best(found)
    if chosen is None:
        raise ValueError("no finished run has a valid_accuracy, so there is nothing to draw")
    majority = _majority(rows)
    draw = {1: _curve, 2: _map}.get(len(vary), _ranks)
    ax = draw(found, chosen, list(vary), majority, ax)
    base.title(ax, _finding(found, chosen), f"{grids.verdict(found)} {_each(found)}")
    return ax


def _curve(found: list[Setting], chosen: Setting, vary: list[str], majority: float | None, ax: Any) -> Any:
    ax = base.axes(ax, 7.0, 3.5)
    (name,) = vary
    known = [(setting, setting.valid) for setting in _in_order(found, name) if setting.valid is not None]
    values = [setting.values[name] for setting, _ in known]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    x: Any = values if numbers else np.arange(len(values))
    low, high = np.array([v.low for _, v in known]), np.array([v.high for _, v in known])
    if numbers:
        ax.fill_between(x, low, high, color=style.VALID, alpha=0.15, linewidth=0)
        ax.plot(x, [v.value for _, v in known], "o-", color=style.VALID, markersize=4.5)
        if min(values) > 0 and max(values) >= 20 * min(values):
            ax.set_xscale("log")
    else:
        middle = np.array([v.value for _, v in known])
        ax.errorbar(x, middle, (middle - low, high - middle), fmt="o", color=style.VALID, capsize=3, markersize=5)
    ax.minorticks_off()
    ax.set_xticks(x, [grids.shown(v) for v in values])
    where = x[[setting for setting, _ in known].index(chosen)]
    _mark(ax, where, chosen)
    if majority is not None:
        base.majority_line(ax, majority)
        base.note(ax, "majority", (0, majority), (3, 6), xycoords=("axes fraction", "data"), color=style.INK)
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g}")
    ax.grid(axis="y")
    ax.set(xlabel=name, ylabel="accuracy (%)")
    base.note(ax, "valid", (x[-1], known[-1][1].value), (8, 0), color=style.VALID, fontsize=9)
    return ax


def _map(found: list[Setting], chosen: Setting, vary: list[str], majority: float | None, ax: Any) -> Any:
    from matplotlib.patches import Rectangle

    rows, columns = ([*dict.fromkeys(s.values[name] for s in _in_order(found, name))] for name in vary)
    if len(rows) > len(columns):  # the longer list runs along the wider side
        vary, rows, columns = vary[::-1], columns, rows
    table = {(s.values[vary[0]], s.values[vary[1]]): s for s in found}
    ax = base.axes(ax, max(5.4, 1.9 + 1.15 * len(columns)), 2.0 + 0.62 * len(rows))
    means = np.full((len(rows), len(columns)), np.nan)
    for i, j in np.ndindex(*means.shape):
        setting = table.get((rows[i], columns[j]))
        if setting is not None and setting.valid is not None:
            means[i, j] = setting.valid.value
    bottom, top = np.nanmin(means), max(np.nanmax(means), np.nanmin(means) + SPAN)
    sides = np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    room = 0.3 * (top - bottom)  # neither white nor so dark that words are hard to read
    shades = {"cmap": SHADES, "vmin": bottom - room, "vmax": top + room}
    shade = ax.pcolormesh(*sides, means, edgecolors="white", linewidth=1.5, **shades)
    ax.invert_yaxis()
    for i, j in np.ndindex(*means.shape):
        setting = table.get((rows[i], columns[j]))
        if setting is not None and setting.valid is not None:
            ink = style.ink_on(_hex(shade.to_rgba(means[i, j])))
            base.note(ax, _cell(setting, chosen), (j, i), ha="center", color=ink, fontsize=9)
        else:
            box = (j - 0.5, i - 0.5)
            ax.add_patch(Rectangle(box, 1, 1, facecolor="white", edgecolor="#DDDDDD", hatch=style.HATCH))
            words = "not asked" if setting is None else "no run"
            base.note(ax, words, (j, i), ha="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    i, j = rows.index(chosen.values[vary[0]]), columns.index(chosen.values[vary[1]])
    frame = Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, edgecolor=style.WRONG, linewidth=2.2, gid="chosen")
    ax.add_patch(frame)
    ax.set_xticks(range(len(columns)), [base.clip(grids.shown(v), 16) for v in columns])
    ax.set_yticks(range(len(rows)), [base.clip(grids.shown(v), 20) for v in rows])
    ax.set(xlabel=vary[1], ylabel=vary[0])
    ax.tick_params(length=0, labelcolor=style.INK)
    ax.spines[:].set_visible(False)
    width = int(ax.get_figure(root=True).get_figwidth() * 13)
    words = "\n".join(textwrap.fill(line, width) for line in _legend(found, majority))
    base.note(ax, words, (0, 0), (0, -38), xycoords="axes fraction", va="top", fontsize=8, linespacing=1.35)
    return ax


def _ranks(found: list[Setting], chosen: Setting, vary: list[str], majority: float | None, ax: Any) -> Any:
    known = sorted(((s, s.valid) for s in found if s.valid is not None), key=lambda pair: -pair[1].value)[:30]
    ax = base.axes(ax, 7.5, 1.4 + 0.3 * len(known))
    for i, (_, valid) in enumerate(known):
        ax.plot((valid.low, valid.high), (i, i), color=style.VALID, linewidth=2, alpha=0.5)
        ax.plot(valid.value, i, "o", color=style.VALID, markersize=5.5)
    if chosen.tested is not None:
        ax.plot(chosen.tested.value, 0, "D", color=style.INK, markersize=6, gid="chosen")
        base.note(ax, f"test {base.percent(chosen.tested.value)}", (chosen.tested.value, 0), (0, 11), ha="center")
    if majority is not None:
        base.majority_line(ax, majority, vertical=True)
    ax.set_yticks(range(len(known)), [base.clip(str(s), 44) for s, _ in known])
    ax.set_ylim(len(known) - 0.4, -0.9)
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}")
    ax.grid(axis="x")
    ax.set_xlabel("valid accuracy (%), with its 95 % interval over seeds")
    return ax


def _mark(ax: Any, x: Any, chosen: Setting) -> None:
    """Draw the test accuracy of the chosen setting, the only one that the picture shows."""
    test = chosen.tested
    if test is None:
        return
    how = {"color": style.INK, "markersize": 6.5, "capsize": 4, "linewidth": 1.2, "gid": "chosen"}
    ax.errorbar([x], [test.value], [[test.value - test.low], [test.high - test.value]], fmt="D", **how)
    base.note(ax, f"test {base.percent(test.value)}", (x, test.value), (9, 0), color=style.INK, fontsize=9)


def _cell(setting: Setting, chosen: Setting) -> str:
    assert setting.valid is not None
    less = grids.against(setting, chosen) if setting is not chosen else None
    apart = f"({100 * less.value:+.1f} ± {50 * (less.high - less.low):.1f})".replace("-", "−") if less else ""
    missing = f"{len(setting.rows)} of {setting.asked} runs" if len(setting.rows) < setting.asked else ""
    return "\n".join(filter(None, [f"{100 * setting.valid.value:.1f}", apart, missing]))


def _legend(found: Sequence[Setting], majority: float | None) -> list[str]:
    """Return what the numbers in the cells are, and how far the choice can be trusted."""
    known = grids.lead(found)
    line = "Accuracy on valid in %, the highest framed"
    if known is not None:
        line = "Accuracy on valid in %, mean over seeds; in brackets the difference from the highest, seed by seed, "
        line += "± half its 95 % interval"
    line += f". Majority {100 * majority:.0f} %." if majority is not None else "."
    if known is None:
        return [line]
    _, ahead = known
    between = f"{100 * ahead.low:+.1f} to {100 * ahead.high:+.1f}".replace("-", "−")
    doubt = "" if ahead.low > 0 else ": these seeds do not tell the two apart"
    return [line, f"The choice leads the next by {100 * ahead.value:.1f} points ({between}){doubt}."]


def _finding(found: Sequence[Setting], chosen: Setting) -> str:
    assert chosen.valid is not None
    best = "is best on valid" if len(found) > 1 else "on valid"
    words = f"{chosen} {best}: {base.percent(chosen.valid.value)}"
    test = chosen.tested
    if test is None:
        return words
    return f"{words}; on untouched test {base.percent(test.value)} ({100 * test.low:.0f}–{100 * test.high:.0f})"


def _each(found: Iterable[Setting]) -> str:
    return " ".join(f"{s}: {base.percent(s.valid.value)}." for s in found if s.valid is not None)


def _in_order(found: Iterable[Setting], name: str) -> list[Setting]:
    """Return settings by rising number; words keep the order in which they were asked for."""
    found = list(found)
    values = [s.values[name] for s in found]
    return sorted(found, key=lambda s: s.values[name]) if all(isinstance(v, (int, float)) for v in values) else found


def _majority(rows: Sequence[Any]) -> float | None:
    rates = [r["majority"] for r in rows if isinstance(r.get("majority"), float) and math.isfinite(r["majority"])]
    return float(np.mean(rates)) if rates else None


def _hex(rgba: Any) -> str:
    from matplotlib.colors import to_hex

    return to_hex(rgba)
