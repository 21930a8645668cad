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
import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout
from nbformat import NotebookNode

from sftlab.core.records import Interval
from sftlab.core.statistics import t_interval
from sftlab.data import as_path
from sftlab.plot import base, style
from sftlab.runs import notebooks
from sftlab.runs.parameters import NotebookError, checked, read_parameters
from sftlab.runs.results import FINISHED, RESULTS, page, row, versions
from sftlab.runs.run import CELL_SECONDS, execute, shown

if TYPE_CHECKING:
    import pandas

SEED, CHOOSE, JUDGE = "SEED", "valid_accuracy", "accuracy"
KEYS = ("notebook", "fixed", "grid", "cases", "seeds")
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
    from sklearn.model_selection import ParameterGrid

    path = as_path(path)
    try:
        parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotebookError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(parts, dict) or "notebook" not in parts or {*parts} - {*KEYS} or {"grid", "cases"} <= {*parts}:
        has = f"keys {', '.join(map(str, parts))}" if isinstance(parts, dict) else f"a {type(parts).__name__}"
        raise NotebookError(f"{path.name} has {has}; a sweep has {', '.join(KEYS)}: a notebook, and a grid or cases")
    beside = path.parent / str(parts["notebook"])
    source = notebooks.find(beside if beside.is_file() else str(parts["notebook"]))
    book = notebooks.read(source)
    known, fixed, seeds = read_parameters(book), parts.get("fixed") or {}, parts.get("seeds", [])
    try:
        cases = parts.get("cases") or list(ParameterGrid(parts.get("grid") or {}))
        varied = list(parts.get("grid") or dict.fromkeys(name for case in cases for name in case))
        seeded = [{SEED: seed} for seed in (range(seeds) if isinstance(seeds, int) else seeds)] or [{}]
        names = [*fixed, *varied, *seeded[0]]
        runs = [fixed | case | seed for case in cases for seed in seeded]
    except (TypeError, ValueError) as error:
        raise NotebookError(
            f"{path.name}: {error}; a grid has lists, as in RATE: [1e-4, 1e-3], cases are a list of {{NAME: value}}, "
            "seeds a number or a list"
        ) from None
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotebookError(f"{path.name} sets {', '.join(twice)} twice; a name is fixed, varied, or left to `seeds`")
    try:
        with chdir(path.parent):  # `folder:` is meant as seen from the file
            found = {address(book, source, values): values for values in (checked(known, run) for run in runs)}
    except NotebookError as error:
        raise NotebookError(f"{path.name}: {error}".replace("this notebook", source.stem)) from None
    if len(found) < len(runs):
        raise NotebookError(f"{path.name} asks for {len(runs) - len(found)} of its {len(runs)} runs twice")
    return Plan(path.stem, source, book, varied, found)


