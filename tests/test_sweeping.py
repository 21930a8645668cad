"""Sweeps: whole files are checked first, finished runs are kept, and whoever is killed takes no other run along."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from figures import drawn_whole, finding, marked
from typer.testing import CliRunner

from sftlab import plot
from sftlab.core import statistics
from sftlab.runs import grids, kernels, notebooks, sweeping
from sftlab.runs import results as runs
from sftlab.runs.cli import app
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.sweeping import plan, results, screen, workers

# It loads sftlab where no import statement shows it, so that a nursery for it is ready in a second.
TOY = """\
# %% [markdown]
# # Does it do what the sweep says?

# %% tags=["parameters"]
RATE: float = 1e-3  # learning rate
LAYERS: str = "head"  # what learns
SEED: int = 0  # chance
KILL: str = ""  # who is killed, by signal 9
WAIT: str = ""  # a file to wait for
OUT: str = ""  # folder for the records

# %%
from importlib import import_module

check_parameters = import_module("sftlab.runs.parameters").check_parameters
check_parameters(globals(), RATE=(float, 0, 1), LAYERS=("head", "all"), SEED=(int, 0), WAIT=str, OUT=str,
                 KILL=("", "kernel", "run", "nursery"))

# %%
import os, random, sys, time
from pathlib import Path

import psutil

seen = [getattr(os, "left_behind", None), os.environ.get("LEFT_BEHIND"), "left" in sys.modules, Path.cwd().name]
os.left_behind, os.environ["LEFT_BEHIND"], sys.modules["left"] = 1, "1", os
print(seen)
kernel = psutil.Process()
victims = {"kernel": kernel, "run": kernel.parent(), "nursery": kernel.parent().parent()}
if KILL:
    victims[KILL].kill()
    time.sleep(60)
while WAIT and not Path(WAIT).exists():
    time.sleep(0.05)

# %%
records = import_module("sftlab.core.records")
share = 0.5 + 0.4 * RATE + 0.01 * SEED + (0.05 if LAYERS == "all" else 0)
accuracy = {"accuracy": records.Interval(share - 0.1, share - 0.2, share)}
result = records.Result("test", ["a", "b"], ["1"], [0], [[0.9, 0.1]], accuracy, {}, [[1, 0], [0, 0]], 0.5, 1)
history = records.History([], [records.Epoch(1, 1, 0.5, 0.4, share, 1.0)], [{}], ["finished"], 1)
if OUT:
    records.write(history, Path(OUT) / "history.json")
    records.write(result, Path(OUT) / "record.json")

# %%
if RATE > 0.9:
    {}["photos"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    return tmp_path


def written(path="grid.yml", **parts):
    """Write a sweep's file."""
    Path(path).write_text(yaml.safe_dump({"notebook": "toy.py", **parts}, sort_keys=False), encoding="utf-8")
    return path


@contextmanager
def command(*words):
    """Run the command line in a process of its own, which does not outlive the test."""
    code = "from sftlab.runs.cli import app; app()"
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, *words], **how) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true, seconds=60):
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def in_flight(count):
    """Return those of the run folders here that are begun and not ended, once there are so many."""
    found = []

    def enough():
        found[:] = [p for p in Path("runs/grid").glob("*-*") if p.is_dir() and not (p / "run.json").exists()]
        return len(found) == count and all(list(p.glob("*.ipynb")) for p in found)

    until(enough)
    return found


class Log(sweeping.Watch):
    """Remembers what a sweep tells."""

    def __init__(self):
        self.lines, self.did = [], []

    def begins(self, lines, total, done):
        self.lines = list(lines)

    def ended(self, what, row, seconds_left):
        self.did.append(what)


