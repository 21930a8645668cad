"""Photographs: one reader, the files of a folder, class folders as a data set, squares of two that are always there.

`load("folder:…")`, `predict`, `export` and the upload widget call it.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sftlab.data.dataset import Data, normal_name, resize
from sftlab.data.download import file_hash
from sftlab.data.splits import assemble, completed
from sftlab.data.storage import allocate, as_path, image_hash

Photos = Sequence[str | Path] | str | Path
ROLES = {"train": "train(ing)?|trn", "valid": "val(id(ation)?)?|dev(elopment)?", "test": "test(ing)?|tst"}
# Pictures only: no PDF, PostScript or video. "JPEG" includes the multi-picture files of phones.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # what cameras and scanners write for white, where it is not a byte
MOST_PIXELS = 178_956_970  # Pillow's own bound: above it a small file may be a trap that fills the memory
_opening = threading.Lock()  # warnings are silenced for the whole process, so one thread at a time
LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # beside everything that begins with a dot


if TYPE_CHECKING:
    from PIL.Image import Image


class _Photo(NamedTuple):
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
    classes: Sequence[str] | None = None,
) -> Data:
    """Load photographs from class folders, or from folders of splits (train, val, test and their like) above them.

    Folders below a class folder belong to it; a folder that only wraps another is stepped into. A split that has no
    folder is drawn from train at random (`valid` and `test` are then shares of train). groups: a function from a file's
    name, such as "cat/tom_03.jpg", to what the split must not tear apart (a person, a module, a day); only where the
    folders name no splits. classes: the names of the topmost folders, in order, where they could be taken for splits.
    A file that cannot be read is left out and listed in `card.skipped`; so is a picture of train or valid that is in
    test as well, and one that lies in two classes. Files of more than 8 bits are scaled by the largest value of them
    all: `card.white`.

    Raises FileNotFoundError or NotADirectoryError for the path, PermissionError for a folder that may not be opened,
    ValueError for what cannot be a data set: no class folders, one class, a class without a picture that can be read,
    or with fewer different ones than splits, folders that could be splits or classes.
    """
    size, root = size or 224, folder_path(path)
    home, folders = _layout(root, [normal_name(name) for name in classes or ()])
    given = {split: folder for split, folder in folders if split}
    if groups is not None and given:
        raise ValueError(f"groups= has no use where folders name the splits ({', '.join(sorted(given))}); omit it")
    photos = [
        _Photo(path, _name(home, path), split, normal_name(folder.name))
        for split, folder in folders
        for path in _below(folder)
    ]
    images, photos, files, white, skipped = _read(photos, size)
    names = [normal_name(name) for name in classes or sorted({normal_name(folder.name) for _, folder in folders})]
    hashes = [image_hash(image) for image in images]
    labels = [photo.label for photo in photos]
    notes, torn = _copies(photos, hashes)
    skipped |= torn
    usable = np.array([i for i, photo in enumerate(photos) if photo.name not in torn], dtype=np.int64)
    rows, split, note, learnt = None, "", "", usable
    if given:
        of = {part: usable[[photos[i].split == part for i in usable]] for part in given}
        learnt = of["train"]
        rows, dropped, drawn = completed(of, labels, hashes, seed, valid=valid, test=test)
        skipped |= {photos[i].name: f"the same picture is in {where}" for i, where in dropped.items()}
        split = f"as the folders are{drawn}"
        if "valid" in given and "test" not in given:
            place = _name(home, given["valid"]).partition("/")[0]
            note = f"the test images were drawn from train; to measure on those in {place}, rename it to test"
    _check_classes(home / "train" if given else home, names, {labels[i] for i in learnt}, skipped)
    above = [home, *(p for p, is_folder in _inside(home) if given and is_folder)]
    skipped |= {_name(home, p): "in no class folder" for at in above for p, is_folder in _inside(at) if not is_folder}
    if white is not None:
        notes.append(f"Files of more than 8 bits: no value is above {white}, which is shown as white.")
    return assemble(
        images,
        torch.tensor([names.index(label) for label in labels]),
        names,
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
        identities=files,
        usable=usable,
        groups=[groups(photo.name) for photo in photos] if groups is not None else None,
        files=[str(photo.path) for photo in photos],
        source=f"your own folder {root}" + (f", in it {_name(root, home)}" if home != root else ""),
        notes=notes,
        test_note=note,
        skipped=skipped,
        white=white,
    )


def folder_path(path: str | Path) -> Path:
    """Return the absolute path of a folder. Raises what `load_folder` does for one that is none."""
    if not str(path):
        raise ValueError("'folder:' needs a path, such as folder:photos")
    root = as_path(path)
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}; expected one with a folder of photos for each class")
    if not root.is_dir():
        what = "an archive: unpack it, and name the folder" if root.suffix.lower() in ARCHIVES else "a file"
        raise NotADirectoryError(f"{root} is {what}; expected a folder with a folder of photos for each class")
    return root.resolve()


def _name(root: Path, path: Path) -> str:
    return normal_name(path.relative_to(root).as_posix())


def _inside(folder: Path) -> list[tuple[Path, bool]]:
    """Return (path, is it a folder) of what is in a folder, in one order on every system, without system litter."""
    try:
        visible = [p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in LITTER]
        return [(p, p.is_dir()) for p in sorted(visible, key=lambda p: normal_name(p.name))]
    except PermissionError:
        raise PermissionError(f"{folder} may not be opened; get the right to read it, or move it away") from None


def _unwrapped(folder: Path) -> tuple[Path, list[Path]]:
    """Return (folder, the folders in it), or those of the one folder with folders that is all there is in it."""
    inside = _inside(folder)
    folders = [p for p, is_folder in inside if is_folder]
    wraps = len(folders) == 1 and any(is_folder for _, is_folder in _inside(folders[0]))
    if wraps and not any(p.suffix.lower() in (".jpg", ".jpeg", ".png") for p, _ in inside):
        return _unwrapped(folders[0])
    return folder, folders


def _role(name: str) -> str:
    """Return the split that a folder's name says, in any case and with any separator: "Train Data", "testing_set"."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())
    spelled = {role: rf"({names})(data|set|images?)*" for role, names in ROLES.items()}
    roles = [role for role, names in spelled.items() if any(re.fullmatch(names, word) for word in words)]
    return roles[0] if len(roles) == 1 else ""


