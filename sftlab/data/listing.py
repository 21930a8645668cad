"""Which files are meant: photographs one by one, and folders with all that is below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sftlab.data.folder import LITTER

Photos = Sequence[str | Path] | str | Path


def photos_in(photos: Photos) -> list[Path]:
    """Return single files as given, and for a folder all that lies in it and below, sorted by name.

    Hidden files and what systems leave behind are not photographs, as when a folder is loaded for training.
    """
    found: list[Path] = []
    for given in [photos] if isinstance(photos, (str, Path)) else photos:
        path = Path(given).expanduser()
        found += _below(path) if path.is_dir() else [path]
    return found


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    above |= {folder.resolve()}
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.name.startswith(".") or path.name.lower() in LITTER:
            continue
        if not path.is_dir():
            yield path
        elif path.resolve() not in above:  # a link may lead in a circle
            yield from _below(path, above)
