"""One file from the web: a cut connection is continued, a wrong hash refused, a full disk said in a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from filelock import Timeout

from sftlab.data.remote import manifest
from sftlab.data.remote.files import (
    Damaged,
    RemoteFile,
    Sums,
    Unreachable,
    Watch,
    check_room,
    full_disk_said,
    size,
    sums,
)
from sftlab.data.remote.part import Part, Version
from sftlab.data.remote.trouble import Cut, answered, sentence

if TYPE_CHECKING:
    from requests import Response

CHUNK = 1 << 18
CONNECT, SILENCE = 10.0, 30.0  # seconds: for the first answer, and between two pieces of the file
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt that follows one that brought nothing new


def download(file: RemoteFile, watch: Watch | None = None) -> str:
    """Bring a file to its place and into the manifest; return "here", "copied" or "downloaded".

    A file that is in its place is read and checked, not brought again; one with a wrong hash is set aside as
    NAME.damaged first. Of two processes that want the same file, one brings it while the other waits. Raises
    Unreachable, Damaged or NoRoom; what has come by then stays beside its place as NAME.part, and the next call
    goes on from there.
    """
    watch = watch or Watch()
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file, watch), full_disk_said(file.path.parent, lambda: _kept(file)):
        if file.path.exists():
            watch.doing(f"checking {file.name}")
            if _is_right(file, found := sums(file.path)):
                manifest.add(file, found, file.urls[0])
                return "here"
            file.path.replace(file.path.with_name(f"{file.name}.damaged"))
            watch.note(f"{file.path} is not the file we know; set aside as {file.name}.damaged")
        part, outcome = Part(file.path), "copied"
        if (done := _copied(file, part)) is None:
            outcome, done = "downloaded", _brought(file, part, watch)
        part.keep_as(file.path)
        manifest.add(file, *done)
        return outcome


@contextmanager
def _alone(file: RemoteFile, watch: Watch) -> Iterator[None]:
    lock = manifest.lock(file.place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        watch.doing(f"another process is bringing {file.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _kept(file: RemoteFile) -> str:
    here = Part(file.path).size
    return f"{size(here)} of {file.name} are kept" if here else "nothing that was finished is lost"


def _is_right(file: RemoteFile, found: Sums) -> bool:
    # A file without a published hash is known by the one in the manifest.
    known = manifest.read().get(file.place)
    return file.is_known_by(found) and (bool(file.digest) or known is None or known.sha256 == found.sha256)


def _copied(file: RemoteFile, part: Part) -> tuple[Sums, str] | None:
    """Copy the file from where another program left it; None if no right one is there."""
    for path in file.elsewhere:
        if file.digest and path.is_file() and file.is_known_by(found := sums(path)):
            check_room(file.path.parent, found.bytes, file.name)
            shutil.copyfile(path, part.path)
            return found, file.urls[0]
    return None


def _brought(file: RemoteFile, part: Part, watch: Watch) -> tuple[Sums, str]:
    """Download the file as its .part from the first address that has it; return its sums and that address."""
    troubles: list[Exception] = []
    for url in file.urls:
        try:
            in_pieces = _pull(url, part, watch)
            found = sums(part.path)
            if in_pieces and not file.is_known_by(found):
                watch.note(f"the pieces of {file.name} do not make the file we know; once more from the start")
                part.discard()
                _pull(url, part, watch)
                found = sums(part.path)
        except Unreachable as error:
            troubles.append(error)
            continue
        if file.is_known_by(found):
            return found, url
        part.discard()
        kind, _, digits = file.digest.partition(":")
        troubles.append(
            Damaged(
                f"the download of {file.name} is damaged: its {kind} begins with {getattr(found, kind)[:8]}, not with "
                f"{digits[:8]}. It was damaged on its way, or changed at {url}; it was not kept, so try again later"
            )
        )
    if damaged := [error for error in troubles if isinstance(error, Damaged)]:
        raise damaged[0]
    raise Unreachable("; ".join(dict.fromkeys(map(str, troubles))))


def _pull(url: str, part: Part, watch: Watch) -> bool:
    """Bring all that is missing of a .part, in as many attempts as it takes; tell whether it is made of pieces."""
    furthest, failed, connected, in_pieces = part.size, 0, False, part.is_whole(url)
    while not part.is_whole(url):
        try:
            with _answer(url, part) as response:
                connected, in_pieces = True, response.status_code == 206
                _receive(url, response, part, watch)
            if not part.is_whole(url):
                raise Cut(f"the connection to {urlsplit(url).netloc} was cut")
        except Cut as error:
            failed = 0 if part.size > furthest else failed + 1
            furthest = max(furthest, part.size)
            if failed > len(WAITS) or not (connected or error.is_passing):
                kept = f"; {size(part.size)} that came are kept for the next call" if part.size else ""
                raise Unreachable(f"{error}{kept}") from None
            watch.note(f"{error}; trying again")
            sleep(WAITS[max(failed, 1) - 1])
    return in_pieces


def _answer(url: str, part: Part) -> Response:
    """Ask for the file, or for the rest of it if its .part came from the same address; return the answer's head."""
    import requests

    headers = {"Accept-Encoding": "identity", "User-Agent": "sftlab", **(rest := part.ask(url))}
    with sentence(url):
        response = requests.get(url, headers=headers, stream=True, timeout=(CONNECT, SILENCE))
    continues = response.status_code == 206 and part.is_continued_by(response.headers.get("Content-Range", ""))
    if rest and response.status_code in (206, 416) and not continues:
        response.close()
        part.discard()  # the beginning of another file than the one that lies there now
        return _answer(url, part)
    answered(response, url, expected=206 if continues else 200)
    return response


def _receive(url: str, response: Response, part: Part, watch: Watch) -> None:
    """Write what the server sends into the .part: behind what is there, or from the start."""
    length = response.headers.get("Content-Length")
    if response.status_code == 200:
        part.begin(Version.of(url, response.headers, int(length) if length else None))
    have = part.size
    total = have + int(length) if length else None
    check_room(part.path.parent, int(length or 0), f"what is missing of {part.path.stem}")
    watch.at(have, total)
    with part.path.open("ab", buffering=0) as out:
        while chunk := _next(url, response):
            _write(out, chunk)
            have += len(chunk)
            watch.at(have, total)
    if total in (None, have):  # without a length it came in chunks, and the last one said that it is the last
        part.finish()


def _next(url: str, response: Response) -> bytes:
    with sentence(url):
        chunk: bytes = response.raw.read1(CHUNK, decode_content=False)
    return chunk


def _write(out: BinaryIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:  # an unbuffered file takes what there is room for, and only the next write says that it is full
        left = left[out.write(left) :]
