"""Three data sets of our own, without a network: `load("typefaces")`, `"characters"` and `"docstrings"`.

Typefaces asks in which of nine font families a word is printed: grey pictures of words of all sizes and shades, a
little turned, cut off where the picture ends. Valid and test are words that train does not have.

Characters are letters and digits drawn from matplotlib's own fonts: each picture is a printed glyph with a random
slant, turn, width, wobble and pen, made the way the handwritten digits were made, as black and white dots of four
times the size, of which each 4×4 block is then averaged.

Docstrings ask which library wrote a text: the sentences that describe a function or class, read once from the sources
of installed packages and stored here (`tools/docstrings.py`), so that results do not change with their releases.
"""

from __future__ import annotations

import hashlib
import json
import math
import string
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sftlab.data.dataset import Data, check_whole
from sftlab.data.splits import assemble, drop_copies, split_rows
from sftlab.data.storage import decoded, package_folder
from sftlab.data.texts import from_texts

LICENCE = (
    "drawn with DejaVu (Bitstream Vera licence), STIX (SIL OFL 1.1) and Computer Modern (BaKoMa Fonts Licence), all "
    "free to print with"
)
CITATION = (
    "DejaVu Fonts, after Bitstream Vera 2003; STIX Fonts 2010, STI Pub Companies; Computer Modern, Knuth 1986, as "
    "TrueType by Malyshev 1994 (BaKoMa)"
)
MERGED = "classes merged as in Cohen et al. 2017, EMNIST, arXiv:1702.05373"
ALPHABETS = {
    "digits": string.digits, "letters": string.ascii_letters, "all": string.digits + string.ascii_letters,
}  # fmt: skip
LOOK_ALIKES = set("cijklmopsuvwxyz")  # small letters that are the capital, once both fill the square
DOTS = 4  # a block of 4×4 black or white dots makes a grey pixel
CELLS = 3  # the wobble moves the corners of 3×3 cells


class Face(NamedTuple):
    """One way to print the alphabet: its family, its file, and which of Unicode's mathematical alphabets of that."""

    family: str
    file: str
    style: str = ""

    def code(self, character: str) -> int:
        """Return the code point under which this face keeps a character."""
        name = unicodedata.name(character).replace("LATIN ", "").replace("LETTER ", "")
        return ord(unicodedata.lookup(f"MATHEMATICAL {self.style} {name}") if self.style else character)


def _family(name: str, stem: str, *styles: str) -> list[Face]:
    return [Face(name, f"{stem}{style}.ttf") for style in styles]


FACES = [
    *_family("DejaVu Sans", "DejaVuSans", "", "-Bold", "-Oblique", "-BoldOblique"),
    *_family("DejaVu Sans Mono", "DejaVuSansMono", "", "-Bold", "-Oblique", "-BoldOblique"),
    *_family("DejaVu Serif", "DejaVuSerif", "", "-Bold", "-Italic", "-BoldItalic"),
    *_family("STIX", "STIXGeneral", "", "Bol", "Italic", "BolIta"),
    Face("STIX Sans", "STIXGeneral.ttf", "SANS-SERIF"),
    Face("STIX Mono", "STIXGeneral.ttf", "MONOSPACE"),
    *_family("CM Roman", "cm", "r10", "b10", "ti10"),
    Face("CM Sans", "cmss10.ttf"),
    Face("CM Typewriter", "cmtt10.ttf"),
]


