"""A kernel that has imported already: forked from a process that did nothing else (Linux).

Starting Python, ipykernel and torch takes longer than training a probe. `prepare` forks a kernel from the process that
calls it, in which the modules are loaded; it waits until `Prepared`, a kernel manager, tells it where to connect. What
runs in it is a process of its own, as any kernel: no name, seed or file of one run is seen by the next.

Fork only where no thread has started and torch has computed nothing: a child inherits memory, not threads.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import LocalProvisioner
from traitlets import Instance

from sftlab.runs.notebooks import Kernel

CAN_FORK = sys.platform == "linux"  # macOS libraries do not survive it, Windows does not know it
ALIVE_WITH_PARENT = 1  # Linux' PR_SET_PDEATHSIG

# What a notebook may import and what may be imported before it is known which run comes: no thread, no device, no
# output, no choice that a kernel makes for itself (pyplot asks who shows its figures, so it is not among them).
MODULES = {
    "sftlab": (
        "sftlab", "sftlab.data.photos", "sftlab.analysis", "sftlab.plot", "sftlab.plot.style", "sftlab.widgets",
        "filelock",
        "ipywidgets", "matplotlib.backends.backend_svg", "matplotlib.figure", "safetensors.torch", "sklearn.metrics",
        "scipy.stats", "timm", "torch._dynamo",
    ),
    "torch": ("torch",), "torchvision": ("torchvision",), "timm": ("timm",), "numpy": ("numpy",),
    "scipy": ("scipy.stats",), "sklearn": ("sklearn.metrics",), "matplotlib": ("matplotlib.figure",),
    "pandas": ("pandas",), "PIL": ("PIL.Image",), "ipywidgets": ("ipywidgets",),
}  # fmt: skip


def preload(names: Iterable[str]) -> None:
    """Import what kernels will need: the kernel itself, and those of `names` that can be shared; nothing else."""
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel sets it
    shared = [module for name in names for module in MODULES.get(name, ())]
    for module in ("ipykernel.kernelapp", "ipykernel.ipkernel", *shared):
        try:
            importlib.import_module(module)
        except ImportError:  # the notebook will say so itself, where it asks for it
            continue
    gc.freeze()  # what is here now stays: a collection in a child need not touch, and so copy, its pages


def die_with(parent: int) -> None:
    """Let the system kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(ALIVE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def prepare() -> Prefork:
    """Fork a kernel that waits, and return its handle. In the kernel itself this never returns."""
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(reading)
        return Prefork(pid, writing)
    try:
        os.close(writing)
        os.setsid()
        die_with(parent)
        with os.fdopen(reading) as orders:
            order = orders.read()
        if order:  # else the run ended without a kernel
            _serve(**json.loads(order))
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # what a kernel has to tidy up it registers there, IPython's history for one
        os._exit(0)  # taking a thousand modules apart would take a second


def _serve(connection: str, cwd: str, env: dict[str, str]) -> None:
    """Be an ordinary kernel until it is shut down."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:] = [entry for entry in sys.path if entry not in ("", cwd)]  # as ipykernel_launcher does
    sys.argv = ["ipykernel_launcher", "-f", connection]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # a fresh process would draw it from the system
    from ipykernel.kernelapp import IPKernelApp

    # what it logs would end up in the terminal of the sweep; what a cell prints does not go there
    IPKernelApp.launch_instance(argv=["-f", connection], parent_handle=os.getppid(), log_level=logging.CRITICAL)


class Prefork:
    """The handle of a forked kernel, with what jupyter_client asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, writing: int) -> None:
        self.pid, self._writing = pid, writing
        self.returncode: int | None = None

    def start(self, connection: str, cwd: str, env: dict[str, str]) -> None:
        """Tell the waiting kernel where to connect, where to work, and in which environment."""
        with os.fdopen(self._writing, "w") as orders:
            json.dump({"connection": connection, "cwd": cwd, "env": env}, orders)

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end and return the exit status."""
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Adopting(LocalProvisioner):
    """Launches a kernel by starting the one that waits."""

    waiting: Any = Instance(Prefork)
    process: Any = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the waiting kernel in place of the command; return what it is connected by."""
        env = {**kwargs["env"], "JPY_PARENT_PID": str(os.getpid())}
        self.cwd = kwargs.get("cwd") or Path.cwd()
        assert isinstance(self.parent, Kernel)
        self.waiting.start(self.parent.connection_file, str(self.cwd), env)
        self.process, self.pid, self.pgid = self.waiting, self.waiting.pid, self.waiting.pid
        return self.connection_info


def manager(waiting: Prefork) -> type[Kernel]:
    """Return a class of kernel managers whose kernel is the one that waits: papermill makes its own instance."""

    class Prepared(Kernel):
        async def _async_pre_start_kernel(self, **options: Any) -> Any:
            self.provisioner = Adopting(
                kernel_id=self.kernel_id or "", kernel_spec=self.kernel_spec, parent=self, waiting=waiting
            )
            return await super()._async_pre_start_kernel(**options)

    return Prepared
