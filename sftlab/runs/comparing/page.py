"""A comparison as one HTML page that opens offline, with the images on which the two runs disagree."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sftlab.core.records import Interval
from sftlab.runs.comparing import pictures
from sftlab.runs.comparing.pairs import Comparison, Difference, signed

SHOWN = 24  # images a side
STYLE = """
body { font: 15px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222; max-width: 66rem; margin: 2rem auto }
body { padding: 0 1rem } h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem } p { max-width: 46rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th { border-bottom: 1px solid #bbb }
th, td { text-align: left; padding: .25rem 1.4rem .25rem 0; overflow-wrap: anywhere }
td { border-bottom: 1px solid #eee }
.quiet { color: #696969; font-size: .85rem } .images { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; width: 130px; font-size: .8rem; line-height: 1.35 } figure img { width: 120px; height: 120px }
.right { color: #00664b } .wrong { color: #a33c00 } .wide { overflow-x: auto }
"""


def write_page(found: Comparison, path: str | Path) -> Path:
    """Write the comparison as one HTML file and return its path; images are shown where their data is at hand."""
    path = Path(path)
    shown = [one.image for only in found.only for one in only[:SHOWN]]
    images = pictures.find(found.sides, shown) if shown else None
    first, second = found.sides
    title = f"{first.name} against {second.name}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class=quiet>{escape(first.folder.name)}<br>{escape(second.folder.name)}</p>',
        f"<p>{escape(found.verdict)}</p>",
        "<h2>Settings that differ</h2>",
        _table(["", first.name, second.name], [[n, _value(a), _value(b)] for n, a, b in found.settings])
        if found.settings else "<p>None: the same parameters, versions and threads.</p>",
        "<h2>Metrics on the same test images</h2>",
        _table(["", first.name, second.name, "second minus first", "interval by"], [
            [m.name.replace("_", " "), f"{m.first:.3f}", f"{m.second:.3f}", change(m.difference),
             m.difference.method if m.difference else ""] for m in found.metrics
        ]),
        "<h2>Image by image</h2>",
        _table(["", f"{second.name} is right", f"{second.name} is wrong"], [
            [f"{first.name} is right", str(found.counts[0]), str(found.counts[1])],
            [f"{first.name} is wrong", str(found.counts[2]), str(found.counts[3])],
        ]),
        *(_gallery(found, side, images) for side in (0, 1)),
    ]  # fmt: skip
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
    page += f'<meta name=viewport content="width=device-width"><style>{STYLE}</style>\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8")
    return path


def beside(found: Comparison) -> Path:
    """Return where the page goes if nobody says: the folder that holds both runs."""
    first, second = (side.folder for side in found.sides)
    holds = next(folder for folder in second.parents if first.is_relative_to(folder))
    return holds / f"compare_{first.name[-40:]}_{second.name[-40:]}.html"


def change(difference: Interval | None) -> str:
    """Return a difference with its sign and its ends, '' for none."""
    if difference is None:
        return ""
    return signed(f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})")


def _gallery(found: Comparison, side: int, images: pictures.Pictures | None) -> str:
    """Return the images that only one side has right, the surest mistakes of the other first."""
    only, names = found.only[side], [s.name for s in found.sides]
    if not only:
        return f"<h2>Only {escape(names[side])} is right: on no image</h2>"
    parts = [f"<h2>Only {escape(names[side])} is right: {_images(len(only))}</h2>"]
    parts.append(f"<p class=quiet>What it is; then what {escape(names[0])} and {escape(names[1])} say of it.</p>")
    parts.append("<div class=images>")
    parts += [_figure(one, side, images) for one in only[:SHOWN]]
    parts.append("</div>")
    more = f"The {SHOWN} of which the other was surest; {len(only) - SHOWN} more. " if len(only) > SHOWN else ""
    licence = f"Pictures: {images.licence}" if images and images.licence else ""
    if images is None:
        licence = "The images are not shown: the data of these runs is not at hand here."
    return "".join([*parts, f"<p class=quiet>{escape(more + licence)}</p>"])


def _figure(one: Difference, side: int, images: pictures.Pictures | None) -> str:
    told = [
        f"<span class={'right' if i == side else 'wrong'}>{'✓' if i == side else '✗'} {escape(one.said[i])} "
        f"{100 * one.sure[i]:.0f} %</span>"
        for i in (0, 1)
    ]
    alt = f"is {one.truth}; the first says {one.said[0]}, the second {one.said[1]}"
    image = f'<img src="{images.by_hash[one.image]}" alt="{escape(alt, quote=True)}">' if images else ""
    return f"<figure>{image}<figcaption>is {escape(one.truth)}<br>{'<br>'.join(told)}</figcaption></figure>"


def _images(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [("th", head), *(("td", row) for row in rows)]
    body = "".join("<tr>" + "".join(f"<{kind}>{escape(cell)}" for cell in row) for kind, row in lines)
    return f"<div class=wide><table>{body}</table></div>"


def _value(value: Any) -> str:
    return "" if value is None else str(value)
