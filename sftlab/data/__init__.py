"""Images in, uint8 batches out: named sets, your own folder, arrays, any map-style data set.

A leaf room: it knows nothing of models. Train, valid and test always exist, are seeded, and never share an image.
"""

from sftlab.data.augment import Augment, brightness, chain, flip, shift, turn
from sftlab.data.core import Card, Data, Split, batch_positions, data_dir, from_arrays, from_dataset, resize
from sftlab.data.sources import datasets, load

__all__ = [
    "Augment", "Card", "Data", "Split", "batch_positions", "brightness", "chain", "data_dir", "datasets", "flip",
    "from_arrays", "from_dataset", "load", "resize", "shift", "turn",
]  # fmt: skip
