"""The command line: `sftlab --help` lists the commands. The other files of the package do the work."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from sftlab.runs.parameters import NotebookError, describe, read_parameters

if TYPE_CHECKING:
    from sftlab.deploy.predict import Prediction

MAIN = "10_your_own_images"  # the notebook that is meant if none is named: the one for a learner's own data
WIDEST = 44  # letters of a file name in a line of `predict`
LIKELIEST = 3  # classes in a line of `predict`; its table holds all of them


notebook_argument = click.argument("notebook", default=MAIN)
timeout_option = click.option("--timeout", default=3600, metavar="SECONDS", help="How long one cell may take.")


class Commands(click.Group):
    """Commands that refuse in a sentence, with exit code 1 and without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (NotebookError, OSError, ValueError, ImportError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt as stopped:
            click.echo(str(stopped) or "stopped", err=True)
            sys.exit(130)


@click.group(cls=Commands)
def app() -> None:
    """Fine-tune pretrained networks: lessons, experiments and reports, on a laptop CPU, offline."""


@app.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def lab(words: tuple[str, ...]) -> None:
    """Open JupyterLab at the first lesson, in `my_lab`: copies of the lessons that are yours to change.

    Further words go to JupyterLab: sftlab lab --no-browser --port 9000
    """
    from sftlab.runs.lab import open_lab

    sys.exit(open_lab(words))


@app.command()
@click.argument("folder")
@click.option("--answers", is_flag=True, help="Exercises solved: a teacher's copy.")
@click.option("--nbgrader", is_flag=True, help="The exercises alone, as a course of nbgrader.")
@click.option("--core", is_flag=True, help="Without the lessons beyond the core.")
def student(folder: str, answers: bool, nbgrader: bool, core: bool) -> None:
    """Copy the lessons, without outputs, and their exercises into a class's FOLDER; what is there already stays.

    sftlab student class --core
    """
    from sftlab.data import as_path
    from sftlab.runs.lab import assignments, copied

    if nbgrader and (answers or core):
        raise click.UsageError("--nbgrader makes the exercises alone: leave --answers and --core away")
    if nbgrader:
        assignments(as_path(folder))
    else:
        for note in copied(as_path(folder), form="solved" if answers else "folded", core=core):
            click.echo(note)
    click.echo(f"{folder} is ready")


@app.command()
def doctor() -> None:
    """Try what the lessons need on this machine, and say what mends what is missing; exit code 1 if something is."""
    from sftlab.runs.doctor import doctor as ready

    sys.exit(not ready())


@app.command()
@notebook_argument
@click.option("-p", "values", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter; repeatable.")
@click.option("--out", metavar="FOLDER", help="Where its dated folder is made; `runs` by default.")
@timeout_option
def run(notebook: str, values: tuple[tuple[str, str], ...], out: str | None, timeout: int) -> None:
    """Run a notebook with your parameters and keep what it produced.

    Leaves a dated folder with the executed notebook, an HTML report that opens offline, the record and the
    model. `sftlab params` lists what can be set.

    sftlab run 10 -p DATA folder:photos -p EPOCHS 5
    """
    from sftlab.runs import run as runs

    click.echo(runs.run(notebook, dict(values), out=out, seconds=timeout, say=click.echo))


@app.command()
@notebook_argument
def params(notebook: str) -> None:
    """List what a notebook can be told: names, defaults, what each may be, and what it means."""
    from sftlab.runs import notebooks

    parameters = read_parameters(notebooks.read(notebooks.find(notebook)))
    if not parameters:
        raise NotebookError(f"{notebook} has no cell tagged `parameters`")
    width = max(map(len, parameters))
    for p in parameters.values():
        click.echo(f"{p.name:<{width}} = {p.default!r:<12}  {describe(p.rule)}")
        click.echo(f"{'':<{width}}   {p.comment}")


@app.command()
@click.argument("file")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Runs at once; else what cores and memory allow.")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster (tcp://host:8786).")
@click.option("--out", metavar="FOLDER", help="Where its folder goes; else `runs`.")
@timeout_option
def sweep(file: str, jobs: int | None, scheduler: str | None, out: str | None, timeout: int) -> None:
    """Run a notebook for every combination of parameters and seeds.

    FILE is YAML and says which: the notebook, what is `fixed`, a `grid` (or `cases`), and `seeds`. It is checked as a
    whole before anything starts. Call the same command again to go on where it stopped: what is finished is not run
    twice (delete its folder for that), what failed is tried again. Leaves a folder with results.csv, picture.svg and
    an index.html that links every notebook and report.

    sftlab sweep notebooks/sweeps/rate_by_layers.yml
    """
    from sftlab.runs import sweep as sweeps

    typed = shlex.join(["sftlab", *sys.argv[1:]])
    table = sweeps.sweep(file, out=out, jobs=jobs, scheduler=scheduler, seconds=timeout, command=typed)
    sys.exit(not (table.status == "finished").all())


@app.command()
@click.argument("first")
@click.argument("second")
@click.option("--html", metavar="FILE", help="Where the page goes; else beside the runs.")
def compare(first: str, second: str, html: str | None) -> None:
    """Compare two runs that were judged by the same test images.

    Tells which settings differ, every metric with its paired difference, whether one is right more often than chance
    explains (McNemar's test), and writes a page with the images that only one of them has right.

    sftlab compare runs/yesterday runs/today
    """
    from sftlab.runs import compare as comparing
    from sftlab.runs.run import shown

    comparison = comparing.compare(first, second)
    click.echo(comparison)
    page = comparing.write_page(comparison, html or comparing.beside(first, second))
    click.echo(f"with the images: {shown(page.resolve())}")


@app.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--for", "notebook", metavar="NOTEBOOK", help="All that this notebook can ask for.")
@click.option("--offline", is_flag=True, help="Prove that all is there: hash and open it, with no network.")
def fetch(names: tuple[str, ...], notebook: str | None, offline: bool) -> None:
    """Bring weights and data sets, for a class without a network; without a name, list them.

    What was interrupted goes on where it stopped.

    sftlab fetch resnet50 cifar10
    """
    from sftlab.runs import fetch as fetching

    wanted = [*names, *(fetching.needed_by(notebook) if notebook else [])]
    if notebook and not wanted:
        click.echo(f"{notebook} needs nothing from the network: it can be run as it is")
        return
    good = fetching.prove(wanted) if offline else fetching.bring(wanted) if wanted else fetching.list_all()
    sys.exit(not good)


@app.command()
@click.argument("model")
@click.argument("photos", nargs=-1, required=True)
@click.option("--csv", "table", metavar="FILE", help="Write a table: a row a photograph.")
@click.option("--reject-below", type=float, metavar="P", help="“neither” below this probability; 0: never.")
@click.option("--reject-beyond", type=float, metavar="D", help="“neither” beyond this distance; inf: never.")
def predict(
    model: str,
    photos: tuple[str, ...],
    table: str | None,
    reject_below: float | None,
    reject_beyond: float | None,
) -> None:
    """Ask a model about photographs and folders of them.

    Prints a line a photograph: answer, probabilities, and why if the answer is “neither”. The model's own limits
    hold unless you give others. Files that cannot be read are named and skipped; exit code 1 if none could be.

    sftlab predict runs/…/model.safetensors holiday/ --csv answers.csv
    """
    from sftlab.deploy.predict import limited, photos_in, predictions, predictor

    asked = limited(predictor(model), reject_below, reject_beyond)
    files = photos_in(photos)
    if not files:
        raise ValueError(f"no file in {', '.join(photos)}; give photographs, or folders that hold some")
    width, answers = min(WIDEST, max(len(str(file)) for file in files)), list[Any]()
    with suppress(KeyboardInterrupt, BrokenPipeError):  # Ctrl-C, or `| head`: what was answered by then is kept
        for one in predictions(asked, files):
            answers.append(one)
            click.echo(_line(one, width))
    if table:
        write_answers(answers, table)
    counts = Counter(one.answer or "not readable" for one in answers).most_common()
    click.echo(f"\n{len(answers)} of {len(files)} files: {', '.join(f'{n} {answer}' for answer, n in counts)}")
    click.echo(asked.reject or "never answers “neither”: the model has no limits (--reject-below P sets one)")
    sys.exit(all(one.error for one in answers))


@app.command()
@click.argument("model")
@click.argument("file", required=False)
def export(model: str, file: str | None) -> None:
    """Write a model for use without sftlab.

    As an ONNX graph from uint8 pixels to probabilities, checked against torch, its card inside and beside it; or,
    with an ending of .safetensors or .pth, as weights under their original library's names.

    sftlab export cells.safetensors
    """
    from sftlab.deploy.export import export_file

    click.echo(export_file(model, file))


def write_answers(answers: list[Prediction], path: str) -> None:
    """Write all answers as a table, with a column a class."""
    import pandas as pd

    from sftlab.data.storage import as_path, replacing

    rows = [
        {
            "file": one.file,
            "answer": one.answer,
            "probability": one.confidence or None,
            **{f"p({label})": p for label, p in one.probabilities.items()},
            "distance": one.distance,
            "refused": one.refused,
            "error": one.error,
        }
        for one in answers
    ]
    with replacing(as_path(path)) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _line(one: Prediction, width: int) -> str:
    """Return the line of one photograph, its file's name cut to `width` letters."""
    name = one.file if len(one.file) <= width else f"…{one.file[1 - width :]}"
    if one.error:
        return f"{name:<{width}}  cannot be read: {one.error}"
    answer = f"{name:<{width}}  {one.answer}  ({one.in_words(LIKELIEST, digits=1)})"
    return f"{answer}; {one.refused}" if one.refused else answer
