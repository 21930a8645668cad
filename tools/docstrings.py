"""Make `sftlab/data/docstrings.json`, the texts of `load("docstrings")`, from the libraries that are installed.

    python -m tools.docstrings

Read with `ast` from their sources, which are never imported. What would give the answer away without any reading is
left out: sentences with package names or code, prompts, section headers and what stands below them; so is the later of
two texts that are alike, wherever they stand. The modules of a library contribute as evenly as they can. Other versions
give other texts: then `benchmarks/text.py` and lesson further/text must run again. Half a minute.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sftlab.data import generated
from sftlab.data.storage import package_folder, replacing

FILE = Path(generated.__file__).with_name("docstrings.json")
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


class Docstring(NamedTuple):
    """One docstring: its library, the top-level module that is never torn apart, its place, its sentences."""

    library: str
    module: str
    place: str
    text: str


def main() -> None:
    """Read, choose and store."""
    rows = distinct([row for package in LIBRARIES for row in read(package)])
    chosen = [row for library in LIBRARIES.values() for row in evenly([r for r in rows if r.library == library])]
    with replacing(FILE) as partial:
        partial.write_text(as_json({name: version(name) for name in LIBRARIES.values()}, chosen), encoding="utf-8")
    print(f"{len(chosen)} texts in {FILE}")


def as_json(versions: dict[str, str], rows: list[Docstring]) -> str:
    """Return the file's content: a text a line, so that a change can be read."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"versions": {json.dumps(versions)},\n"rows": [\n{lines}\n]}}\n'


def read(package: str) -> Iterator[Docstring]:
    """Iterate over the public docstrings of an installed package of which enough is left."""
    root = package_folder(package, f"the docstrings of {package}")
    for file in sorted(root.rglob("*.py")):
        place = file.relative_to(root.parent).as_posix()
        if _foreign.search(place):
            continue
        module = ".".join(place.removesuffix(".py").split("/")[:2])
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                text = prose(ast.get_docstring(node) or "")
                if len(re.findall(r"[A-Za-z]{2,}", text)) >= WORDS:
                    yield Docstring(LIBRARIES[package], module, f"{place}:{node.lineno}", text)


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


def distinct(rows: list[Docstring]) -> list[Docstring]:
    """Return the rows without near-copies: of two texts that are alike, the first stays."""
    from sklearn.feature_extraction.text import CountVectorizer

    holds = CountVectorizer(token_pattern="[a-z]+", binary=True).fit_transform(row.text for row in rows)
    sizes, keep = np.diff(holds.indptr), np.ones(len(rows), dtype=bool)
    for i in range(len(rows)):
        both = (holds @ holds[[i]].T).toarray().ravel()
        keep[i] = not (keep & (both > ALIKE * (sizes + sizes[i] - both)))[:i].any()
    return [row for row, good in zip(rows, keep, strict=True) if good]


def evenly(rows: list[Docstring]) -> list[Docstring]:
    """Return EACH of the rows of a library, drawn so that no module of the library has more of them than need be."""
    sizes = Counter(row.module for row in rows)
    most = next((m for m in range(1, len(rows)) if sum(min(n, m) for n in sizes.values()) >= EACH), len(rows))
    rng, chosen = np.random.default_rng(0), list[Docstring]()
    for module in sizes:
        own = [row for row in rows if row.module == module]
        chosen += [own[i] for i in rng.permutation(len(own))[:most]]
    return [chosen[i] for i in sorted(rng.permutation(len(chosen))[:EACH])]


if __name__ == "__main__":
    main()
