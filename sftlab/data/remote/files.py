"""What is known of a file on the web, and what can go wrong with it."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sftlab.data.remote.places import data_dir

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))


class Unreachable(OSError):
    """The file could not be brought: no network, no answer, a connection that breaks again and again."""


class Damaged(ValueError):
    """What arrived, or what lies here, is not the file we know by its hash."""


class NoRoom(OSError):
    """The disk has no room for it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web, its place below `data_dir()`, and how one knows it.

    item: the name under which `sftlab fetch` brings it. place: with slashes. urls: the same file at one or more
    addresses, tried in order. digest: "md5:…" or "sha256:…", of which the first digits are enough; empty where nobody
    publishes one. elsewhere: where another program may have left the same file. megabytes: about how many, where that
    is known before the server says so.
    """

    item: str
    place: str
    urls: tuple[str, ...]
    digest: str
    licence: str
    elsewhere: tuple[Path, ...] = ()
    megabytes: float | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.place.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""
        return data_dir() / self.place

    def found(self) -> Path | None:
        """Return where it lies on this machine, in its place or where another program left it; None if nowhere."""
        return next((path for path in (self.path, *self.elsewhere) if path.is_file()), None)

    def is_known_by(self, found: Sums) -> bool:
        """Tell whether a file with these sums is this one."""
        kind, _, digits = self.digest.partition(":")
        return not digits or {"md5": found.md5, "sha256": found.sha256}[kind].startswith(digits)


@dataclass(frozen=True)
class Sums:
    """A file's size and hashes."""

    bytes: int
    sha256: str
    md5: str


def sums(path: Path) -> Sums:
    """Read a file once and return its size and its hashes."""
    size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            size += len(chunk)
            sha256.update(chunk)
            md5.update(chunk)
    return Sums(size, sha256.hexdigest(), md5.hexdigest())


def check_room(folder: Path, need: float, what: str) -> None:
    """Raise NoRoom if the disk of `folder` has fewer than `need` bytes left for `what`."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < need:
        raise NoRoom(
            f"{what} takes {size(need)}, and {folder} has {size(free)} left; free some, "
            "or let SFTLAB_DATA name a folder on another disk"
        )


@contextmanager
def full_disk_said(folder: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn a disk that fills up meanwhile into NoRoom; kept: says what is not lost."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(f"the disk of {folder} is full ({error.strerror}); {kept()}: free some and run it again") from None


def size(count: float) -> str:
    """Return a number of bytes as people say it."""
    value, name = next((count / unit, name) for unit, name in UNITS if count >= unit or unit == 1)
    return f"{value:.0f} {name}" if value >= 9.95 or name == "bytes" else f"{value:.1f} {name}"


class Watch:
    """Who looks on while a file comes: nobody. A progress bar is another one."""

    def at(self, done: int, total: int | None) -> None:
        """Hear that `done` of `total` bytes are here (None: the server does not say how many there are)."""

    def doing(self, text: str) -> None:
        """Hear what takes time besides: checking, unpacking, waiting for somebody."""

    def note(self, text: str) -> None:
        """Hear what happened on the way: a cut, a new start, a file that was set aside."""