def address(book: NotebookNode, source: Path, values: dict[str, Any]) -> str:
    """Return the name by which a finished run is found again: a hash of what its numbers depend on.

    That is the notebook's code (not its prose and comments), the value of every parameter, the files of a `folder:`,
    the CSV files beside it that its code names (corrected labels, say), and the versions of sftlab and torch. A run
    made with other ones has another address and is left alone.
    """
    code = [(_bare(c.source), c.metadata.get("tags", [])) for c in book.cells if c.cell_type == "code"]
    every = {name: p.default for name, p in read_parameters(book).items() if name != "OUT"} | values
    folders = [v.removeprefix("folder:") for v in every.values() if isinstance(v, str) and v.startswith("folder:")]
    stats = [(str(p), p.stat()) for folder in folders for p in sorted(as_path(folder).rglob("*")) if p.is_file()]
    tables = [source.parent / name for text, _ in code for name in re.findall(r"[\"']([^\"'\n]+\.csv)[\"']", text)]
    content = [
        code,
        every,
        [versions()[name] for name in ("sftlab", "torch")],
        [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in tables if path.is_file()],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


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
    again: bool = False,
    seconds: int = CELL_SECONDS,
) -> pandas.DataFrame:
    """Do every run that a sweep's file asks for and that is not finished yet; return a table with a row for each run.

    Prints how each run ended, and what the sweep says; leaves index.html, results.csv and picture.svg in its folder.
    out: where the sweep's folder, named as the file, is made; `runs` by default. jobs: runs at once; by default as
    many as cores and memory allow. scheduler: the address of a Dask scheduler whose workers do the runs instead; they
    need sftlab and the folders of this machine. again: also runs that are finished. seconds: limit for one cell.
    A run that fails is listed, and tried again at the next call: the page and a stopped sweep name the command.
    Raises NotebookError before anything starts if the file is wrong or another sweep works in the folder.
    """
    from joblib import delayed
    from tqdm.auto import tqdm

    plan, limit = read(path), None if seconds == CELL_SECONDS else seconds
    options = {"--out": out, "--jobs": jobs, "--scheduler": scheduler, "--timeout": limit}
    given = [str(word) for option in options.items() if option[1] is not None for word in option]
    command = shlex.join(["sftlab", "sweep", str(path), *given])
    folder = _folder(plan, out)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {mark: {**values, **row(folder / mark)} for mark, values in plan.runs.items()}
    todo = [mark for mark in rows if again or rows[mark]["status"] != FINISHED]
    orders = (delayed(perform)(plan, folder, mark, again, seconds) for mark in todo)
    try:
        with (
            FileLock(folder / ".lock", timeout=0),
            _parallel(len(todo), jobs, scheduler) as parallel,
            closing(parallel(orders)) as finished,
            tqdm(total=len(rows), initial=len(rows) - len(todo), desc=plan.source.stem, unit="run") as bar,
        ):
            table = write(folder, plan, rows, command)
            for mark, about in finished:
                rows[mark] = {**plan.runs[mark], **about}
                bar.update()
                bar.write(f"{label(plan, mark)}: {about['status']} {about['error']}".rstrip())
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
    print(f"{verdict(settings(table, plan.varied))}\neverything is in {shown(folder)}/: {INDEX}, {RESULTS}, {PICTURE}")
    return table


def _folder(plan: Plan, out: str | Path | None) -> Path:
    """Return the folder of a sweep, which is named as its file."""
    return ((notebooks.workplace() / "runs" if out is None else as_path(out)) / plan.name).resolve()


