"""Names beside points that lie close together, and the images of one cell of a confusion matrix."""

from itertools import combinations

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from figures import drawn_whole
from matplotlib.figure import Figure

from sftlab import plot
from sftlab.widgets.wind_tunnel import Flight

pytestmark = pytest.mark.usefixtures("house_style")


def words(ax):
    """Return the box of every word that was written beside a point."""
    ax.get_figure(root=True).draw_without_rendering()
    return {t.get_text(): t.get_window_extent() for t in ax.texts if len(t.get_text()) > 1}


def test_names_of_points_that_lie_close_together_do_not_touch():
    rng = np.random.default_rng(0)
    stored = {f"strategy {k}": 0.9 + rng.normal(0, 0.01, (6, 2)) for k in range(7)}
    boxes = words(plot.trade_off(stored=stored))
    assert set(stored) <= set(boxes)
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across, up = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 1 or up <= 1, f"{one} and {other} cover each other"


def test_a_run_of_the_tunnel_is_named_beside_its_end_and_covers_no_other_end():
    ends = [(0.97, 0.64), (0.96, 0.66), (0.95, 0.7), (0.9, 0.9), (0.92, 0.88)]
    runs = [
        Flight(k, {"profile": {"stem": 0.0, "head": 1e-3}}, path=[(1.0, 0.2), end]) for k, end in enumerate(ends, 1)
    ]
    ax = plot.paths(runs, beside={"probe": [(0.99, 0.65)]}, majority=(0.2, 0.2))
    assert drawn_whole(ax)
    marks = ax.transData.transform(ends)
    labels = [t for t in ax.texts if t.get_text() in "12345■□" and t.get_text()]
    assert len(labels) == 5 * 3
    for label in labels:
        box = label.get_window_extent()
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for x, y in marks), label.get_text()


def test_names_find_their_places_on_an_axes_of_any_kind():
    ax = Figure(figsize=(3, 2)).add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    told = []
    plot.placing.place(
        ax, [plot.placing.Name((0.5, 0.5), (30.0, 8.0), told.append) for _ in range(4)], marks=[(0.5, 0.5)]
    )
    assert len(set(told)) == 4 and all(not (x < 0 < x + 30 and y < 0 < y + 8) for x, y in told)
