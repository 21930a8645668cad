"""Names beside points that lie close together, and the images of one cell of a confusion matrix."""

from itertools import combinations

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
from figures import drawn_whole, finding
from matplotlib.figure import Figure

from sftlab import plot
from sftlab.core.evaluation import result as make_result
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


def test_one_cell_of_a_confusion_matrix_shows_its_images_and_their_relatives(digits):
    y = np.asarray(digits.valid.y)
    p = np.full((len(y), 10), 0.02)
    called = y.copy()
    three = np.flatnonzero(y == 3)
    called[three[:2]] = 5
    p[np.arange(len(y)), called] = 0.82
    result = make_result("valid", digits.classes, digits.valid.hashes, y, p)
    alike = np.zeros((len(y), len(digits.train)))
    five = int(np.flatnonzero(np.asarray(digits.train.y) == 5)[4])
    alike[three[0], five] = 1
    ax = plot.confused(result, digits, "3", "5", alike=alike)
    assert finding(ax) == f"2 of {len(three)} ‘3’ were called ‘5’"
    assert len(ax.images) == 4 and drawn_whole(ax)
    assert np.array_equal(ax.images[2].get_array(), digits.train.pixels(np.array([five]))[0, 0].numpy())
    assert ax.texts[0].get_text() == "✗ 5: 82%\n3: 2%"
    assert "✓ 3: 82%" in plot.confused(result, digits, "3", "3").texts[0].get_text()
    assert finding(plot.confused(result, digits, "1", "7")) == "No ‘1’ was called ‘7’"
    with pytest.raises(ValueError, match="'ten' is no class"):
        plot.confused(result, digits, "ten", "5")


def test_names_find_their_places_on_an_axes_of_any_kind():
    ax = Figure(figsize=(3, 2)).add_subplot()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    told = []
    plot.placing.place(
        ax, [plot.placing.Name((0.5, 0.5), (30.0, 8.0), told.append) for _ in range(4)], marks=[(0.5, 0.5)]
    )
    assert len(set(told)) == 4 and all(not (x < 0 < x + 30 and y < 0 < y + 8) for x, y in told)
