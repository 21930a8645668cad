"""What has come of a file so far, and which version of it that is the beginning of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Version:
    """By what a server tells one version of a file from the next: ETag, date, length; "" or None if it does not."""

    url: str
    etag: str
    modified: str
    bytes: int | None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str], total: int | None) -> Version:
        """Read it off the head of an answer."""
        etag = headers.get("ETag", "")
        strong = "" if etag.startswith("W/") else etag  # RFC 9110: a weak one does not vouch for the bytes
        return cls(url, strong, headers.get("Last-Modified", ""), total)


class Part:
    """NAME.part beside a file's place, and NAME.part.json that says what it is a part of."""

    def __init__(self, place: Path) -> None:
        self.path = place.with_name(f"{place.name}.part")
        self.note = place.with_name(f"{place.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> Version | None:
        """The version this is a part of; None if nobody knows."""
        try:
            return Version(**json.loads(self.note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, version: Version) -> None:
        """Start from nothing."""
        self.discard()
        self._write(version)
        self.path.touch()

    def finish(self) -> None:
        """Say that all bytes are here."""
        if (known := self.version) and known.bytes is None:
            self._write(replace(known, bytes=self.size))

    def is_whole(self, url: str) -> bool:
        """Tell whether all bytes of the file at this address are here."""
        known = self.version
        return known is not None and known.url == url and known.bytes == self.size

    def ask(self, url: str) -> dict[str, str]:
        """Return the HTTP headers that ask for the rest of that very file, or else for all of a new one."""
        known = self.version
        if not self.size or known is None or known.url != url:
            return {}
        validator = known.etag or known.modified
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def is_continued_by(self, content_range: str) -> bool:
        """Tell whether an answer with this Content-Range begins where we stopped, and is of a file as long as ours."""
        start, _, total = content_range.removeprefix("bytes ").partition("/")
        known = self.version
        length = known.bytes if known else None
        return start.startswith(f"{self.size}-") and (length is None or total in ("*", str(length)))

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _write(self, version: Version) -> None:
        self.note.write_text(json.dumps(asdict(version)), encoding="utf-8")

    def keep_as(self, place: Path) -> None:
        """Move it to its place; the note goes."""
        self.path.replace(place)
        self.note.unlink(missing_ok=True)
