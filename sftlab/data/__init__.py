"""Images or texts in, uint8 batches out: named sets, your own folder or table, arrays, any map-style data set.

A leaf room: it knows nothing of models. Train, valid and test always exist, are seeded, and share no image.
"""

from sftlab.data.arrays import from_arrays, from_dataset
from sftlab.data.assembly import with_targets
from sftlab.data.augment import Augment, brightness, chain, flip, rotate, shift, turn, zoom
from sftlab.data.core import Card, Data, Split, batch_positions, first_task, resize
from sftlab.data.corruptions import blur, darken, fade, invert, noise
from sftlab.data.elsewhere import Elsewhere, elsewhere
from sftlab.data.neighbours import near_duplicates
from sftlab.data.photos import read_photo
from sftlab.data.sources import datasets, load
from sftlab.data.storage import data_dir
from sftlab.data.texts import Texts, as_bytes, from_texts
from sftlab.data.views import View

__all__ = [
    "Augment", "Card", "Data", "Elsewhere", "Split", "Texts", "View", "as_bytes", "batch_positions", "blur",
    "brightness", "chain", "darken", "data_dir", "datasets", "elsewhere", "fade", "first_task", "flip", "from_arrays",
    "from_dataset", "from_texts", "invert", "load", "near_duplicates", "noise", "read_photo", "resize", "rotate",
    "shift", "turn", "with_targets", "zoom",
]  # fmt: skip
