"""The look of every figure: house style, colours with a meaning, text alternatives, small files. All figures use it.

Frozen is cold, learning is hot: a stage's colour is its learning rate on a log scale. Strategy hues are Okabe
and Ito's (2008), which colour-blind readers tell apart. No meaning rests on colour alone: frozen stages are
hatched as well.
"""

from __future__ import annotations

import base64
import html
import io
import re
import sys
import threading
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatterSciNotation
from PIL import Image

STRATEGIES = {
    "scratch": "#999999",
    "probe": "#56B4E9",
    "decay": "#E69F00",
    "last": "#009E73",
    "partial": "#009E73",
    "lp-ft": "#0072B2",
    "gradual": "#CC79A7",
    "full": "#D55E00",
}
OTHERS = ("#0072B2", "#CC79A7", "#6B4C9A", "#8C6D31")
INK, QUIET, LINE, VALID = "#222222", "#6B6B6B", "#8A8A8A", "#0072B2"
RIGHT, WRONG, GUESS = "#009E73", "#D55E00", "#AA3377"

COLD = "#C3CFDC"  # frozen, whatever the scale
RAMP = ("#FFE9A8", "#FDBE5C", "#F28A3A", "#D9512C", "#A3201F", "#5F0F1B")  # darker is hotter, in grey as well
COOLEST, HOTTEST = 1e-6, 1e-1  # the rates at the two ends of the ramp

# For what DejaVu has no letters, the first of these that a machine has: Linux, macOS, Windows.
SCRIPTS = [
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Thai",
    "Arial Unicode MS",
    "Nirmala UI",
    "Leelawadee UI",
]
DPI = 110  # of pictures; lines are vectors
SHARP = 144  # of live pictures: sharp on most screens, and drawn in a tenth of a second
POINTS = 6000  # a figure with more points than this is smaller as a picture

# Matplotlib is made for one thread: figures of all panels are drawn one after the other.
drawing = threading.RLock()

RULES: dict[Any, Any] = {
    "figure.figsize": (7.5, 3.2),
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5 to $10"
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 9.5,
    "axes.edgecolor": "#BBBBBB",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sftlab",
}


def use(projector: bool = False) -> None:
    """Switch the house style on; in a notebook, figures are then shown with a text alternative.

    projector: show them half as large again, for the back of a room.

    A cell that ends in an Axes or a Figure shows the figure, once. Call it again as often as you like.
    """
    installed = {font.name for font in fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in SCRIPTS if name in installed)]
    colours = cycler(color=[VALID, *STRATEGIES.values(), *OTHERS[1:]])
    mpl.rcParams.update(
        RULES | {"font.sans-serif": fonts, "axes.prop_cycle": colours, "figure.dpi": 144 if projector else 96}
    )
    warnings.filterwarnings("ignore", "Glyph .* missing from font")  # `picture` then leaves the letters to the browser
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:  # its formatter takes the object over, so the inline backend adds no second picture
        for kind in (Figure, Axes):
            shell.display_formatter.ipython_display_formatter.for_type(kind, show)


def hue(name: str, index: int = 0) -> str:
    """Return the colour of the strategy that `name` mentions, else the `index`-th of the spare ones."""
    colours = (colour for word, colour in STRATEGIES.items() if word in name.lower())
    return next(colours, OTHERS[index % len(OTHERS)])


def heat(rate: float) -> str:
    """Return the colour of a stage that learns at `rate`: log scale from 1e-6 to 0.1; 0 is cold blue-grey."""
    if not rate > 0:
        return COLD
    return to_hex(LinearSegmentedColormap.from_list("heat", RAMP)(LogNorm(COOLEST, HOTTEST, clip=True)(rate)))


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on `colour` (relative luminance after WCAG 2)."""
    return "white" if _luminance(colour) < 0.18 else INK


def ink_safe(colour: str) -> str:
    """Return `colour` darkened until letters of it read well on white (contrast 4.5 after WCAG 2)."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (_luminance(rgb) + 0.05) < 4.5:
        rgb = 0.94 * rgb
    return to_hex(rgb.tolist())


def verdict(text: str) -> str:
    """Return the colour of words that begin with ✓ or ✗, and the usual ink for others."""
    return ink_safe({"✓": RIGHT, "✗": WRONG}.get(text[:1], INK))


