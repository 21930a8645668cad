"""A text task that every installation brings along: which library wrote this docstring?

The sentences that describe a function or class, read with `ast` from the sources of installed packages, which are never
imported. What would give the answer away without any reading is left out: sentences with package names or code,
prompts, section headers and what stands below them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sftlab.data.core import Data
from sftlab.data.storage import data_dir
from sftlab.data.texts import from_texts

LIBRARIES = {  # package: class
    "numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "matplotlib": "matplotlib", "torch": "torch",
}  # fmt: skip
EACH = 400  # texts of each library
WORDS = 8  # at least so many in a text
ALIKE = 0.6  # two texts with this share of their words in common (Jaccard, 1912) count as copies

FOREIGN = r"tests?|conftest|\w*test(ing|er)|_?externals?|\w*vendor\w*|array_api\w*|_numpy|_refs|pyprima|distutils"
NAMES = r"numpy|np|ndarray|scipy|sklearn|scikits?|matplotlib|mpl|pyplot|plt|pylab|\w*torch"
_foreign = re.compile(rf"(^|/)({FOREIGN})(/|\.py$)")  # not its own prose: tests, other people's code, translations
_header = re.compile(
    r"\s*(\.\. |>>>|:\w[^:]*:|[A-Z][\w ]{0,24}::?\s*$|(Args?|Parameters?|Returns?|Raises|Notes?|Examples?)\b\s*:)"
)
_sentence = re.compile(r"(?<=[.?!])\s+(?=[A-Z])|\n\s*\n")
_code = re.compile(rf"(?i:\b({NAMES})\b)|[`_\[\]{{}}=<>|\\/^@#~+*:]|\w\.\w|\w\(|[a-z][A-Z]|[^\x00-\x7f]")


class Found(NamedTuple):
    """One docstring: its library, the top-level module that is never torn apart, its place, its sentences."""

    library: str
    module: str
    place: str
    text: str


def load_docstrings(
    *, split: str = "grouped", size: int | None = None, per_class: int | None = None, seed: int = 0,
    valid: float = 0.2, test: float = 0.3,
) -> Data:  # fmt: skip
    """Load 400 docstrings of each of five installed libraries.

    split: "grouped", which keeps each module (numpy.fft, torch.optim, …) in one part, or "random". Near-copies (three
    words in five in common) are dropped beforehand, wherever they stand. The modules of a library
    contribute as evenly as they can. The texts follow the installed versions, which the card names.
    """
    if split not in ("grouped", "random"):
        raise ValueError(f"split={split!r}: 'grouped' or 'random'")
    versions = {library: version(library) for library in LIBRARIES.values()}
    notes = {
        "grouped": "Whole modules (numpy.fft, torch.optim, …) lie in one part of the split.",
        "random": "Texts of one module fall on both sides of a random split, which flatters the number.",
    }
    found = _kept(versions)
    return from_texts(
        [row.text for row in found], [row.library for row in found], classes=list(LIBRARIES.values()),
        groups=[row.module for row in found] if split == "grouped" else None, files=[row.place for row in found],
        name="docstrings", rule="the library in whose source the docstring stands",
        size=size, per_class=per_class, seed=seed, valid=valid, test=test,
        source="as installed here: " + ", ".join(f"{library} {number}" for library, number in versions.items()),
        licence="BSD 3-Clause (numpy, scipy, scikit-learn, torch), matplotlib licence (after the Python licence)",
        citation="the contributors of these libraries",
        notes=["Sentences with code or package names, prompts, section headers and what follows them are left out.",
               notes[split]],
    )  # fmt: skip


def _kept(versions: dict[str, str]) -> list[Found]:
    """Return the chosen docstrings; reading 4,000 files takes 20 seconds, so the choice is kept on disk."""
    state = f"{versions} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"
    kept = data_dir() / "decoded" / f"docstrings-{hashlib.sha256(state.encode()).hexdigest()[:16]}.json"
    if not kept.exists():
        found = [row for package in LIBRARIES for row in read(package)]
        chosen = [row for name in versions for row in _evenly([r for r in _distinct(found) if r.library == name], EACH)]
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(chosen), encoding="utf-8")
        partial.replace(kept)
    return [Found(*row) for row in json.loads(kept.read_text(encoding="utf-8"))]


def read(package: str) -> Iterator[Found]:
    """Iterate over the public docstrings of an installed package of which enough is left."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"the docstrings of {package} are read from its installation, and it is not installed")
    root = Path(found.submodule_search_locations[0])
    for file in sorted(root.rglob("*.py")):
        place = file.relative_to(root.parent).as_posix()
        if _foreign.search(place):
            continue
        module = ".".join(place.removesuffix(".py").split("/")[:2])
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                text = prose(ast.get_docstring(node) or "")
                if len(re.findall(r"[A-Za-z]{2,}", text)) >= WORDS:
                    yield Found(LIBRARIES.get(package, package), module, f"{place}:{node.lineno}", text)


def prose(docstring: str) -> str:
    """Return the describing sentences of a docstring that hold no code and no name of a package.

    >>> prose("Return a copy of the array. As `numpy.copy` does.\\n\\nParameters\\n----------\\nx : array_like")
    'Return a copy of the array.'
    """
    lines: list[str] = []
    for line in docstring.splitlines():
        if re.match(r"\s*[-=~^]{3,}\s*$", line):  # it underlines a header: the line before it goes as well
            lines = lines[:-1]
            break
        if _header.match(line):
            break
        if not line.startswith("    "):  # an indented block is code
            lines.append(line)
    sentences = [s for s in _sentence.split("\n".join(lines)) if not _code.search(s)]
    return " ".join(" ".join(sentences).split())


def _distinct(rows: list[Found]) -> list[Found]:
    """Return the rows without near-copies: of two texts that are alike, the first stays."""
    from scipy.sparse import csr_array

    words = [sorted(set(re.findall(r"[a-z]+", row.text.lower()))) for row in rows]
    column = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    ends = np.cumsum([0, *map(len, words)])
    ones = np.ones(ends[-1], dtype=np.int32)
    holds = csr_array((ones, [column[w] for mine in words for w in mine], ends), shape=(len(rows), len(column)))
    sizes, keep = np.diff(ends), np.ones(len(rows), dtype=bool)
    for i in range(len(rows)):
        both = (holds @ holds[[i]].T).toarray().ravel()
        keep[i] = not (keep & (both > ALIKE * (sizes + sizes[i] - both)))[:i].any()
    return [row for row, good in zip(rows, keep, strict=True) if good]


def _evenly(rows: list[Found], count: int) -> list[Found]:
    """Return `count` rows, drawn so that no module of the library has more of them than need be."""
    sizes = Counter(row.module for row in rows)
    most = next((m for m in range(1, len(rows)) if sum(min(n, m) for n in sizes.values()) >= count), len(rows))
    rng, chosen = np.random.default_rng(0), list[Found]()
    for module in sizes:
        own = [row for row in rows if row.module == module]
        chosen += [own[i] for i in rng.permutation(len(own))[:most]]
    return [chosen[i] for i in sorted(rng.permutation(len(chosen))[:count])]
