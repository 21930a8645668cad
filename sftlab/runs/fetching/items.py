"""What can be fetched: a network's weights or a data set, by the name that `backbone` and `load` take."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftlab.data import datasets
from sftlab.data.storage import RemoteFile
from sftlab.data.torchvision_sets import TORCHVISION
from sftlab.networks import backbones
from sftlab.networks.torchvision_nets import FAMILIES

WEIGHTS, IMAGES = "weights", "images"


@dataclass(frozen=True)
class Item:
    """One thing to fetch: its name, what it is, where it comes from, and about how many MB it is (None: not known)."""

    name: str
    kind: str
    source: str
    megabytes: float | None
    packaged: bool = False

    def files(self) -> Sequence[RemoteFile]:
        """Return its files. Raises ConnectionError where only the network knows them."""
        if self.packaged:
            return []
        return TORCHVISION[self.name].remote_files if self.kind == IMAGES else [_weights(self.name)]

    def places(self) -> list[Path]:
        """Return where its files lie below `data_dir()`, as far as that is known without a network."""
        if self.source == "timm":
            from sftlab.networks import timm_nets

            path = timm_nets.here(self.name)
            return [path] if path else []
        return [file.path for file in self.files()]


def find(name: str) -> Item:
    """Return the item of that name: a data set, a network, NETWORK:WEIGHTS for another weight set of torchvision's.

    Raises ValueError for a name that nothing has, with the closest one.
    """
    network, _, weights = name.partition(":")
    if name in TORCHVISION:
        return Item(name, IMAGES, "torchvision", TORCHVISION[name].megabytes)
    if name in datasets():
        return Item(name, IMAGES, "comes with the installation", None, packaged=True)
    if network in FAMILIES:
        return Item(name, WEIGHTS, "torchvision", _weights(name).megabytes)
    if name in backbones() or name == "minilm":
        return Item(name, WEIGHTS, "comes with the installation", None, packaged=True)
    import timm

    if weights or not timm.is_model(network.partition(".")[0]):
        names = [*TORCHVISION, *FAMILIES]
        close = difflib.get_close_matches(name, names, 1) or difflib.get_close_matches(name, timm.list_models(), 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"nothing to fetch is named {name!r}.{hint} There are {', '.join(names)}, and any network of timm's"
        )
    from sftlab.networks import timm_nets

    return Item(timm_nets.item(name), WEIGHTS, "timm", None)


def offered() -> list[Item]:
    """Return what can be fetched by name, networks first; any network of timm's besides."""
    return [find(name) for name in [*FAMILIES, *TORCHVISION]]


def named_in(sources: Iterable[str]) -> list[str]:
    """Return what has to be fetched of all that pieces of Python name in plain strings, a choice of values included.

    >>> named_in(['data = load("cifar10")', 'BACKBONE = "efficientnet_lite0"  # or resnet50'])
    ['cifar10']
    """
    names, nodes = (*FAMILIES, *TORCHVISION), [node for source in sources for node in ast.walk(_parsed(source))]
    return list(dict.fromkeys(n.value for n in nodes if isinstance(n, ast.Constant) and n.value in names))


def packaged() -> list[str]:
    """Return the names that need no fetching."""
    return [name for name in [*backbones(), "minilm", *datasets()] if name not in (*FAMILIES, *TORCHVISION)]


def _parsed(source: str) -> ast.AST:
    """Return the syntax tree of a notebook's cell; of one that is not plain Python (`%timeit …`) an empty one."""
    try:
        return compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return ast.Module([], [])


def _weights(name: str) -> RemoteFile:
    from sftlab.networks import timm_nets, torchvision_nets

    network, _, weights = name.partition(":")
    if network in FAMILIES:
        return torchvision_nets.remote(network, weights or "default")
    return timm_nets.remote(name)
