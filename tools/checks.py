"""Everything that CI checks, as one command a developer calls too: `sftlab test`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sftlab.runs import notebooks
from tools import building

NBVAL = [
    "--nbval-lax",
    "--nbval-current-env",
    f"--nbval-cell-timeout={notebooks.CELL_SECONDS}",
    f"--nbval-kernel-startup-timeout={notebooks.START_SECONDS}",
]
THREADS = 2  # with one, torch rounds a batch of 8 otherwise than one of 32, and the lessons compare to the bit
WORKERS = 4  # a kernel with a network and a browser each: more would want more than 16 GB


def run(root: Path, arguments: Sequence[str] = ()) -> int:
    """Run every check on the clone at `root`, say how each went, and return 0 only if all passed.

    arguments: further words for pytest. The last line printed is pytest's own closing line.
    """
    if missing := [name for name in ("ruff", "mypy", "pytest", "xdist") if find_spec(name) is None]:
        print(f'missing: {", ".join(missing)}; install them with `pip install -e ".[dev]"`')
        return 1
    outcomes = []
    for name, check in CHECKS.items():
        began = time.perf_counter()
        print(f"── {name}", flush=True)
        code, closing = check(root, arguments)
        outcomes.append((name, code == 0, time.perf_counter() - began))
    print()
    for name, passed, seconds in outcomes:
        print(f"{name:<12} {'passed' if passed else 'FAILED'}  {seconds:6.1f} s")
    print(closing, flush=True)
    return 0 if all(passed for _, passed, _ in outcomes) else 1


def lint(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Check style and likely mistakes in every Python file with ruff."""
    return _stream(root, "ruff", "check", ".")


def types(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Check the annotations of the package with mypy."""
    return _stream(root, "mypy")


def sources(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Check that every notebook has the cells of its source."""
    findings = building.check(root)
    print("\n".join(findings) or "sources and notebooks agree", flush=True)
    return bool(findings), ""


def tests(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Run unit tests, doctests and every notebook in one pytest, so that one line sums them up.

    Files go side by side where every kernel still gets THREADS of its own: kernels that share cores fight over them.
    """
    workers = min((os.cpu_count() or 1) // THREADS, WORKERS)
    side_by_side = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    books = [str(p.relative_to(root)) for p in notebooks.built(root)]
    color = ["--color=yes"] if sys.stdout.isatty() else []
    return _stream(
        root, "pytest", *color, "--doctest-modules", *NBVAL, *side_by_side, "tests", "sftlab", *books, *arguments,
        threads=THREADS if workers > 1 else None,
    )  # fmt: skip


CHECKS = {"lint": lint, "types": types, "notebooks": sources, "tests": tests}


def _stream(root: Path, module: str, *words: str, threads: int | None = None) -> tuple[int, str]:
    """Run a Python module, pass on what it prints as it comes, and return its exit code and its last line."""
    env = {**os.environ, "COLUMNS": str(shutil.get_terminal_size().columns)}
    if threads is not None:
        env.setdefault("OMP_NUM_THREADS", str(threads))
    command = [sys.executable, "-m", module, *words]
    said = bytearray()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=root, env=env, stdout=pipe, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        # by what is there, not by line: the dots of a long test run are the sign of life
        while piece := os.read(process.stdout.fileno(), 4096):
            said += piece
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else ""
