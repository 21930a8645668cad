"""Drawn figures as small files: pixels as PNG with a palette or as JPEG, lines as SVG without what nobody sees."""

from __future__ import annotations

import io
import re
from typing import Any

GREYS, COLOURS, COLOURFUL = 96, 24, 256  # in the palette of grey images; of coloured words beside them; of colour maps
PHOTOGRAPH, QUALITY = 20_000, 90  # from so many colours on no palette is good enough: JPEG, of this quality


def compressed(image: Any, colourful: bool) -> tuple[str, bytes]:
    """Write a drawn figure small: its grey images stay grey, its photographs in colour smooth."""
    import numpy as np
    from PIL import Image

    small = io.BytesIO()
    if colourful and image.getcolors(PHOTOGRAPH) is None:
        image.save(small, format="jpeg", quality=QUALITY, subsampling=0, optimize=True)  # 0: letters keep their edges
        return "image/jpeg", small.getvalue()
    pixels = np.asarray(image)
    grey = (np.ptp(pixels, axis=2) == 0) & (not colourful)
    index, entries = np.zeros(grey.shape, np.uint8), list[int]()
    greys = GREYS if grey.all() else GREYS // 2  # marked ones come by the dozen
    for part, count in ((grey, greys), (~grey, COLOURFUL if colourful else COLOURS)):
        if part.any():  # greys apart, else entries between both give a faint tint to many grey pixels
            row = Image.fromarray(pixels[part][None])
            row = row.quantize(count, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
            index[part] = np.asarray(row)[0] + len(entries) // 3
            entries += (row.getpalette() or [])[: 3 * count]
    found = Image.fromarray(index).convert("P")
    found.putpalette(entries)
    found.save(small, format="png", optimize=True)
    return "image/png", small.getvalue()


def slim(svg: str) -> str:
    """Drop what nobody sees: prolog, metadata, digits beyond a hundredth of a point, and line breaks."""

    def short(number: re.Match[str]) -> str:
        value = float(number[0])  # small ones are scales, which multiply: they keep their digits
        return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.6g}"

    svg = svg[svg.index("<svg") :]
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana")  # the same letter widths where DejaVu is missing
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"(?<![#\w.])-?\d+\.\d{3,}", short, svg)
    return re.sub(r"\s+", " ", svg).replace("> <", "><")
