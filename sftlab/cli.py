"""The command line: `sftlab lab | run | params | test | notebooks`. The rooms it calls do the work."""

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
Notebook = Annotated[str, typer.Argument(help="A lesson (`14`, or more of its name) or the path of a notebook.")]
Parameters = Annotated[list[str] | None, typer.Option("-p", metavar="NAME VALUE", help="Set a parameter; repeatable.")]
Out = Annotated[Path | None, typer.Option(help="Where the run's dated folder is made; `runs` by default.")]
Timeout = Annotated[int, typer.Option(help="Seconds that one cell may take.")]
Names = Annotated[list[str] | None, typer.Argument(help="Lessons (`00`, `14_your`); all of them by default.")]
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


@app.command(name="notebooks")
def build_notebooks(names: Names = None, check: Check = False, force: Force = False) -> None:
    """Build notebooks/*.ipynb from notebooks/src/*.py.

    Executes, cleans and writes those whose source has changed. A notebook whose code you changed yourself is
    never overwritten: the new one is written beside it, as NAME.new.ipynb.
    """
    from sftlab import notebooks

    with sentences():
        root = notebooks.checkout()
        if check:
            if findings := notebooks.check(root, names or []):
                fail("\n".join([*findings, "sources and notebooks differ; `make notebooks` builds what changed"]))
            typer.echo("sources and notebooks agree")
            return
        sources = notebooks.lessons(root, names or [])
    failures = 0
    for source in sources:
        try:
            done = notebooks.build(source, force=force)
        except notebooks.NotebookError as error:
            failures += 1
            typer.echo(f"FAILED     {error}", err=True)
        else:
            typer.echo(done)
    raise typer.Exit(1 if failures else 0)


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
def sentences() -> Iterator[None]:
    """Turn what the rooms refuse into one sentence and exit code 1, without a traceback."""
    from sftlab.notebooks import NotebookError

    try:
        yield
    except NotebookError as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from None


def fail(sentence: str) -> NoReturn:
    """Say what is wrong and leave with exit code 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
