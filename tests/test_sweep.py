"""Sweeps: a file is checked as a whole, finished runs are kept, and a kill loses only what was in flight."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
import yaml
from click.testing import CliRunner
from figures import drawn_whole, finding, texts

from sftlab.core import records
from sftlab.core.statistics import t_interval
from sftlab.runs import notebooks
from sftlab.runs import sweep as sweeps
from sftlab.runs.cli import app
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import load_runs
from sftlab.runs.sweep import sweep

ACCURACY = {"accuracy": records.Interval(0.5, 0.4, 0.6)}
RESULT = records.Result("test", ["a", "b"], ["1"], [0], [[0.9, 0.1]], ACCURACY, {}, [[1, 0], [0, 0]], 1)
HISTORY = records.History([], [records.Epoch(1, 1, 0.5, 0.4, 0.25, 1.0)], [{}], ["finished"], 1)

# Imports little, so that a run costs little more than the start of its kernel; the rules are read, not run.
TOY = f"""\
# %% [markdown]
# # Does it do what the sweep says?

# %% tags=["parameters"]
RATE: float = 1e-3  # learning rate
LAYERS: str = "head"  # what learns
SEED: int = 0  # chance
WAIT: str = ""  # a file to wait for
OUT: str = ""  # folder for the records

# %%
if False:
    check_parameters(globals(), RATE=(float, 0, 1), LAYERS=("head", "all", "dies"), SEED=(int, 0), WAIT=str, OUT=str)

# %%
import os, time
from pathlib import Path

if LAYERS == "dies":
    os.kill(os.getpid(), 9)
while WAIT and not Path(WAIT).exists():
    time.sleep(0.05)

# %%
if RATE > 0.9:
    {{}}["photos"]
Path(OUT, "record.json").write_text({json.dumps(records.to_dict(RESULT))!r})
history = {json.dumps(records.to_dict(HISTORY))!r}
Path(OUT, "history.json").write_text(history.replace("0.25", f"{{0.5 + 0.4 * RATE:.2f}}"))
print(Path.cwd().name, os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    return tmp_path


def written(**parts):
    """Write a sweep's file and return its name."""
    Path("grid.yml").write_text(yaml.safe_dump({"notebook": "toy.py", **parts}, sort_keys=False), encoding="utf-8")
    return "grid.yml"


def until(true, seconds=300):
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@contextmanager
def command(*words):
    """Run the command line in a process of its own, which does not outlive the test."""
    code = "import sys; from sftlab.runs.cli import app; sys.argv[0] = 'sftlab'; app()"
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *words], **how) as process:
        try:
            yield process
        finally:
            process.kill()


