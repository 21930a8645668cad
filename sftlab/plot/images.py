"""Images in a grid: what a split holds, and what a network got wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Result
from sftlab.plot import base, style

Positions = Sequence[int] | np.ndarray | None


def images(
    source: Any, positions: Positions = None, titles: Sequence[str] | None = None, *,
    columns: int | None = None, licence: str | None = None, title: str | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw images of a split, each with its class, or with `titles` in its place.

    source: a Split, or a Data, whose train split is then shown and whose card gives the licence. positions:
    which of its images (default: the first twelve). titles: captions; ✓ and ✗ at their start colour them.
    columns: images a row (default: at most six). title: the figure's, in place of a count.
    """
    split, licence = _split(source, "train", licence)
    chosen = np.arange(min(12, len(split))) if positions is None else np.asarray(positions, dtype=np.int64)
    if not len(chosen):
        raise ValueError("no position given, so there is no image to draw")
    captions = list(titles) if titles is not None else class_names(split, chosen)
    if len(captions) != len(chosen):
        raise ValueError(f"{len(captions)} titles for {len(chosen)} images")
    ax = _grid(ax, split.pixels(chosen).numpy(), captions, columns, licence)
    size = f"{split.size}×{split.size} pixels"
    finding = title or f"{len(chosen)} of {len(split):,} {split.name} images, {size}"
    base.title(ax, finding, f"In order: {', '.join(c.replace(chr(10), ' ') or 'untitled' for c in captions)}.")
    return ax


