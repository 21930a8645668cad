"""The command line: `sftlab --help` lists the commands. The rooms it calls do the work."""

from __future__ import annotations

import shlex
import sys

import typer

from sftlab.runs import options as take
from sftlab.runs.defaults import MAIN
from sftlab.runs.options import fail, sentences
from sftlab.runs.parameters import read_parameters

EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A lab for supervised fine-tuning: lessons, experiments and reports, on a laptop CPU, offline.",
)


@app.command(context_settings=EXTRA)
def lab(ctx: typer.Context) -> None:
    """Open JupyterLab at the first lesson.

    Further words go to JupyterLab: sftlab lab --no-browser --port 9000
    """
    from sftlab.runs import lab as server
    from sftlab.runs.notebooks import checkout

    with sentences():
        root = checkout()
    raise typer.Exit(server.run(root, ctx.args))


@app.command(cls=take.WithParameters)
def run(
    notebook: take.Notebook = MAIN, parameter: take.Parameters = None, out: take.Out = None,
    timeout: take.Timeout = 3600,
) -> None:  # fmt: skip
    """Run a notebook with your parameters and keep what it produced.

    Leaves a dated folder with the executed notebook, an HTML report that opens offline, the record and the
    model. `sftlab params` lists what can be set.

    sftlab run 14 -p DATA folder:photos -p EPOCHS 5
    """
    given = take.pairs(parameter or [])
    with sentences():
        from sftlab.runs import run as runs

        typer.echo(runs.run(notebook, given, out=out, seconds=timeout, say=typer.echo))


@app.command()
def params(notebook: take.Notebook = MAIN) -> None:
    """List what a notebook can be told: names, values, defaults, units."""
    from sftlab.runs import notebooks

    with sentences():
        found = read_parameters(notebooks.read(notebooks.find(notebook)))
    if not found:
        fail(f"{notebook} has no cell tagged `parameters`")
    take.show(found.values())


@app.command()
def sweep(
    file: take.SweepFile, jobs: take.Jobs = None, scheduler: take.Scheduler = None, out: take.SweepOut = None,
    again: take.Again = False, only_plan: take.Plan = False, timeout: take.Timeout = 3600,
) -> None:  # fmt: skip
    """Run a notebook for every combination of parameters and seeds.

    FILE is YAML and says which: the notebook, what is `fixed`, a `grid` (or `cases`), and `seeds`. It is checked as a
    whole before anything starts. Call the same command again to go on where it stopped: what is finished is not run
    twice, what failed is tried again. Leaves a folder with results.csv, picture.svg and an index.html that links
    every notebook and report.

    sftlab sweep notebooks/sweeps/rate_by_layers.yml
    """
    with sentences():
        from sftlab.runs import sweep as sweeps

        if only_plan:
            typer.echo(sweeps.listed(file, out))
            return
        typed = shlex.join(["sftlab", *sys.argv[1:]])
        table = sweeps.sweep(file, out=out, jobs=jobs, scheduler=scheduler, again=again, seconds=timeout, command=typed)
    raise typer.Exit(0 if (table.status == "finished").all() else 1)


@app.command()
def compare(first: take.FirstRun, second: take.SecondRun, html: take.Html = None) -> None:
    """Compare two runs that were judged by the same test images.

    Tells which settings differ, every metric with its paired difference, whether one is right more often than chance
    explains (McNemar's test), and writes a page with the images that only one of them has right.

    sftlab compare runs/yesterday runs/today
    """
    with sentences():
        from sftlab.runs import compare as comparing
        from sftlab.runs.run import shown

        comparison = comparing.compare(first, second)
        typer.echo(comparison)
        page = comparing.write_page(comparison, html or comparing.beside(first, second))
        typer.echo(f"with the images: {shown(page.resolve())}")


@app.command()
def fetch(names: take.Items = None, needed_by: take.NeededBy = None, offline: take.Offline = False) -> None:
    """Bring weights and data sets, for a class without a network.

    What was interrupted goes on where it stopped.

    sftlab fetch resnet50 cifar10
    """
    from sftlab.runs.fetching import screen
    from sftlab.runs.notebooks import NotebookError

    console = screen.terminal()
    try:
        if needed_by is not None:
            names = [*(names or []), *screen.needed_by(needed_by)]
        if offline:
            raise typer.Exit(screen.offline(console, names or []))
        raise typer.Exit(screen.fetch(console, names) if names else screen.show_list(console))
    except (ValueError, OSError, NotebookError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("stopped; what has come is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None


@app.command()
def predict(
    model: take.Model, photos: take.Photos, csv: take.Csv = None, json: take.Json = None,
    refuse_below: take.Below = None, refuse_beyond: take.Beyond = None,
) -> None:  # fmt: skip
    """Ask a model about photographs and folders of them.

    Prints a line a photograph: answer, probabilities, and why if the answer is “neither”. The model's own limits
    hold unless you give others. Files that cannot be read are named and skipped; exit code 1 if none could be.

    sftlab predict runs/…/model.safetensors holiday/ --csv answers.csv
    """
    from sftlab.runs.answersheet import answer_all

    with sentences(OSError, ValueError, ImportError):
        if not answer_all(model, photos, to_csv=csv, to_json=json, below=refuse_below, beyond=refuse_beyond):
            raise typer.Exit(1)


@app.command()
def export(model: take.Saved, file: take.ExportTo = None) -> None:
    """Write a model for use without sftlab.

    As an ONNX graph from uint8 pixels to probabilities, checked against torch, its card inside and beside it; or,
    with an ending of .safetensors or .pth, as weights under their original library's names.

    sftlab export cells.safetensors
    """
    from sftlab.deploy.export import export_file

    with sentences(OSError, ValueError, ImportError):
        typer.echo(export_file(model, file))