def alive(process):
    """Tell whether a process still works."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def in_flight(count):
    """Wait until so many runs have begun and not ended."""
    begun = Path("runs/grid")
    until(lambda: sum(not (path.parent / "run.json").exists() for path in begun.glob("*/toy.ipynb")) == count)


def test_a_sweep_keeps_what_is_finished_and_tries_again_what_failed(folder, capsys):
    written(fixed={"SEED": 1}, cases=[{"RATE": 0.1}, {"RATE": 1.0}, {"LAYERS": "dies"}])
    table = sweep("grid.yml", jobs=2)
    assert table.status.tolist() == ["finished", "failed", "failed"]
    assert "KeyError: 'photos'" in table.error[1] and "the kernel died" in table.error[2]
    top = folder / "runs" / "grid"
    with (top / "results.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {"RATE", "LAYERS", "SEED", "status", "valid_accuracy_low"} - {*lines[0]} == {"valid_accuracy_low"}
    made = [top / line["folder"] for line in lines]
    for ending in ("ipynb", "html"):
        assert "KeyError" in (made[1] / f"toy.{ending}").read_text(encoding="utf-8"), "a failed run keeps its notebook"
    cells = nbformat.read(made[2] / "toy.ipynb", as_version=4).cells
    assert "completed" in [cell.metadata.papermill.status for cell in cells], "as far as it came, it is kept"
    (output,) = nbformat.read(made[0] / "toy.ipynb", as_version=4).cells[-1].outputs
    assert output.text == f"{folder.name} {sweeps.shares(3, 2)[1]}\n", "beside its source, with its share of cores"

    page = (top / "index.html").read_text(encoding="utf-8")
    assert page.count(">notebook</a>") == page.count(">report</a>") == 3
    assert "KeyError" in page and "3 runs, 1 of them finished" in page
    head = re.findall("<th>(.*?)</th>", page)
    assert head[:6] == ["RATE", "LAYERS", "SEED", "status", "valid_accuracy", "accuracy"], "what was asked for is first"
    assert (top / "picture.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "On the test images" in capsys.readouterr().out
    runs = load_runs("runs")
    assert len(runs) == 3 and "OUT" not in runs
    assert runs[runs.status == "finished"].valid_accuracy.tolist() == [0.54]
    assert load_runs(top).RATE.tolist() == [0.1, 1.0, 0.001], "in the order of the sweep"

    times = [(path / "run.json").stat().st_mtime_ns for path in made]
    (made[0] / "record.json").write_text("{", encoding="utf-8")
    assert load_runs(top).status[0] == "damaged" and "record.json is not a record" in load_runs(top).error[0]
    (made[0] / "record.json").write_text(json.dumps(records.to_dict(RESULT)), encoding="utf-8")
    again = sweep("grid.yml", jobs=2)
    assert again.status.tolist() == table.status.tolist()
    kept = [(path / "run.json").stat().st_mtime_ns == old for path, old in zip(made, times, strict=True)]
    assert kept == [True, False, False]


def test_the_command_that_goes_on_is_the_one_that_was_typed(folder, monkeypatch):
    written(cases=[{"RATE": 1.0}])
    words = ["sweep", "grid.yml", "--out", "kept here", "--jobs", "2", "--timeout", "60"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/sftlab", *words])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, "a run failed"
    page = Path("kept here/grid/index.html").read_text(encoding="utf-8")
    typed = "sftlab sweep grid.yml --out 'kept here' --jobs 2 --timeout 60"
    assert f"<code>{typed}</code>" in unescape(page)
    assert "everything is in kept here/grid/: index.html, results.csv\n" in done.output, "no picture of no number"


def test_kill_9_of_a_sweep_loses_only_the_runs_in_flight(folder):
    written(fixed={"WAIT": "go"}, seeds=3)
    with command("sweep", "grid.yml", "--jobs", "2") as process:
        in_flight(2)
        kernels = [p for p in psutil.Process(process.pid).children(recursive=True) if "ipykernel" in str(p.cmdline())]
        with pytest.raises(NotebookError, match="another sweep is at work in runs/grid/"):
            sweep("grid.yml")
        process.kill()
    assert sorted(load_runs("runs/grid").status) == ["to do", "unfinished", "unfinished"]
    (folder / "go").touch()
    assert (sweep("grid.yml", jobs=2).status == "finished").all()
    assert not any(alive(process) for process in kernels), "no kernel outlives its run"


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(folder):
    (folder / "go").touch()
    written(cases=[{"WAIT": "go"}, {"WAIT": "never"}, {"WAIT": "no"}])
    with command("sweep", "grid.yml", "--jobs", "1") as process:
        until(lambda: list(Path("runs/grid").glob("*/run.json")))
        in_flight(1)
        born = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=300)[0]
    assert process.returncode == 130
    assert "stopped with 1 of 3 runs finished; go on with: sftlab sweep grid.yml --jobs 1" in printed
    assert "WAIT go: finished" in printed and "Traceback" not in printed
    until(lambda: not any(alive(process) for process in born))


@pytest.mark.slow
def test_a_dask_cluster_does_the_runs(folder):
    distributed = pytest.importorskip("distributed", reason='--scheduler is the extra "dask"')
    written(cases=[{"RATE": 0.1}, {"RATE": 1.0}])
    options = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        table = sweep("grid.yml", scheduler=cluster.scheduler_address)
    assert table.status.tolist() == ["finished", "failed"]


def test_no_scheduler_is_said(folder, monkeypatch):
    pytest.importorskip("distributed", reason='--scheduler is the extra "dask"')
    monkeypatch.setattr(sweeps, "CONNECT_SECONDS", 1)
    with pytest.raises(NotebookError, match=r"no Dask scheduler .* answers at tcp://127\.0\.0\.1:1"):
        sweep(written(seeds=1), scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notebook: toy.py\nfixd: {SEED: 1}", ["bad.yml", "fixd", "what is fixed"]),
        ("notebook: toy.py\nfixed: {RATES: 1}", ["RATES is not a parameter of toy", "RATE"]),
        ("notebook: toy.py\ngrid: {RATE: [1]}\ncases: [{RATE: 1}]", ["a grid and cases"]),
        ("notebook: toy.py\ncases: [RATE]", ["cases"]),
        ("notebook: toy.py\ngrid: {RATE: [1e-4, 2]}", ["RATE must be float from 0 to 1, not 2"]),
        ("notebook: toy.py\ngrid: {SEED: 3}", ["'SEED'", "list"]),
        ("fixed: {}", ["a notebook"]),
        ("notebook: toys.py", ["no notebook begins with 'toys'"]),
        ("notebook: toy.py\nfixed: {SEED: 1}\nseeds: 2", ["SEED", "twice"]),
        ("notebook: [toy.py", ["line 1", "YAML"]),
        ("- toy.py", ["a list"]),
    ],
)
def test_a_wrong_file_is_refused_before_anything_starts(folder, text, words):
    Path("bad.yml").write_text(text, encoding="utf-8")
    with pytest.raises(NotebookError) as refused:
        sweep("bad.yml")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert not Path("runs").exists(), "nothing has begun"


def test_values_get_the_type_of_their_parameter(folder):
    (values,) = sweeps.read(written(fixed={"RATE": 1}, grid={"LAYERS": ["head"]}, seeds=[3])).runs.values()
    assert values == {"RATE": 1.0, "LAYERS": "head", "SEED": 3} and type(values["RATE"]) is float
    Path("exponent.yml").write_text("notebook: toy.py\ngrid: {RATE: [1e-4]}", encoding="utf-8")
    assert list(sweeps.read("exponent.yml").runs.values()) == [{"RATE": 1e-4}], "to YAML 1e-4 is a word"


def test_a_run_is_found_again_by_what_its_numbers_depend_on(folder):
    def address(source=TOY, **values):
        (folder / "toy.py").write_text(source, encoding="utf-8")
        return sweeps.address(notebooks.read(folder / "toy.py"), folder / "toy.py", values)

    first = address(RATE=0.1)
    assert address(RATE=0.1, LAYERS="head") == first, "the default, given or not"
    assert address(RATE=0.2) != first
    assert address(TOY.replace("Does it do", "Will it do"), RATE=0.1) == first, "prose has no part in the numbers"
    assert address(TOY.replace("# learning rate", "# of the head"), RATE=0.1) == first, "neither has a comment"
    assert address(TOY.replace("0.4 * RATE", "0.5 * RATE"), RATE=0.1) != first
    corrected = TOY + "load(corrections='labels.csv')\n"
    without = address(corrected, RATE=0.1)
    (folder / "labels.csv").write_text("image,file,old,new,when\n", encoding="utf-8")
    assert address(corrected, RATE=0.1) != without, "labels were corrected"
    (folder / "photos").mkdir()
    empty = address(WAIT="folder:photos")
    (folder / "photos" / "b.png").write_bytes(b"2")
    assert address(WAIT="folder:photos") != empty


@pytest.mark.parametrize(
    ("gigabytes", "asked", "shares"),
    [(100, (24,), (8, 1)), (100, (3,), (3, 2)), (100, (24, 2), (2, 4)), (5, (24,), (2, 4))],
)
def test_cores_are_shared_out_and_none_is_used_twice(monkeypatch, gigabytes, asked, shares):
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": gigabytes * 1e9}))
    assert sweeps.shares(*asked) == shares


def rows(varied, *settings, seeds=3):
    """Made-up runs: each setting's values, valid accuracy and test accuracy, a little apart for each seed."""
    return pd.DataFrame(
        {
            **dict(zip(varied, values, strict=True)), "SEED": seed, "status": "finished", "majority": 0.6,
            "valid_accuracy": valid + 0.01 * seed, "accuracy": test + 0.01 * seed,
            "accuracy_low": test - 0.03, "accuracy_high": test + 0.05,
        }
        for values, valid, test in settings for seed in range(seeds)
    )  # fmt: skip