def test_a_sweep_runs_what_is_missing_and_keeps_what_failed(folder):
    written(fixed={"LAYERS": "all"}, grid={"RATE": [0.1, 1.0]}, seeds=1)
    log = Log()
    done = sweeping.sweep("grid.yml", jobs=2, watch=log)
    assert len(done.rows) == len(log.did) == 2 and len(done.failed) == 1
    assert "failed: RATE=1 SEED=0" in str(done) and "KeyError: 'photos'" in str(done)
    for row in done.failed:
        assert "KeyError" in (Path(row["folder"]) / "toy.ipynb").read_text(encoding="utf-8")
        assert "KeyError" in (Path(row["folder"]) / "toy.html").read_text(encoding="utf-8")

    with (done.folder / "results.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:7] == ["RATE", "SEED", "LAYERS", "status", "accuracy", "accuracy_low", "accuracy_high"]
    assert [row["status"] for row in table] == ["finished", "failed"]
    assert (done.folder / table[0]["folder"] / "record.json").is_file()
    page = (done.folder / "index.html").read_text(encoding="utf-8")
    assert page.count(">notebook</a>") == page.count(">report</a>") == 2
    assert "sftlab sweep grid.yml" in page and "KeyError" in page
    assert (done.folder / "picture.svg").read_text(encoding="utf-8").startswith("<svg")

    before = {row["folder"]: (Path(row["folder"]) / "run.json").stat().st_mtime_ns for row in done.rows}
    log = Log()
    again = sweeping.sweep("grid.yml", jobs=1, watch=log)
    assert log.did == ["RATE=1 SEED=0"], "only what failed is tried again"
    for row in again.rows:
        unchanged = (Path(row["folder"]) / "run.json").stat().st_mtime_ns == before[row["folder"]]
        assert unchanged == (row["status"] == "finished")


def test_runs_of_one_worker_see_nothing_of_each_other_and_are_what_papermill_writes(folder):
    written(seeds=2)
    done = sweeping.sweep("grid.yml", jobs=1)
    books = [nbformat.read(Path(row["folder"]) / "toy.ipynb", as_version=4) for row in done.rows]
    for book in books:
        printed = [o.text for cell in book.cells for o in cell.get("outputs", [])]
        assert printed == [f"[None, None, False, '{folder.name}']\n"]

    nbformat.write(notebooks.read(folder / "toy.py"), "toy.ipynb")
    out, place = books[0].metadata.papermill.parameters["OUT"], folder / "plain"
    place.mkdir()
    words = [sys.executable, "-m", "papermill", "toy.ipynb", "plain/toy.ipynb", "-p", "SEED", "0", "-p", "OUT", out]
    subprocess.run([*words, "-k", "python3"], check=True, capture_output=True)
    theirs = nbformat.read("plain/toy.ipynb", as_version=4)
    assert [_kept(cell) for cell in books[0].cells] == [_kept(cell) for cell in theirs.cells]
    assert books[0].metadata.papermill.keys() == theirs.metadata.papermill.keys()
    assert books[0].metadata.papermill.parameters == theirs.metadata.papermill.parameters
    assert books[0].metadata.kernelspec.name == theirs.metadata.kernelspec.name


def _kept(cell):
    """What of a cell does not depend on when and by which process it was run."""
    outputs = [{k: v for k, v in o.items() if k != "metadata"} for o in cell.get("outputs", [])]
    tags, known = cell.metadata.get("tags"), sorted(cell.metadata)
    return (
        cell.cell_type,
        cell.source,
        cell.get("execution_count"),
        outputs,
        tags,
        known,
        cell.metadata.papermill.status,
    )


@pytest.mark.skipif(not kernels.CAN_FORK, reason="elsewhere a run has no process of its own")
def test_whoever_is_killed_takes_only_its_own_run_along(folder):
    written(cases=[{"KILL": who} for who in ("", "kernel", "run", "nursery")], seeds=1)
    done = sweeping.sweep("grid.yml", jobs=1)
    errors = {row["KILL"]: row["error"] for row in done.rows}
    assert errors[""] == "" and "the kernel died" in errors["kernel"]
    assert "was killed (signal 9)" in errors["run"] and "its worker process was killed" in errors["nursery"]
    assert {row["status"] for row in done.failed} == {"failed"} and len(done.failed) == 3
    died = next(Path(row["folder"]) for row in done.failed if row["KILL"] == "kernel")
    cells = nbformat.read(died / "toy.ipynb", as_version=4).cells
    assert "completed" in [cell.metadata.papermill.status for cell in cells], "as far as it came, it is kept"


def test_kill_9_of_a_sweep_loses_only_the_runs_in_flight(folder):
    written(fixed={"WAIT": "go"}, seeds=3)
    with command("sweep", "grid.yml", "--jobs", "2") as process:
        in_flight(2)
        born = psutil.Process(process.pid).children(recursive=True)
        assert len(born) >= 6, "two nurseries, two runs, two kernels"
        with pytest.raises(NotebookError, match="another sweep is at work in runs/grid/"):
            sweeping.sweep("grid.yml")
        process.kill()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in born), 10)
    assert [row["status"] for row in runs.rows(Path("runs/grid"))] == ["unfinished"] * 2 + ["unfinished"]
    (folder / "go").touch()
    log = Log()
    done = sweeping.sweep("grid.yml", jobs=1, watch=log)
    assert not done.failed and len(log.did) == 3


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(folder):
    (folder / "go").touch()
    written(cases=[{"WAIT": "go"}, {"WAIT": "never"}])
    with command("sweep", "grid.yml", "--jobs", "1") as process:
        until(lambda: list(Path("runs/grid").glob("*go*/run.json")))
        in_flight(1)
        born = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[0]
    assert process.returncode == 130
    assert "stopped with 1 of 2 runs finished; go on with: sftlab sweep grid.yml" in said
    assert "1 of 2   WAIT=" in said and "Traceback" not in said
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in born), 10)
    assert [status for _, status in sweeping.survey("grid.yml")[1]] == ["finished", "unfinished"]


