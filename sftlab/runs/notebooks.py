"""The notebooks of a clone or a wheel: which there are, what they are called, how one is read; every command calls it.

Lessons are `notebooks/NN_name.ipynb`. Others stand in a folder beside them and are called by both names, such as
`recipes/pytorch_recipe`. The source of each has the same name under `notebooks/src`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError
from nbformat import NotebookNode

from sftlab.data.storage import as_path, lab_folder
from sftlab.runs.parameters import NotebookError

CELL_SECONDS = 900  # a cell that encodes images on one slow core comes to 200; one that hangs must end
START_SECONDS = 120  # a busy two-core machine takes its time to start a kernel
NEW = ".new.ipynb"  # how a notebook ends that is written beside somebody's changes
MY_LAB = "my_lab"  # a learner's copies of the lessons
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Without this the kernel's debugger warns, on every start, about a Python option that nobody here chose.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")


class Kernel(AsyncKernelManager):
    """A kernel that starts without a warning that it talks, to its own machine, unencrypted, and ends without one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"transport_encryption": "auto", **options})

    async def _async_interrupt_kernel(self) -> None:
        if not self.shutting_down:  # an idle kernel that is told to end would report the interrupt as an error
            await super()._async_interrupt_kernel()


def checkout() -> Path:
    """Return the folder that holds `notebooks`: the clone that one is in, or what this package came with."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "notebooks" / "src").is_dir()), lab_folder())


def workplace() -> Path:
    """Return where `runs` and `my_lab` are made: in the clone that one is in, or in the working directory."""
    root = checkout()
    return root if Path.cwd().is_relative_to(root) else Path.cwd()


def sources(root: Path, names: Iterable[str] = ()) -> list[Path]:
    """Return the notebooks' sources under `root`, lessons first; `names` (`14`, `recipes`, a path) picks some."""
    every = _files(root / "notebooks" / "src", ".py")
    picked: list[Path] = []
    for name in names:
        inside = [path for path in every if path.parent.name == name.rstrip("/")]
        picked += inside or [_pick(every, name)]
    return picked or every


def built(root: Path) -> list[Path]:
    """Return the built notebooks under `root`, lessons first; not the `.new` ones beside somebody's changes.

    In a clone a folder holds notebooks of ours if it has sources; in a wheel, which has none, all do.
    """
    home = root / "notebooks"
    ours = home / "src" if (home / "src").is_dir() else home
    paths = [path for path in _files(home, ".ipynb") if (ours / path.parent.relative_to(home)).is_dir()]
    return [path for path in paths if not path.name.endswith(NEW)]


def find(name: str | Path) -> Path:
    """Return the notebook that `name` means: a path, or the start of a name such as `14` or `recipes/keras`.

    The name of a folder may be left out. A learner's own copy is taken before the lesson, and for one that has not been
    built yet its source; `read` opens either.
    """
    if (path := as_path(name)).suffix in (".ipynb", ".py") and path.is_file():
        return path.resolve()
    root = checkout()
    copies = [workplace() / MY_LAB / path.relative_to(root / "notebooks") for path in built(root)]
    own = [path for path in copies if path.is_file()]
    files = {name_of(path): path for path in (*sources(root), *built(root), *own)}  # the last one wins
    return _pick(list(files.values()), str(name))


def name_of(path: Path) -> str:
    """Return what a notebook or its source is called: `04_freeze`, `recipes/pytorch_recipe`."""
    folder, name = path.parent.name, path.name
    for ending in (NEW, ".ipynb", ".py"):
        name = name.removesuffix(ending)
    return name if folder in ("", "src", "notebooks", MY_LAB) else f"{folder}/{name}"


def read(path: Path) -> NotebookNode:
    """Read an .ipynb, or a .py source as a notebook without outputs and with the same cell ids every time."""
    try:
        if path.suffix == ".ipynb":
            return nbformat.read(path, as_version=4)
        book = jupytext.read(path, fmt="py:percent")
    except Exception as error:  # each reader has its own errors; a learner needs the file's name and the reason
        raise NotebookError(f"{path.name} cannot be read as a notebook: {error}") from error
    seen: dict[str, int] = {}
    for cell in book.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
    book.nbformat, book.nbformat_minor = 4, 5
    book.metadata = NotebookNode(kernelspec=dict(KERNEL))
    return book


def heading(prose: str) -> str:
    """Return the first heading of some Markdown, without its marks; empty if it has none."""
    found = re.search(r"^#+\s+(.+)$", prose, re.MULTILINE)
    return re.sub(r"[*`$]", "", found[1]).strip() if found else ""


def emptied(book: NotebookNode) -> NotebookNode:
    """Take the outputs out of a notebook, in place, and return it."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return book


def failure(name: str, count: int | None, source: str, kind: str, message: str) -> str:
    """Say which cell of a notebook failed (its `In [n]`, its first line) and what the error was."""
    first = source.strip().splitlines()[0]
    error = ANSI.sub("", f"{kind}: {message}" if message else kind)
    return f"{name} stopped at cell [{count}], which begins {first.strip()!r}:\n{error}"


def interruption(name: str, error: Exception, seconds: int) -> str:
    """Say in a sentence why a notebook ended without an error of its own."""
    if isinstance(error, CellTimeoutError):
        return f"{name}: a cell took longer than {seconds} seconds and was stopped"
    return f"{name}: the kernel died, most likely for want of memory"


def _files(folder: Path, ending: str) -> list[Path]:
    """Return lessons (their names begin with a number), then what stands in the folders beside them."""
    return [*sorted(folder.glob(f"[0-9]*{ending}")), *sorted(folder.glob(f"[a-z]*/[a-z]*{ending}"))]


def _pick(paths: list[Path], name: str) -> Path:
    asked = name_of(Path(name))
    found = [path for path in paths if asked in (name_of(path), path.stem)]
    found = found or [path for path in paths if name_of(path).startswith(asked) or path.stem.startswith(asked)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(name_of, paths)) or "none yet"
    raise NotebookError(
        f"{'several notebooks begin' if found else 'no notebook begins'} with {asked!r}; there are {names}"
    )