def _layout(root: Path, classes: Sequence[str]) -> tuple[Path, list[tuple[str, Path]]]:
    """Return the folder that holds all, and (split, folder) for each class folder, "" where the folders name none."""
    home, folders = _unwrapped(root)
    names = [normal_name(folder.name) for folder in folders]
    if classes and {*classes} != {*names}:
        raise ValueError(f"{home} has the folders {', '.join(names)}; classes names {', '.join(classes)}")
    if not folders:
        packed = next((p.name for p, _ in _inside(home) if p.suffix.lower() in ARCHIVES), "")
        remedy = f"unpack {packed} first" if packed else f"are these photographs of one class? Then name {home.parent}"
        raise ValueError(f"{home} has no class folders; expected one for each class, such as cat and dog ({remedy})")
    inner = [_unwrapped(folder)[1] for folder in folders]
    roles = [_role(name) for name in names]
    splits = [role for role in roles if role]
    # A "train" beside "bus" and "tram" is a class; where all folders have such names, or hold folders, they are splits.
    named = "train" in splits and len(splits) > 1
    if classes or not named or ("" in roles and not any(held for role, held in zip(roles, inner, strict=True) if role)):
        shared = [name for name, n in Counter(normal_name(p.name) for held in inner for p in held).items() if n > 1]
        if len(shared) > 1 and not classes:
            raise ValueError(
                f"{home} has {' and '.join(names[:3])}, which hold the same folders ({', '.join(shared[:3])}): splits? "
                f"Then name them train, valid and test. Or classes? Then load it with classes={names}"
            )
        return home, [("", folder) for folder in folders]
    if "" in roles or len({*splits}) < len(splits):
        raise ValueError(f"{home} has {', '.join(names)}; expected one folder each for train, valid and test")
    if not inner[roles.index("train")]:
        raise ValueError(f"the training folder of {home} has no class folders; expected one for each class")
    return home, [(role, folder) for role, held in zip(roles, inner, strict=True) for folder in held]


def _below(folder: Path, seen: set[Path] | None = None) -> Iterator[Path]:
    """Iterate over all visible files in a folder and below, each once: links may lead to the same, or in a circle."""
    home = folder.resolve()
    seen = {*home.parents} if seen is None else seen
    if home in seen:
        return
    seen.add(home)
    for path, is_folder in _inside(folder):
        real = path.resolve() if path.is_symlink() else home / path.name
        if is_folder:
            yield from _below(path, seen)
        elif real not in seen:
            seen.add(real)
            yield path


def _read(photos: list[_Photo], size: int) -> tuple[np.ndarray, list[_Photo], list[str], int | None, dict[str, str]]:
    """Return (uint8 N×3×size×size, photographs that could be read, hashes of their files, white, why others not)."""
    images, readable = allocate((len(photos), 3, size, size)), list[_Photo]()
    files, skipped = list[str](), dict[str, str]()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
        highest = max(pool.map(largest_value, (photo.path for photo in photos)), default=0)
        white = next((w for w in WHITES if w >= highest), None) if highest else None

        def attempt(photo: _Photo) -> tuple[np.ndarray | None, str]:
            try:
                return read_photo(photo.path, size, white), file_hash(photo.path)[:16]
            except (OSError, ValueError) as error:
                return None, str(error)

        for photo, (image, facts) in zip(photos, pool.map(attempt, photos), strict=True):
            if image is None:
                skipped[photo.name] = facts
            else:
                images[len(readable)] = image
                readable.append(photo)
                files.append(facts)
    return images[: len(readable)], readable, files, white, skipped


def _check_classes(root: Path, classes: list[str], usable: set[str], skipped: dict[str, str]) -> None:
    if len(classes) < 2:
        raise ValueError(f"{root} has one class, {classes[0]}; classifying needs a folder for each of at least two")
    for name in set(classes) - usable:
        tried = [f"{file}: {why}" for file, why in skipped.items() if name in file.split("/")]
        because = f" ({len(tried)} skipped, such as {tried[0]})" if tried else ""
        raise ValueError(f"{root} has no usable photograph of the class {name}{because}; add some or remove it")


