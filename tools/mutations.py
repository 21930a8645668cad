"""Take each guard of `mutations.yml` away, one at a time, and see its test fail: does a test notice what it is for?

    python -m tools.mutations [words]

In a copy of the checkout each test must pass as it is, and fail without its guard. With words: only rows that contain
one of them; without, the tables go into `tests/README.md`. Processes are forked: it runs on Linux and macOS.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
README = ROOT / "tests" / "README.md"
MARKS = ("<!-- made by `python -m tools.mutations` -->", "<!-- until here -->")
SECONDS = 200  # and 5 for each test: a mutant that runs for longer hangs, which is no failed test
FAILED = 1  # pytest's exit status where tests failed: a mutant that cannot be imported ends in another one
SLOW = (
    "torchvision",
    "timm",
    "scipy.stats",
    "sklearn.metrics",
    "matplotlib.pyplot",
    "pandas",
    "anywidget",
    "papermill",
)
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
Row = Mapping[str, str]


def tables() -> dict[str, list[Row]]:
    """Return {heading: rows}: each row a kind of mistake, its guard, what takes that away, and the test."""
    found: dict[str, list[Row]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
    return found


def mutants() -> list[Row]:
    """Return the rows that take something away; the others say in `reason` why there is nothing in the package."""
    return [row for rows in tables().values() for row in rows if "old" in row]


def mutated(row: Row, root: Path = ROOT) -> str:
    """Return a file's text without the guard. Raises ValueError where the guard is not there exactly once."""
    text = (root / row["file"]).read_text(encoding="utf-8")
    if (count := text.count(row["old"])) != 1:
        raise ValueError(f"{row['kind']}: {row['file']} has {row['old']!r} {count} times, not once")
    changed = text.replace(row["old"], row["new"])
    if row["file"].endswith(".py"):
        ast.parse(changed)  # a mutant that is not Python would fail every test
    return changed


def pytest(folder: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """Run tests ("test_model::slices…") in a copy of the checkout; return the exit status and what was printed."""
    printed, named = folder / "printed.txt", [f"tests/{test.replace('::', '.py::test_')}" for test in tests]
    child = multiprocessing.get_context("fork").Process(target=_run, args=(folder, named, printed))
    child.start()
    child.join(SECONDS + 5 * len(tests))
    child.kill()
    child.join()
    return child.exitcode, printed.read_text(encoding="utf-8")


def _run(folder: Path, tests: Sequence[str], printed: Path) -> None:
    """Be a fresh pytest, except that the large packages are imported already."""
    out = os.open(printed, os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_WRONLY)
    os.dup2(out, 1), os.dup2(out, 2)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    status = -1  # what is raised here is no failed test
    try:
        status = int(import_module("pytest").main([*OPTIONS, *tests]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def survivors(folder: Path, rows: Sequence[Row]) -> list[str]:
    """Return in a sentence each row whose test does not fail in a copy of the checkout when its guard is taken away."""
    found = []
    for row in rows:
        text, file = mutated(row, folder), folder / row["file"]
        kept = file.rename(file.with_suffix(".kept"))  # its date tells its bytecode from the mutant's
        file.write_text(text, encoding="utf-8")
        status, printed = pytest(folder, [row["test"]])
        kept.rename(file)
        because = next((line for line in printed.splitlines() if line.startswith("E  ")), printed.strip()[-200:])
        print(status, row["kind"], row["test"], because[:150], sep=" | ", flush=True)
        if status != FAILED:
            found.append(f"{row['kind']}: without “{row['guard']}”, {row['test']} ends with {status}: {because}")
    return found


def written(sections: Mapping[str, Sequence[Row]]) -> str:
    """Return the tables in Markdown."""
    lines = []
    for heading, rows in sections.items():
        lines += [f"### {heading}", "", "| kind | guard taken away | test that failed |", "|---|---|---|"]
        for row in rows:
            test = "`: `".join(row.get("test", "").split("::"))
            lines.append(f"| {row['kind']} | {row['guard']} | {f'`{test}`' if test else 'none: ' + row['reason']} |")
        lines.append("")
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    """Run the mutants and return 0 if each made its test fail."""
    rows = [row for row in mutants() if not words or any(word in " ".join(row.values()) for word in words)]
    for name in SLOW:
        import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
        for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        status, printed = pytest(folder, sorted({row["test"] for row in rows}))
        wrong = [f"as it is: {status}\n{printed[-2000:]}"] if status else survivors(folder, rows)
    print(*wrong, f"{len(rows)} guards taken away, {len(wrong)} of them unnoticed", sep="\n")
    if not words and not wrong:
        before, _, rest = README.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        README.write_text(f"{before}{MARKS[0]}\n\n{written(tables())}\n{MARKS[1]}{after}", encoding="utf-8")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
