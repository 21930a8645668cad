"""What a probability is turned into: piles, costs, refusals, disagreements, heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.statistics import costs, difference, mcnemar
from sftlab.plot import base, style
from sftlab.plot.images import image_grid

PILES = ((0, 0, "called {0}, is {0}"), (0, 1, "called {1}, is {0}: false alarms"),
         (1, 0, "called {0}, is {1}: missed"), (1, 1, "called {1}, is {1}"))  # fmt: skip


def bills(
    at: Sequence[float] | np.ndarray, curves: Mapping[str, np.ndarray], formula: float, *,
    baselines: Mapping[str, float], unit: str = "€ a cell", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the mean cost against the threshold, a line a set of probabilities, each marked where the formula sends it.

    at: thresholds. curves: {name: cost at each of them}. formula: the threshold that the costs ask for. baselines:
    answers that need no network, such as always calling a defect.
    """
    at = np.asarray(at)
    ax = base.axes(ax, 7.5, 3.6)
    ends, told = [], []
    looks = ((style.WRONG, "--", "s"), (style.VALID, "-", "o"), (style.RIGHT, "-.", "^"))
    for (name, values), (colour, line, mark) in zip(curves.items(), looks, strict=False):
        here, low = int(np.abs(at - formula).argmin()), int(np.argmin(values))
        ax.plot(at, values, line, color=colour)
        ax.plot(at[here], values[here], mark, color=colour, markersize=8)
        ax.plot(at[low], values[low], mark, color=colour, markersize=8, markerfacecolor="white")
        ends.append((float(at[-1]), float(values[-1]), name, style.ink_safe(colour)))
        told.append(f"{name}: {values[here]:.2f} by the formula, at best {values[low]:.2f}, at {at[low]:.2f}")
    for name, value in baselines.items():
        ax.axhline(value, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
        ends.append((float(at[-1]), float(value), name, style.QUIET))
    ax.axvline(formula, color="#BBBBBB", linewidth=1, zorder=0)
    most = max(max(v.max() for v in curves.values()), *baselines.values())
    base.note(ax, f"formula: {formula:.2f}", (formula, 0.03 * most), (4, 0))
    ax.set(xlabel="call it a defect from this probability on", ylabel=f"mean cost ({unit})", ylim=(0, 1.06 * most))
    base.label_ends(ax, ends)
    ax.set_xlim(at[0], at[-1])
    best = min(curves, key=lambda name: curves[name][np.abs(at - formula).argmin()])
    spent = curves[best][np.abs(at - formula).argmin()]
    base.title(ax, f"{best}, at the formula's threshold: {spent:.2f} {unit}; hollow marks are the lowest points",
               "; ".join(told) + ".")  # fmt: skip
    return ax


def piles(
    p: np.ndarray, y: np.ndarray, thumbs: np.ndarray, shown: Sequence[int] | np.ndarray, at: float, *, missed: float,
    false_alarm: float, classes: Sequence[str], unit: str = "€", ax: Any = None,
) -> Any:  # fmt: skip
    """Draw images in four piles, by what they are and what they are called, and what the errors cost.

    p: n probabilities of class 1, y: n labels, of which those at `shown` are drawn; thumbs: their small grey pictures,
    len(shown) × h × w. Within a pile the least probable comes first. The money is for all n, per 1,000 images.
    """
    shown = np.asarray(shown)
    ax = base.axes(ax, 8.0, 5.2)
    boxes = base.panels(ax, 2, 2, gap=(0.13, 0.05))
    order = shown[np.argsort(p[shown], kind="stable")]
    place = {int(image): k for k, image in enumerate(shown)}
    edge = thumbs.shape[-1] + 2
    columns = math.ceil(math.sqrt(2.3 * max(np.bincount(y[shown], minlength=2))))
    rows = math.ceil(max(np.bincount(y[shown], minlength=2)) / columns)
    total = costs(p, y, at, missed=missed, false_alarm=false_alarm).mean() * 1000
    for box, (is_, called, text) in zip(boxes, PILES, strict=True):
        inside = [i for i in order if y[i] == is_ and (p[i] >= at) == bool(called)]
        sheet = np.full((rows * edge, columns * edge), 255, dtype=np.uint8)
        for k, image in enumerate(inside):
            top, left = k // columns * edge + 1, k % columns * edge + 1
            sheet[top : top + edge - 2, left : left + edge - 2] = thumbs[place[int(image)]]
        box.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="antialiased", aspect="auto")
        count = int(((y == is_) & ((p >= at) == bool(called))).sum())
        price = {(0, 1): false_alarm, (1, 0): missed}.get((is_, called), 0.0)
        right = is_ == called
        colour = style.ink_safe(style.RIGHT if right else style.WRONG)
        words = f"{'✓' if right else '✗'} {text.format(*classes)}: {count}"
        words += f" × {price:g} {unit}" if price else ""
        box.set_title(words, fontsize=9.5, color=colour, loc="left", pad=4)
        box.set(xticks=[], yticks=[])
        for side in box.spines.values():
            side.set(visible=True, color=colour, linewidth=1.2)
    always = false_alarm * (y == 0).mean() * 1000
    finding = f"From p ≥ {at:.2f} on ‘{classes[1]}’: {total:,.0f} {unit} per 1,000 cells"
    base.title(ax, finding, f"Calling every cell {classes[1]} would cost {always:,.0f} {unit}.", pad=24)
    base.note(ax, f"calling every cell ‘{classes[1]}’: {always:,.0f} {unit}", (0, 0), (0, -9), xycoords="axes fraction")
    return ax