def test_the_choice_is_made_on_valid_and_judged_by_test():
    table = rows(["RATE"], ([1e-4], 0.70, 0.90), ([1e-3], 0.80, 0.70))
    table = pd.concat([table, pd.DataFrame([{"RATE": 1e-3, "SEED": 3, "status": "failed"}])])
    ranked = sweeps.settings(table, ["RATE"])
    assert ranked[0].values == {"RATE": 1e-3}, "not the one with the higher test accuracy"
    assert ranked[0].mean("accuracy") == t_interval([0.70, 0.71, 0.72])
    words = sweeps.verdict(ranked)
    assert "Of 2 settings RATE 0.001 is the best on the validation images: accuracy 0.810, mean of 3 seeds" in words
    assert "The highest of 2 numbers is partly luck" in words and "it is 0.710 (0.685–0.735)" in words
    assert "seed by seed it leads RATE 0.0001 by +0.100 (no interval: 3 equal runs)" in words
    assert "none of the settings" in sweeps.verdict(sweeps.settings(pd.DataFrame([{"status": "finished"}]), []))
    single = sweeps.settings(rows(["RATE"], ([1e-4], 0.7, 0.9), seeds=1), ["RATE"])[0].mean("accuracy")
    assert (single.low, single.high) == pytest.approx((0.87, 0.95)) and single.method == "one run"


