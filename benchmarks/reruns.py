"""What a rerun costs beyond its training: one run by itself, the parts of it, and 24 runs as a sweep.

    python benchmarks/reruns.py

Each run is the main lesson on solar cells as a linear probe (160 pixels), with notebook, records, model and HTML
report, the features on disk. One seed a run, so that every run has its own split. A run by itself gets one thread, as
each run of the sweep does, so that their parts can be compared. Writes reruns.json beside this file.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import nbformat
import torch
from joblib import cpu_count

from sftlab.runs import sweeping

NOTEBOOK = "14_your_own_images"
FIXED = {"SIZE": 160, "STRATEGY": "probe"}
RUNS, ALONE = 24, 2
PARTS = ("start the kernel", "imports", "the other cells", "stop the kernel", "report, and the command around it")


def parts(folder, seconds):
    """Return how long each part of a run took, from the times that papermill keeps."""
    book = nbformat.read(next(Path(folder).glob("*.ipynb")), as_version=4)
    cells = [c for c in book.cells if c.metadata.get("papermill", {}).get("start_time")]
    begin, end = (datetime.fromisoformat(book.metadata.papermill[key]) for key in ("start_time", "end_time"))
    first = datetime.fromisoformat(cells[0].metadata.papermill.start_time)
    last = datetime.fromisoformat(cells[-1].metadata.papermill.end_time)
    imports = sum(c.metadata.papermill.duration for c in cells if "import sftlab" in c.source)
    start, stop = (first - begin).total_seconds(), (end - last).total_seconds()
    rest = (last - first).total_seconds() - imports
    total = (end - begin).total_seconds()
    return dict(zip(PARTS, (start, imports, rest, stop, seconds - total), strict=True))


def command(out, seed):
    """Run `sftlab run` in a process of its own and return how long it and its parts took."""
    words = [word for name, value in (FIXED | {"SEED": seed}).items() for word in ("-p", name, str(value))]
    began = time.perf_counter()
    code = "from sftlab.runs.cli import app; app()"
    subprocess.run(
        [sys.executable, "-c", code, "run", NOTEBOOK, *words, "--out", out], check=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **parts(next(out.iterdir()), seconds)}


def median(found):
    """Return the median of each part."""
    return {name: round(statistics.median(one[name] for one in found), 2) for name in found[0]}


def main():
    found = {"machine": {"cores": cpu_count(), "torch": torch.__version__}, "runs": RUNS}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        file = top / "probes.yml"
        file.write_text(json.dumps({"notebook": NOTEBOOK, "fixed": FIXED, "seeds": RUNS}), encoding="utf-8")
        command(top / "warm", 0)  # encodes what is not on disk yet
        began = time.perf_counter()
        done = sweeping.sweep(file, out=top)
        found["seconds for all"] = round(time.perf_counter() - began, 1)
        found["processes that waited for a core, on average"] = round(os.getloadavg()[1] - found["machine"]["cores"], 1)
        assert not done.failed, done
        each = [{"seconds": row["seconds"], **parts(row["folder"], row["seconds"])} for row in done.rows]
        found["one run of a sweep"] = median(each)
        write(found)
        found["one run by itself"] = median([command(top / "alone" / str(seed), seed) for seed in range(ALONE)])
        write(found)
    print(json.dumps(found, indent=1))


def write(found):
    """Keep what is measured so far."""
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