def test_what_is_damaged_is_said_and_runs_again(folder):
    written(seeds=3)
    done = sweeping.sweep("grid.yml", jobs=1)
    one, two, _ = (Path(row["folder"]) for row in done.rows)
    text = (one / "record.json").read_text(encoding="utf-8")
    (one / "record.json").write_text(text[:40], encoding="utf-8")
    (two / "toy.ipynb").unlink()
    found = list(runs.rows(Path("runs/grid")))
    assert [row["status"] for row in found] == ["damaged", "damaged", "finished"]
    assert "record.json is not a record" in found[0]["error"] and "toy.ipynb" in found[1]["error"]
    log = Log()
    assert not sweeping.sweep("grid.yml", jobs=1, watch=log).failed
    assert len(log.did) == 2 and sum(line.startswith("damaged") for line in log.lines) == 2


def test_a_cluster_does_the_runs(folder):
    pytest.importorskip("distributed", reason='--scheduler is the extra "dask"')
    dask = [sys.executable, "-m", "dask"]
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": os.environ | {"DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s"},
    }
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "at.json"],
        **quiet,
    )
    started = [scheduler]
    try:
        until(lambda: Path("at.json").exists())
        for _ in range(2):
            words = ["worker", "--scheduler-file", "at.json", "--nthreads", "1", "--no-dashboard", "--no-nanny"]
            started.append(subprocess.Popen([*dask, *words], **quiet))
        address = json.loads(Path("at.json").read_text())["address"]
        written(cases=[{"RATE": 0.1}, {"RATE": 1.0}, {"KILL": "nursery"}], seeds=1)
        with command("sweep", "grid.yml", "--scheduler", address) as process:
            said = process.communicate(timeout=120)[0]
        assert process.returncode == 1, said
        table = {(row["RATE"], row["KILL"]): row["status"] for row in runs.rows(Path("runs/grid"))}
        assert table == {(0.1, ""): "finished", (1.0, ""): "failed", (1e-3, "nursery"): "failed"}
        done = {path: path.stat().st_mtime_ns for path in Path("runs/grid").glob("*/run.json")}

        written(fixed={"WAIT": "go"}, seeds=3)
        with command("sweep", "grid.yml", "--scheduler", address) as process:
            in_flight(2)
            started[-1].kill()  # a worker, with the run that it is doing
            Path("go").touch()
            said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, said
        assert [row["status"] for row in runs.rows(Path("runs/grid"))] == ["finished"] * 3, "the other worker did it"
        assert all(path.stat().st_mtime_ns == time_ for path, time_ in done.items())
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(20)


