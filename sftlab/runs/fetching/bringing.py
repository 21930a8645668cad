"""Bring an item: its files, whole and checked, and what is packed in them."""

from __future__ import annotations

from collections.abc import Iterable

from sftlab.data.downloads import unpack_set
from sftlab.data.remote import Watch, check_room, data_dir, download
from sftlab.data.remote.part import Part
from sftlab.runs.fetching.items import IMAGES, Item


def bring(item: Item, watch: Watch | None = None) -> str:
    """Bring what is missing of an item and check the rest; return what was done, in words.

    Raises Unreachable, Damaged, NoRoom, or FileNotFoundError for an archive that cannot be unpacked; all are sentences.
    """
    watch = watch or Watch()
    outcomes = {download(file, watch) for file in item.files()}
    unpacked = False
    if item.kind == IMAGES and not item.packaged:
        watch.doing(f"checking what is unpacked of {item.name}" if outcomes == {"here"} else f"unpacking {item.name}")
        unpacked = unpack_set(item.name)
    words = "brought" if "downloaded" in outcomes else "copied from another cache" if "copied" in outcomes else ""
    if words:
        return words
    return "unpacked again" if unpacked else "was here, checked" if outcomes else item.source


def megabytes_here(item: Item) -> float:
    """Return how many MB of an item are here, finished or not; nothing is asked of the network, nothing checked."""
    paths = [data_dir() / place for place in item.places()]
    return sum(path.stat().st_size if path.is_file() else Part(path).size for path in paths) / 1e6


def is_here(item: Item) -> bool:
    """Tell whether all files of an item are in their place; whether they are right, `prove` tells."""
    places = item.places()
    return item.packaged or (bool(places) and all((data_dir() / place).is_file() for place in places))


def check_space(items: Iterable[Item]) -> None:
    """Raise NoRoom if the disk has no room for what is missing. Sets lie there twice: packed, and unpacked."""
    need = 0.0
    for item in items:
        missing = max(0.0, (item.megabytes or 0.0) - megabytes_here(item))
        need += missing * (2 if item.kind == IMAGES else 1)
    check_room(data_dir(), need * 1e6, "what is still to come")