def load_characters(
    *,
    alphabet: str = "all",
    copies: int = 20,
    size: int | None = None,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.15,
    **options: Any,
) -> Data:
    """Load printed characters, grey on black: 23 faces of nine font families, `copies` pictures of each glyph.

    alphabet: "digits" (10 classes), "letters" (37), or "all" (47); small letters that look like their capitals share a
    class with them. size: edge in pixels (8); other sizes are drawn anew, not enlarged. seed: of the split, which is by
    font family, so that valid and test are fonts never seen. The pictures are the same for every seed. options:
    per_class. About 10 s the first time, then from disk. Raises ValueError for an unknown alphabet or less than one
    copy.
    """
    if alphabet not in ALPHABETS:
        raise ValueError(f"alphabet={alphabet!r}: one of {', '.join(map(repr, ALPHABETS))}")
    check_whole(copies=copies)
    size, characters = size or 8, ALPHABETS[alphabet]
    classes = list(dict.fromkeys(label(c) for c in characters))
    labels = [classes.index(label(c)) for c in characters for _ in range(copies)] * len(FACES)
    some = _drawing(picture for face in FACES for picture in pictures(face, "4", 1, size))
    drawn = (picture[None] for face in FACES for c in characters for picture in pictures(face, c, copies, size))
    images, hashes = decoded(f"characters-{alphabet}-{copies}-{size}-{some}", (len(labels), 1, size, size), drawn)
    every, families = list(map(str, FACES)), [face.family for face in FACES]
    parts, _ = split_rows(np.arange(len(FACES)), [""] * len(FACES), every, families, valid=valid, test=test, seed=seed)
    faces = np.repeat(np.arange(len(FACES)), len(characters) * copies)
    rows, dropped = drop_copies([np.flatnonzero(np.isin(faces, part)) for part in parts], hashes)
    unseen = [", ".join(dict.fromkeys(families[k] for k in part)) for part in parts[1:]]
    notes = ["No hand wrote any of it: slant, turn, width, wobble and pen are random, the skeletons are print."]
    if dropped:
        notes.append(f"{len(dropped)} pictures were the same to the pixel in another split; they were dropped.")
    return assemble(
        images,
        torch.tensor(labels),
        classes,
        name=f"characters ({alphabet})",
        rule="the character that was printed; c and C, o and O and their like are one class",
        size=size,
        seed=seed,
        rows=rows,
        hashes=hashes,
        split=f"by font family, seed {seed}; valid: {unseen[0]}; test: {unseen[1]}",
        source="drawn from the fonts of matplotlib",
        licence=LICENCE,
        citation=f"{CITATION}; {MERGED}",
        notes=notes,
        **options,
    )


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
    from PIL import Image, ImageOps

    edge = max(48, DOTS * size)
    mask = _font(face, edge).getmask(chr(face.code(character)), mode="L")
    glyph = Image.frombytes("L", mask.size, bytes(mask))
    printed = ImageOps.contain(glyph.crop(glyph.getbbox()), (edge, edge), Image.Resampling.BILINEAR)
    rng = _random(f"{face.file} {face.code(character)}")
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


