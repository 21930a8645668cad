"""Many runs of one notebook: a grid of parameters and seeds, in parallel, resumable, here or on Dask; `sftlab sweep`.

    notebook: 10_your_own_images
    fixed: {SIZE: 160, EPOCHS: 2}
    grid:                        # every combination of these …
      RATE: [1e-4, 1e-3]
      STRATEGY: [partial, full]
    seeds: 3                     # … with each of the seeds 0, 1, 2

In place of `grid`, `cases` lists combinations one by one: `- {STRATEGY: full, RATE: 1e-4}`. The highest of n validation
numbers is too good a number for what was chosen by it (it is high partly by luck); its test number had no part in the
choice and may be believed.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout
from nbformat import NotebookNode

from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval
from sftlab.data import as_path
from sftlab.deploy.save import versions
from sftlab.plot import base, style
from sftlab.runs import notebooks
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.results import FINISHED, RESULTS, named, row, write_page
from sftlab.runs.run import CELL_SECONDS, execute, shown

if TYPE_CHECKING:
    import pandas

SEED, CHOOSE, JUDGE = "SEED", "valid_accuracy", "accuracy"
INDEX, PICTURE = "index.html", "picture.svg"
GIGABYTES = 2.0  # what one run may need while it fine-tunes; fewer at once where memory is short
CONNECT_SECONDS = 15  # to wait for a Dask scheduler and its workers


@dataclass(frozen=True)
class Plan:
    """A sweep's file, checked: every run is one that the notebook accepts.

    book: the notebook, read from `source`. varied: names that differ, without the seed. runs: the values of each run,
    by the address under which it is found again.
    """

    name: str
    source: Path
    book: NotebookNode
    varied: list[str]
    runs: dict[str, dict[str, Any]]


def read(path: str | Path) -> Plan:
    """Read a sweep's file and check all of it. Raises NotebookError that says what is wrong."""
    path = as_path(path)
    try:
        notebook, varied, runs = combinations(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotebookError(f"{path} cannot be read as YAML: {error}") from None
    except (TypeError, ValueError) as error:
        raise NotebookError(
            f"{path.name}: {error}; a sweep has a notebook, what is fixed ({{NAME: value}}), a grid of lists "
            "({RATE: [1e-4, 1e-3]}) or cases (a list of {NAME: value}), and seeds (a number or a list)"
        ) from None
    beside = path.parent / notebook
    source = notebooks.find(beside if beside.is_file() else notebook)
    book = notebooks.read(source)
    try:
        with chdir(path.parent):  # `folder:` is meant as seen from the file
            values = [checked(read_parameters(book), run) for run in runs]
    except NotebookError as error:
        raise NotebookError(f"{path.name}: {error}".replace("this notebook", source.stem)) from None
    return Plan(path.stem, source, book, varied, {address(book, source, run): run for run in values})


def combinations(
    notebook: str,
    fixed: dict[str, Any] | None = None,
    grid: dict[str, Any] | None = None,
    cases: Sequence[dict[str, Any]] | None = None,
    seeds: Any = (),
) -> tuple[str, list[str], list[dict[str, Any]]]:
    """Return what a file asks for: its notebook, the names that differ, without the seed, and the values of each run.

    Raises TypeError or ValueError for what is no such file.
    """
    from sklearn.model_selection import ParameterGrid

    if grid and cases:
        raise ValueError("it has a grid and cases")
    settings = cases or list(ParameterGrid(grid or {}))
    varied = list(grid or dict.fromkeys(name for setting in settings for name in setting))
    seeded = [{SEED: seed} for seed in (range(seeds) if isinstance(seeds, int) else seeds)] or [{}]
    if twice := [name for name, count in Counter([*varied, *seeded[0], *(fixed or {})]).items() if count > 1]:
        raise ValueError(f"{', '.join(twice)} is set twice: a name is fixed, varied, or left to `seeds`")
    return str(notebook), varied, [{**setting, **seed, **(fixed or {})} for setting in settings for seed in seeded]


def address(book: NotebookNode, source: Path, values: dict[str, Any]) -> str:
    """Return the name by which a finished run is found again: a hash of what its numbers depend on.

    That is the notebook's code (not its prose and comments), the value of every parameter, the files of a `folder:`,
    the CSV files beside it that its code names (corrected labels, say), and the versions of sftlab and torch. A run
    made with other ones has another address and is left alone.
    """
    import joblib

    code = [(_bare(c.source), c.metadata.get("tags", [])) for c in book.cells if c.cell_type == "code"]
    every = {name: p.default for name, p in read_parameters(book).items() if name != "OUT"} | values
    files = [source.parent / name for text, _ in code for name in re.findall(r"[\"']([^\"'\n]+\.csv)[\"']", text)]
    for value in every.values():
        if isinstance(value, str) and value.startswith("folder:"):
            files += sorted(as_path(value.removeprefix("folder:")).rglob("*"))
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
    return joblib.hash([code, every, stats, [versions().get(name) for name in ("sftlab", "torch")]])[:12]


def _bare(source: str) -> str:
    """Return code without its comments and line breaks; as it is if it is more than Python."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:
        return source


def sweep(
    path: str | Path,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    seconds: int = CELL_SECONDS,
    command: str = "the same call",
) -> pandas.DataFrame:
    """Do every run that a sweep's file asks for and that is not finished yet; return a table with a row for each run.

    Prints how each run ended, and what the sweep says; leaves index.html, results.csv and picture.svg in its folder.
    out: where the sweep's folder, named as the file, is made; `runs` by default. jobs: runs at once; by default as
    many as cores and memory allow. scheduler: the address of a Dask scheduler whose workers do the runs instead; they
    need sftlab and the folders of this machine. seconds: limit for one cell. command: what
    the page and a stopped sweep name to go on with; a run that failed is then tried again.
    Raises NotebookError before anything starts if the file is wrong or another sweep works in the folder.
    """
    from joblib import delayed
    from tqdm.auto import tqdm

    plan = read(path)
    folder = (as_path(out or notebooks.workplace() / "runs") / plan.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = {mark: {**values, **row(folder / mark)} for mark, values in plan.runs.items()}
    todo = [mark for mark in rows if rows[mark]["status"] != FINISHED]
    try:
        with (
            FileLock(folder / ".lock", timeout=0),
            _parallel(len(todo), jobs, scheduler) as parallel,
            closing(parallel(delayed(perform)(plan, folder, mark, seconds) for mark in todo)) as finished,
            tqdm(total=len(rows), initial=len(rows) - len(todo), desc=plan.source.stem, unit="run") as bar,
        ):
            table = write(folder, plan, rows, command)
            for mark, about in finished:
                rows[mark] = {**plan.runs[mark], **about}
                bar.update()
                bar.write(f"{named(plan.runs[mark])}: {about['status']} {about['error']}".rstrip())
                table = write(folder, plan, rows, command)
    except Timeout:
        raise NotebookError(f"another sweep is at work in {shown(folder)}/; wait for it, or stop it") from None
    except BrokenProcessPool:
        raise NotebookError(
            f"a worker process was killed, most likely for want of memory; go on, with fewer --jobs: {command}"
        ) from None
    except KeyboardInterrupt:
        count = sum(about["status"] == FINISHED for about in rows.values())
        raise KeyboardInterrupt(f"stopped with {count} of {len(rows)} runs finished; go on with: {command}") from None
    left = [name for name in (INDEX, RESULTS, PICTURE) if (folder / name).is_file()]
    print(f"{verdict(settings(table, plan.varied))}\neverything is in {shown(folder)}/: {', '.join(left)}")
    return table


def perform(plan: Plan, folder: Path, mark: str, seconds: int) -> tuple[str, dict[str, Any]]:
    """Do one run of a plan unless it is finished; return its address and its row. Called in a worker.

    Two workers may be given the same run: by a cluster that believes the first one lost, or by a sweep that is called
    again while a worker of the one that was killed still works. The second waits, and takes over what the first did.
    """
    with FileLock(folder / f".{mark}.lock"):
        if row(folder / mark)["status"] != FINISHED:
            shutil.rmtree(folder / mark, ignore_errors=True)
            execute(plan.book, plan.source, folder / mark, plan.runs[mark], seconds=seconds)
    return mark, row(folder / mark)


@contextmanager
def _parallel(count: int, jobs: int | None, scheduler: str | None) -> Iterator[Any]:
    """Yield a joblib.Parallel that does runs in processes of this machine, or on the workers of a Dask cluster."""
    import joblib

    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        jobs, threads = shares(count, jobs)
        # After a kill, what is sent ahead would go on, and an idle worker stay for five minutes; a single job joblib
        # would do in this very process.
        with joblib.parallel_config("loky", n_jobs=max(2, jobs), inner_max_num_threads=threads, idle_worker_timeout=10):
            yield joblib.Parallel(pre_dispatch=jobs, **options)
        return
    try:
        from dask.distributed import Client

        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except ImportError:
        raise NotebookError('--scheduler needs Dask: pip install -e ".[dask]"') from None
    except (OSError, ValueError) as error:
        raise NotebookError(
            f"no Dask scheduler with workers (`dask worker`) answers at {scheduler}: {error or 'it took too long'}"
        ) from None
    with client, joblib.parallel_config("dask", client=client):
        yield joblib.Parallel(**options)


def shares(count: int, jobs: int | None = None) -> tuple[int, int]:
    """Return how many of `count` runs at once, and threads for each: all cores are used, none twice.

    jobs: how many at once; by default as many as there are cores, runs, and pairs of gigabytes of free memory.
    """
    from joblib import cpu_count  # knows of containers and of the cores this process may use
    from psutil import virtual_memory

    cores = cpu_count()
    jobs = jobs or min(cores, int(virtual_memory().available / 1e9 / GIGABYTES))
    jobs = max(1, min(jobs, count))
    return jobs, max(1, cores // jobs)


@dataclass(frozen=True)
class Setting:
    """The finished runs of the same parameters, one a seed."""

    values: dict[str, Any]
    runs: pandas.DataFrame

    def mean(self, metric: str) -> Interval:
        """Return the mean over the seeds with its interval after Student; of a single run its own interval."""
        values = self.runs[metric].dropna()
        if len(values) > 1:
            mean = t_interval(values, test_to_train=test_to_train(self.runs))
            return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))
        low, high = (self.runs.get(f"{metric}_{end}", values).iloc[0] for end in ("low", "high"))
        return Interval(values.iloc[0], low, high, "one run")

    def __str__(self) -> str:
        return named(self.values) or "the only setting"


def settings(table: pandas.DataFrame, varied: list[str]) -> list[Setting]:
    """Group finished runs by what `varied` names; the setting with the highest mean validation accuracy comes first."""
    if CHOOSE not in table:
        return []
    done = table[table.status == FINISHED].dropna(subset=[CHOOSE])
    groups = done.groupby(varied, sort=False) if varied else [((), done)]
    found = [Setting(dict(zip(varied, key, strict=True)), runs) for key, runs in groups if len(runs)]
    return sorted(found, key=lambda setting: -setting.mean(CHOOSE).value)


def lead(ranked: list[Setting]) -> Interval | None:
    """Return how far the best setting is ahead of the next on the validation images; None without two shared seeds.

    Seed by seed: two runs of one seed have the same split, and what is hard about it is hard for both.
    """
    if len(ranked) < 2 or SEED not in ranked[0].runs:
        return None
    best, second = (setting.runs.set_index(SEED)[CHOOSE] for setting in ranked[:2])
    ahead = (best - second).dropna()
    return t_interval(ahead, test_to_train=test_to_train(ranked[0].runs)) if len(ahead) > 1 else None


def test_to_train(runs: pandas.DataFrame) -> float:
    """Return the test images for each training image if the runs have split one set anew, else 0: see `t_interval`.

    Validation splits are not larger than test splits here, so for their numbers it is no less than it should be.
    """
    if not {"split", "images", "train_images"} <= set(runs) or runs.split.nunique() < 2:
        return 0.0
    return float((runs.images / runs.train_images).mean())


def verdict(ranked: list[Setting]) -> str:
    """Say which setting was chosen, among how many, and what it scores on images that had no part in the choice."""
    if not ranked:
        return "No run left validation numbers, so none of the settings could be chosen by them."
    best, n = ranked[0], len(ranked)
    seeds = f", mean of {len(best.runs)} seeds" if len(best.runs) > 1 else ""
    words = (
        f"Of {n} settings {best} is the best on the validation images: accuracy {best.mean(CHOOSE).value:.3f}{seeds}."
    )
    if n > 1:
        words += f" The highest of {n} numbers is partly luck"
        if ahead := lead(ranked):
            words += f": seed by seed it leads {ranked[1]} by {ahead:+.3f}"
            words += "" if ahead.low > 0 and not ahead.why else ", so these seeds do not tell the two apart"
        words += "."
    if JUDGE in best.runs:
        words += f" On the test images, which had no part in the choice, it is {best.mean(JUDGE)}."
    return words


def picture(table: pandas.DataFrame, varied: list[str], *, ax: Any = None) -> Any:
    """Draw a row a setting, in the order of the table: its validation accuracy, mean over seeds with its interval.

    The one that was chosen has its test accuracy below. Raises ValueError if no run has a validation accuracy.
    """
    ranked = settings(table, varied)
    if not ranked:
        raise ValueError("no finished run has a valid_accuracy, so there is nothing to draw")
    best, rows = ranked[0], sorted(ranked, key=lambda setting: setting.runs.index[0])
    ax = base.axes(ax, 7.5, 1.2 + 0.4 * len(rows))
    base.rows(ax, [str(setting) for setting in rows], longest=60)
    for at, setting in enumerate(rows):
        base.dot(ax, setting.mean(CHOOSE), at, style.VALID)
    finding = f"{best} was chosen on valid: {base.percent(best.mean(CHOOSE).value)}"
    if JUDGE in best.runs:
        test, below = best.mean(JUDGE), next(at for at, setting in enumerate(rows) if setting is best) + 0.3
        base.dot(ax, test, below, style.INK)
        base.note(ax, "test", (test.high, below), (6, 0), color=style.INK)
        finding += f"; on untouched test {base.interval(test)}"
    if "majority" in table:
        base.majority_line(ax, table.majority.mean(), vertical=True)
        base.note(ax, "majority", (table.majority.mean(), 1), (3, 4), xycoords=("data", "axes fraction"))
    base.percent_axis(ax.xaxis)
    ax.grid(axis="x")
    ax.set_xlabel("accuracy on valid (%)")
    base.title(ax, finding, verdict(ranked))
    return ax


def write(folder: Path, plan: Plan, rows: dict[str, dict[str, Any]], command: str) -> pandas.DataFrame:
    """Write results.csv, picture.svg, and index.html (the verdict, the picture, a row a run); return the table."""
    import matplotlib as mpl
    import pandas as pd

    table = pd.DataFrame(list(rows.values()))
    table.assign(folder=list(rows)).to_csv(folder / RESULTS, index=False)
    ranked = settings(table, plan.varied)
    if ranked:
        with mpl.rc_context(style.RULES), base.offscreen():
            figure = picture(table, plan.varied).figure
            style.plain_powers(figure)
            figure.savefig(folder / PICTURE)
    given = dict.fromkeys([*plan.varied, *next(iter(plan.runs.values()))])
    write_page(
        folder / INDEX,
        "sweep.html.j2",
        title=plan.name,
        plan=plan,
        rows=rows,
        finished=(table.status == FINISHED).sum(),
        verdict=verdict(ranked),
        picture=PICTURE if ranked else "",
        columns=[*given, "status", CHOOSE, JUDGE, "seconds", "error"],
        command=command,
    )
    return table
