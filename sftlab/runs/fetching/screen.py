"""What `sftlab fetch` shows: the list, the progress in a terminal, the table of the proof."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.theme import Theme

from sftlab.data.storage import Damaged, data_dir
from sftlab.runs.fetching import bringing, items, proof
from sftlab.runs.fetching.items import Item

BLUE = "#56B4E9"
THEME = Theme({"progress.download": "default", "progress.data.speed": "default", "progress.remaining": BLUE})
GOOD, BAD = "[green]✓[/green]", "[red]✗[/red]"


def terminal() -> Console:
    """Return where all this is shown: a terminal, or a pipe, which gets no colours and no bars."""
    return Console(theme=THEME, highlight=False)


def show_list(console: Console) -> int:
    """Show what can be fetched, how large it is, and what is here already."""
    everything = items.offered()
    for kind, title in ((items.WEIGHTS, "Networks: their pretrained weights"), (items.IMAGES, "Data sets")):
        console.print(title, style="bold")
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(min_width=22)
        table.add_column(justify="right", min_width=9)
        table.add_column()
        for item in everything:
            if item.kind == kind:
                table.add_row(item.name, _megabytes(item.megabytes or bringing.megabytes_here(item)), _status(item))
        console.print(table)
        console.print()
    console.print(f"And any network of timm's, by its name. No fetching needs: {', '.join(items.packaged())}.")
    console.print(f"What is fetched goes into {data_dir()} ({_free()} free).", soft_wrap=True)
    console.print("For example:  sftlab fetch resnet50 cifar10")
    return 0


def needed_by(notebook: str) -> list[str]:
    """Return what a notebook names in its code and does not come with the installation.

    Raises NotebookError for a notebook that there is not, ValueError for one that needs nothing.
    """
    from sftlab.runs import notebooks

    path = notebooks.find(notebook)
    code = [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    if found := items.named_in(code):
        return found
    raise ValueError(f"{notebooks.name_of(path)} needs nothing from the network: it can be run as it is")


def fetch(console: Console, names: Sequence[str]) -> int:
    """Bring items one by one and say how each went; return 0 if all are here, 1 if not."""
    wanted = list(dict.fromkeys(map(items.find, names)))
    bringing.check_space(wanted)
    width = max(len(item.name) for item in wanted)
    missing = []
    for item in wanted:
        began = time.monotonic()
        try:
            outcome, mark = bringing.bring(item), GOOD
        except (Damaged, OSError) as error:
            missing.append(item.name)
            outcome, mark = str(error), BAD
        spent = time.monotonic() - began
        if mark is GOOD and spent >= 1:
            outcome += f" in {_duration(spent)}"
        here = bringing.megabytes_here(item)
        row = Table.grid(Column(width=1), Column(width=width), Column(width=9, justify="right"), padding=(0, 2, 0, 0))
        row.add_column(overflow="fold")
        row.add_row(mark, item.name, _megabytes(here) if here else "", escape(outcome))
        console.print(row)
    console.print()
    if missing:
        here = len(wanted) - len(missing)
        console.print(f"{here} of {len(wanted)} here. Still to come:  sftlab fetch {' '.join(missing)}")
        return 1
    console.print(f"All here, {_megabytes(sum(map(bringing.megabytes_here, wanted)))} in {data_dir()}", soft_wrap=True)
    console.print("Copy that folder to the other machines, and there:  sftlab fetch --offline")
    return 0


def offline(console: Console, names: Sequence[str]) -> int:
    """Show what `prove` finds; return 0 if everything is here and opens, 1 if not."""
    found = []
    for item in proof.to_prove(names):
        with console.status(f"reading and opening {item.name} …") if console.is_terminal else nullcontext():
            found.append(proof.prove(item))
    if not found:
        console.print(f"Nothing has been fetched into {data_dir()} yet:  sftlab fetch NAMES", soft_wrap=True)
        return 1
    table = Table("", "name", "what", box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    table.add_column("without a network", overflow="fold")
    for one in found:
        said = f"[red]{escape(one.wrong)}[/red]" if one.wrong else escape(one.opened)
        size = _megabytes(one.bytes / 1e6) if one.bytes else ""
        table.add_row(BAD if one.wrong else GOOD, one.item.name, one.item.kind, str(one.files or ""), size, said)
    console.print(table)
    console.print()
    if wrong := [one.item.name for one in found if one.wrong]:
        console.print(f"{len(wrong)} of {len(found)} not ready. With a network:  sftlab fetch {' '.join(wrong)}")
        return 1
    all_of_them = f"All {len(found)} are" if len(found) > 1 else "It is"
    console.print(f"{all_of_them} here, every hash is right, and nothing asked for a network.")
    return 0


def _status(item: Item) -> str:
    if bringing.is_here(item):
        return f"{GOOD} here"
    if begun := bringing.megabytes_here(item):
        return f"[yellow]{_megabytes(begun)} of it here[/yellow]"
    return "[dim]–[/dim]"


def _megabytes(count: float) -> str:
    return f"{count:,.1f} MB" if count < 9.95 else f"{count:,.0f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _free() -> str:
    folder = data_dir()
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