def alt(fig: Any) -> str:
    """Return the figure's text alternative: what `base.title` says of its axes, else their titles."""
    descriptions = [ax.alternative for ax in fig.axes if hasattr(ax, "alternative")]
    titles = [title.replace("\n", " ") for ax in fig.axes if (title := ax.get_title(loc="left") or ax.get_title())]
    return " ".join(descriptions) or ". ".join(titles) or "A figure without a description."


def picture(fig: Any, *, live: bool = False) -> tuple[str, bytes]:
    """Draw the figure as (MIME type, bytes): SVG if it is lines and text, a JPEG if it holds images, else a PNG.

    A PNG (of many points) has a palette; a JPEG has not, because a palette makes islands of the sky in a photograph.
    Where no font here has a letter, it is an SVG in any case: the browser has other fonts. live: drawn quickly and for
    the page alone, so that a PNG may be large, and an SVG is transparent: the page turns it light in a dark theme.
    """
    plain_powers(fig)
    if not _has_images(fig) and _points(fig) <= POINTS:
        return "image/svg+xml", _svg(fig, live)
    buffer = io.BytesIO()
    with drawing, warnings.catch_warnings(record=True) as missing:
        warnings.filterwarnings("always", "Glyph .* missing from font")
        fig.savefig(buffer, format="png", dpi=SHARP if live else DPI, pil_kwargs={"compress_level": 1})
    if missing:
        return "image/svg+xml", _svg(fig, live)
    if live:
        return "image/png", buffer.getvalue()
    image, small = Image.open(buffer).convert("RGB"), io.BytesIO()
    if _has_images(fig):
        image.save(small, format="jpeg", quality=90, subsampling=0, optimize=True)  # 0: letters keep their edges
        return "image/jpeg", small.getvalue()
    image.quantize(64, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return "image/png", small.getvalue()


class Plain(LogFormatterSciNotation):
    """Labels of a logarithmic axis as one types numbers, 1e-5, where matplotlib's would be formulas, which are off."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label at x, '' where there is none."""
        return f"{x:g}".replace("e-0", "e-") if super().__call__(x, pos) else ""


def plain_powers(fig: Any) -> None:
    """Label logarithmic axes as one types numbers."""
    for axis in fig.findobj(Axis):
        if type(axis.get_major_formatter()) is LogFormatterSciNotation:
            axis.set_major_formatter(Plain())
            axis.set_minor_formatter(Plain(labelOnlyBase=False))


def address(mime: str, content: bytes) -> str:
    """Return a picture as an address that is its own content."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def figure_html(fig: Any) -> str:
    """Return `<figure><img alt=…></figure>`: the form whose text alternative notebooks and exports keep."""
    return (
        f'<figure style="margin:0"><img alt="{html.escape(alt(fig), quote=True)}" '
        f'width="{round(fig.get_figwidth() * fig.dpi)}" style="max-width:100%;height:auto" '
        f'src="{address(*picture(fig))}"></figure>'
    )


def show(thing: Any) -> None:
    """Show an Axes or a Figure in the notebook with its text alternative, once."""
    from IPython.display import display

    fig = released(thing)
    display({"text/html": figure_html(fig), "text/plain": alt(fig)}, raw=True)


def released(thing: Any) -> Any:
    """Return the Figure of an Axes, or a Figure itself, closed for pyplot, which would show it once more."""
    fig = thing.get_figure(root=True)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
    return fig


def _luminance(colour: Any) -> float:
    rgb = np.array(to_rgb(colour))
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


def _has_images(fig: Any) -> bool:
    return bool(fig.findobj(AxesImage))


def _points(fig: Any) -> int:
    """Return about how many points a vector file of the figure would hold."""
    lines = sum(len(line.get_xdata()) for line in fig.findobj(Line2D))
    return lines + sum(len(c.get_offsets()) + len(c.get_paths()) for c in fig.findobj(Collection))


def _svg(fig: Any, transparent: bool) -> bytes:
    """Draw lines and text, without what nobody sees: prolog, metadata, a sixth digit of a number, and line breaks."""
    buffer = io.StringIO()
    with drawing:
        fig.savefig(buffer, format="svg", transparent=transparent)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana")  # the same letter widths where DejaVu is missing
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"(?<![#\w.])-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.5g}", svg)
    return re.sub(r"\s+", " ", svg).replace("> <", "><").encode()
