"""Lesson 10 on small folders of somebody's own: whatever is in them, it ends in a result that names its files."""

import csv
import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from small_sets import class_folders, picture, put
from torchvision import models

from sftlab.core import records
from sftlab.runs import notebooks

LESSON = Path(__file__).parents[1] / "notebooks" / "src" / "10_your_own_images.py"


def copies(root):
    """45 files that hold 21 pictures, and one of them in either class."""
    for name in ("benign", "tumour"):
        for i in range(10):
            first = put(root / name / f"{i}.png")
            for k in range(i % 3):
                shutil.copy(first, root / name / f"{i} (copy {k}).png")


def series(root, path="leaf{name[0]}{i}_{k}.png"):
    """Four almost equal photographs of each of sixteen leaves, taken within a minute."""
    for name in ("healthy", "rust"):
        for i in range(8):
            (exif := Image.Exif())[0x8769] = {0x9003: f"2026:05:{10 + (name == 'rust')} 10:{i:02}:30"}
            for k in range(4):
                noise = np.asarray(picture(2 * i + (name == "rust"), (40, 40))).astype(int) + k
                photograph = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
                put(root / name / path.format(name=name, i=i, k=k), photograph, exif=exif)


SERIES = {
    "prefix": series,
    "subfolder": lambda r: series(r, "leaf {name} {i}/{k}.png"),
    "minute": lambda r: series(r, "{i}{k}.png"),
}


def twelve_bits(root):
    for name in ("cells", "background"):
        for i in range(8):
            deep = np.random.default_rng(i + 8 * (name == "cells")).integers(0, 4096, (24, 24), dtype=np.uint16)
            put(root / name / f"{i}.png", Image.fromarray(deep))


FOLDERS = {
    "copies": copies,
    "12 bits": twelve_bits,
    "6 a class": lambda root: class_folders(root, {"cat": 6, "dog": 6}),
    "3 beside 20": lambda root: class_folders(root, {"common": 20, "rare": 3}),
    "many classes": lambda root: class_folders(root, {f"species {k:03d} with a long name": 5 for k in range(40)}),
    "scripts": lambda root: class_folders(root, {"猫": 9, "собака": 9, "कुत्ता": 9, "$a^2$ & b": 9}),
    "train and val": lambda root: class_folders(root, {f"{s}/{c}": 12 for s in ("train", "val") for c in "ab"}),
}


def run(root, out, **parameters):
    """Run the lesson's cells in this process, as papermill would; return what they left."""
    space = {"__name__": "__main__"}
    values = {"DATA": f"folder:{root}", "BACKBONE": "tiny", "SIZE": 32, "EPOCHS": 1, "OUT": str(out), **parameters}
    for cell in notebooks.read(LESSON).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.source.splitlines()[0], "exec"), space)
            plt.close("all")
            space |= values if "parameters" in cell.metadata.get("tags", []) else {}
    space["scratch"].cleanup()
    return space


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOLDERS)
def test_any_reasonable_folder_ends_in_a_result_that_names_its_files(tmp_path, monkeypatch, kind):
    (out := tmp_path / "out").mkdir()
    monkeypatch.chdir(out)
    FOLDERS[kind](tmp_path / "photos")
    space = run(tmp_path / "photos", out, **{"STRATEGY": "full", "AUGMENT": True} if kind == "train and val" else {})
    result = records.read(out / "record.json", records.Result)
    with (out / "look_at.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all((tmp_path / "photos" / row["file"]).is_file() for row in rows)
    mistakes = [row for row in rows if row["why"] == "mistake on a test image"]
    assert len(mistakes) == sum(t != p for t, p in zip(result.targets, result.predictions, strict=True))
    page = space["own"].summary(*(space[name] for name in ("data", "model", "history", "result", "look")), strategy="-")
    assert page.startswith("# Result: ") and "**Next.**" in page and "guess" not in page
    if mistakes:
        assert f"`{mistakes[0]['file']}`" in page
    assert len(result.files) == len(result.targets)
    assert all((tmp_path / "photos" / name).is_file() for name in result.files)


@pytest.mark.slow
@pytest.mark.parametrize("groups", SERIES)
def test_what_was_taken_together_stays_together_when_groups_says_so(tmp_path, monkeypatch, groups):
    (out := tmp_path / "out").mkdir()
    monkeypatch.chdir(out)
    SERIES[groups](tmp_path / "photos")
    space = run(tmp_path / "photos", out)
    page = space["own"].summary(*(space[name] for name in ("data", "model", "history", "result", "look")), strategy="-")
    assert space["pairs"] and "run it with GROUPS" in page
    again = run(tmp_path / "photos", out, GROUPS=groups)
    parts = [set(part.groups) for part in (again["data"].train, again["data"].valid, again["data"].test)]
    assert again["pairs"] == [] and len(set.union(*parts)) == sum(map(len, parts)) == 16


@pytest.mark.slow
def test_a_class_folder_is_no_group(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "photos", {"cat": 8, "dog": 8, "bird": 8})
    data = run(tmp_path / "photos", "", GROUPS="subfolder")["data"]
    assert len(set(data.train.image_groups)) == 24 and set(data.train.y.tolist()) == {0, 1, 2}


def test_the_path_in_plain_pytorch_runs_as_it_is_pasted_and_evaluates(tmp_path, monkeypatch, capsys):
    class_folders(tmp_path / "my_photos", {"cat": 8, "dog": 8})
    monkeypatch.chdir(tmp_path)
    real = models.resnet18
    monkeypatch.setattr(models, "resnet18", lambda weights: real())  # their download is not what is tried
    (snippet,) = re.findall(r"```python\n(.*?)```", "\n".join(c.source for c in notebooks.read(LESSON).cells), re.S)
    exec(compile(snippet.replace("range(10)", "range(2)"), "snippet", "exec"), {})
    assert re.match(r"test accuracy [01]\.\d{3}, valid [01]\.\d{3}\n", capsys.readouterr().out)
    assert (tmp_path / "model.pt").is_file()
