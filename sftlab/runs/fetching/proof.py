"""The proof that a class can do without a network: every file of weights hashed, everything opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sftlab.data import load
from sftlab.data.storage import has_hash
from sftlab.data.torchvision_sets import count_images
from sftlab.networks import backbone
from sftlab.runs.fetching.bringing import is_here
from sftlab.runs.fetching.items import IMAGES, Item, find, offered


@dataclass(frozen=True)
class Proof:
    """What was found of an item: files, bytes, what opening it gave, what is wrong ("" if nothing)."""

    item: Item
    files: int
    bytes: int
    opened: str = ""
    wrong: str = ""


def to_prove(names: Iterable[str] = ()) -> list[Item]:
    """Return the items of these names; all that are here if none is named."""
    return [find(name) for name in names] or [item for item in offered() if is_here(item)]


def prove(item: Item) -> Proof:
    """Check an item's files and open it without a network. Nothing is written."""
    places = item.places()
    if not is_here(item):
        missing = [path.name for path in places if not path.is_file()] or ["its weights"]
        return Proof(item, 0, 0, wrong=f"{', '.join(missing)} missing")
    size = sum(path.stat().st_size for path in places)
    try:
        return Proof(item, len(places), size, opened=_open(item))
    except (OSError, ValueError) as error:
        return Proof(item, len(places), size, wrong=str(error))


def _open(item: Item) -> str:
    """Use an item as a lesson would, and say what it is. Raises what that raises."""
    if item.kind != IMAGES:
        network, _, weights = item.name.partition(":")
        count = sum(p.numel() for p in backbone(network, weights or "default").parameters())
        return f"builds, {count / 1e6:.1f} M parameters"
    if item.packaged:
        card = load(item.name).card
        return f"opens, {sum(sum(counts.values()) for counts in card.counts.values()):,} {card.noun}"
    for file in item.files():
        if not has_hash(file.path, file.known):
            raise ValueError(f"{file.path.name} has changed: it is not the file with {file.known[:12]}…")
    return f"opens, {count_images(item.name):,} images"
