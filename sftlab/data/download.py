"""One download, verified by its hash: resumed where it was cut, from several addresses, by one process at a time.

Called by the loaders of `data`, by `networks` for weights and by `sftlab fetch`.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sftlab.data.storage import check_room, writing_into

if TYPE_CHECKING:
    from filelock import BaseFileLock

CHUNK = 1 << 16
CONNECT, SILENCE = 10.0, 30.0  # seconds: for the first answer, and between two pieces of the file
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt that follows one that brought nothing new
BUSY = (408, 429, 500, 502, 503, 504)  # HTTP answers that may be other ones in a moment


class Damaged(ValueError):
    """What arrived is not the file that is known by its hash."""


class RemoteFile(NamedTuple):
    """A file on the web: its addresses, its place on this machine, its hash ("sha256:…", "md5:…"), its size if known.

    The first digits of a hash are enough; it is empty where nobody publishes one.
    """

    urls: tuple[str, ...]
    path: Path
    known: str = ""
    megabytes: float | None = None


def lock(path: Path) -> BaseFileLock:
    """Return the lock of a file. The system frees it when its process dies, however it dies."""
    from filelock import FileLock

    return FileLock(path.with_name(f".{path.name}.lock"))


def has_hash(path: Path, known: str) -> bool:
    """Tell whether a file is there and its hash begins as `known` ("sha256:579344", "md5:…") says; "" is any file."""
    kind, _, digits = known.partition(":")
    return path.is_file() and (not known or file_hash(path, kind).startswith(digits))


def file_hash(path: Path, kind: str = "sha256") -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def download(urls: Iterable[str], path: Path, known: str = "") -> Path:
    """Bring a file to `path` and return it; one that is there and right is left alone.

    urls: the same file at one or more addresses, tried in order. known: its hash, "sha256:…" or "md5:…", of which the
    first digits are enough. What a cut connection leaves stays beside it as NAME.part, and the next call goes on from
    there. Of two processes that want the same file, one brings it while the other waits.

    Raises ConnectionError without a network, Damaged for a file with another hash, NoRoom for a full disk,
    PermissionError for a folder that can only be read: sentences.
    """
    part = path.with_name(f"{path.name}.part")
    troubles: list[OSError | ValueError] = []
    with writing_into(path.parent), lock(path):
        if has_hash(path, known):
            return path
        for url in urls:
            try:
                if _receive(url, part, known) and not has_hash(part, known):
                    part.unlink()  # pieces of two versions of the file: once more, from the start
                    _receive(url, part, known)
            except ConnectionError as error:
                troubles.append(error)
                continue
            if has_hash(part, known):
                return part.replace(path)
            part.unlink()
            troubles.append(
                Damaged(
                    f"{path.name} from {url} is damaged: it is not the file with {known[:15]}… that we know. It was "
                    "damaged on its way, or changed there; it was not kept, so try again later"
                )
            )
    if damaged := [trouble for trouble in troubles if isinstance(trouble, Damaged)]:
        raise damaged[0]
    kept = f"; {_size(part) / 1e6:.1f} MB that came are kept for the next call" if _size(part) else ""
    raise ConnectionError("; ".join(map(str, troubles)) + kept)


class _Cut(ConnectionError):
    """A trouble that may be over in a moment, so that another attempt is worth it."""


def _receive(url: str, part: Path, known: str) -> bool:
    """Bring what is missing of a .part, in as many attempts as it takes; tell whether the last one continued it."""
    furthest, failed = _size(part), 0
    while True:
        try:
            # without a hash nothing would tell the pieces of two versions apart: then each attempt starts from nothing
            return _attempt(url, part, _size(part) if known else 0)
        except _Cut:
            failed = 0 if _size(part) > furthest else failed + 1
            furthest = max(furthest, _size(part))
            if failed > len(WAITS):
                raise
            time.sleep(WAITS[max(failed, 1) - 1])


def _attempt(url: str, part: Path, have: int) -> bool:
    """Ask once for a file from byte `have` on and write what comes; tell whether it was a continuation."""
    import requests

    host, asked = url.split("/")[2], {"Accept-Encoding": "identity", "User-Agent": "sftlab"}
    answer = None
    try:
        with requests.get(
            url, headers=asked | ({"Range": f"bytes={have}-"} if have else {}), stream=True, timeout=(CONNECT, SILENCE)
        ) as answer:
            if have and answer.status_code == 416:  # nothing is missing, or another file lies there now: its hash tells
                return True
            if not answer.ok:
                kind = _Cut if answer.status_code in BUSY else ConnectionError
                raise kind(f"{host} answers {answer.status_code} {answer.reason} for {url}")
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise ConnectionError(
                    f"{host} sent a web page in place of {url}: does this network ask for a login first?"
                )
            have = have if answer.status_code == 206 else 0
            length = int(answer.headers.get("Content-Length", 0))
            check_room(part.parent, length, f"what is missing of {part.stem}")
            with part.open("ab" if have else "wb") as file, _bar(part.stem, have, length) as bar:
                for chunk in answer.iter_content(CHUNK):
                    bar.update(file.write(chunk))
        if length and _size(part) != have + length:
            raise requests.ConnectionError
    except requests.RequestException as error:
        if answer is not None or have or isinstance(error, requests.ReadTimeout):
            raise _Cut(f"the connection to {host} was cut ({type(error).__name__})") from None
        raise ConnectionError(f"no connection to {host} ({type(error).__name__}): is there a network?") from None
    return have > 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bar(name: str, have: int, length: int) -> Any:
    """Return a progress bar in a terminal or a notebook that is wiped at the end; a pipe gets none."""
    from tqdm import tqdm

    shell = sys.modules.get("IPython")  # where IPython is not loaded, nobody is in a notebook
    line = _NotebookLine() if shell and hasattr(shell.get_ipython(), "kernel") else None
    return tqdm(
        desc=name,
        initial=have,
        total=have + length if length else None,
        unit="B",
        unit_scale=True,
        leave=False,
        file=line,
        disable=False if line else None,
    )


class _NotebookLine:
    """One output of a notebook that shows the last line written to it, and nothing once that is blank."""

    def __init__(self) -> None:
        from IPython.display import display

        self.output = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        """Show a line."""
        self.output.update({"text/plain": text.strip()}, raw=True)

    def flush(self) -> None:
        """Do nothing: a line is shown as soon as it is written."""