def _copies(photos: list[_Photo], hashes: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return notes on pictures that are there more than once, and {file: why} of those that lie in two classes."""
    same: dict[str, list[_Photo]] = defaultdict(list)
    for photo, image in zip(photos, hashes, strict=True):
        same[image].append(photo)
    several = [copies for copies in same.values() if len(copies) > 1]
    torn = {
        photo.name: f"the same picture is {other.name}: one of the labels is wrong"
        for copies in several
        for photo, other in permutations(copies, 2)
        if photo.label != other.label
    }
    notes = []
    if several:
        notes.append(f"{sum(map(len, several))} files hold {len(several)} pictures; copies stay in one split.")
    if torn:
        notes.append(f"conflicting labels: {len(torn)} files hold pictures that lie in two classes; they are left out.")
    return notes, torn


def read_photo(path: str | Path, size: int, white: int | None = None) -> np.ndarray:
    """Read one photograph as uint8 3×size×size.

    Turned as its EXIF says, any colour mode as RGB (transparency on white), shorter edge resized with antialiasing,
    centre cropped; the first frame of an animation. white: the value that becomes 255 in a file of more than 8 bits;
    without it such a file must fill its 16. Raises FileNotFoundError for a missing file, and ValueError with the reason
    for one that holds no picture that can be read.
    """
    from PIL import Image, UnidentifiedImageError

    path = as_path(path)
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
            return to_square(image, size, turn, white)
    except UnidentifiedImageError:
        if path.suffix.lower() in (".heic", ".heif"):
            raise ValueError("HEIC pictures cannot be read here; export it as JPEG") from None
        raise ValueError(f"not a picture in a format that can be read ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MOST_PIXELS / 1e6:.0f} million pixels; save it smaller") from None
    except (PermissionError, Unscaled):
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


def largest_value(path: Path) -> float:
    """Return the largest value of a picture of more than 8 bits, 0 for any other and for what cannot be read."""
    try:
        with path.open("rb") as file:
            image = _opened(file)[0]
            return float(np.asarray(image).max()) if is_deep(image) else 0
    except Exception:  # a damaged file fails in many ways; `read_photo` says in which
        return 0


def to_square(image: Image, size: int, turn: int = 1, white: int | None = None) -> np.ndarray:
    """Return a PIL image as uint8 3×size×size: RGB, turned as EXIF says, resized and centre cropped."""
    from PIL import ExifTags, Image, ImageOps

    image = to_rgb(image, white)
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    # Cropping and resizing in one step: a strip of 12,000×1 pixels must not become one of 2,688,000×224.
    square = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short), reducing_gap=2.0
    )
    square.info = {}  # what else an EXIF block says may be damaged
    square.getexif()[ExifTags.Base.Orientation] = turn
    return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(square)).transpose(2, 0, 1))


class Unscaled(ValueError):
    """A picture of which nothing says what value is white."""


def is_deep(image: Image) -> bool:
    """Tell whether a PIL image is grey with more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def to_rgb(image: Image, white: int | None = None) -> Image:
    """Return a PIL image of any mode as RGB, transparency on white.

    white: the value that becomes 255 in a grey image of more than 8 bits. Raises ValueError where it is not given and
    the values do not say it, or where they are others.
    """
    from PIL import Image

    if is_deep(image):
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        white = white or (65535 if high > WHITES[-2] else None)
        if white is None or not 0 <= low <= high <= white:
            expected = "16 bits that are used" if white is None else f"0 to {white}"
            raise Unscaled(f"values from {low:.6g} to {high:.6g}; expected {expected}: save it with 8 bits a channel")
        return Image.fromarray((values * (255 / white)).round().astype(np.uint8)).convert("RGB")
    deep_colour = ";16" in str(getattr(image, "tile", ""))  # of which Pillow keeps the upper byte
    if deep_colour and np.asarray(image).max() < 64:
        raise Unscaled("a colour picture of 16 bits that uses less than 15 of them; save it with 8 bits a channel")
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
        path = as_path(given)
        files += _below(path) if path.is_dir() else [path]
    return files


def photo_crops(n: int = 128, *, size: int = 160, seed: int = 0) -> torch.Tensor:
    """Return uint8 n×3×size×size: random squares of two ordinary photographs, half of each.

    The photographs are scikit-learn's samples, a palace in Beijing and a dahlia (CC BY 2.0). The crops overlap, so they
    are n questions to one network, not a sample of n photographs.
    """
    from sklearn.datasets import load_sample_images

    rng, crops = np.random.default_rng(seed), []
    photos = load_sample_images().images
    for i in range(n):
        photo = photos[i * len(photos) // n]
        edge = int(rng.integers(160, 400))
        top, left = (int(rng.integers(0, side - edge)) for side in photo.shape[:2])
        square = photo[top : top + edge, left : left + edge].transpose(2, 0, 1)
        crops.append(resize(torch.from_numpy(square.copy())[None], size))
    return torch.cat(crops)
