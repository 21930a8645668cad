"""Augmented views beside each other."""

import numpy as np
import pytest
from figures import drawn_whole, finding

from sftlab import plot
from sftlab.data import View, rotate, zoom

pytestmark = pytest.mark.usefixtures("house_style")


def test_views_are_a_row_a_view_of_the_same_images(blobs):
    turned, cut = (View(blobs.train, augment, 0, 1) for augment in (rotate(90), zoom(0.5)))
    ax = plot.views(blobs.train, [0, 1, 2], {"turned": turned, "cut": cut})
    assert len(ax.images) == 9 and finding(ax) == "3 images in 3 views"
    first, second = (np.asarray(ax.images[i].get_array()) for i in (0, 3))
    assert np.array_equal(first, blobs.train.pixels(np.array([0]))[0].permute(1, 2, 0).numpy().squeeze())
    assert not np.array_equal(first, second)
    assert drawn_whole(ax)
