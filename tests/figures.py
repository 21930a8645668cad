"""What the tests of figures ask of a figure."""

import warnings

import matplotlib


def drawn_whole(ax):
    """Tell whether all words of a figure lie inside it."""
    fig = ax.get_figure(root=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.draw_without_rendering()
    width, height = fig.get_size_inches() * fig.dpi
    words = [t for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible() and t.axes]
    boxes = [t.get_window_extent() for t in words if t.axes.axison or t in t.axes.texts]
    return all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes)


def finding(ax):
    """Return the title, in one line."""
    return ax.get_title(loc="left").replace("\n", " ")


def marked(ax, gid):
    """Return the artists that were drawn under a name."""
    return ax.get_figure(root=True).findobj(lambda artist: artist.get_gid() == gid)
