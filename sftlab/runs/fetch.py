"""Weights and data sets ahead of time, for a class without a network: what `sftlab fetch` lists, brings and proves.

What is brought lies in `data_dir()` and works from there, also when the folder is copied to another machine.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from sftlab.data import datasets, load
from sftlab.data.download import Damaged, RemoteFile, download, has_hash
from sftlab.data.storage import check_room, data_dir
from sftlab.data.torchvision_sets import TORCHVISION, bring_set, count_images
from sftlab.networks import backbone, backbones
from sftlab.networks.torchvision_nets import FAMILIES
from sftlab.runs import notebooks

OFFERED = (*FAMILIES, *TORCHVISION)
INSTALLED = tuple(name for name in (*backbones(), "minilm", *datasets()) if name not in OFFERED)


def find(name: str) -> str:
    """Return the full name of what can be fetched: a data set, a network, NETWORK:WEIGHTS for torchvision's others.

    Raises ValueError for a name that nothing has, with the closest one.
    """
    network, _, weights = name.partition(":")
    if name in INSTALLED or name in TORCHVISION or network in FAMILIES:
        return name
    import timm

    from sftlab.networks import timm_nets

    if not weights and timm.is_model(network.partition(".")[0]):
        return timm_nets.item(name)
    near = difflib.get_close_matches(name, OFFERED, 1) or difflib.get_close_matches(name, timm.list_models(), 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ValueError(
        f"nothing to fetch is named {name!r}. {hint}There are {', '.join(OFFERED)}, and any network of timm's"
    )


def files(name: str, *, ask: bool = False) -> list[RemoteFile]:
    """Return the files of what `find` returned.

    ask: ask the hub for the address and hash of timm's weights, and raise ConnectionError without a network; else they
    are only a place on this machine.
    """
    network, _, weights = name.partition(":")
    if name in TORCHVISION:
        return TORCHVISION[name].remote_files
    if name in INSTALLED:
        return []
    if network in FAMILIES:
        from sftlab.networks import torchvision_nets

        return [torchvision_nets.remote(network, weights or "default")]
    from sftlab.networks import timm_nets

    if ask:
        return [timm_nets.remote(name)]
    return [RemoteFile((), timm_nets.here(name) or data_dir() / "weights" / "timm" / name / timm_nets.FILES[0])]


def is_here(name: str) -> bool:
    """Tell whether all files of something are in their place; whether they are right, `opened` tells."""
    return all(file.path.is_file() for file in files(name))


def megabytes_here(name: str) -> float:
    """Return how many MB of something are here, finished or not; nothing is checked."""
    paths = [path for file in files(name) for path in (file.path, file.path.with_name(f"{file.path.name}.part"))]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def megabytes(name: str) -> float:
    """Return about how many MB something has; 0 if nobody knows before it is here."""
    return TORCHVISION[name].megabytes if name in TORCHVISION else sum(file.megabytes or 0.0 for file in files(name))


def list_all() -> bool:
    """Print what can be fetched, how large it is, and what is here already."""
    for title, names in (("Networks: their pretrained weights", FAMILIES), ("Data sets", TORCHVISION)):
        print(title)
        for name in names:
            begun = megabytes_here(name)
            outcome = "here" if is_here(name) else f"{begun:.1f} MB of it here" if begun else "–"
            print(_line(name, megabytes(name), outcome))
        print()
    print(f"And any network of timm's, by its name. No fetching needs: {', '.join(INSTALLED)}.")
    print(f"What is fetched goes into {data_dir()}.")
    print("For example:  sftlab fetch resnet50 cifar10")
    return True


def needed_by(notebook: str) -> list[str]:
    """Return what a notebook names in its code, in plain strings, and does not come with the installation.

    Raises NotebookError for a notebook that does not exist.
    """
    cells = notebooks.read(notebooks.find(notebook)).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return [name for name in dict.fromkeys(re.findall(r"[\"'](\w+)[\"']", code)) if name in OFFERED]


def bring(names: Iterable[str]) -> bool:
    """Bring what is missing and check the rest, a printed line each; tell whether all is here.

    Raises ValueError for a name that nothing has, NoRoom for a disk that is too small for all of it.
    """
    wanted = list(dict.fromkeys(map(find, names)))
    # a set lies there twice: packed, and unpacked
    missing = {name: max(0.0, megabytes(name) - megabytes_here(name)) * (1 + (name in TORCHVISION)) for name in wanted}
    check_room(data_dir(), sum(missing.values()) * 1e6, "what is still to come")
    good = f"All here, in {data_dir()}\nCopy that folder to the other machines, and there:  sftlab fetch --offline"
    return _each(wanted, _brought, good, "not here. To go on")


def prove(names: Iterable[str] = ()) -> bool:
    """Check the hashes of what is named, open all of it without a network, a printed line each; tell whether all opens.

    names: none for all that was fetched, even in part.
    """
    from_timm = [path.name for path in sorted((data_dir() / "weights" / "timm").glob("*")) if path.is_dir()]
    wanted = [find(name) for name in names] or [name for name in (*OFFERED, *from_timm) if megabytes_here(name)]
    if not wanted:
        print(f"Nothing has been fetched into {data_dir()} yet:  sftlab fetch NAMES")
        return False
    good = "All of it is here and opens; every file whose hash is published has it."
    return _each(wanted, opened, good, "not ready. With a network")


def opened(name: str) -> str:
    """Use something as a lesson would, and say what it is. Raises OSError or ValueError for what is damaged."""
    for file in files(name):
        if not file.path.is_file():
            raise FileNotFoundError(f"{file.path.name} is missing")
        if not has_hash(file.path, file.known):
            raise Damaged(f"{file.path.name} is not the file with {file.known[:15]}… that we know")
    if name in TORCHVISION:
        return f"opens, {count_images(name):,} images"
    if name in datasets():
        return f"opens, {len(load(name).train):,} to train on"
    network, _, weights = name.partition(":")
    parameters = sum(p.numel() for p in backbone(network, weights or "default").parameters())
    return f"builds, {parameters / 1e6:.1f} M parameters"


def _brought(name: str) -> str:
    """Bring what is missing of something, check the rest, and say what was done."""
    complete = is_here(name)
    if name in TORCHVISION:
        bring_set(name)
    else:
        for file in files(name, ask=not complete):
            download(file.urls, file.path, file.known)
    return "comes with the installation" if name in INSTALLED else "was here" if complete else "brought"


def _each(names: list[str], action: Callable[[str], str], good: str, bad: str) -> bool:
    """Print a line with what an action says of each name, or why it failed, and an end; tell whether none failed."""
    failed = []
    for name in names:
        try:
            outcome = action(name)
        except (OSError, ValueError) as error:
            failed.append(name)
            outcome = str(error)
        print(_line(name, megabytes_here(name), outcome), flush=True)
    print(f"\n{len(failed)} of {len(names)} {bad}:  sftlab fetch {' '.join(failed)}" if failed else f"\n{good}")
    return not failed


def _line(name: str, megabytes: float, outcome: str) -> str:
    return f"  {name:<24} {f'{megabytes:,.1f} MB' if megabytes else '':>12}  {outcome}"
