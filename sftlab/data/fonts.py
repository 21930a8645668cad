"""`load("characters")`: letters and digits drawn from matplotlib's own fonts, a large labelled set without a network.

Each picture is a printed glyph with a random slant, turn, width, wobble and pen, made the way the handwritten digits
were made: as black and white dots of four times the size, of which each 4×4 block is then averaged.
"""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sftlab.data.assembly import assemble
from sftlab.data.core import Data
from sftlab.data.splits import drop_copies, grouped_split
from sftlab.data.storage import decoded

LICENCE = (
    "drawn with DejaVu (Bitstream Vera licence), STIX (SIL OFL 1.1) and Computer Modern (BaKoMa Fonts Licence), all "
    "free to print with"
)
CITATION = (
    "DejaVu Fonts, after Bitstream Vera 2003; STIX Fonts 2010, STI Pub Companies; Computer Modern, Knuth 1986, as "
    "TrueType by Malyshev 1994 (BaKoMa); classes merged as in Cohen et al. 2017, EMNIST, arXiv:1702.05373"
)
ALPHABETS = {
    "digits": string.digits, "letters": string.ascii_letters, "all": string.digits + string.ascii_letters,
}  # fmt: skip
LOOK_ALIKES = set("cijklmopsuvwxyz")  # small letters that are the capital, once both fill the square
DOTS = 4  # a block of 4×4 black or white dots makes a grey pixel
CELLS = 3  # the wobble moves the corners of 3×3 cells


@dataclass(frozen=True)
class Face:
    """One way to print the alphabet: its family, its file, and where its digits, capitals and small letters begin."""

    family: str
    file: str
    starts: tuple[int, int, int] = (ord("0"), ord("A"), ord("a"))

    def code(self, character: str) -> int:
        """Return the code point under which this face keeps a character."""
        alphabets = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
        for start, ordinary in zip(self.starts, alphabets, strict=True):
            if character in ordinary:
                return start + ordinary.index(character)
        raise ValueError(f"{character!r} is not one of {ALPHABETS['all']}")


def _family(name: str, stem: str, *styles: str) -> list[Face]:
    return [Face(name, f"{stem}{style}.ttf") for style in styles]


FACES = [
    *_family("DejaVu Sans", "DejaVuSans", "", "-Bold", "-Oblique", "-BoldOblique"),
    *_family("DejaVu Sans Mono", "DejaVuSansMono", "", "-Bold", "-Oblique", "-BoldOblique"),
    *_family("DejaVu Serif", "DejaVuSerif", "", "-Bold", "-Italic", "-BoldItalic"),
    *_family("STIX", "STIXGeneral", "", "Bol", "Italic", "BolIta"),
    Face("STIX Sans", "STIXGeneral.ttf", (0x1D7E2, 0x1D5A0, 0x1D5BA)),  # Unicode's mathematical alphabets
    Face("STIX Mono", "STIXGeneral.ttf", (0x1D7F6, 0x1D670, 0x1D68A)),
    *_family("CM Roman", "cm", "r10", "b10", "ti10"),
    Face("CM Sans", "cmss10.ttf"),
    Face("CM Typewriter", "cmtt10.ttf"),
]


def load_characters(
    *, alphabet: str = "all", copies: int = 20, size: int | None = None, per_class: int | None = None, seed: int = 0,
    valid: float = 0.15, test: float = 0.15,
) -> Data:  # fmt: skip
    """Load printed characters, grey on black: 23 faces of nine font families, `copies` pictures of each glyph.

    alphabet: "digits" (10 classes), "letters" (37), or "all" (47); small letters that look like their capitals share a
    class with them. size: edge in pixels (8); other sizes are drawn anew, not enlarged. seed: of the split, which is by
    font family, so that valid and test are fonts never seen. The pictures are the same for every seed. About 10 s
    the first time, then from disk. Raises ValueError for an unknown alphabet or fewer than one copy.
    """
    if alphabet not in ALPHABETS:
        raise ValueError(f"alphabet={alphabet!r}: one of {', '.join(map(repr, ALPHABETS))}")
    if copies < 1:
        raise ValueError(f"copies={copies}: at least one picture of each glyph")
    size, characters = size or 8, ALPHABETS[alphabet]
    classes = list(dict.fromkeys(label(c) for c in characters))
    table = [(face, c) for face in FACES for c in characters for _ in range(copies)]
    images, hashes = decoded(
        f"characters-{alphabet}-{copies}-{size}-{_drawing(size)}", (len(table), 1, size, size),
        (picture[None] for face in FACES for c in characters for picture in pictures(face, c, copies, size)),
    )  # fmt: skip
    each = len(characters) * copies
    parts = grouped_split(["face"] * len(FACES), [f.family for f in FACES], list(map(str, FACES)), valid=valid,
                          test=test, seed=seed)  # fmt: skip
    train, *others = (np.concatenate([np.arange(k * each, (k + 1) * each) for k in part]) for part in parts)
    rows, dropped = drop_copies((train, others[0], others[1]), hashes)
    unseen = [", ".join(dict.fromkeys(FACES[k].family for k in part)) for part in parts[1:]]
    notes = ["No hand wrote any of it: slant, turn, width, wobble and pen are random, the skeletons are print."]
    if dropped:
        notes.append(f"{len(dropped)} pictures were the same to the pixel in another split; they were dropped.")
    names = [label(c) for _, c in table]
    return assemble(
        images, torch.tensor([classes.index(name) for name in names]), classes, name=f"characters ({alphabet})",
        rule="the character that was printed; c and C, o and O and their like are one class",
        size=size, per_class=per_class, seed=seed, rows=rows, hashes=hashes,
        split=f"by font family, seed {seed}; valid: {unseen[0]}; test: {unseen[1]}",
        source="drawn from the fonts of matplotlib", licence=LICENCE, citation=CITATION,
        notes=notes,
    )  # fmt: skip


