"""The proof that a class can do without a network: every file hashed, everything opened, no connection allowed."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO

from sftlab.data import load
from sftlab.data.downloads import first_images
from sftlab.data.remote import Entry, manifest, sums
from sftlab.data.torchvision_sets import TORCHVISION
from sftlab.data.unpacking import BROKEN, differs
from sftlab.networks import backbone
from sftlab.runs.fetching.items import IMAGES, Item, find

CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_forbidden, _installed = 0, False


@dataclass(frozen=True)
class Proof:
    """What was found of an item: files, bytes in the manifest, what opening it gave, what is wrong ("" if nothing)."""

    item: Item
    files: int
    bytes: int
    opened: str = ""
    wrong: str = ""


class NetworkForbidden(OSError):
    """Something asked for a connection where none is allowed."""


def to_prove(names: Iterable[str] = ()) -> list[Item]:
    """Return the items of these names; all that the manifest lists if none is named.

    Raises Damaged for an unreadable manifest, ValueError for a name that nothing has.
    """
    return list(map(find, names or dict.fromkeys(entry.item for entry in manifest.read().values())))


def prove(item: Item) -> Proof:
    """Check an item against the manifest and open it without a network. Nothing is written."""
    entries = [entry for entry in manifest.read().values() if entry.item == item.name]
    files, size = len(entries), sum(entry.bytes for entry in entries)
    if wrong := next(filter(None, [_not_fetched(item, entries), *map(_wrong, entries)]), ""):
        return Proof(item, files, size, wrong=wrong)
    try:
        with forbidden(), redirect_stdout(StringIO()):
            return Proof(item, files, size, opened=_open(item))
    except (OSError, ValueError, *BROKEN) as error:
        return Proof(item, files, size, wrong=str(error))


def _not_fetched(item: Item, entries: list[Entry]) -> str:
    if item.packaged:
        return ""
    if not entries:
        return "not fetched"
    listed = {entry.place for entry in entries}
    expected = [file.place for file in TORCHVISION[item.name].remote(item.name)] if item.kind == IMAGES else []
    lacking = [place.rpartition("/")[2] for place in expected if place not in listed]
    return f"fetched only in part: {', '.join(lacking)} missing" if lacking else ""


def _wrong(entry: Entry) -> str:
    """Read a file that the manifest lists and say what is wrong with it."""
    if not entry.path.is_file():
        return f"{entry.place} is missing"
    if (size := entry.path.stat().st_size) != entry.bytes:
        return f"{entry.place} has {size:,} bytes, not {entry.bytes:,}"
    if (found := sums(entry.path).sha256) != entry.sha256:
        return f"{entry.place} has changed: sha256 {found[:8]}…, not {entry.sha256[:8]}…"
    return ""


def _open(item: Item) -> str:
    """Use an item as a lesson would, and say what it is. Raises what that raises."""
    if item.kind != IMAGES:
        network, _, weights = item.name.partition(":")
        count = sum(p.numel() for p in backbone(network, weights or "default").parameters())
        return f"builds, {count / 1e6:.1f} M parameters"
    if item.packaged:
        card = load(item.name).card
        return f"opens, {sum(sum(counts.values()) for counts in card.counts.values()):,} {card.noun}"
    for file in TORCHVISION[item.name].remote(item.name):
        if (name := differs(file.path)) is not None:
            raise FileNotFoundError(f"{name} is missing beside {file.place}, or is not what is packed in it")
    count, _ = first_images(item.name)
    return f"opens, {count:,} images"


@contextmanager
def forbidden() -> Iterator[None]:
    """Forbid every connection inside this block, whichever library asks for one.

    An audit hook sees what Python's socket is asked to do, below all HTTP clients. It cannot be taken out again, so it
    is put in once and looks at a counter.
    """
    global _forbidden, _installed
    if not _installed:
        sys.addaudithook(_refuse)
        _installed = True
    _forbidden += 1
    try:
        yield
    finally:
        _forbidden -= 1


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if _forbidden and event in CALLS and getattr(args[0], "family", None) != getattr(socket, "AF_UNIX", -1):
        raise NetworkForbidden(f"something asked for a network ({event})")
