"""The lab that a learner opens is a copy of the lessons, from a clone and from a wheel; lessons stand alone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook, new_output

from sftlab.runs import notebooks
from sftlab.runs.cli import app
from sftlab.runs.lab import copied

ROOT = Path(__file__).parents[1]


def publish(root, name, source):
    """Write a lesson as a clone has it: executed, with its fingerprints."""
    path = root / "notebooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs = [new_output("stream", name="stdout", text="published\n")]
    book = new_notebook(cells=[new_code_cell(source, execution_count=1, outputs=outputs)])
    book.metadata.sftlab = {"cells": "0", "source": "0"}
    nbformat.write(book, path)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    (tmp_path / "notebooks" / "src" / "further").mkdir(parents=True)
    publish(tmp_path, "00_start_here.ipynb", "1")
    publish(tmp_path, "further/rank.ipynb", "1")
    (tmp_path / "notebooks" / "faq.md").write_text("Answers", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cell(path):
    return nbformat.read(path, as_version=4).cells[0]


def test_the_lab_opens_at_copies_without_outputs_and_the_published_lessons_stay(clone, monkeypatch):
    commands = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: commands.append(command) or subprocess.CompletedProcess(command, 0)
    )
    before = (clone / "notebooks" / "00_start_here.ipynb").read_bytes()
    assert CliRunner().invoke(app, ["lab", "--no-browser"]).exit_code == 0
    assert {"--LabApp.default_url=/lab/tree/my_lab/00_start_here.ipynb", "--no-browser"} <= set(commands[0])
    assert f"--ServerApp.root_dir={clone}" in commands[0]
    assert (clone / "notebooks" / "00_start_here.ipynb").read_bytes() == before
    for name in ("00_start_here.ipynb", "further/rank.ipynb"):
        copy = cell(clone / "my_lab" / name)
        assert (copy.source, copy.outputs, copy.execution_count) == ("1", [], None)
    assert (clone / "my_lab" / "faq.md").is_file()
    assert "/my_lab/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert notebooks.find("rank") == clone / "my_lab" / "further" / "rank.ipynb", "a learner's own is meant"
    assert notebooks.built(clone) == [clone / "notebooks" / n for n in ("00_start_here.ipynb", "further/rank.ipynb")]


@pytest.mark.parametrize("work", ["a changed cell", "an output"])
def test_an_update_is_written_beside_what_a_learner_changed_or_ran(clone, work):
    mine, further = clone / "my_lab" / "00_start_here.ipynb", clone / "my_lab" / "further" / "rank.ipynb"
    assert copied(clone / "my_lab") == [] and copied(clone / "my_lab") == []
    book = nbformat.read(mine, as_version=4)
    if work == "an output":
        book.cells[0].outputs = [new_output("stream", name="stdout", text="mine\n")]
    else:
        book.cells[0].source = "mine"
    nbformat.write(book, mine)
    kept = mine.read_bytes()
    assert copied(clone / "my_lab") == [] and mine.read_bytes() == kept, "no newer version: nothing is written"
    publish(clone, "00_start_here.ipynb", "2")
    publish(clone, "further/rank.ipynb", "2")
    (note,) = copied(clone / "my_lab")
    assert note == (
        "00_start_here.ipynb holds work of yours and was left alone; the new lesson is 00_start_here.new.ipynb"
    )
    beside = mine.with_name("00_start_here.new.ipynb")
    assert mine.read_bytes() == kept and cell(beside).source == cell(further).source == "2"
    beside.write_text(beside.read_text(encoding="utf-8").replace('"2"', '"mine too"'), encoding="utf-8")
    publish(clone, "00_start_here.ipynb", "3")
    assert copied(clone / "my_lab") == [] and "mine too" in beside.read_text(encoding="utf-8")
    assert notebooks.find("00") == mine


@pytest.mark.slow
def test_the_wheel_is_the_lab(tmp_path):
    pytest.importorskip("hatchling", reason='building a wheel is the extra "dev"')
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(site)  # as pip does with a wheel that is all Python
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def python(code, *words):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=empty, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    code = "import sftlab; print(sftlab.__file__, sorted(sftlab.records.stored('start')))"
    told = python(code)
    assert told.startswith(str(site)) and "typefaces" in told
    assert "CC BY-NC-SA" in (site / "sftlab" / "lab" / "data" / "README.md").read_text(encoding="utf-8")
    command = "from sftlab.runs.cli import app; app()"
    python(command, "lab", "--version")
    lessons = {path.name for path in (empty / "my_lab").rglob("*.ipynb")}
    assert lessons == {path.name for path in notebooks.built(ROOT)}
    assert not any(
        cell.get("outputs") for path in (empty / "my_lab").rglob("*.ipynb") for cell in notebooks.read(path).cells
    )
    shutil.rmtree(empty / "my_lab")
    told = python(command, "run", "10", "-p", "SIZE", "96", "-p", "EPOCHS", "1")
    (made,) = (empty / "runs").iterdir()
    assert {"run.json", "record.json", "model.safetensors"} <= {path.name for path in made.iterdir()}, told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("06_finetune", {"LABELS": 10, "EPOCHS": 3}),
        ("07_overfit", {"LABELS": 2, "EPOCHS": 5}),
        ("recipes/pytorch_recipe", {"LABELS": 20, "SIZE": 64, "EPOCHS": 2}),
    ],
)
def test_a_lesson_copied_alone_into_another_folder_runs_under_plain_papermill(tmp_path, monkeypatch, name, values):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", "alone.ipynb")
    papermill.execute_notebook("alone.ipynb", "out.ipynb", values, kernel_name="python3", progress_bar=False)
