"""The form in which an executed notebook is committed: what a reader on the web sees, none of this machine.

Widget state and widget views go together: a page that keeps only one of them shows a gap or an error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sftlab.runs.parameters import NotebookError
from sftlab.runs.report import without_widget

MAX_BYTES = 1_000_000  # a page that every viewer on the web still opens
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def publish(book: NotebookNode, hashes: dict[str, str], *, root: Path, name: str = "notebook") -> str:
    """Bring an executed notebook into the form that is committed, in place, and return it as text.

    Widgets, times, versions, paths of this machine, stderr and progress residue go; outputs and counts stay.
    hashes: what it was built from, kept in its metadata. root: the clone; paths are printed relative to it.
    Raises NotebookError if a cell was not executed, or the result is not valid or larger than 1 MB.
    """
    language = {"name": "python", **book.metadata.get("language_info", {})}
    language.pop("version", None)
    book.metadata = NotebookNode(kernelspec=dict(KERNEL), language_info=language, sftlab=hashes)
    counts = []
    for cell in book.cells:
        for key in ("execution", "papermill"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = list(clean_outputs(cell.outputs, root))
            if cell.source.strip():
                counts.append(cell.execution_count)
    if counts != list(range(1, len(counts) + 1)):
        raise NotebookError(f"{name} was not executed once from top to bottom: its counts are {counts}")
    try:
        nbformat.validate(book)
    except nbformat.ValidationError as error:
        raise NotebookError(f"{name} is not a valid notebook: {error}") from error
    text = nbformat.writes(book) + "\n"
    if (size := len(text.encode())) > MAX_BYTES:
        weights = [len(json.dumps(cell.get("outputs", []))) for cell in book.cells]
        most = weights.index(max(weights)) + 1
        raise NotebookError(f"{name} has {size / 1e6:.1f} MB, more than 1 MB; most of it is the output of cell {most}")
    return text


def clean_outputs(outputs: list[NotebookNode], root: Path) -> Iterator[NotebookNode]:
    """Yield what a reader of the page should see; neighbouring pieces of printed text become one."""
    printed: list[str] = []
    for output in [*outputs, None]:
        if output is not None and output.output_type == "stream":
            if output.name == "stdout":
                printed.append(output.text)
            continue
        if text := without_machine_paths(without_overwritten("".join(printed)), root):
            yield nbformat.v4.new_output("stream", name="stdout", text=text)
        printed = []
        if output is None:
            return
        if output.output_type == "error":
            output.evalue = without_machine_paths(output.evalue, root)
            output.traceback = [without_machine_paths(line, root) for line in output.traceback]
        for mime, data in output.get("data", {}).items():
            if mime.startswith("text/") and isinstance(data, str):
                output.data[mime] = without_machine_paths(data, root)
        if without_widget(output):
            yield output


def without_overwritten(text: str) -> str:
    r"""Keep of each line what a terminal would still show: the part after the last carriage return.

    >>> without_overwritten("1 of 2\r2 of 2\rdone\n")
    'done\n'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)


def without_machine_paths(text: str, root: Path) -> str:
    """Return `text` without this machine in it: no folder of clone, packages, home or data, no address.

    >>> without_machine_paths(f"{Path.home()}/photos and <Axes at 0x7f55d0a1b2c3>", Path("/clone"))
    '~/photos and <Axes>'
    """
    # the look-behind lets a match begin at a border only: a picture is one word of a hundred thousand letters
    text = re.sub(r"(?<![^\s\"'])[^\s\"']*ipykernel_\d+[/\\]\d+\.py", "cell", text)
    text = re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text)
    for folder, word in _machine_folders(root):
        # "/tmp/x" becomes "temporary/x" and "/tmp" alone "temporary"; "/tmpfs" is another folder
        inside = rf"(?<![\w.]){re.escape(folder)}"
        text = re.sub(rf"{inside}[/\\]", word, text)
        text = re.sub(rf"{inside}(?![\w-])", word.rstrip("/") or ".", text)
    return text


def _machine_folders(root: Path) -> list[tuple[str, str]]:
    """Return (folder, what is printed in its place), the innermost first."""
    packages = {str(Path(p)) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")}
    folders = {
        str(root): "",
        str(Path(__file__).parents[2]): "",
        str(Path.home()): "~/",
        tempfile.gettempdir(): "temporary/",
        str(Path(json.__file__).parents[1]): "python/",
        **dict.fromkeys(packages, "site-packages/"),
    }
    if data := os.environ.get("SFTLAB_DATA"):
        folders[str(Path(data).resolve())] = "data/"
    return sorted(((f, w) for f, w in folders.items() if len(f) > 1), key=lambda pair: -len(pair[0]))
