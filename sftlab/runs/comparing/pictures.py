"""The images behind a record, found again by their hashes in the data that the run was told to use."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sftlab import data
from sftlab.runs.comparing.pairs import Side

EDGE = 120  # of a thumbnail, in pixels
OFFLINE = ("digits", "solar")  # what comes with the installation, for notebooks that name no DATA


@dataclass(frozen=True)
class Pictures:
    """Thumbnails as `data:` addresses by image hash, and the licence that is shown with them."""

    by_hash: dict[str, str]
    licence: str


def find(sides: Sequence[Side], hashes: Sequence[str]) -> Pictures | None:
    """Return thumbnails of the images with these hashes; None if no data set of the two runs holds them all."""
    for name, size in _candidates(sides):
        try:
            every = data.load(name, size=size)
        except (OSError, ValueError):  # a folder that has moved, a set that is not on this machine
            continue
        rows = {image: i for i, image in enumerate(every.train.image_hashes)}
        if all(image in rows for image in hashes):
            split = every.train.of_rows([rows[image] for image in hashes])
            pixels = split.pixels(np.arange(len(hashes))).numpy()
            return Pictures(dict(zip(hashes, map(_thumbnail, pixels), strict=True)), every.card.licence)
    return None


def _candidates(sides: Sequence[Side]) -> Iterator[tuple[str, int | None]]:
    told = [value for side in sides for value in side.settings.values() if isinstance(value, str)]
    named = [value for value in told if value.startswith("folder:") or value in data.datasets()]
    size = sides[0].result.settings.get("size")
    for name in dict.fromkeys([*named, *OFFLINE]):
        yield name, size


def _thumbnail(pixels: np.ndarray) -> str:
    from PIL import Image

    picture = pixels.transpose(1, 2, 0)
    image = Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0])
    small = image.width < EDGE // 2  # a digit of eight pixels stays one of eight pixels
    image = image.resize((EDGE, EDGE), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
