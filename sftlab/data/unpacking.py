"""Archives beside their contents: unpacked whole or not at all, and compared with what was unpacked."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile)
CHUNK = 1 << 20


def unpack(archive: Path) -> None:
    """Unpack a .tar.gz, .tgz, .zip or .gz beside itself; any other file is left as it is.

    A process that is killed meanwhile leaves nothing that looks like a set: everything is written into a folder of
    its own first, and each top-level entry then moved into place in one step. Raises ValueError for a member that
    would leave the folder, and what tarfile, zipfile and gzip raise for a broken archive.
    """
    scratch = archive.with_name(f".unpacking-{archive.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for name, content in _members(archive):
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
        for made in sorted(scratch.iterdir()) if scratch.exists() else []:
            place = archive.with_name(made.name)
            if place.is_dir():
                shutil.rmtree(place)
            made.replace(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def differs(archive: Path) -> str | None:
    """Return the first unpacked file that is missing or not, byte for byte, the archive's; None if all are."""
    for name, content in _members(archive):
        unpacked = archive.parent / name
        if not unpacked.is_file():
            return str(name)
        with unpacked.open("rb") as file:
            while chunk := content.read(CHUNK):
                if file.read(len(chunk)) != chunk:
                    return str(name)
            if file.read(1):
                return str(name)
    return None


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield (name, open file) of every file in an archive, in its own order; nothing for what is no archive."""
    if archive.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)):
                    yield _inside(member.name, archive), content
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    with packed.open(info) as content:
                        yield _inside(info.filename, archive), content
    elif archive.suffix == ".gz":
        with gzip.open(archive) as plain:
            yield PurePosixPath(archive.stem), cast(IO[bytes], plain)


def _inside(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{archive.name} holds {name!r}, which would lie outside its folder; it was not unpacked")
    return path
