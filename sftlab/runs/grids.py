"""Runs that differ in their parameters: put together over seeds, chosen by the validation images, judged by the test.

Each run is a row as `sft.load_runs` returns it. The highest of n validation numbers is too good a number for what was
chosen by it (it is high partly by luck); its test number had no part in the choice and may be believed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval

CHOOSE, JUDGE, FINISHED, SEED = "valid_accuracy", "accuracy", "finished", "SEED"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """All runs of the same parameters, whatever their seed; `asked` counts those that did not finish as well."""

    values: dict[str, Any]
    rows: list[Row]
    asked: int

    @property
    def valid(self) -> Interval | None:
        """Mean validation accuracy over the seeds with its interval after Student; None without such a number."""
        return _mean(self.rows, CHOOSE)

    @property
    def tested(self) -> Interval | None:
        """Mean test accuracy, likewise; for a single run its own interval."""
        return _mean(self.rows, JUDGE)

    def __str__(self) -> str:
        return ", ".join(f"{name} {shown(value)}" for name, value in self.values.items()) or "the only setting"


def settings(rows: Iterable[Row], vary: Sequence[str]) -> list[Setting]:
    """Group rows by the parameters named in `vary`, in the order in which they first come."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in vary), []).append(row)
    return [
        Setting(dict(zip(vary, key, strict=True)), [row for row in group if row.get("status") == FINISHED], len(group))
        for key, group in groups.items()
    ]


def best(found: Iterable[Setting]) -> Setting | None:
    """Return the setting with the highest mean validation accuracy; None if no run has one."""
    return next(iter(_ranked(found)), None)


def against(setting: Setting, chosen: Setting) -> Interval | None:
    """Return the validation accuracy of a setting minus that of the chosen one, after Student.

    Seed by seed: two runs of one seed have the same split, and what is hard about it is hard for both. None for fewer
    than two shared seeds.
    """
    both = (setting.rows, chosen.rows)
    ours, theirs = ({row.get(SEED): row[CHOOSE] for row in rows if _is_number(row.get(CHOOSE))} for rows in both)
    shared = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    return t_interval(shared) if len(shared) > 1 else None


def lead(found: Iterable[Setting]) -> tuple[Setting, Interval] | None:
    """Return the second best setting and what the best is ahead of it, seed by seed; None where that is not known."""
    ranked = _ranked(found)
    less = against(ranked[1], ranked[0]) if len(ranked) > 1 else None
    return None if less is None else (ranked[1], Interval(-less.value, -less.high, -less.low, less.method))


def verdict(found: Sequence[Setting]) -> str:
    """Say which setting was chosen, among how many, and what it scores on images that had no part in the choice."""
    chosen = best(found)
    if chosen is None or chosen.valid is None:
        return "No run left validation numbers, so none of the settings could be chosen by them."
    n, runs = len(found), len(chosen.rows)
    seeds = f", mean of {runs} seeds" if runs > 1 else ""
    among = f"of {n} settings {chosen} is the best on the validation images" if n > 1 else f"{chosen}: on valid"
    said = f"{among[0].upper()}{among[1:]}: accuracy {chosen.valid.value:.3f}{seeds}."
    if n > 1:
        said += f" The highest of {n} numbers is partly luck{_led(found)}."
    if chosen.tested is not None:
        how = " (Student t)" if seeds else ""
        said += f" On the test images, which had no part in the choice, it is {chosen.tested}{how}."
    return said


def shown(value: Any) -> str:
    """Return a parameter's value as one would type it.

    >>> shown(1e-4), shown(0.5), shown(160), shown("full")
    ('1e-4', '0.5', '160', 'full')
    """
    if isinstance(value, float) and value and not 0.01 <= abs(value) < 10000:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _led(found: Sequence[Setting]) -> str:
    if (known := lead(found)) is None:
        return ""
    second, ahead = known
    told = f": seed by seed it leads {second} by {ahead.value:.3f} ({ahead.low:+.3f} to {ahead.high:+.3f})"
    return told + ("" if ahead.low > 0 else ", so these seeds do not tell the two apart")


def _ranked(found: Iterable[Setting]) -> list[Setting]:
    """Return the settings that have a validation accuracy, the highest first."""
    known = [(setting.valid.value, setting) for setting in found if setting.valid is not None]
    return [setting for _, setting in sorted(known, key=lambda pair: -pair[0])]


def _mean(rows: Sequence[Row], name: str) -> Interval | None:
    values = [row[name] for row in rows if _is_number(row.get(name))]
    if len(values) > 1:
        mean = t_interval(values)
        return Interval(mean.value, max(0.0, mean.low), min(1.0, mean.high), mean.method, mean.confidence)
    if not values:
        return None
    row = next(row for row in rows if _is_number(row.get(name)))
    return Interval(values[0], row.get(f"{name}_low", values[0]), row.get(f"{name}_high", values[0]), "one run")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
