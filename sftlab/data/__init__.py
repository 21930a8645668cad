"""Images or texts in, uint8 batches out: named sets, your own folder or table, arrays, any map-style data set.

It knows nothing of models. Train, valid and test always exist, are seeded, and share no image.
"""

from sftlab.data.augment import (
    View,
    blur,
    darken,
    fade,
    flip,
    noise,
    rotate,
    shift,
    turn,
)
from sftlab.data.dataset import Augment, Card, Data, Split, batch_positions, first_task, resize, with_targets
from sftlab.data.folder import read_photo
from sftlab.data.load import datasets, from_arrays, from_dataset, load
from sftlab.data.splits import DomainSplit, domain_split, near_duplicates, resplit
from sftlab.data.storage import as_path, data_dir
from sftlab.data.texts import Texts, as_bytes, from_texts

__all__ = [
    "Augment",
    "Card",
    "Data",
    "DomainSplit",
    "Split",
    "Texts",
    "View",
    "as_bytes",
    "as_path",
    "batch_positions",
    "blur",
    "darken",
    "data_dir",
    "datasets",
    "domain_split",
    "fade",
    "first_task",
    "flip",
    "from_arrays",
    "from_dataset",
    "from_texts",
    "load",
    "near_duplicates",
    "noise",
    "read_photo",
    "resize",
    "resplit",
    "rotate",
    "shift",
    "turn",
    "with_targets",
]
