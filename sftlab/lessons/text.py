"""The figure of the lesson on text: what each model says of a text from which words were taken out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.plot import base, style
from sftlab.widgets.controls import GONE


def words_left(
    words: Sequence[str],
    kept: Sequence[bool],
    probabilities: Mapping[str, Sequence[float]],
    classes: Sequence[str],
    truth: str,
    *,
    ax: Any = None,
) -> Any:
    """Draw a text from which words were taken out, and a column of bars a model: its probability of each class.

    kept: for each word whether it is still there. probabilities: {model: a number a class}. truth: the right class.
    """
    ax = base.axes(ax, 8.6, 1.7 + 0.33 * len(classes))
    text = textwrap.fill(" ".join(w if k else GONE for w, k in zip(words, kept, strict=True)), 100)
    panels = base.panels(ax, 1, len(probabilities), (0, 0.22))
    answers = []
    for column, (panel, (name, values)) in enumerate(zip(panels, probabilities.items(), strict=True)):
        best, colour = int(np.argmax(values)), style.hue(name, column)
        bars = panel.barh(range(len(classes)), values, color=colour, alpha=0.3)
        bars[best].set_alpha(1)
        panel.bar_label(bars, [base.percent(v, 0) for v in values], padding=3, fontsize=8.5)
        panel.set(xlim=(0, 1.15), xticks=[])
        base.rows(panel, classes)
        mark = "✓" if classes[best] == truth else "✗"
        panel.set_title(f"{mark} {name}: {classes[best]}", fontsize=10, color=style.ink_safe(colour), pad=4)
        answers.append(f"{name} says {classes[best]} ({base.percent(values[best], 0)})")
    base.note(ax, text, (0, 0), (0, -12), va="top", fontsize=9.5, color=style.INK, xycoords="axes fraction")
    finding = f"{sum(kept)} of {len(words)} words: {base.listed(answers)}; it is {truth}"
    base.title(ax, finding, text, pad=24)
    return ax