def label(character: str) -> str:
    """Return the class of a character: itself, or its capital where the two look alike.

    >>> label("c"), label("a"), label("7")
    ('C', 'a', '7')
    """
    return character.upper() if character in LOOK_ALIKES else character


def pictures(face: Face, character: str, copies: int, size: int) -> Iterator[np.ndarray]:
    """Iterate over `copies` pictures of one glyph, uint8 size×size, the same ones every time.

    They depend on the glyph and their number alone: more copies add to those there are, another alphabet changes none.
    """
    edge = max(48, DOTS * size)
    printed = _glyph(face, character, edge)
    key = hashlib.sha256(f"{face.file} {face.code(character)}".encode()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(key, "big"))
    for _ in range(copies):
        yield _written(printed, edge, size, rng)


def _written(printed: Any, edge: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one picture of a glyph: slanted, turned and wobbled, fitted to the square, gone over with a pen."""
    from PIL import Image, ImageFilter

    turn, slant = math.radians(rng.uniform(-14, 14)), rng.uniform(-0.3, 0.3)
    side = 2 * edge
    ticks = np.linspace(0, side, CELLS + 1).round()
    v, u = np.meshgrid(ticks - edge, ticks - edge, indexing="ij")  # of the page, from its centre
    x, y = math.cos(turn) * u + math.sin(turn) * v, math.cos(turn) * v - math.sin(turn) * u
    x, y = (part + rng.normal(0, 0.07 * edge, part.shape) for part in (x + slant * y, y))
    x, y = x + printed.width / 2, y + printed.height / 2  # where each corner of a cell is in the glyph
    cells = []
    for i, j in np.ndindex(CELLS, CELLS):
        corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
        box = tuple(int(t) for t in (ticks[j], ticks[i], ticks[j + 1], ticks[i + 1]))
        cells.append((box, [float(part[corner]) for corner in corners for part in (x, y)]))
    page = printed.transform((side, side), Image.Transform.MESH, cells, Image.Resampling.BILINEAR)
    page = page.crop(page.getbbox())

    dots = DOTS * size
    height = dots * rng.uniform(0.88, 1)
    width = min(dots * rng.uniform(0.7, 1), page.width / page.height * height * math.exp(rng.uniform(-0.25, 0.25)))
    box = max(2, round(width)), max(2, round(height))
    aside = round((dots - box[0]) / 2 + rng.uniform(-1, 1) * min((dots - box[0]) / 2, 0.06 * dots))
    square = Image.new("L", (dots, dots))
    square.paste(page.resize(box, Image.Resampling.BILINEAR), (aside, round((dots - box[1]) / 2)))

    soft = np.asarray(square.filter(ImageFilter.GaussianBlur(dots * rng.uniform(0.03, 0.07))))
    ink = int(rng.uniform(0.3, 0.6) * box[0] * box[1])  # a thick pen blackens more of the box than a thin one
    black = soft > np.partition(soft.ravel(), -ink - 1)[-ink - 1]
    return np.asarray(Image.fromarray(black.astype(np.uint8) * 255).reduce(DOTS))


def _glyph(face: Face, character: str, edge: int) -> Any:
    """Return the printed glyph as a PIL image, its longer edge `edge` dots, cut to its ink."""
    from PIL import Image, ImageFont

    path = _folder() / face.file
    font = ImageFont.truetype(str(path), edge, layout_engine=ImageFont.Layout.BASIC)
    mask = font.getmask(chr(face.code(character)), mode="L")
    glyph = Image.frombytes("L", mask.size, bytes(mask))
    glyph = glyph.crop(glyph.getbbox())
    scale = edge / max(glyph.size)
    width, height = (max(1, round(scale * s)) for s in glyph.size)
    return glyph.resize((width, height), Image.Resampling.BILINEAR)


def _folder() -> Path:
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise FileNotFoundError("the fonts come with matplotlib; run: pip install matplotlib")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


def _drawing(size: int) -> str:
    """Return a hash of a few pictures: what was drawn by other fonts, another Pillow or other code is not reused."""
    some = [picture for face in FACES for picture in pictures(face, "4", 1, size)]
    return hashlib.sha256(b"".join(picture.tobytes() for picture in some)).hexdigest()[:12]
