"""Your own photographs: one photo reader, the files of a folder, and class folders as a data set.

`load("folder:…")`, `predict`, `export` and the upload widget call it.
"""

from __future__ import annotations

import os
import threading
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sftlab.data.dataset import Data
from sftlab.data.splits import Rows, assemble, check_shares, draw, drop_copies
from sftlab.data.storage import allocate, image_hash

Photos = Sequence[str | Path] | str | Path
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
MOST_NOTES = 5
# Pictures only: no PDF, PostScript or video. "JPEG" includes the multi-picture files of phones.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MOST_PIXELS = 178_956_970  # Pillow's own bound: above it a small file may be a trap that fills the memory
_opening = threading.Lock()  # warnings are silenced for the whole process, so one thread at a time
LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # beside everything that begins with a dot


if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class _Photo:
    path: Path
    name: str  # relative to the whole folder, with forward slashes
    split: str  # "" where the folders name none
    label: str


def load_folder(
    path: str | Path,
    *,
    size: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.25,
    groups: Callable[[str], object] | None = None,
) -> Data:
    """Load photographs from class folders, or from train, valid (or val) and test folders above them.

    Folders below a class folder belong to it. A split that has no folder is drawn from train at random
    (`valid` and `test` are then shares of train). groups: a function from a file's name, such as
    "cat/tom_03.jpg", to what the split must not tear apart (a person, a module, a day); only where the
    folders name no splits. A file that cannot be read is left out and listed in `card.skipped`; so is a
    picture of train or valid that is in test as well. A picture that lies in two classes is named in
    `card.notes`.

    Raises FileNotFoundError or NotADirectoryError for the path, ValueError for what cannot be a data set: no
    class folders, one class, a class without a picture that can be read, or with fewer different ones than
    splits.
    """
    check_shares(valid, test)
    size = size or 224
    root = _checked(path)
    folders = _class_folders(root)
    given = {split for split, _ in folders} - {""}
    if groups is not None and given:
        raise ValueError(f"groups= has no use where folders name the splits ({', '.join(sorted(given))}); omit it")
    photos = [
        _Photo(path, _name(root, path), split, _normal(folder.name))
        for split, folder in folders
        for path in _below(folder)
    ]
    images, photos, skipped = _read(photos, size)
    labels = [photo.label for photo in photos]
    classes = sorted({_normal(folder.name) for _, folder in folders})
    _check_classes(root, classes, labels, skipped)
    skipped |= {_name(root, p): "in no class folder" for p in _strays(root, bool(given))}
    hashes = [image_hash(image) for image in images]
    rows, split = None, ""
    if given:
        rows, dropped = drop_copies(_rows(photos), hashes)
        skipped |= {photos[i].name: f"the same picture is in {where}" for i, where in dropped.items()}
        _check_classes(root / "train", classes, [labels[i] for i in rows[0]], skipped)
        split, shares = "as the folders are", {"valid": valid, "test": test}
        if missing := [name for name in shares if name not in given]:
            train, *parts = draw(rows[0], labels, hashes, [shares[name] for name in missing], seed)
            new = dict(zip(missing, parts, strict=True))
            rows = (train, new.get("valid", rows[1]), new.get("test", rows[2]))
            split += f", {' and '.join(missing)} drawn from train, seed {seed}"
    return assemble(
        images,
        torch.tensor([classes.index(label) for label in labels]),
        classes,
        name=root.name,
        rule="the name of the folder",
        rows=rows,
        split=split,
        size=size,
        per_class=per_class,
        seed=seed,
        valid=valid,
        test=test,
        hashes=hashes,
        groups=[groups(photo.name) for photo in photos] if groups is not None else None,
        files=[str(photo.path) for photo in photos],
        source=f"your own folder {root}",
        notes=_copies(photos, hashes),
        skipped=skipped,
    )


def _checked(path: str | Path) -> Path:
    if not str(path):
        raise ValueError("'folder:' needs a path, such as load('folder:photos')")
    root = Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}; expected one with a folder of photos for each class")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected a folder with a folder of photos for each class")
    return root.resolve()


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS may store é as two characters, Linux as one


def _name(root: Path, path: Path) -> str:
    return _normal(path.relative_to(root).as_posix())


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, in one order on every system, without hidden files and system litter."""
    visible = [p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in LITTER]
    return sorted(visible, key=lambda p: _normal(p.name))


def _class_folders(root: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) for each class folder, the split "" where the folders name none."""
    folders = [p for p in _visible(root) if p.is_dir()]
    roles = {folder: SPLITS[folder.name.lower()] for folder in folders if folder.name.lower() in SPLITS}
    # A "train" beside "bus" and "tram" is a class; alone, or beside a "test", it is a split.
    if "train" not in roles.values() or (len(roles) == 1 and len(folders) > 1):
        classes = [("", folder) for folder in folders]
    else:
        twice = [f.name for f, role in roles.items() if list(roles.values()).count(role) > 1]
        if twice:
            raise ValueError(f"{root} has {' and '.join(twice)}: two folders for one split; keep one of them")
        if len(roles) < len(folders):
            others = [f.name for f in folders if f not in roles]
            raise ValueError(f"{root} has {', '.join(others)} beside its splits; expected train, valid and test only")
        classes = [(role, p) for folder, role in roles.items() for p in _visible(folder) if p.is_dir()]
    if not classes:
        raise ValueError(f"{root} has no class folders; expected a folder for each class, such as cat and dog")
    return classes


