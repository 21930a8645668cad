"""One photograph into one uint8 square, whatever the camera, the editor or the scanner made of it."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

# Pictures only: no PDF, PostScript or video. "JPEG" includes the multi-picture files of phones.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MOST_PIXELS = 178_956_970  # Pillow's own bound: above it a small file may be a trap that fills the memory
_opening = threading.Lock()  # warnings are silenced for the whole process, so one thread at a time


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
        2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM, 5: turns.TRANSPOSE,
        6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90,
    }.get(turn)  # fmt: skip
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
