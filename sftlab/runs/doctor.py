"""Is this machine ready for a class? `sftlab doctor` tries what the lessons need, and says what mends it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from sftlab.runs.notebooks import START_SECONDS

MEMORY, DISK = 2.0, 1.0  # gigabytes: a kernel that fine-tunes, and what the lessons keep on disk


def doctor() -> bool:
    """Print a line for each thing that the lessons need; tell whether all of them are there."""
    outcomes = [_outcome(name, look) for name, look in LOOKS.items()]
    print("The lab is ready." if all(outcomes) else "What is marked ✗ has to be mended first.")
    return all(outcomes)


def _outcome(name: str, look: Callable[[], str]) -> bool:
    try:
        print(f"✓ {name:<9} {look()}", flush=True)
        return True
    except Exception as error:  # whatever is broken here is what was asked for
        print(f"✗ {name:<9} {error}", flush=True)
        return False


def _expect(good: bool, mend: str) -> None:
    if not good:
        raise RuntimeError(mend)


def _versions() -> str:
    needed = [Requirement(line) for line in requires("sftlab") or [] if "extra ==" not in line]
    wrong = []
    for one in needed:
        try:
            if not one.specifier.contains(version(one.name), prereleases=True):
                wrong.append(f"{one.name} {version(one.name)}")
        except PackageNotFoundError:
            wrong.append(f"{one.name} (missing)")
    _expect(not wrong, f"{', '.join(wrong)}: `make lab` or `pip install -c constraints.txt -e .` brings the right ones")
    return f"{len(needed)} packages, torch {version('torch')}, torchvision {version('torchvision')}"


def _memory() -> str:
    from psutil import virtual_memory

    free = virtual_memory().available / 1e9
    _expect(free > MEMORY, f"{free:.1f} GB free, {MEMORY:.0f} are needed: shut down kernels and other programs")
    return f"{free:.1f} GB free, enough for {free // MEMORY:.0f} kernels that fine-tune at once"


def _threads() -> str:
    import torch
    from joblib import cpu_count

    threads, cores = torch.get_num_threads(), cpu_count()
    _expect(threads <= cores, f"{threads} threads on {cores} cores: set OMP_NUM_THREADS={cores} before you start")
    return f"{threads} on {cores} cores"


def _disk() -> str:
    from sftlab.data.storage import data_dir, writable

    folder = data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    _expect(free > DISK, f"{free:.1f} GB free in {folder}: free some, or let SFTLAB_DATA name another folder")
    return f"{free:.1f} GB free in {folder}" + ("" if writable(folder) else ", which can only be read")


def _weights() -> str:
    from sftlab.networks import backbone

    count = sum(p.numel() for p in backbone("efficientnet_lite0").parameters())
    return f"efficientnet_lite0, {count:,} parameters"


def _images() -> str:
    from sftlab.data import load

    data = load("solar", size=64, per_class=20)
    return f"{sum(sum(split.values()) for split in data.card.counts.values()):,} solar cells"


def _widgets() -> str:
    """Move a slider from outside and ask the kernel where it stands."""
    from jupyter_client import KernelManager

    manager = KernelManager(transport_encryption="auto")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START_SECONDS)
        printed: list[str] = []

        def hear(message: dict) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"].strip())

        tell = partial(client.execute_interactive, output_hook=hear, timeout=START_SECONDS)
        tell("from ipywidgets import IntSlider; s = IntSlider(3); print(s.model_id)")
        moved = {"comm_id": printed.pop(), "data": {"method": "update", "state": {"value": 5}}}
        client.shell_channel.send(client.session.msg("comm_msg", moved))
        tell("print(s.value)")
        _expect(printed == ["5"], f"a slider moved to 5 stands at {printed}: set up again, so that the versions fit")
        return "a slider that is moved is heard by its kernel"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


LOOKS = {
    "Python": platform.python_version,  # an older one than 3.11 does not come as far as this
    "packages": _versions,
    "memory": _memory,
    "threads": _threads,
    "disk": _disk,
    "weights": _weights,
    "images": _images,
    "widgets": _widgets,
}