def test_no_scheduler_is_said(folder, monkeypatch):
    pytest.importorskip("distributed", reason='--scheduler is the extra "dask"')
    monkeypatch.setattr(workers, "SECONDS", 1)
    written(seeds=1)
    with pytest.raises(NotebookError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        sweeping.sweep("grid.yml", scheduler="tcp://127.0.0.1:1")


BAD = """\
notebook: toy.py
fixd: {SEED: 1}
fixed: {RATES: 1, OUT: x}
grid:
  RATE: [1e-4, 2, fast]
  LAYERS: [head, al]
  SEED: 3
cases: []
seeds: none
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BAD, ["bad.yml, line 2: there is no key 'fixd'; did you mean fixed?"]),
        (BAD, ["line 3: RATES is not a parameter of toy; did you mean RATE?", "line 3: OUT is the folder of this run"]),
        (BAD, ["line 8: a sweep has a grid or cases, not both"]),
        (BAD, ["line 9: seeds is a number of them (3: the seeds 0, 1, 2) or a list of them, not 'none'"]),
        (BAD.replace("cases: []\n", ""), ["line 5: RATE must be float from 0 to 1, not 2", "not 'fast'"]),
        (BAD.replace("cases: []\n", ""), ["line 6: LAYERS must be 'head' or 'all', not 'al'; did you mean 'all'?"]),
        (BAD.replace("cases: []\n", ""), ["line 7: SEED takes a list of values, as in SEED: [a, b]"]),
        ("fixed: {}", ["bad.yml names no notebook"]),
        ("notebook: toys.py", ["no notebook begins with 'toys'"]),
        ("notebook: toy.py\nseeds: 2\nseeds: 3", ["line 3: seeds is given twice"]),
        ("notebook: toy.py\nseeds: [0, 1, 0]", ["asks for the same run twice: SEED=0"]),
        ("notebook: toy.py\nfixed: {SEED: 1}\nseeds: 2", ["line 3: SEED is set elsewhere in this file too"]),
        ("notebook: toy.py\nfixed: {RATE: 1}\ngrid: {RATE: [1]}", ["RATE is fixed and varied"]),
        ("notebook: toy.py\nfixed: {WAIT: 'folder:nowhere'}", ["line 2: there is no folder", "nowhere"]),
        ("notebook: [toy.py", ["line 1 is not YAML"]),
        ("- toy.py", ["a sweep is written as names with values"]),
    ],
)
def test_a_wrong_file_is_refused_as_a_whole_line_by_line(folder, text, says):
    Path("bad.yml").write_text(text, encoding="utf-8")
    with pytest.raises(NotebookError) as refused:
        sweeping.sweep("bad.yml")
    for words in says:
        assert words in str(refused.value)
    assert not Path("runs").exists(), "nothing has begun"


def test_values_get_the_type_of_their_parameter(folder):
    grid = sweeping.read(written(fixed={"RATE": 1}, grid={"LAYERS": ["head"]}, seeds=[3]))
    assert grid.combinations == [{"RATE": 1.0, "LAYERS": "head", "SEED": 3}]
    assert type(grid.combinations[0]["RATE"]) is float
    Path("exponent.yml").write_text("notebook: toy.py\ngrid: {RATE: [1e-4]}", encoding="utf-8")
    assert sweeping.read("exponent.yml").combinations == [{"RATE": 1e-4}], "to YAML 1e-4 is a word"


def test_a_run_is_found_again_by_what_its_numbers_depend_on(folder):
    def address(**values):
        book = notebooks.read(folder / "toy.py")
        known = read_parameters(book)
        return plan.address(nbformat.writes(book), known, checked(known, values), folder)

    first = address(RATE=0.1)
    assert address(RATE=0.1, LAYERS="head") == first, "the default, given or not"
    assert address(RATE=0.2) != first
    (folder / "toy.py").write_text(TOY.replace("Does it do", "Will it do"), encoding="utf-8")
    assert address(RATE=0.1) == first, "prose has no part in the numbers"
    (folder / "toy.py").write_text(TOY.replace("# learning rate", "# of the head"), encoding="utf-8")
    assert address(RATE=0.1) == first, "neither has a comment"
    (folder / "toy.py").write_text(TOY + "load(corrections='labels.csv')\n", encoding="utf-8")
    without = address(RATE=0.1)
    (folder / "labels.csv").write_text("image,file,old,new,when\n", encoding="utf-8")
    assert address(RATE=0.1) != without, "labels were corrected"
    (folder / "toy.py").write_text(TOY.replace("0.4 * RATE", "0.5 * RATE"), encoding="utf-8")
    assert address(RATE=0.1) != first
    (folder / "photos").mkdir()
    (folder / "photos" / "a.png").write_bytes(b"1")
    photos = address(WAIT="folder:photos")
    plan._stamp.cache_clear()
    (folder / "photos" / "b.png").write_bytes(b"2")
    assert address(WAIT="folder:photos") != photos


def test_the_plan_lists_the_runs_and_starts_none(folder):
    done = CliRunner().invoke(app, ["sweep", written(grid={"RATE": [0.1, 0.2]}, seeds=2), "--plan"])
    assert done.exit_code == 0 and "toy: 4 runs, 4 of them to do" in done.output
    assert "to do       RATE=0.2 SEED=1" in done.output and not Path("runs/grid").exists()


def test_cores_are_shared_out_and_none_is_used_twice(monkeypatch):
    import joblib

    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 100e9}))
    assert workers.shares(24) == (8, 1)
    assert workers.shares(3) == (3, 2)
    assert workers.shares(24, 2) == (2, 4)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 5e9}))
    assert workers.shares(24) == (2, 4), "two gigabytes a run"


def test_load_runs_reads_a_sweep_a_plain_run_and_what_papermill_left(folder):
    pandas = pytest.importorskip("pandas")
    nbformat.write(notebooks.read(folder / "toy.py"), "toy.ipynb")
    Path("by_hand").mkdir()
    words = ["toy.ipynb", "by_hand/toy.ipynb", "-p", "RATE", "0.25", "-p", "OUT", "by_hand", "-k", "python3"]
    subprocess.run([sys.executable, "-m", "papermill", *words], check=True, capture_output=True)
    from sftlab.runs import experiments

    experiments.run("toy.py", {"RATE": 0.5}, out="by_hand")
    table = runs.load_runs("by_hand")
    assert isinstance(table, pandas.DataFrame) and len(table) == 2
    assert table.RATE.tolist() == [0.25, 0.5] and table.SEED.tolist() == [0, 0] and "OUT" not in table
    assert table.valid_accuracy.tolist() == pytest.approx([0.6, 0.7]) and table.accuracy_low.tolist() == pytest.approx(
        [0.4, 0.5]
    )
    assert table.status.tolist() == ["finished"] * 2 and (table.seconds > 0).all()
    with pytest.raises(NotebookError, match="there is no folder nowhere"):
        runs.load_runs("nowhere")


def rows(vary, *settings, seeds=3):
    """Rows of made-up runs: each setting's values, valid accuracy and test accuracy, a little apart for each seed."""
    return [
        {
            **dict(zip(vary, values, strict=True)), "SEED": seed, "status": "finished", "majority": 0.6,
            "valid_accuracy": valid + 0.01 * seed, "accuracy": test + 0.01 * seed,
            "accuracy_low": test - 0.03, "accuracy_high": test + 0.05,
        }
        for values, valid, test in settings for seed in range(seeds)
    ]  # fmt: skip


def test_the_choice_is_made_on_valid_and_judged_by_test():
    table = rows(["RATE"], ([1e-4], 0.70, 0.90), ([1e-3], 0.80, 0.70))
    table.append({"RATE": 1e-3, "SEED": 3, "status": "failed"})
    found = grids.settings(table, ["RATE"])
    best = grids.best(found)
    assert best.values == {"RATE": 1e-3}, "not the one with the higher test accuracy"
    assert (len(best.rows), best.asked) == (3, 4)
    assert best.tested == statistics.t_interval([0.70, 0.71, 0.72])
    said = grids.verdict(found)
    assert "Of 2 settings RATE 1e-3 is the best on the validation images: accuracy 0.810, mean of 3 seeds" in said
    assert "The highest of 2 numbers is partly luck" in said and "it is 0.710 (0.685–0.735)" in said
    assert "seed by seed it leads RATE 1e-4 by 0.100 (+0.100 to +0.100). On" in said
    assert grids.best(grids.settings([{"RATE": 1, "status": "finished"}], ["RATE"])) is None
    single = grids.settings(rows(["RATE"], ([1e-4], 0.7, 0.9), seeds=1), ["RATE"])[0]
    assert (single.tested.low, single.tested.high) == pytest.approx((0.87, 0.95)) and single.tested.method == "one run"


def test_settings_are_told_apart_seed_by_seed_because_a_split_that_is_hard_is_hard_for_both():
    valid = {"a": (0.60, 0.72, 0.84), "b": (0.58, 0.73, 0.80)}
    table = [
        {"X": x, "SEED": seed, "status": "finished", "valid_accuracy": value}
        for x, values in valid.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    a, b = grids.settings(table, ["X"])
    less, wanted = grids.against(b, a), statistics.t_interval([-0.02, 0.01, -0.04])
    assert (less.value, less.low, less.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
    second, ahead = grids.lead([b, a])
    assert second is b and (ahead.low, ahead.high) == pytest.approx((-wanted.high, -wanted.low))
    assert "so these seeds do not tell the two apart" in grids.verdict([a, b])
    assert grids.against(grids.settings(table[3:4], ["X"])[0], a) is None, "one seed has no spread"
    elsewhere = [{**row, "SEED": row["SEED"] + 3} for row in table[3:]]
    assert grids.lead([a, *grids.settings(elsewhere, ["X"])]) is None, "no seed is shared"


MANY = [
    ([rate, layers], 0.7 + i / 100, 0.6)
    for i, (rate, layers) in enumerate((r, n) for r in (1e-4, 1e-3, 1e-2) for n in ("head", "all"))
]


@pytest.mark.parametrize(
    ("vary", "settings"),
    [
        (["RATE"], [([rate], 0.9 - abs(rate - 0.001), 0.8) for rate in (1e-4, 1e-3, 1e-2)]),
        (["LAYERS"], [([name], valid, 0.8) for name, valid in (("head", 0.7), ("all", 0.9))]),
        (["RATE", "LAYERS"], MANY[:5]),
        (["RATE", "LAYERS", "EPOCHS"], [([*values, 3], *numbers) for values, *numbers in MANY]),
    ],
    ids=["a number", "a word", "two", "three"],
)
def test_the_picture_frames_the_choice_and_shows_only_its_test_accuracy(house_style, vary, settings):
    table = rows(vary, *settings)
    ax = plot.grid(table, vary)
    best = grids.best(grids.settings(table, vary))
    numbers = f"{100 * best.valid.value:.1f} %; on untouched test {100 * best.tested.value:.1f} %"
    assert finding(ax).startswith(f"{best} is best on valid: {numbers}")
    assert marked(ax, "chosen") and drawn_whole(ax)
    if len(vary) == 2:
        words = [text.get_text() for text in ax.texts]
        chosen, other = 5 - 1, 0  # MANY is ranked; every seed is as far from the choice as the others
        assert f"{100 * settings[chosen][1] + 1:.1f}" in words and "not asked" in words
        assert f"{100 * settings[other][1] + 1:.1f}\n(−4.0 ± 0.0)" in words
        assert any("leads the next by 1.0 points (+1.0 to +1.0)." in text for text in words)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.grid([{"status": "failed"}], vary)


def test_lines_tell_how_it_goes(capsys):
    lines = screen.Lines()
    lines.begins(["toy: 3 runs"], 3, 1)
    lines.ended("RATE=0.1", {"status": "finished", "valid_accuracy": 0.8, "seconds": 12.4}, 240)
    lines.ended("RATE=0.2", {"status": "failed", "error": "a\nKeyError: 'x'", "seconds": 1.0}, 0)
    assert capsys.readouterr().out.splitlines() == [
        "toy: 3 runs", "2 of 3   RATE=0.1   valid 0.800   12 s   about 4 min left",
        "3 of 3   RATE=0.2   FAILED: KeyError: 'x'",
    ]  # fmt: skip


def test_an_unfinished_sweep_has_a_page_too(folder):
    grid = sweeping.read(written(grid={"RATE": [0.1, 0.2]}))
    waiting = [
        {**values, "status": "waiting", "error": "", "folder": str(folder / "x")} for values in grid.combinations
    ]
    assert results.write_picture(folder, grid, waiting) is None
    page = results.write_index(folder, grid, waiting, command="sftlab sweep grid.yml").read_text(encoding="utf-8")
    assert "2 waiting" in page and "No run left validation numbers" in page and "picture.svg" not in page