def test_settings_are_told_apart_seed_by_seed_because_a_split_that_is_hard_is_hard_for_both():
    valid = {"a": (0.60, 0.72, 0.84), "b": (0.58, 0.73, 0.80)}
    table = pd.DataFrame(
        {"X": x, "SEED": seed, "status": "finished", "valid_accuracy": value}
        for x, values in valid.items() for seed, value in enumerate(values)
    )  # fmt: skip
    ahead, expected = sweeps.lead(sweeps.settings(table, ["X"])), t_interval([0.02, -0.01, 0.04])
    assert (ahead.value, ahead.low, ahead.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert "so these seeds do not tell the two apart" in sweeps.verdict(sweeps.settings(table, ["X"]))
    assert sweeps.lead(sweeps.settings(table[:4], ["X"])) is None, "one shared seed has no spread"
    split = table.assign(split=table.SEED.map(str), images=250, train_images=500)
    wider = sweeps.lead(sweeps.settings(split, ["X"])).high - ahead.value
    assert wider / (ahead.high - ahead.value) == pytest.approx(2.5**0.5), "seeds that split one set anew"
    one, other = (sweeps.settings(runs, ["X"])[0].mean("valid_accuracy") for runs in (split, table))
    assert (one.low, other.low) == pytest.approx([t_interval(valid["a"], test_to_train=r).low for r in (0.5, 0)])
    fixed = sweeps.lead(sweeps.settings(split.assign(split="one"), ["X"]))
    assert fixed == ahead, "one test set for all seeds"


def test_a_lesson_may_leave_numbers_and_intervals_of_its_own_and_gets_a_picture(folder, house_style):
    numbers = {"": RESULT, "valid_accuracy": records.Interval(0.7, 0.6, 0.8), "gap": 0.25, "task": RESULT}
    lines = [line for line in TOY.splitlines() if not line.startswith(("history", 'Path(OUT, "history'))]
    text = "\n".join(lines).replace(json.dumps(records.to_dict(RESULT)), json.dumps(records.to_dict(numbers)))
    (folder / "toy.py").write_text(text, encoding="utf-8")
    (row,) = sweep(written(cases=[{"RATE": 0.1}]), jobs=1).to_dict("records")
    assert (row["valid_accuracy"], row["valid_accuracy_low"], row["gap"]) == (0.7, 0.6, 0.25)
    assert (row["accuracy"], row["accuracy_high"], row["task_accuracy"]) == (0.5, 0.6, 0.5)
    assert Path("runs/grid/picture.svg").is_file()


MANY = [
    ([rate, layers], 0.7 + i / 100, 0.6)
    for i, (rate, layers) in enumerate((r, n) for r in (1e-4, 1e-3, 1e-2) for n in ("head", "all"))
]


@pytest.mark.parametrize(
    ("varied", "settings"),
    [
        ([], [([], 0.7, 0.8)]),
        (["RATE"], [([rate], 0.9 - abs(rate - 0.001), 0.8) for rate in (1e-4, 1e-3, 1e-2)]),
        (["LAYERS"], [([name], valid, 0.8) for name, valid in (("head", 0.7), ("all", 0.9))]),
        (["RATE", "LAYERS"], MANY[:5]),
        (["RATE", "LAYERS", "EPOCHS"], [([*values, 3], *numbers) for values, *numbers in MANY]),
    ],
    ids=["nothing", "a number", "a word", "two", "three"],
)
def test_the_picture_shows_every_setting_and_the_test_accuracy_of_the_chosen_one(house_style, varied, settings):
    ax = sweeps.picture(rows(varied, *settings), varied)
    best = sweeps.settings(rows(varied, *settings), varied)[0]
    valid, test = (f"{100 * best.mean(name).value:.1f} %" for name in ("valid_accuracy", "accuracy"))
    assert finding(ax).startswith(f"{best} was chosen on valid: {valid}; on untouched test {test}")
    assert "test" in texts(ax) and drawn_whole(ax)
    with pytest.raises(ValueError, match="nothing to draw"):
        sweeps.picture(pd.DataFrame([{"status": "failed"}]), varied)
