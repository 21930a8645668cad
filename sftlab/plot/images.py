"""Images in a grid: what a split holds, what a network got wrong, heat maps over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sftlab.core.records import Result
from sftlab.plot import base, style

LEAST = 3.4  # inches: a title needs as much, however few images there are


def images(
    source: Any,
    positions: Sequence[int] | np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    licence: str | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw images of a split, each with its class, or with `titles` in its place.

    source: a Split, or a Data, whose train split is then shown and whose card gives the licence. positions: which of
    its images (default: the first twelve). titles: captions; ✓ and ✗ at their start colour them. columns: images a row
    (default: at most six). title: the figure's, in place of a count.
    """
    split, licence = split_of(source, "train", licence)
    chosen = np.arange(min(12, len(split))) if positions is None else np.asarray(positions, dtype=np.int64)
    if not len(chosen):
        raise ValueError("no position given, so there is no image to draw")
    captions = list(titles) if titles is not None else class_names(split, chosen)
    if len(captions) != len(chosen):
        raise ValueError(f"{len(captions)} titles for {len(chosen)} images")
    ax = image_grid(ax, split.pixels(chosen).numpy(), captions, columns, licence)
    finding = title or f"{len(chosen)} of {len(split):,} {split.name} images, {split.size}×{split.size} pixels"
    words = "; ".join(caption.replace("\n", ", ") or "untitled" for caption in captions)
    base.title(ax, finding, f"In order: {words}.")
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
    """Draw the images that the network got wrong, the most confident mistakes first: the truth, the answer, the file.

    source: the Split that was evaluated, or the Data it belongs to. Raises ValueError if it holds other images.
    """
    split, licence = split_of(source, result.split, licence)
    where = {image: i for i, image in enumerate(split.ids)}
    wrong = most_confident_mistakes(result)
    if not {result.hashes[i] for i in wrong} <= where.keys():
        raise ValueError(f"this result is of other images than the {split.name} split holds; give the evaluated one")
    if not wrong:
        return base.empty(ax, f"No mistake among {result.n} {result.split} images")
    captions, shown = [], split.subset([where[result.hashes[i]] for i in wrong[:n]])
    for i, name in zip(wrong, shown.names, strict=False):
        truth, called = (base.clip(result.classes[k], 13) for k in (result.targets[i], result.predictions[i]))
        file = f"\n{name.rpartition('/')[2]}" if split.files else ""
        captions.append(f"is {truth}\n✗ {called} {100 * max(result.probabilities[i]):.0f} %{file}")
    order = "the most confident first" if len(wrong) <= n else f"the {n} most confident"
    title = f"{len(wrong)} of {result.n} {result.split} images wrong; {order}, ✗ what the network said"
    return images(shown, range(len(shown)), captions, columns=columns, licence=licence, title=title, ax=ax)


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
    return [names[k] if k >= 0 else "" for k in (y.argmax(dim=1) if y.ndim == 2 else y).tolist()]


def split_of(source: Any, name: str, licence: str | None) -> tuple[Any, str]:
    """Return (split, licence) of a Split, or of a Data and its card."""
    card = getattr(source, "card", None)
    if card is None:
        return source, licence or ""
    return getattr(source, name), card.licence if licence is None else licence


def image_grid(ax: Any, pixels: np.ndarray, captions: list[str], columns: int | None, licence: str) -> Any:
    """Lay the images (N×C×H×W) out on one Axes, a unit square each, captions below; ✓ and ✗ colour a caption."""
    columns = min(columns or 6, len(pixels))
    tile = min(1.7, 8.2 / columns)  # inches
    lines = max(text.count("\n") + 1 for text in captions)
    pitch = 0.96 + (0.04 + 0.165 * lines) / tile  # from row to row, in tiles: an image and its caption
    rows = math.ceil(len(pixels) / columns)
    ax = base.axes(ax, max(columns * tile, LEAST), rows * tile * pitch + (0.5 if licence else 0.36))
    for k, (image, text) in enumerate(zip(pixels, captions, strict=True)):
        x, y = k % columns, -(k // columns) * pitch
        photo = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        ax.imshow(photo, cmap="gray", vmin=0, vmax=255, extent=(x + 0.02, x + 0.98, y - 0.96, y), interpolation="auto")
        caption = "\n".join(base.clip(line, max(4, int(tile * 13.5))) for line in text.split("\n"))
        colour = style.verdict(text)
        ax.text(x + 0.5, y - 0.98, caption, ha="center", va="top", fontsize=8, color=colour, linespacing=1.25)
    ax.set(xlim=(0, max(columns, LEAST / tile)), ylim=(0.02 - rows * pitch, 0.01), aspect="equal")
    ax.set_axis_off()
    base.licence_line(ax, licence)
    return ax