def _strays(root: Path, given: bool) -> list[Path]:
    above = [root, *(p for p in _visible(root) if given and p.is_dir())]
    return [p for folder in above for p in _visible(folder) if not p.is_dir()]


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Iterate over all visible files in a folder and below."""
    above |= {folder.resolve()}
    for path in _visible(folder):
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:  # a link may lead in a circle
            yield from _below(path, above)


def _read(photos: list[_Photo], size: int) -> tuple[np.ndarray, list[_Photo], dict[str, str]]:
    """Return (uint8 N×3×size×size, the photographs that could be read, why the others could not)."""

    def attempt(photo: _Photo) -> np.ndarray | str:
        try:
            return read_photo(photo.path, size)
        except (OSError, ValueError) as error:
            return str(error)

    images = allocate((len(photos), 3, size, size))
    readable, skipped = list[_Photo](), dict[str, str]()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
        for photo, image in zip(photos, pool.map(attempt, photos), strict=True):
            if isinstance(image, str):
                skipped[photo.name] = image
            else:
                images[len(readable)] = image
                readable.append(photo)
    return images[: len(readable)], readable, skipped


def _check_classes(root: Path, classes: list[str], labels: list[str], skipped: dict[str, str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"{root} has one class, {classes[0]}; classifying needs a folder for each of at least two")
    count = Counter(labels)
    for name in classes:
        if not count[name]:
            tried = [f"{file}: {why}" for file, why in skipped.items() if f"{name}/" in file]
            because = f" ({len(tried)} skipped, such as {tried[0]})" if tried else ""
            raise ValueError(f"{root} has no usable photograph of the class {name}{because}; add some or remove it")


def _rows(photos: list[_Photo]) -> Rows:
    of = np.array([photo.split for photo in photos])
    return np.flatnonzero(of == "train"), np.flatnonzero(of == "valid"), np.flatnonzero(of == "test")


def _copies(photos: list[_Photo], hashes: list[str]) -> list[str]:
    """Say which pictures are there more than once, and which of them under two labels."""
    same: dict[str, list[_Photo]] = {}
    for photo, image in zip(photos, hashes, strict=True):
        same.setdefault(image, []).append(photo)
    several = [copies for copies in same.values() if len(copies) > 1]
    torn = [copies for copies in several if len({photo.label for photo in copies}) > 1]
    notes = []
    if several:
        notes.append(f"{sum(map(len, several))} files hold {len(several)} pictures; copies stay in one split.")
    for copies in torn[:MOST_NOTES]:
        names = ", ".join(photo.name for photo in copies[:4])
        notes.append(f"conflicting labels: the same picture is {names}; at most one of them can be right.")
    if len(torn) > MOST_NOTES:
        notes.append(f"conflicting labels: {len(torn) - MOST_NOTES} more pictures are in two classes.")
    return notes


def read_photo(path: str | Path, size: int) -> np.ndarray:
    """Read one photograph as uint8 3×size×size.

    Turned as its EXIF says, any colour mode as RGB (transparency on white, 16 bits scaled to 8), shorter edge
    resized with antialiasing, centre cropped; the first frame of an animation. Raises FileNotFoundError for a
    missing file, and ValueError with the reason for one that holds no picture that can be read.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no photograph at {path}")
    if not path.is_file():
        raise ValueError("a folder, not a photograph")
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    try:
        with path.open("rb") as file:
            image, turn = _opened(file)
            image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at ½, ¼ or ⅛ where that is enough
            return to_square(image, size, turn)
    except UnidentifiedImageError:
        if path.suffix.lower() in (".heic", ".heif"):
            raise ValueError("HEIC pictures cannot be read here; export it as JPEG") from None
        raise ValueError(f"not a picture in a format that can be read ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MOST_PIXELS / 1e6:.0f} million pixels; save it smaller") from None
    except PermissionError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are bytes in it
        raise ValueError(f"damaged or cut short ({error or type(error).__name__})") from None


def _opened(file: object) -> tuple[Image, int]:
    """Open a picture without decoding it; return it with its EXIF orientation (1: upright)."""
    from PIL import ExifTags, Image

    with _opening, warnings.catch_warnings():
        # A photograph of 90 million pixels, or one with a damaged EXIF block, is still a photograph.
        warnings.simplefilter("ignore")
        image = Image.open(file, formats=FORMATS)  # type: ignore[arg-type]
        turn = 1
        if image.format != "PNG" or "exif" in image.info:  # asking a PNG without one would decode all of it
            turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    return image, turn


def to_square(image: Image, size: int, turn: int = 1) -> np.ndarray:
    """Return a PIL image as uint8 3×size×size: RGB, turned as EXIF says, resized and centre cropped."""
    from PIL import Image

    image = to_rgb(image)
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    # Cropping and resizing in one step: a strip of 12,000×1 pixels must not become one of 2,688,000×224.
    square = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short), reducing_gap=2.0
    )
    turns = Image.Transpose
    how = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(turn)
    square = square.transpose(how) if how is not None else square
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def to_rgb(image: Image) -> Image:
    """Return a PIL image of any mode as RGB, transparency on white. Raises ValueError for 32-bit values."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        low, high = values.min(), values.max()
        if image.mode == "F" or low < 0 or high > 65535:
            raise ValueError(f"values from {low:.3g} to {high:.3g}; save it with 8 or 16 bits a channel")
        grey = Image.fromarray((values / 257).round().astype(np.uint8))  # 65535 = 257 × 255
        return grey.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def photos_in(photos: Photos) -> list[Path]:
    """Return single files as given, and for a folder all that lies in it and below, sorted by name.

    Hidden files and what systems leave behind are not photographs, as when a folder is loaded for training.
    """
    files: list[Path] = []
    for given in [photos] if isinstance(photos, (str, Path)) else photos:
        path = Path(given).expanduser()
        files += _below(path) if path.is_dir() else [path]
    return files
