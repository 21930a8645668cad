"""Weights and data sets ahead of time, for a class without a network: `sftlab fetch`, and the proof that all is there.

    from sftlab import fetching
    for item in map(fetching.find, ["resnet50", "cifar10"]):
        print(item.name, fetching.bring(item))
    [fetching.prove(item).wrong for item in fetching.to_prove()]

What is brought lies in `data_dir()` and works from there, also when the folder is copied to another machine.
"""

from sftlab.runs.fetching.bringing import bring, check_space, is_here, megabytes_here
from sftlab.runs.fetching.items import Item, find, offered
from sftlab.runs.fetching.proof import Proof, prove, to_prove

__all__ = [
    "Item", "Proof", "bring", "check_space", "find", "is_here", "megabytes_here", "offered", "prove",
    "to_prove",
]  # fmt: skip
