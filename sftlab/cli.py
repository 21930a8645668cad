"""The command line: `sftlab --help` lists the commands. The rooms it calls do the work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

MAIN = "14_your_own_images"
START = "00_start_here"
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A lab for supervised fine-tuning: lessons, experiments and reports, on a laptop CPU, offline.",
)


class WithParameters(TyperCommand):
    """A command whose option -p takes two words, NAME and VALUE, as papermill's does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join each `-p NAME VALUE` to `-p NAME=VALUE`: typer repeats options of one word only."""
        joined, rest = [], list(args)
        while rest:
            word = rest.pop(0)
            joined.append(word)
            if word == "-p" and rest:
                name = rest.pop(0)
                joined.append(f"{name}={rest.pop(0)}" if "=" not in name and rest else name)
        return super().parse_args(ctx, joined)


# What the commands take, named once so that their signatures stay readable.
Notebook = Annotated[str, typer.Argument(help="A notebook: the start of its name (`14`, `recipes/keras`) or a path.")]
Parameters = Annotated[list[str] | None, typer.Option("-p", metavar="NAME VALUE", help="Set a parameter; repeatable.")]
Out = Annotated[Path | None, typer.Option(help="Where the run's dated folder is made; `runs` by default.")]
Timeout = Annotated[int, typer.Option(help="Seconds that one cell may take.")]
Names = Annotated[list[str] | None, typer.Argument(help="Notebooks (`00`, `14_your`, `recipes`); default: all.")]
Items = Annotated[list[str] | None, typer.Argument(help="Networks (`resnet50`), data sets (`cifar10`); none: a list.")]
Offline = Annotated[bool, typer.Option("--offline", help="Prove that all is there: hash and open it, with no network.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file: .safetensors or .onnx.")]
Saved = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `sft.save` or a run wrote (.safetensors).")]
Photos = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photographs; of a folder all that is below it.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table: a row a photograph.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all of it, and the model's limits.")]
Below = Annotated[float | None, typer.Option(metavar="P", help="“neither” below this probability; 0: never.")]
Beyond = Annotated[float | None, typer.Option(metavar="D", help="“neither” beyond this distance; inf: never.")]
ExportTo = Annotated[Path | None, typer.Argument(metavar="FILE", help="MODEL.onnx; or .safetensors, .pth.")]
CheckOn = Annotated[Path | None, typer.Option("--check-on", metavar="FOLDER", help="Photographs to compare on.")]
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file that says what to run.")]
SweepOut = Annotated[Path | None, typer.Option("--out", help="Where the sweep's folder is made; `runs` by default.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs at once; by default what cores and memory allow.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster (tcp://host:8786).")]
Again = Annotated[bool, typer.Option("--again", help="Also run what is finished.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only check the file and list the runs.")]
FirstRun = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or the record in it.")]
SecondRun = Annotated[Path, typer.Argument(metavar="RUN", help="Another one.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Where the page goes; beside the runs.")]
Check = Annotated[bool, typer.Option("--check", help="Only compare sources and notebooks; exit 1 if they differ.")]
Force = Annotated[bool, typer.Option("--force", help="Execute again even what has not changed.")]


@app.command(context_settings=EXTRA)
def lab(ctx: typer.Context) -> None:
    """Open JupyterLab at the first lesson.

    Further words go to JupyterLab: sftlab lab --no-browser --port 9000
    """
    from sftlab.notebooks import checkout

    with sentences():
        root = checkout()
    start = root / "notebooks" / f"{START}.ipynb"
    open_at = [f"--LabApp.default_url=/lab/tree/notebooks/{start.name}"] if start.is_file() else []
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", *open_at, *ctx.args]
    try:
        raise typer.Exit(subprocess.run(command, cwd=root).returncode)
    except KeyboardInterrupt:  # how one leaves JupyterLab
        raise typer.Exit() from None


@app.command(cls=WithParameters)
def run(notebook: Notebook = MAIN, parameter: Parameters = None, out: Out = None, timeout: Timeout = 3600) -> None:
    """Run a notebook with your parameters and keep what it produced.

    Leaves a dated folder with the executed notebook, an HTML report that opens offline, the record and the
    model. `sftlab params` lists what can be set. For example: sftlab run 14 -p DATA folder:photos -p EPOCHS 5
    """
    given = {}
    for text in parameter or []:
        name, equals, value = text.partition("=")
        if not equals:
            fail(f"-p takes a name and a value, as in `-p EPOCHS 5`; {name} came without a value")
        given[name] = value
    with sentences():
        from sftlab import experiments

        typer.echo(experiments.run(notebook, given, out=out, seconds=timeout, say=typer.echo))


@app.command()
def params(notebook: Notebook = MAIN) -> None:
    """List the parameters of a notebook: name, type, default, and what they mean."""
    from rich.console import Console
    from rich.table import Table

    from sftlab import notebooks
    from sftlab.parameters import describe

    with sentences():
        found = notebooks.parameters(notebooks.read(notebooks.find(notebook)))
    if not found:
        fail(f"{notebook} has no cell tagged `parameters`")
    table = Table("name", "type", "default", "meaning", box=None, pad_edge=False)
    for p in found:
        table.add_row(p.name, p.type if p.rule is None else describe(p.rule), repr(p.default), p.comment)
    Console(markup=False).print(table)


