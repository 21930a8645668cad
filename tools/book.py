"""Build the book: a site of the playground, the executed lessons, the evidence and the chapter `core/`; `make book`.

    python tools/book.py [FOLDER]        # build/book/index.html; it opens from disk

Nothing is executed: the lessons' outputs are those that are committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from sftlab.runs.lab import EXERCISES, exercises
from sftlab.runs.notebooks import emptied
from sftlab.runs.report import without_widget
from tools import playground

ROOT = Path(__file__).parents[1]
CORE = (  # the chapter, in the order in which it is read
    "model", "profiles", "losses", "loop", "training", "monitors", "records", "features", "evaluation", "statistics",
    "lr_search",
)  # fmt: skip
CONFIGURATION = """
project, author = "sftlab", "the authors of sftlab"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme, html_title = "furo", "sftlab"
html_extra_path, html_copy_source = ["extra"], False
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
autodoc_typehints, autodoc_member_order = "none", "bysource"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "myst.xref_missing", "misc.highlighting_failure"]
"""
INDEX = """# sftlab: supervised fine-tuning, hands on

<p><a href="playground.html"><b>The playground</b></a>: drag the learning rate, and the head of a real network learns
in this browser.</p>
<a href="playground.html"><img width="640" src="playground.png"
  alt="The playground: a slider for the rate, curves, a confusion matrix"></a>

The lessons can be read here. To *do* them, with sliders that train, install the lab: `git clone`, then `make lab`.

```{toctree}
:caption: Lessons
:maxdepth: 1
:glob:
notebooks/[0-9]*
notebooks/faq
```

```{toctree}
:caption: Exercises and teaching
:maxdepth: 1
:glob:
notebooks/exercises/*
notebooks/teaching
```

```{toctree}
:caption: Further
:maxdepth: 1
:glob:
notebooks/further/*
notebooks/recipes/*
```

```{toctree}
:caption: Evidence and code
:maxdepth: 1
benchmarks/README
benchmarks/evidence/README
core
```
"""


def sources(folder: Path) -> None:
    """Lay out what Sphinx reads: notebooks without widgets, whose kernel is not there, and the pages beside them."""
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        book = nbformat.read(path, as_version=4)
        if path.parent.name == EXERCISES:  # as a learner finds them
            book = exercises(emptied(book), "folded")
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if without_widget(output)]
        nbformat.write(book, place)
    for name in ("notebooks/faq.md", "notebooks/teaching.md", "benchmarks/README.md", "benchmarks/evidence/README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "conf.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "index.md").write_text(INDEX, encoding="utf-8")
    chapters = "\n\n".join(f"```{{eval-rst}}\n.. automodule:: sftlab.core.{name}\n   :members:\n```" for name in CORE)
    (folder / "core.md").write_text(f"# The chapter `core/`\n\n{chapters}\n", encoding="utf-8")
    playground.build(folder / "extra" / "playground.html")
    shutil.copy(ROOT / "notebooks" / "pictures" / "playground.png", folder / "extra")


def build(out: Path) -> int:
    """Write the site to `out`; return 0 if Sphinx found nothing to complain of."""
    place = ROOT / "build" / "book-sources"
    shutil.rmtree(place, ignore_errors=True)
    sources(place)
    words = ["-q", "-W", "--keep-going", str(place), str(out)]
    code = subprocess.run([sys.executable, "-m", "sphinx", *words]).returncode
    # a caption is a heading, and Sphinx does not say of which level; wide code scrolls, and by keyboard only with focus
    mended = {'role="heading">': 'role="heading" aria-level="2">', "<pre>": '<pre tabindex="0">'}
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for plain, better in mended.items():
            text = text.replace(plain, better)
        page.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "book")
    failed = build(folder)
    print("the book was not built" if failed else f"{folder / 'index.html'} opens from disk, without a server")
    sys.exit(failed)
