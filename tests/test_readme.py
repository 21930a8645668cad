"""What the README promises is so."""

import importlib.util
import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import sftlab

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readmes_code_runs_and_beats_the_majority_rate(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)  # the point is to run it as printed
    plt.close("all")
    assert (tmp_path / "cells.safetensors").is_file()
    assert names["result"].accuracy.low > names["result"].majority


def test_the_readmes_picture_is_the_figure_of_the_executed_lesson():
    spec = importlib.util.spec_from_file_location("picture", ROOT / "benchmarks" / "picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    assert picture.PICTURE.read_bytes() == picture.drawn(), "run: python benchmarks/picture.py"


def test_every_file_and_command_that_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_top_level_is_what_the_project_promises():
    assert all(getattr(sftlab, name) is not None for name in sftlab.__all__)
    kept = {p.name for p in ROOT.iterdir()}
    folders = "notebooks sftlab tests data benchmarks .ci"
    files = "environment.yml README.md pyproject.toml constraints.txt Makefile LICENSE CHANGELOG.md"
    assert set(f"{folders} {files}".split()) <= kept
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
