"""What the commands take, named once so that their signatures stay readable, and how they say no."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from sftlab.runs.parameters import NotebookError, Parameter, describe


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


Notebook = Annotated[str, typer.Argument(metavar="NOTEBOOK", help="The start of its name (`14`), or a path.")]
Parameters = Annotated[list[str] | None, typer.Option("-p", metavar="NAME VALUE", help="Set a parameter; repeatable.")]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where its dated folder is made; `runs` by default.")]
Timeout = Annotated[int, typer.Option(metavar="SECONDS", help="How long one cell may take.")]
Items = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Networks, data sets; none: a list of them.")]
NeededBy = Annotated[str | None, typer.Option("--for", metavar="NOTEBOOK", help="All that this notebook can ask for.")]
Offline = Annotated[bool, typer.Option("--offline", help="Prove that all is there: hash and open it, with no network.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file: .safetensors or .onnx.")]
Saved = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `sft.save` or a run wrote (.safetensors).")]
Photos = Annotated[list[Path], typer.Argument(metavar="PATH", help="Photographs; of a folder all that is below it.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table: a row a photograph.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all of it, and the model's limits.")]
Below = Annotated[float | None, typer.Option(metavar="P", help="“neither” below this probability; 0: never.")]
Beyond = Annotated[float | None, typer.Option(metavar="D", help="“neither” beyond this distance; inf: never.")]
ExportTo = Annotated[Path | None, typer.Argument(metavar="FILE", help="MODEL.onnx; or .safetensors, .pth.")]
CheckOn = Annotated[Path | None, typer.Option("--check-on", metavar="FOLDER", help="Photographs to compare on.")]
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file that says what to run.")]
SweepOut = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Where its folder goes; else `runs`.")]
Jobs = Annotated[int | None, typer.Option(min=1, metavar="N", help="Runs at once; else what cores and memory allow.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster (tcp://host:8786).")]
Again = Annotated[bool, typer.Option("--again", help="Also run what is finished.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only check the file and list the runs.")]
FirstRun = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or the record in it.")]
SecondRun = Annotated[Path, typer.Argument(metavar="RUN", help="Another one.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Where the page goes; beside the runs.")]


def pairs(given: Iterable[str]) -> dict[str, str]:
    """Return the values of `-p` by name."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            fail(f"-p takes a name and a value, as in `-p EPOCHS 5`; {name} came without a value")
        found[name] = value
    return found


def show(parameters: Iterable[Parameter]) -> None:
    """Print parameters: name, default, what it may be; below, what it means."""
    rows = [(p.name, repr(p.default), describe(p.rule), p.comment) for p in parameters]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    wide = max(40, shutil.get_terminal_size().columns)
    for name, default, value, meaning in rows:
        indent = " " * (first + second + 6)
        typer.echo(textwrap.fill(f"{name:<{first}} = {default:<{second}}   {value}", wide, subsequent_indent=indent))
        typer.echo(textwrap.indent(textwrap.fill(meaning, wide - first - 3), " " * (first + 3)))


@contextmanager
def sentences(*kinds: type[Exception]) -> Iterator[None]:
    """Turn what the rooms refuse into one sentence and exit code 1, without a traceback; kinds: of errors, besides."""
    said: tuple[type[Exception], ...] = (NotebookError, *kinds)
    try:
        yield
    except said as error:
        fail(str(error))
    except KeyboardInterrupt as stopped:  # a sweep says how to go on
        typer.echo(str(stopped) or "stopped", err=True)
        raise typer.Exit(130) from None


def fail(sentence: str) -> NoReturn:
    """Say what is wrong and leave with exit code 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
