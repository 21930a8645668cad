"""Work that is killed with -9 at random moments: called again it ends as if it had not been, and leaves nothing behind.

`MOMENTS=50 pytest tests/test_kills.py` is the campaign whose figures stand in README.md here.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from loopback import serving
from test_sweep import TOY, alive, until

import sftlab as sft
from sftlab.data import download
from sftlab.data.storage import features_dir

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="killed children are forked")]
MOMENTS = int(os.environ.get("MOMENTS", 2))
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def killed(work, longest, moments=MOMENTS):
    """Start `work` in a child, `moments` times, and kill it at a random moment; return how many were killed at work."""
    rng, count = random.Random(0), 0
    for _ in range(moments):
        child = FORK.Process(target=work)
        child.start()
        child.join(rng.uniform(0, longest))
        count += child.is_alive()
        child.kill()
        child.join()
    return count


def timed(work):
    """Do `work` in a child to its end; return its seconds."""
    began = time.perf_counter()
    child = FORK.Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == 0
    return time.perf_counter() - began


def left(folder):
    """Return what half-written files lie in a folder."""
    return [path.name for path in Path(folder).rglob("*") if "partial" in path.name or path.suffix == ".part"]


def test_training_that_is_killed_ends_with_the_same_weights(blobs, tmp_path, record_property):
    def work(folder=tmp_path):
        model = sft.replace_head(sft.backbone("tiny", drop_rate=0.5), blobs.classes)
        sft.fit(model, blobs, sft.full(model, lr=1e-2), 12, checkpoint=folder / "run.pt", verbose=False, seed=3)
        (folder / "weights.json").write_text(json.dumps(sft.fingerprint(model)), encoding="utf-8")

    whole = tmp_path / "whole"
    whole.mkdir()
    seconds = timed(lambda: work(whole))
    counts, rounds = 0, 0
    while counts < MOMENTS:
        counts += killed(work, seconds / 3, moments=min(3, MOMENTS - counts))
        rounds += 1
        timed(work)
        assert (tmp_path / "weights.json").read_bytes() == (whole / "weights.json").read_bytes()
        for path in tmp_path.glob("*.*"):
            path.unlink()
    record_property("training", f"killed {counts} times in {rounds} runs, equal weights each time")


def test_features_of_a_killed_process_are_right_and_whole(tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 255, (600, 64, 64, 3), dtype=np.uint8)
    data = sft.from_arrays(images, np.arange(600) % 2)
    model = sft.backbone("efficientnet_lite0")[:-1]

    def work():
        sft.features(model, data.train)

    every = np.arange(len(data.train))
    with sft.evaluating(model):
        live = model(data.train.pixels(every[:64])).detach()
    seconds = timed(work)
    count, rounds = 0, 0
    while count < MOMENTS:
        sft.data.storage.clear_features()
        count += killed(work, seconds / 2, moments=min(3, MOMENTS - count))
        rounds += 1
        assert np.allclose(sft.features(model, data.train).take(every[:64])[0], live, atol=1e-3)
        assert left(features_dir()) == [], "an index is whole or not there"
    record_property("encoding", f"killed {count} times in {rounds} stores, equal features each time")


def test_a_download_that_is_killed_goes_on_and_is_the_file(tmp_path, record_property):
    content = np.random.default_rng(0).bytes(2_000_000)
    known = f"sha256:{hashlib.sha256(content).hexdigest()}"
    count = 0
    with serving(files={"/x.bin": content}, pause=0.004) as shelf:
        while count < MOMENTS:
            path = tmp_path / f"{count}" / "x.bin"

            def work(path=path):
                download.download([f"{shelf.url}/x.bin"], path, known)

            count += killed(work, 0.5, moments=min(3, MOMENTS - count))
            assert not path.exists() or path.read_bytes() == content, "never half of it under its name"
            timed(work)
            assert path.read_bytes() == content and left(path.parent) == []
    record_property("downloading", f"killed {count} times, the file each time")


def test_a_sweep_that_is_killed_goes_on_and_leaves_no_process(tmp_path, monkeypatch, record_property):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFTLAB_KILLS", str(tmp_path))
    Path("toy.py").write_text(TOY, encoding="utf-8")
    grid = {"notebook": "toy.py", "grid": {"RATE": [0.1, 0.2], "LAYERS": ["head", "all"]}, "seeds": 2}
    Path("grid.yml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    command = [sys.executable, "-c", "from sftlab.runs.cli import app; app()", "sweep", "grid.yml", "--jobs", "2"]
    rng, count, sweeps = random.Random(0), 0, 0

    def ours():
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SFTLAB_KILLS") == str(tmp_path) and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if alive(process)]

    def whole():
        table = sft.load_runs("runs/grid")
        return list(table.status.unique()) == ["finished"] and len(table) == 8 and left("runs") == []

    while count < MOMENTS:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            until(lambda sweep=process: len(ours()) > 1 or sweep.poll() is not None)
            try:
                process.wait(rng.uniform(0, 12))
            except subprocess.TimeoutExpired:
                count += 1
                process.kill()
        until(lambda: not ours(), 120)
        if process.returncode == 0:
            assert whole()
            shutil.rmtree("runs")
            sweeps += 1
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert whole()
    record_property("sweeping", f"killed {count} times in {sweeps + 1} sweeps, all 8 runs finished, no process left")
