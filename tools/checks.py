"""Everything that CI checks, as two commands that a developer types: `make test` and `make test-all`.

    python -m tools.checks [--all] [words for pytest]

`make test`: lint, types, sources against notebooks; then the core lessons on small images, unit tests, doctests and a
tour in the browser. `make test-all`: every lesson as a learner finds it, with every control of it, in the browser; the
exercises, solved; and what else is marked `slow`: campaigns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sftlab.runs import notebooks

ROOT = Path(__file__).parents[1]
NBVAL = [
    "--nbval-lax",
    "--nbval-current-env",
    f"--nbval-cell-timeout={notebooks.CELL_SECONDS}",
    f"--nbval-kernel-startup-timeout={notebooks.START_SECONDS}",
]
WORKERS = 4  # a kernel with a network and a browser each: more would want more than 16 GB
SMALL: dict[str, dict[str, int]] = {  # the core lessons, and what makes each of them a matter of a minute
    "00_start_here": {"LABELS": 10, "CELLS": 50, "SIZE": 96, "EPOCHS": 1},
    "10_your_own_images": {"SIZE": 96, "EPOCHS": 1},
    "01_select": {"SIZE": 96},
    "02_head": {"SIZE": 96},
    "03_loss": {"SIZE": 96},
    "04_freeze": {"SIZE": 96, "LABELS": 200},
    "05_rate": {"SIZE": 32, "LABELS": 20},
    "06_finetune": {"LABELS": 10, "EPOCHS": 3},
    "07_overfit": {},
    "08_evaluate": {"SIZE": 96},
    "09_decide": {"SIZE": 96},
}


def main(words: list[str]) -> int:
    """Run the checks and return 0 only if all passed; the last line says how each went, pytest's is before it."""
    if missing := [name for name in ("ruff", "mypy", "pytest", "xdist") if find_spec(name) is None]:
        print(f'missing: {", ".join(missing)}; install them with `pip install -e ".[dev]"`')
        return 1
    further = "--all" in words
    checks = {
        "lint": ["ruff", "check", "."],
        "types": ["mypy"],
        "notebooks": ["tools.notebooks", "--check"],
        "course": ["tools.course", "--check"],
    }
    passed = {} if further else {name: run(*command) for name, command in checks.items()}
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        books = ["notebooks/exercises"] if further else small(Path(folder))
        tests = [*side_by_side(), "--doctest-modules", *NBVAL, *books, "tests", "sftlab"]
        # a warning of the cache would end pytest without a summary, and what is not below its root has no name
        tests += [] if scratch() else ["-p", "no:cacheprovider", "--rootdir", "/", "-c", str(ROOT / "pyproject.toml")]
        tests += ["-m", "slow" if further else "not slow", *(word for word in words if word != "--all")]
        passed["tests"] = run("pytest", *tests, SFTLAB_DATA=str(Path(folder, "data")))
    print("  ".join(f"{name} {'passed' if good else 'FAILED'}" for name, good in passed.items()), flush=True)
    return 0 if all(passed.values()) else 1


def scratch() -> Path | None:
    """Return where temporary notebooks lie: below ROOT, so that pytest names them well; None if it can only be read."""
    if not os.access(ROOT, os.W_OK):
        return None
    (ROOT / "build").mkdir(exist_ok=True)
    return ROOT / "build"


def small(folder: Path) -> list[str]:
    """Write the core lessons with SMALL's parameters where they find what is beside them; return their paths."""
    import papermill

    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    (folder / "notebooks").mkdir()
    books = {f"notebooks/{name}.ipynb": values for name, values in SMALL.items()}
    for book, values in books.items():
        papermill.execute_notebook(ROOT / book, folder / book, values, prepare_only=True, progress_bar=False)
    return [str(folder / book) for book in books]


def side_by_side() -> list[str]:
    """Return pytest's words for a file a worker, where there are cores for more than one."""
    workers = min(os.cpu_count() or 1, WORKERS)
    return ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"] if workers > 1 else []


def run(module: str, *words: str, **environment: str) -> bool:
    """Run a Python module in the clone, with further environment variables, and tell whether it succeeded.

    One thread for each kernel: kernels that share cores fight over them.
    """
    print(f"── {module}", flush=True)
    env = {"OMP_NUM_THREADS": "1", **os.environ, **environment}
    return subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, env=env).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
