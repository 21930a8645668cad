"""What the tests of figures ask of a figure."""

import copy
import io
import re
import warnings

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sftlab.plot import style


def drawn_whole(ax):
    """Tell whether all words of a figure lie inside it."""
    fig = ax.get_figure(root=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.draw_without_rendering()
    width, height = fig.get_size_inches() * fig.dpi
    words = [t for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible() and t.axes]
    boxes = [(t, t.get_window_extent()) for t in words if t.axes.axison or t in t.axes.texts]
    cut = [t.get_text() for t, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1]
    return not cut or print("cut off at the figure's edge:", cut)


def finding(ax):
    """Return the title, in one line."""
    return ax.get_title(loc="left").replace("\n", " ")


def texts(ax):
    """Return everything that is written in a figure."""
    return [t.get_text() for t in ax.get_figure(root=True).findobj(matplotlib.text.Text) if t.get_text()]


def marked(ax, gid):
    """Return the artists that were drawn under a name."""
    return ax.get_figure(root=True).findobj(lambda artist: artist.get_gid() == gid)


# how what was drawn under a name must look, in every figure
LOOKS = {
    "stored": lambda mark: mark.get_markerfacecolor() == "white",  # hollow: from a record
    "computed": lambda mark: mark.get_markerfacecolor() != "white",
    "live": lambda mark: mark.get_markerfacecolor() != "white",
    "frozen": lambda bar: bar.get_hatch(),  # by more than its colour
    "learning": lambda bar: not bar.get_hatch(),
    "majority": lambda line: line.get_linestyle() == "--",
}


def check_figure(draw, *args, **how):
    """Assert what holds of every figure.

    It is drawn whole without a warning; it has a finding and a longer text alternative with a number in it; what has a
    meaning looks as in every other figure; it leaves its input alone; told where to draw, it draws there and leaves
    pyplot alone. Return the finding.
    """
    before = copy.deepcopy((args, how))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = draw(*args, **how)
    assert drawn_whole(ax)
    words, title = style.alt(ax.get_figure(root=True)), finding(ax)
    assert title and words.startswith(title) and len(words) > len(title) + 3
    assert re.search(r"\d", words), f"no number in {words!r}"
    assert all(look(artist) for gid, look in LOOKS.items() for artist in marked(ax, gid))
    assert repr((args, how)) == repr(before)
    plt.close("all")
    place = Figure(figsize=(9, 5), layout="constrained").add_subplot()
    assert draw(*args, **how, ax=place) is place and not plt.get_fignums()
    place.figure.savefig(io.BytesIO())
    return title
