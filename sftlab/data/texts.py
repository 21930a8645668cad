"""Texts as data: a text is its UTF-8 bytes, and what cuts them into tokens comes with the weights.

`sft.from_texts` and `load("csv:…")` call it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sftlab.data.dataset import Data, Split, as_labels
from sftlab.data.splits import assemble
from sftlab.data.storage import allocate, as_path

if TYPE_CHECKING:
    import pandas as pd

SIZE = 2048  # bytes kept of a text: about 500 word pieces, which is what encoders of this kind can read


@dataclass(frozen=True, eq=False)
class Texts(Split):
    """A split of texts. images: their UTF-8 bytes, uint8 M×L with zeros at the end; size: bytes delivered of each."""

    noun: ClassVar[str] = "texts"

    def __repr__(self) -> str:
        return f"Texts({self.name!r}, {len(self)} texts)"

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
    path: str | Path, *, text: str = "text", label: str = "label", group: str | None = None, **options: Any
) -> Data:
    """Load texts and labels from a table (CSV; comma, semicolon, tab or | between the columns, a header above them).

    text, label: names of the columns, in small or capital letters. group: a column whose values the split must not tear
    apart. Rows without text or label are left out and listed in `card.skipped`. options: as for `from_texts`. Raises
    FileNotFoundError, or ValueError for a table that cannot be read so, with its columns.
    """
    path = as_path(path)
    table = _read(path)
    names = {name.lower(): name for name in table}
    text, label = (names.get(name.lower(), name) for name in (text, label))
    columns = [text, label] + ([group] if group else [])
    if missing := [name for name in columns if name not in table]:
        raise ValueError(
            f"{path.name} has no column {' and no column '.join(map(repr, missing))}; there are {', '.join(table)}. "
            "Name them: load('csv:PATH', text=…, label=…)"
        )
    empty = table[[text, label]] == ""
    skipped = {f"row {i}": f"no {' and no '.join(row.index[row])}" for i, row in empty.iterrows() if row.any()}
    table = table[~empty.any(axis=1)]
    if not len(table):
        raise ValueError(f"{path.name} has no row with both a text and a label")
    facts: dict[str, Any] = {"name": path.stem, "rule": f"the column {label!r}", "skipped": skipped}
    groups = table[group].tolist() if group else None
    files = [f"row {i}" for i in table.index]
    return from_texts(table[text].tolist(), table[label].tolist(), groups=groups, files=files, **facts | options)


def _read(path: Path) -> pd.DataFrame:
    """Return a table of stripped words, "" where there are none, its rows numbered from 2: the header is row 1."""
    import pandas as pd

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = path.read_text(encoding="utf-8-sig")
        delimiter = max(",;\t|", key=content.partition("\n")[0].count)
        table = pd.read_csv(
            io.StringIO(content, newline=""), sep=delimiter, dtype=str, keep_default_na=False, index_col=False
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except ValueError as error:
        raise ValueError(
            f'{path.name} is no table ({str(error).strip()}); put a text that holds {delimiter!r} into "…"'
        ) from None
    if table.empty or len(table.columns) < 2:
        raise ValueError(f"{path.name} has no table of two columns or more below a header")
    table = table.fillna("").rename(columns=str.strip).apply(lambda column: column.str.strip())
    return table.set_index(table.index + 2)
