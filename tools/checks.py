"""Everything that CI checks, as two commands that a developer types: `make test` and `make test-all`.

    python -m tools.checks [--all] [words for pytest]

`make test`: lint, types, sources against notebooks; then unit tests, doctests, the core lessons and a tour in the
browser. `make test-all`: what is marked `slow`, that is further lessons, recipes, campaigns, every other browser test.
"""

from __future__ import annotations

import os
import subprocess
import sys
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


def main(words: list[str]) -> int:
    """Run the checks and return 0 only if all passed; the last line says how each went, pytest's is before it."""
    if missing := [name for name in ("ruff", "mypy", "pytest", "xdist") if find_spec(name) is None]:
        print(f'missing: {", ".join(missing)}; install them with `pip install -e ".[dev]"`')
        return 1
    everything_else = "--all" in words
    books = [str(path.relative_to(ROOT)) for path in notebooks.built(ROOT)]
    tests = ["pytest", *side_by_side(), "--doctest-modules", *NBVAL, "tests", "sftlab", *books]
    if everything_else:
        checks = {}
        tests += ["-m", "slow"]
    else:
        checks = {
            "lint": ["ruff", "check", "."],
            "types": ["mypy"],
            "notebooks": ["tools.notebooks", "--check"],
        }
        tests += ["-m", "not slow"]
    passed = {name: run(*command) for name, command in checks.items()}
    passed["tests"] = run(*tests, *(word for word in words if word != "--all"))
    print("  ".join(f"{name} {'passed' if good else 'FAILED'}" for name, good in passed.items()), flush=True)
    return 0 if all(passed.values()) else 1


def side_by_side() -> list[str]:
    """Return pytest's words for a file a worker, where there are cores for more than one."""
    workers = min(os.cpu_count() or 1, WORKERS)
    return ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []


def run(module: str, *words: str) -> bool:
    """Run a Python module in the clone and tell whether it succeeded.

    One thread for each kernel: kernels that share cores fight over them.
    """
    print(f"── {module}", flush=True)
    env = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, env=env).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
