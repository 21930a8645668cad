"""Texts as data: a text is its UTF-8 bytes, and what cuts them into tokens comes with the weights.

`sft.from_texts` and `load("csv:…")` call it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sftlab.data.dataset import Data, Split, as_labels
from sftlab.data.splits import assemble
from sftlab.data.storage import allocate, as_path

SIZE = 2048  # bytes kept of a text: about 500 word pieces, which is what encoders of this kind can read


@dataclass(frozen=True, eq=False)
class Texts(Split):
    """A split of texts. images: their UTF-8 bytes, uint8 M×L with zeros at the end; size: bytes delivered of each."""

    noun: ClassVar[str] = "texts"

    def __repr__(self) -> str:
        return f"Texts({self.name!r}, {len(self)} texts)"

    @property
    def kind(self) -> str:
        """What is delivered, in words."""
        return f"texts of up to {self.size} bytes"

    @property
    def sizes(self) -> str:
        """The lengths, in words."""
        return f"{int(np.median((self.images > 0).sum(axis=1)))} bytes in the middle, {self.images.shape[1]} at most"

    @property
    def texts(self) -> list[str]:
        """The texts of this split, in order."""
        return as_texts(self.inputs(np.arange(len(self))))

    def inputs(self, positions: np.ndarray) -> Tensor:
        """Return the bytes at `positions`, uint8 N×L."""
        return torch.from_numpy(np.ascontiguousarray(self.images[self.index[positions], : self.size]))

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Raise TypeError: texts have no pixels."""
        raise TypeError("texts have no pixels; ask for .inputs (bytes) or .texts")


def as_bytes(texts: Sequence[str], size: int = SIZE) -> Tensor:
    """Return texts as uint8 N×L: UTF-8, cut after `size` bytes, zeros at the end.

    >>> as_bytes(["ab", "c"])
    tensor([[97, 98],
            [99,  0]], dtype=torch.uint8)
    """
    codes = [text.replace("\0", " ").encode()[:size] for text in ([texts] if isinstance(texts, str) else texts)]
    rows = allocate((len(codes), max([1, *map(len, codes)])))
    rows[:] = 0
    for row, code in zip(rows, codes, strict=True):
        row[: len(code)] = np.frombuffer(code, dtype=np.uint8)
    return torch.from_numpy(rows)


def as_texts(x: Tensor) -> list[str]:
    """Return what `as_bytes` was given; of a letter that was cut in two, nothing is left."""
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in x.cpu().numpy()]


def from_texts(
    texts: Sequence[str],
    y: Any,
    *,
    classes: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    size: int | None = None,
    **options: Any,
) -> Data:
    """Build a Data from texts in memory.

    y: N class numbers from 0, or N names. groups: what must not be torn apart by the split (an author, a document),
    a value a text. size: bytes kept of each text (default 2048). options: name, rule, files, and
    those of `from_arrays`.
    Raises ValueError for labels that do not fit, empty texts, or a split that cannot be made.

    >>> from_texts([f"text {i}" for i in range(60)], ["odd", "even"] * 30).train
    Texts('train', 36 texts)
    """
    numbers, names = as_labels(y, classes)
    if empty := [i for i, text in enumerate(texts) if not text.strip()]:
        raise ValueError(f"text {empty[0]} is empty ({len(empty)} of {len(texts)} are); leave empty texts out")
    size = size or SIZE
    rows = as_bytes(texts, size).numpy()
    hashes = [hashlib.sha256(row.tobytes().rstrip(b"\0")).hexdigest()[:16] for row in rows]
    facts = {"name": "texts", "rule": "labels as given"} | options
    return assemble(
        rows, torch.from_numpy(numbers), names, size=size, groups=groups, hashes=hashes, kind=Texts, **facts
    )


def load_csv(
    path: str | Path, *, text: str | None = None, label: str | None = None, group: str | None = None, **options: Any
) -> Data:
    """Load texts and labels from a table (CSV; comma, semicolon, tab or | between the columns, a header above them).

    text, label: names of the columns; where not given, columns of these names, or in a table of two columns the one
    with the longer entries is the text. group: a column whose values the split must not tear apart. Rows without text
    or label are left out and listed in `card.skipped`. options: as for `from_texts`. Raises FileNotFoundError, or
    ValueError for a table that cannot be read so, with its columns.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    table = _read(path)
    columns = _columns(path, table, {"text": text, "label": label} | ({"group": group} if group else {}))
    entries, skipped = dict[str, dict[str, str]](), dict[str, str]()
    for line, row in enumerate(table, 2):
        values = {key: row[column].strip() for key, column in columns.items()}
        if missing := [key for key in ("text", "label") if not values[key]]:
            skipped[f"row {line}"] = f"no {' and no '.join(missing)}"
        else:
            entries[f"row {line}"] = values
    if not entries:
        raise ValueError(f"{path.name} has no row with both a text and a label")
    texts, labels, groups = ([values.get(key, "") for values in entries.values()] for key in ("text", "label", "group"))
    facts: dict[str, Any] = {"name": path.stem, "rule": f"the column {columns['label']!r}", "skipped": skipped}
    return from_texts(texts, labels, groups=groups if group else None, files=list(entries), **facts | options)


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, each by the names in its header."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    delimiter = max(",;\t|", key=content.partition("\n")[0].count)
    rows = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, restval="")
    rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
    table = [row for row in rows if any(row.values())]
    if not table or len(rows.fieldnames) < 2:
        raise ValueError(f"{path.name} has no table of two columns or more below a header")
    return table


def _columns(path: Path, table: list[dict[str, str]], names: dict[str, str | None]) -> dict[str, str]:
    """Return the name of the column for text, label and group."""
    header = [name for name in table[0] if name]  # None has what stands beyond the last column
    lower = {name.lower(): name for name in header}
    columns = {key: lower.get(key, "") if name is None else name for key, name in names.items()}
    if len(header) == 2 and not any(columns.values()):
        long, short = sorted(header, key=lambda name: sum(len(row[name]) for row in table), reverse=True)
        columns = {"text": long, "label": short}
    if missing := [names[key] or key for key, column in columns.items() if column not in header]:
        raise ValueError(
            f"{path.name} has no column {' and no column '.join(map(repr, missing))}; there are {', '.join(header)}. "
            "Name them: load('csv:PATH', text=…, label=…)"
        )
    return columns