def refusals(
    scores: Mapping[str, Sequence[float] | np.ndarray], limit: float, *, label: str, below: bool = False, ax: Any = None
) -> Any:
    """Draw a score a picture, a row a kind, and the share beyond the limit, which are refused.

    scores: {kind: scores}; the first kind is what the network is for, the others are
    strangers. below: refuse low scores instead of high ones.
    """
    ax = base.axes(ax, 7.5, 0.95 + 0.5 * len(scores))
    rng, shares = np.random.default_rng(0), {}
    every = np.concatenate([np.asarray(v, dtype=float) for v in scores.values()])
    span = np.ptp(every)
    for row, (name, values) in enumerate(scores.items()):
        x = np.asarray(values, dtype=float)
        gone = x < limit if below else x > limit
        shares[name] = float(gone.mean())
        shift = row + rng.uniform(-0.26, 0.26, len(x))
        ax.plot(x[~gone], shift[~gone], "o", color=style.VALID, markersize=3.5, alpha=0.6)
        ax.plot(x[gone], shift[gone], "x", color=style.WRONG, markersize=4, alpha=0.7)
        base.note(ax, f"{100 * shares[name]:.0f} % refused", (every.max(), row), (9, 0), color=style.INK, fontsize=9)
    ax.axvline(limit, color=style.INK, linestyle=(0, (4, 3)), linewidth=1)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.tick_params(axis="y", length=0, labelcolor=style.INK)
    ax.set(ylim=(len(scores) - 0.5, -0.5), xlabel=f"{label}, ✗ refused")
    ax.set_xlim(every.min() - 0.03 * span, every.max() + 0.03 * span)
    first, *others = shares
    told = base.listed([f"{base.percent(shares[name], 0)} of the {name}" for name in others])
    low, high = (base.percent(end(shares[name] for name in others), 0) for end in (min, max))
    short = told if len(others) < 3 else f"{low.removesuffix(' %')} to {high} of each kind of stranger"
    finding = f"{label.split(':')[0].capitalize()} refuses {short}"
    base.title(ax, finding, f"It refuses {told}, and {base.percent(shares[first], 0)} of the {first}.")
    return ax


