"""Bring an item: its files, whole and checked, and what is packed in them."""

from __future__ import annotations

from collections.abc import Iterable

from sftlab.data.storage import check_room, data_dir, download
from sftlab.data.torchvision_sets import bring_set
from sftlab.runs.fetching.items import IMAGES, Item


def bring(item: Item) -> str:
    """Bring what is missing of an item and check the rest; return what was done, in words.

    Raises ConnectionError, Damaged or NoRoom; all are sentences.
    """
    if item.packaged:
        return item.source
    was_here = is_here(item)
    if item.kind == IMAGES:
        bring_set(item.name)
    else:
        for file in item.files():
            download(file.urls, file.path, file.known)
    return "was here, checked" if was_here else "brought"


def megabytes_here(item: Item) -> float:
    """Return how many MB of an item are here, finished or not; nothing is asked of the network, nothing checked."""
    paths = [place for path in item.places() for place in (path, path.with_name(f"{path.name}.part"))]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def is_here(item: Item) -> bool:
    """Tell whether all files of an item are in their place; whether they are right, `prove` tells."""
    places = item.places()
    return item.packaged or (bool(places) and all(place.is_file() for place in places))


def check_space(items: Iterable[Item]) -> None:
    """Raise NoRoom if the disk has no room for what is missing. Sets lie there twice: packed, and unpacked."""
    need = 0.0
    for item in items:
        missing = max(0.0, (item.megabytes or 0.0) - megabytes_here(item))
        need += missing * (2 if item.kind == IMAGES else 1)
    check_room(data_dir(), need * 1e6, "what is still to come")
