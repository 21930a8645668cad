"""The list of what was brought: `manifest.json` in `data_dir()`, by which a copy of the folder can be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from filelock import FileLock

from sftlab.data.remote.files import Damaged, RemoteFile, Sums
from sftlab.data.remote.places import data_dir

ABOUT = "What `sftlab fetch` brought; `sftlab fetch --offline` checks this folder against it."


@dataclass(frozen=True)
class Entry:
    """One file that was brought: whose it is, where it lies, how large, its hash, where from, under which licence."""

    item: str
    place: str
    bytes: int
    sha256: str
    source: str
    licence: str
    date: str

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""
        return data_dir() / self.place


def manifest_path() -> Path:
    """Return where the manifest lies."""
    return data_dir() / "manifest.json"


def read() -> dict[str, Entry]:
    """Return the entries by place; none if there is no manifest yet. Raises Damaged for one that cannot be read."""
    path = manifest_path()
    try:
        return {file["place"]: Entry(**file) for file in json.loads(path.read_text(encoding="utf-8"))["files"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}); delete it and run `sftlab fetch` with your names again: what lies here "
            "is checked then, not brought again"
        ) from None


def add(file: RemoteFile, found: Sums, source: str) -> None:
    """Enter a file that is here; one that is known already, byte for byte, keeps its source and date."""
    today = date.today().isoformat()
    entry = Entry(file.item, file.place, found.bytes, found.sha256, source, file.licence, today)
    with lock("manifest.json"):
        entries = read()
        if (known := entries.get(file.place)) is None or known.sha256 != found.sha256:
            _write(entries | {file.place: entry})


def _write(entries: Mapping[str, Entry]) -> None:
    """Write the manifest, whole or not at all."""
    path = manifest_path()
    partial = path.with_name("manifest.json.partial")
    files = [asdict(entries[place]) for place in sorted(entries)]
    text = json.dumps({"about": ABOUT, "files": files}, indent=2, ensure_ascii=False)
    try:
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def lock(place: str) -> FileLock:
    """Return the lock of a file below `data_dir()`.

    The system frees it when its process dies, however it dies. Locks lie in a folder of their own and stay there:
    a lock that is deleted while another process waits for it is held twice.
    """
    folder = data_dir() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{place.replace('/', '--')}.lock")
