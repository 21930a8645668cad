"""What a rerun costs beside its own cells: one run by itself, and many as a sweep.

    python benchmarks/reruns.py [RUNS]

Each run is the main lesson on solar cells as a linear probe (160 pixels), with notebook, records, model and HTML
report, the features on disk. One seed a run, so that every run has its own split. A run by itself gets one thread, as
each run of the sweep does, so that the two can be compared. Writes reruns.json beside this file.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import torch
from joblib import cpu_count

from sftlab.runs.sweep import sweep

NOTEBOOK = "10_your_own_images"
FIXED = {"SIZE": 160, "STRATEGY": "probe"}
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 24
ALONE = 2


def around(folder, seconds):
    """Return a run's seconds, and those outside its cells, from the times that papermill keeps of each cell."""
    book = nbformat.read(next(Path(folder).glob("*.ipynb")), as_version=4)
    cells = sum(cell.metadata.get("papermill", {}).get("duration") or 0.0 for cell in book.cells)
    return {"seconds": seconds, "of which outside its cells": seconds - cells}


def command(out, seed):
    """Run `sftlab run` in a process of its own and return how long it took."""
    words = [word for name, value in (FIXED | {"SEED": seed}).items() for word in ("-p", name, str(value))]
    began = time.perf_counter()
    code = "from sftlab.runs.cli import app; app()"
    subprocess.run(
        [sys.executable, "-c", code, "run", NOTEBOOK, *words, "--out", out], check=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return around(next(out.iterdir()), seconds)


def median(found):
    """Return the median of each number."""
    return {name: round(statistics.median(one[name] for one in found), 2) for name in found[0]}


def main():
    found = {"machine": {"cores": cpu_count(), "torch": torch.__version__}, "runs": RUNS}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        file = top / "probes.yml"
        file.write_text(json.dumps({"notebook": NOTEBOOK, "fixed": FIXED, "seeds": RUNS}), encoding="utf-8")
        command(top / "warm", 0)  # encodes what is not on disk yet
        began = time.perf_counter()
        table = sweep(file, out=top)
        found["seconds for all"] = round(time.perf_counter() - began, 1)
        found["processes that waited for a core, on average"] = round(os.getloadavg()[1] - found["machine"]["cores"], 1)
        assert (table.status == "finished").all(), table
        found["one run of a sweep"] = median([around(run.folder, run.seconds) for run in table.itertuples()])
        write(found)
        found["one run by itself"] = median([command(top / "alone" / str(seed), seed) for seed in range(ALONE)])
        write(found)
    print(json.dumps(found, indent=1))


def write(found):
    """Keep what is measured so far."""
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
