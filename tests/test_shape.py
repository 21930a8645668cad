"""How far one has to walk to follow a run: the files that it enters, and how often it moves from one to another."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sftlab as sft

PACKAGE = str(Path(sft.__file__).parent)


def walked(run):
    """Return the package's files that `run()` enters, and its moves: calls out of one of them into another."""
    files, moves = set(), 0

    def watch(frame, event, arg):
        nonlocal moves
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE):
            files.add(Path(name).relative_to(PACKAGE).as_posix())
            caller = frame.f_back.f_code.co_filename if frame.f_back else ""
            moves += caller.startswith(PACKAGE) and caller != name

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(before)
    return files, moves


def test_a_cold_probe_of_one_epoch_stays_in_the_chapter(blobs, tiny, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    profile, fit = sft.linear_probe(tiny), sft.fit  # a name is loaded when it is first asked for: no part of the walk
    files, moves = walked(lambda: fit(tiny, blobs, profile, epochs=1, verbose=False))
    record_property("a probe's walk", f"{len(files)} files, {moves} moves")
    assert len(files) <= 11, sorted(files)
    assert moves <= 140


def test_from_a_folder_to_a_metric_is_a_short_walk(tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    for i in range(40):
        file = tmp_path / "photos" / ("bright", "dark")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256 >> i % 2, (16, 16, 3), dtype=np.uint8)).save(file)

    model = sft.replace_head(sft.backbone("tiny"), ["bright", "dark"])

    def run():
        data = sft.load(f"folder:{tmp_path / 'photos'}", size=16)
        sft.fit(model, data, sft.linear_probe(model), epochs=1, verbose=False)
        sft.evaluate(model, data.test)

    files, moves = walked(run)
    record_property("from disk to a metric", f"{len(files)} files, {moves} moves")
    assert len(files) <= 17, sorted(files)
