"""Take each guard of `mutations.yml` away, one at a time, and see its test fail: does a test notice what it is for?

`python -m tools.mutations [words]`: in a copy of the checkout each test must pass, and fail without its guard. With
words: only rows that contain one of them; without any, the tables go into `tests/README.md`. Processes are forked, so
it runs on Linux and macOS.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
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
SLOW = ("timm", "torchvision", "scipy.stats", "sklearn.metrics", "matplotlib.pyplot", "pandas", "anywidget")
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
Row = Mapping[str, str]  # a kind of mistake, its guard, what takes that away and the test, or why there is none
TABLES: Mapping[str, list[Row]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))


def mutants() -> list[Row]:
    """Return the rows that take something away."""
    return [row for rows in TABLES.values() for row in rows if "old" in row]


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
    out = printed.open("w")
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    try:
        status = import_module("pytest").main([*OPTIONS, *tests])
        sys.stdout.flush()
        os._exit(int(status))
    finally:  # what is raised here is no failed test
        os._exit(-1)


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
        if status != 1:  # a mutant that cannot be imported ends in another status than a failed test
            found.append(f"{row['kind']}: without “{row['guard']}”, {row['test']} ends with {status}: {because}")
    return found


def written() -> str:
    """Return the tables in Markdown."""
    lines = []
    for heading, rows in TABLES.items():
        lines += ["", f"### {heading}", "", "| kind | guard taken away | test that failed |", "|---|---|---|"]
        for row in rows:
            test = "`: `".join(row.get("test", "").split("::"))
            lines.append(f"| {row['kind']} | {row['guard']} | {f'`{test}`' if test else 'none: ' + row['reason']} |")
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
        parts = re.split("|".join(MARKS), README.read_text(encoding="utf-8"))
        README.write_text(f"{parts[0]}{MARKS[0]}\n{written()}\n\n{MARKS[1]}{parts[2]}", encoding="utf-8")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