def perform(plan: Plan, folder: Path, mark: str, again: bool, seconds: int) -> tuple[str, dict[str, Any]]:
    """Do one run of a plan unless it is finished; return its address and its row. Called in a worker.

    Two workers may be given the same run: by a cluster that believes the first one lost, or by a sweep that is called
    again while a worker of the one that was killed still works. The second waits, and takes over what the first did.
    """
    with FileLock(folder / f".{mark}.lock"):
        if again or row(folder / mark)["status"] != FINISHED:
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
        # what is sent ahead would go on after a kill; and joblib would do a single job in this very process
        with joblib.parallel_config("loky", n_jobs=max(2, jobs), inner_max_num_threads=threads):
            yield joblib.Parallel(pre_dispatch=jobs, **options)
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise NotebookError('--scheduler needs Dask: pip install -e ".[dask]"') from None
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NotebookError(f"no Dask scheduler answers at {scheduler}: {error or 'it took too long'}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise NotebookError(f"the scheduler at {scheduler} has no workers: start some with `dask worker`") from None
        with joblib.parallel_config("dask", client=client):
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


def listed(path: str | Path, out: str | Path | None = None) -> str:
    """Check a sweep's file and return its runs as text, each with its status."""
    plan = read(path)
    folder = _folder(plan, out)
    status = {mark: row(folder / mark)["status"] if (folder / mark).is_dir() else "to do" for mark in plan.runs}
    count = sum(word != FINISHED for word in status.values())
    lines = [f"{word:<10}  {label(plan, mark)}" for mark, word in status.items()]
    return "\n".join([f"{plan.source.stem}: {len(status)} runs, {count} of them to do", *lines])


def label(plan: Plan, mark: str) -> str:
    """Return what is particular to a run, as one line: `RATE 0.001, STRATEGY full, SEED 0`."""
    values = plan.runs[mark]
    return named({name: values[name] for name in (*plan.varied, SEED) if name in values}) or plan.source.stem


def named(values: dict[str, Any]) -> str:
    """Return parameters and their values as one line."""
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def text(value: Any) -> str:
    """Return a value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    """Draw validation accuracy, mean over seeds with its interval, and the test accuracy of the setting it chooses.

    The name with the most values runs along the axis; the others make a line each. Raises ValueError if no run has a
    validation accuracy.
    """
    ranked = settings(table, varied)
    if not ranked:
        raise ValueError("no finished run has a valid_accuracy, so there is nothing to draw")
    along = max(varied, key=lambda name: table[name].nunique(), default="")
    ticks = sorted(table[along].dropna().unique()) if along else [""]
    lines: dict[str, list[tuple[int, Interval]]] = {}
    for setting in ranked:
        name = named({name: value for name, value in setting.values.items() if name != along})
        lines.setdefault(name, []).append((ticks.index(setting.values.get(along, "")), setting.mean(CHOOSE)))
    ax, ends = base.axes(ax, 7.5, 3.8), []
    for i, (name, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        x = [at + 0.07 * (i - (len(lines) - 1) / 2) for at, _ in points]
        y = [mean.value for _, mean in points]
        bars = [[m.value - m.low for _, m in points], [m.high - m.value for _, m in points]]
        colour = style.hue(name, i)
        ax.errorbar(x, y, bars, fmt="o-", color=colour, capsize=3, markersize=5, elinewidth=1)
        ends.append((x[-1], y[-1], name or "valid", colour))
    best = ranked[0]
    finding = f"{best} was chosen on valid: {base.percent(best.mean(CHOOSE).value)}"
    if JUDGE in best.runs:
        test, at = best.mean(JUDGE), ticks.index(best.values.get(along, "")) - 0.2
        bars = [[test.value - test.low], [test.high - test.value]]
        ax.errorbar([at], [test.value], bars, fmt="D", color=style.INK, capsize=4, elinewidth=1, gid="chosen")
        base.note(ax, "test", (at, test.high), (0, 9), color=style.INK, ha="center")
        finding += f"; on untouched test {base.interval(test)}"
    if "majority" in table:
        base.majority_line(ax, table.majority.mean())
        base.note(ax, "majority", (0, table.majority.mean()), (3, 6), xycoords=("axes fraction", "data"))
    ax.set_xticks(range(len(ticks)), map(text, ticks))
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    ax.set(xlabel=along, ylabel="accuracy on valid (%)", xlim=(-0.6, len(ticks) - 0.4))
    base.label_ends(ax, ends)
    base.title(ax, finding, verdict(ranked))
    return ax


def write(folder: Path, plan: Plan, rows: dict[str, dict[str, Any]], command: str) -> pandas.DataFrame:
    """Write results.csv, picture.svg, and index.html (the verdict, the picture, a row a run); return the table."""
    import matplotlib as mpl
    import pandas as pd

    table, fixed = pd.DataFrame(list(rows.values())), next(iter(plan.runs.values()))
    first = [name for name in dict.fromkeys([*plan.varied, SEED, *fixed, "status"]) if name in table]
    table = table[[*first, *table.columns.drop(first)]]
    table.assign(folder=list(rows)).to_csv(folder / RESULTS, index=False)
    ranked, image = settings(table, plan.varied), ""
    if ranked:
        with mpl.rc_context(style.RULES), base.offscreen():
            figure = picture(table, plan.varied).figure
            style.plain_powers(figure)
            figure.savefig(folder / PICTURE)
        image = f'<p><img src="{PICTURE}" alt="{escape(verdict(ranked))}">'
    columns = [name for name in (*first, CHOOSE, JUDGE, "seconds", "error") if name in table]
    cells = table[columns].astype(object).fillna("").map(lambda value: escape(text(value)))
    link = '<a href="{0}/{1}.ipynb">notebook</a> <a href="{0}/{1}.html">report</a>'.format
    cells["files"] = [link(mark, plan.source.stem) if (folder / mark).is_dir() else "" for mark in rows]
    html = page(
        plan.name,
        f"<p>{escape(plan.source.name)}: {len(rows)} runs, {(table.status == FINISHED).sum()} of them finished",
        f"<p>{escape(verdict(ranked))}",
        image,
        cells.to_html(escape=False, index=False, border=0),
        f"<p>The same command goes on where this stands: <code>{escape(command)}</code>",
    )
    (folder / INDEX).write_text(html, encoding="utf-8")
    return table