def views(
    split: Any, positions: Sequence[int], others: Mapping[str, Any], *, licence: str | None = None,
    title: str | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the same images as they are and in other views, a row each.

    positions: which of the split's images. others: {what it is called: what delivers it, such as a `data.View`}.
    """
    chosen = np.asarray(positions, dtype=np.int64)
    shown = {"as it is": split, **others}
    captions = [f"{known}, {name}" for name in shown for known in class_names(split, chosen)]
    pixels = np.concatenate([view.pixels(chosen).numpy() for view in shown.values()])
    ax = _grid(ax, pixels, captions, len(chosen), licence or "")
    finding = title or f"{len(chosen)} images in {len(shown)} views"
    base.title(ax, finding, f"Row by row: {'; '.join(shown)}.")
    return ax


def mistakes(
    result: Result,
    source: Any,
    n: int = 12,
    *,
    columns: int | None = None,
    licence: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the images that the network got wrong, the most confident mistakes first, each as true → called.

    source: the Split that was evaluated, or the Data it belongs to. Raises ValueError if it holds other
    images.
    """
    split, licence = _split(source, result.split, licence)
    where = {h: i for i, h in enumerate(split.hashes)}
    wrong = most_confident_mistakes(result)
    if any(result.hashes[i] not in where for i in wrong):
        raise ValueError(f"this result is of other images than the {split.name} split holds; give the evaluated one")
    if not wrong:
        ax = base.axes(ax, 7.5, 1.2)
        ax.set_axis_off()
        base.title(ax, f"No mistake among {result.n} {result.split} images")
        return ax
    shown = wrong[:n]
    called = result.predictions
    told = [
        (result.classes[result.targets[i]], result.classes[called[i]], 100 * max(result.probabilities[i]))
        for i in shown
    ]
    captions = [f"is {base.clip(is_, 14)}\n✗ {base.clip(said, 12)} {p:.0f} %" for is_, said, p in told]
    pixels = split.pixels(np.array([where[result.hashes[i]] for i in shown])).numpy()
    ax = _grid(ax, pixels, captions, columns, licence)
    finding = f"{len(wrong)} of {result.n} {result.split} images wrong"
    finding += "; the most confident first" if len(shown) == len(wrong) else f"; the {len(shown)} most confident"
    finding += ", ✗ what the network said"
    words = "; ".join(f"{is_} called {said} with {p:.0f} %" for is_, said, p in told)
    base.title(ax, finding, f"{words}.")
    return ax


def confused(
    result: Result, data: Any, true: str, called: str, *, alike: Any = None, most: int = 6, licence: str | None = None,
    ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the images of one cell of a confusion matrix, each with the probabilities of both classes.

    data: the Data it belongs to. true, called: names of classes. alike: how much each evaluated image resembles each
    training image, n × m; below each image then stands the training image of the called class that resembles it
    most. most: images shown at most. Raises ValueError for a class that the result does not know.
    """
    if unknown := {true, called} - set(result.classes):
        raise ValueError(f"{unknown.pop()!r} is no class of this result; there are {', '.join(result.classes)}")
    split, licence = _split(data, result.split, licence)
    is_, was = result.classes.index(true), result.classes.index(called)
    cell = [i for i, pair in enumerate(zip(result.targets, result.predictions, strict=True)) if pair == (is_, was)]
    ax = base.axes(ax, 7.5, 2.3 if alike is None else 3.9)  # one size, however many images a cell has
    if not cell:
        ax.set_axis_off()
        base.title(ax, f"No ‘{true}’ was called ‘{called}’")
        return ax
    shown, mark = cell[:most], "✓" if is_ == was else "✗"
    where = {h: i for i, h in enumerate(split.hashes)}
    pixels = [split.pixels(np.array([where[result.hashes[i]] for i in shown])).numpy()]
    captions = [f"{mark} {called}: {result.probabilities[i][was]:.0%}" for i in shown]
    if is_ != was:
        captions = [
            f"{said}\n{true}: {result.probabilities[i][is_]:.0%}" for said, i in zip(captions, shown, strict=True)
        ]
    if alike is not None:
        known = np.flatnonzero(np.asarray(data.train.y) == was)
        near = known[np.asarray(alike)[np.ix_(np.array(shown), known)].argmax(axis=1)]
        pixels.append(data.train.pixels(near).numpy())
        captions += [f"nearest ‘{called}’\nin training"] * len(shown)
    ax = _grid(ax, np.concatenate(pixels), captions, len(shown), licence)
    ax.set_anchor("NW")  # few images stand where many begin
    finding = f"{len(cell)} of {result.targets.count(is_)} ‘{true}’ were called ‘{called}’"
    base.title(ax, finding, f"In order: {', '.join(c.replace(chr(10), ', ') for c in captions)}.")
    return ax


def most_confident_mistakes(result: Result) -> list[int]:
    """Return the rows of a result that are wrong, the highest probability of the wrong class first."""
    rows = [i for i, (t, p) in enumerate(zip(result.targets, result.predictions, strict=True)) if t >= 0 and t != p]
    return sorted(rows, key=lambda i: -max(result.probabilities[i]))


def class_names(split: Any, positions: np.ndarray) -> list[str]:
    """Return each image's class name: the most probable of soft targets, the first of several tasks."""
    y, names = split.labels(positions), split.classes
    if isinstance(y, dict):
        task = next(iter(y))
        y, names = y[task], names[task]
    numbers = y.argmax(dim=1) if y.ndim == 2 else y
    return [names[k] if k >= 0 else "" for k in numbers.tolist()]


def _split(source: Any, name: str, licence: str | None) -> tuple[Any, str]:
    """Return (split, licence) of a Split, or of a Data and its card."""
    card = getattr(source, "card", None)
    if card is None:
        return source, licence or ""
    return getattr(source, name), card.licence if licence is None else licence


def size_of_grid(count: int, columns: int | None, lines: int, licence: str) -> tuple[float, float]:
    """Return width and height in inches of a figure of `count` images with captions of `lines` lines."""
    columns, tile, room = _layout(count, columns, lines)
    return columns * tile, math.ceil(count / columns) * tile * (0.96 + room) + (0.5 if licence else 0.36)


def _verdict(text: str) -> str:
    """Return the colour of a caption: ✓ and ✗ have one each, other words are ink."""
    return style.ink_safe({"✓": style.RIGHT, "✗": style.WRONG}.get(text[:1], style.INK))


def _layout(count: int, columns: int | None, lines: int) -> tuple[int, float, float]:
    """Return columns, inches a column, and the caption's height in columns."""
    columns = min(columns or 6, count)
    tile = min(1.7, 8.2 / columns)
    return columns, tile, (0.04 + 0.165 * lines) / tile


def _grid(ax: Any, pixels: np.ndarray, captions: list[str], columns: int | None, licence: str) -> Any:
    """Lay the images (N×C×H×W) out on one Axes, a unit square each, captions below."""
    lines = max(text.count("\n") + 1 for text in captions)
    columns, tile, room = _layout(len(pixels), columns, lines)
    rows = math.ceil(len(pixels) / columns)
    wide, high = size_of_grid(len(pixels), columns, lines, licence)
    ax = base.axes(ax, wide, high)
    letters = max(4, int(tile * 13.5))
    for k, (image, text) in enumerate(zip(pixels, captions, strict=True)):
        x, y = k % columns, -(k // columns) * (0.96 + room)
        picture = image.transpose(1, 2, 0)
        picture = picture if picture.shape[2] == 3 else picture[..., 0]
        ax.imshow(
            picture,
            cmap="gray",
            vmin=0,
            vmax=255,
            extent=(x + 0.02, x + 0.98, y - 0.96, y),
            interpolation="auto",
        )
        shown = "\n".join(base.clip(line, letters) for line in text.split("\n"))
        ax.text(
            x + 0.5,
            y - 0.98,
            shown,
            ha="center",
            va="top",
            fontsize=8,
            color=_verdict(text),
            linespacing=1.25,
        )
    bottom = -rows * (0.96 + room) + 0.02
    ax.set(xlim=(0, columns), ylim=(bottom, 0.01), aspect="equal")
    ax.set_axis_off()
    if licence:
        words = base.clip(f"Pictures: {licence}", int(wide * 17))
        base.note(ax, words, (0, 0), (2, -2), xycoords="axes fraction", va="top", fontsize=7)
    return ax