@app.command()
def sweep(
    file: SweepFile, jobs: Jobs = None, scheduler: Scheduler = None, out: SweepOut = None, again: Again = False,
    only_plan: Plan = False, timeout: Timeout = 3600,
) -> None:  # fmt: skip
    """Run a notebook once for every combination of parameters and seeds that a file asks for.

    The file is YAML: the notebook, what is `fixed`, a `grid` (or `cases`), and `seeds`; an example is
    notebooks/sweeps/rate_by_layers.yml. It is checked as a whole before anything starts. Call the same command
    again to go on where it stopped: what is finished is not run twice, what failed is tried again. Leaves a folder
    with results.csv, picture.svg and an index.html that links every notebook and report.
    """
    with sentences():
        from sftlab import sweeping
        from sftlab.sweeping import screen

        if only_plan:
            typer.echo(screen.listed(*sweeping.survey(file, out=out)))
            return
        try:
            with screen.watching() as watch:
                done = sweeping.sweep(
                    file, out=out, jobs=jobs, scheduler=scheduler, again=again, seconds=timeout, watch=watch
                )
        except sweeping.Stopped as stopped:
            typer.echo(stopped, err=True)
            raise typer.Exit(130) from None
    typer.echo(done)
    raise typer.Exit(1 if done.failed else 0)


@app.command()
def compare(first: FirstRun, second: SecondRun, html: Html = None) -> None:
    """Compare two runs that were judged by the same test images.

    Tells which settings differ, every metric with its paired difference, whether one is right more often than chance
    explains (McNemar's test), and writes a page with the images that only one of them has right.
    """
    with sentences():
        from rich.console import Console

        from sftlab import comparing, experiments
        from sftlab.comparing import screen

        found = comparing.compare(first, second)
        screen.show(found, Console(markup=False, highlight=False))
        page = comparing.write_page(found, html or comparing.beside(found))
        typer.echo(f"with the images: {experiments.shown(page)}")


@app.command(name="notebooks")
def build_notebooks(names: Names = None, check: Check = False, force: Force = False) -> None:
    """Build notebooks/*.ipynb from notebooks/src/*.py.

    Executes, cleans and writes those whose source has changed. A notebook whose code you changed yourself is
    never overwritten: the new one is written beside it, as NAME.new.ipynb.
    """
    from sftlab import building, notebooks

    with sentences():
        root = notebooks.checkout()
        if check:
            if findings := building.check(root, names or []):
                fail("\n".join([*findings, "sources and notebooks differ; `make notebooks` builds what changed"]))
            typer.echo("sources and notebooks agree")
            return
        sources = notebooks.sources(root, names or [])
    failures = 0
    for source in sources:
        try:
            done = building.build(source, force=force)
        except notebooks.NotebookError as error:
            failures += 1
            typer.echo(f"FAILED     {error}", err=True)
        else:
            typer.echo(done)
    raise typer.Exit(1 if failures else 0)


@app.command()
def fetch(names: Items = None, offline: Offline = False) -> None:
    """Bring weights and data sets ahead of time, for a class without a network.

    What was interrupted goes on where it stopped. For example: sftlab fetch resnet50 cifar10
    """
    from sftlab.fetching import screen

    console = screen.terminal()
    try:
        if offline:
            raise typer.Exit(screen.offline(console, names or []))
        raise typer.Exit(screen.fetch(console, names) if names else screen.show_list(console))
    except (ValueError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped; what has come is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None


@app.command()
def predict(
    model: Model, photos: Photos, csv: Csv = None, json: Json = None, refuse_below: Below = None,
    refuse_beyond: Beyond = None,
) -> None:  # fmt: skip
    """Ask a model about photographs and folders of them.

    Prints a line a photograph: answer, probabilities, and why if the answer is “neither”. The model's own limits
    hold unless you give others. Files that cannot be read are named and skipped; exit code 1 if none could be.
    For example: sftlab predict runs/…/model.safetensors holiday/ --csv answers.csv
    """
    from sftlab.answersheet import answer_all

    with sentences(OSError, ValueError, ImportError):
        if not answer_all(model, photos, to_csv=csv, to_json=json, below=refuse_below, beyond=refuse_beyond):
            raise typer.Exit(1)


@app.command()
def export(model: Saved, file: ExportTo = None, check_on: CheckOn = None) -> None:
    """Write a model for use without sftlab.

    As an ONNX graph from uint8 pixels to probabilities, checked against torch, its card inside and beside it; or,
    with an ending of .safetensors or .pth, as weights under their original library's names. For example:
    sftlab export cells.safetensors
    """
    from sftlab.exporting import export_file

    with sentences(OSError, ValueError, ImportError):
        typer.echo(export_file(model, file, check_on))


@app.command(context_settings=EXTRA)
def test(ctx: typer.Context) -> None:
    """Run every check that CI runs: lint, types, notebook sources, unit tests, doctests and every notebook.

    Further words go to pytest: sftlab test -k cache
    """
    from sftlab import checks, notebooks

    with sentences():
        root = notebooks.checkout()
    raise typer.Exit(checks.run(root, ctx.args))


@contextmanager
def sentences(*kinds: type[Exception]) -> Iterator[None]:
    """Turn what the rooms refuse into one sentence and exit code 1, without a traceback; kinds: of errors, besides."""
    from sftlab.notebooks import NotebookError

    said: tuple[type[Exception], ...] = (NotebookError, *kinds)
    try:
        yield
    except said as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from None


def fail(sentence: str) -> NoReturn:
    """Say what is wrong and leave with exit code 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