def _font(face: Face, size: int) -> Any:
    """Return a face as a font of PIL."""
    from PIL import ImageFont

    file = package_folder("matplotlib", "the fonts") / "mpl-data" / "fonts" / "ttf" / face.file
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def _random(what: str) -> np.random.Generator:
    """Return a generator that is a function of what is drawn."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big"))


def _drawing(some: Iterable[np.ndarray]) -> str:
    """Return a hash of a few pictures: what was drawn by other fonts, another Pillow or other code is not reused."""
    return hashlib.sha256(b"".join(picture.tobytes() for picture in some)).hexdigest()[:12]


VOCABULARY = """
acorn almond amber anchor apple apron arrow autumn badge bakery balcony banana barley basket beacon berry bicycle
blanket bottle branch bread bridge broom bucket button cabin camera candle canoe carpet carrot castle cedar cellar
cherry chimney cinnamon circle clover coffee compass copper coral corner cotton cradle cricket cupboard curtain daisy
dancer dolphin donkey dragon engine falcon feather fiddle flower forest fountain garden garlic ginger glacier glove
guitar hammer harbour hazel hedge helmet honey horizon island ivory jacket jasmine jungle kettle kitchen ladder lagoon
lantern laurel lemon letter library lizard lobster magnet mango maple marble market meadow melon mirror monkey morning
mountain mustard needle nutmeg ocean olive onion orange orchard otter oyster paddle palace paper parrot peach pebble
pencil pepper piano pillow pirate planet pocket potato pumpkin puzzle quarry quilt rabbit radish raven ribbon river
robin rocket saddle salmon sandal school shadow shelter silver sparrow spider spinach spoon squirrel station summer
sunset table teapot temple thimble thunder ticket tiger timber tomato tower tractor trumpet tulip tunnel turtle
umbrella valley velvet village violin walnut water whale willow window winter wizard yellow zebra
"""  # everyday words of five to eight letters, in small letters that all faces have


def load_typefaces(*, size: int | None = None, valid: float = 0.25, test: float = 0.25, **options: Any) -> Data:
    """Load printed words, dark grey on light grey: each word once in each of nine font families, which are the classes.

    size: edge in pixels (64); other sizes are drawn anew, not enlarged. Words are never torn apart by the split.
    The pictures are the same for every seed. options: per_class, seed.
    """
    size, families = size or 64, list(dict.fromkeys(face.family for face in FACES))
    table = [(word, family) for word in VOCABULARY.split() for family in families]
    drawn = (printed_word(word, family, size)[None] for word, family in table)
    some = _drawing(printed_word("zebra", family, size) for family in families)
    images, hashes = decoded(f"typefaces-{size}-{some}", (len(table), 1, size, size), drawn)
    return assemble(
        images,
        torch.tensor([families.index(family) for _, family in table]),
        families,
        name="typefaces",
        size=size,
        rule="the family of the font in which the word is printed",
        groups=[word for word, _ in table],
        hashes=hashes,
        valid=valid,
        test=test,
        source="drawn with the fonts of matplotlib",
        licence=LICENCE,
        citation=CITATION,
        notes=["Valid and test are words that train does not have."],
        **options,
    )


def printed_word(word: str, family: str, size: int) -> np.ndarray:
    """Return the picture of a word in one of the faces of a family, uint8 size×size, the same one every time."""
    from PIL import Image, ImageDraw

    rng = _random(f"{word} {family}")
    faces = [face for face in FACES if face.family == family]
    face, dots = faces[rng.integers(len(faces))], DOTS * size
    font = _font(face, int(rng.uniform(0.3, 0.45) * dots))
    text = "".join(chr(face.code(character)) for character in word)
    page = Image.new("L", (dots, dots))
    left, top, right, bottom = font.getbbox(text)
    room = dots - (right - left)  # below zero where the word is wider than the picture
    x = rng.uniform(min(0, room), max(0, room)) - left
    y = rng.uniform(0.05 * dots, 0.95 * dots - (bottom - top)) - top
    ImageDraw.Draw(page).text((x, y), text, 255, font)
    ink = np.asarray(page.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR).reduce(DOTS)) / 255
    dark, light = rng.uniform(0, 90), rng.uniform(150, 255)
    slope, (v, u) = rng.normal(0, 25, 2), np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j]
    grey = light + (dark - light) * ink + slope[0] * u + slope[1] * v + rng.normal(0, 4, ink.shape)
    return grey.clip(0, 255).astype(np.uint8)


def load_docstrings(*, split: str = "grouped", valid: float = 0.2, test: float = 0.3, **options: Any) -> Data:
    """Load 400 docstrings of each of five libraries, as `docstrings.json` beside this file has them.

    split: "grouped", which keeps each module (numpy.fft, torch.optim, …) in one part, or "random". The card names the
    versions they were read from. options: size, per_class, seed.
    """
    notes = {
        "grouped": "Whole modules (numpy.fft, torch.optim, …) lie in one part of the split.",
        "random": "Texts of one module fall on both sides of a random split, which flatters the number.",
    }
    if split not in notes:
        raise ValueError(f"split={split!r}: 'grouped' or 'random'")
    stored = json.loads(Path(__file__).with_name("docstrings.json").read_text(encoding="utf-8"))
    libraries, modules, places, texts = zip(*stored["rows"], strict=True)
    left_out = "Sentences with code or package names, prompts, section headers and what follows them are left out."
    return from_texts(
        texts,
        libraries,
        classes=list(stored["versions"]),
        groups=modules if split == "grouped" else None,
        files=places,
        name="docstrings",
        rule="the library in whose source the docstring stands",
        valid=valid,
        test=test,
        source="read from " + ", ".join(f"{library} {number}" for library, number in stored["versions"].items()),
        licence="BSD 3-Clause (numpy, scipy, scikit-learn, torch), matplotlib licence (after the Python licence)",
        citation="the contributors of these libraries",
        notes=[left_out, notes[split]],
        **options,
    )