def by_certainty(p: np.ndarray, y: np.ndarray, *, majority: float, ax: Any = None) -> Any:
    """Draw the accuracy on what is kept when the least certain images go to a person, with Wilson intervals."""
    from sftlab.core.statistics import wilson

    p, y = np.asarray(p), np.asarray(y)
    order = np.argsort(-p.max(axis=1), kind="stable")
    hits = np.cumsum((p.argmax(axis=1) == y)[order])
    kept = np.arange(20, len(y) + 1)
    found = [wilson(int(hits[k - 1]), int(k)) for k in kept]
    x = kept / len(y)
    ax = base.axes(ax, 7.0, 3.1)
    ax.fill_between(x, [f.low for f in found], [f.high for f in found], color=style.VALID, alpha=0.15, linewidth=0)
    ax.plot(x, [f.value for f in found], color=style.VALID)
    base.majority_line(ax, majority)
    base.note(ax, "majority rate", (x[0], majority), (4, -8))
    half = found[int(np.abs(x - 0.5).argmin())]
    ax.plot(0.5, half.value, "o", color=style.VALID)
    ax.plot(1, found[-1].value, "o", color=style.VALID, clip_on=False)
    ax.set(xlim=(x[0], 1), ylabel="accuracy (%)")
    ax.set_xlabel("images the network answers itself (%), the most certain first")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda v, _: f"{100 * v:.0f}")
    finding = f"It answers all: {base.percent(found[-1].value)}; only the surer half: {base.percent(half.value)}"
    base.title(ax, finding, f"Majority rate {base.percent(majority)}.")
    return ax


def disagreements(right_a: np.ndarray, right_b: np.ndarray, names: tuple[str, str], *, ax: Any = None) -> Any:
    """Draw two models on the same images: both right, only one right, both wrong; only the middle tells them apart."""
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    parts = {
        "both right": (a & b, "#DCE3EA", ""), f"only {names[0]} right": (a & ~b, style.VALID, "//"),
        f"only {names[1]} right": (b & ~a, style.STRATEGIES["decay"], "\\\\"), "both wrong": (~a & ~b, "#BFBFBF", ""),
    }  # fmt: skip
    ax = base.axes(ax, 7.5, 1.9)
    left, told = 0, []
    for k, (name, (which, colour, hatch)) in enumerate(parts.items()):
        count = int(which.sum())
        ax.barh(0, count, left=left, color=colour, hatch=hatch, edgecolor="white", height=0.7)
        middle = 1 if k in (1, 2) else 0
        ax.text(left + count / 2, 0, str(count), ha="center", va="center", fontsize=11, weight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2} if middle else None)  # fmt: skip
        where = (left + count / 2, 0.4 if k % 2 == 0 else -0.4)
        base.note(ax, name, where, (0, 8 if k % 2 == 0 else -9), ha="center", fontsize=9, color=style.INK)
        left += count
        told.append(f"{name} {count}")
    ax.set(xlim=(0, len(a)), ylim=(-0.75, 0.75), yticks=[], xlabel=f"{len(a)} images")
    ax.spines["left"].set_visible(False)
    gap, p = difference(a, b), mcnemar(a, b)
    ends = f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})".replace("-", "−")
    finding = f"{names[0][:1].upper()}{names[0][1:]} against {names[1]}: {ends}, p = {p:.2g}"
    base.title(ax, finding, f"{', '.join(told)}.")
    return ax


def heatmaps(
    pixels: Any, rows: Mapping[str, Any], *, licence: str = "", title: str = "Heat maps", ax: Any = None
) -> Any:
    """Draw the same images (N×C×H×W) once a row, under the heat maps of the row, each scaled to its own maximum.

    rows: {caption: N maps h×w, or None for the images alone}.
    """
    pixels, n = np.asarray(pixels), len(pixels)
    captions = [name for name in rows for _ in range(n)]
    maps = [heat for row in rows.values() for heat in ([None] * n if row is None else np.asarray(row))]
    ax = image_grid(ax, np.concatenate([pixels] * len(rows)), captions, n, licence)
    room, look = (ax.get_xlim(), ax.get_ylim()), {"cmap": "inferno", "vmin": 0, "vmax": 1, "alpha": 0.55}
    for picture, heat in zip(list(ax.images), maps, strict=True):
        if heat is not None:
            share = heat / max(float(heat.max()), 1e-12)
            ax.imshow(share, extent=picture.get_extent(), interpolation="bilinear", **look)
    ax.set(xlim=room[0], ylim=room[1])
    base.title(ax, title, f"{n} images, row by row: {', '.join(rows)}.")
    return ax
