"""The process in which runs are born.

It imports once what all runs need, then reads a task a line from stdin and answers each with a line on stdout. On Linux
every task gets a process of its own, forked from this one, and that one forks its kernel: nothing of a run stays
behind. Elsewhere the tasks run here, one after the other, each with an ordinary kernel.

Who dies takes those below along: the run ends with this process, the kernel with the run, and this process when its
stdin closes, which is what the end of a sweep, clean or not, does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock

from sftlab.runs import execution, kernels
from sftlab.runs import results as runs
from sftlab.runs.execution import Task
from sftlab.runs.results import Facts

Answer = dict[str, Any]
LOCKS = ".locks"
LOST = "the process of this run was killed ({}), most likely for want of memory"


def main() -> None:
    """Serve tasks until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what anybody prints from here on is no answer
    kernels.preload(json.loads(sys.stdin.readline())["imports"])
    from sftlab.runs import engine  # noqa: F401

    print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        task, again = Task(**order["task"]), order["again"]
        answer = _forked(task, again) if kernels.CAN_FORK else _perform(task, again)
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # the libraries loaded here have nothing to tidy up, and some complain when they are asked to


def _perform(task: Task, again: bool, **options: Any) -> Answer:
    """Do a task in a clean folder; an error that is not the notebook's own becomes an answer as well.

    Dask may start a task anew that it believes lost while the first still works: the second waits, and takes over what
    the first has finished.
    """
    folder = Path(task.folder)
    locks = folder.parent / LOCKS
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / task.address):
            if not again and (done := finished(task)):
                return asdict(done)
            shutil.rmtree(folder, ignore_errors=True)
            return asdict(execution.execute(task, **options))
    except Exception as error:  # a full disk, say: the sweep lists it and goes on
        return {"status": "failed", "error": f"{type(error).__name__}: {error}"}


def finished(task: Task) -> Facts | None:
    """Return the facts of a task whose run is there, whole, under the same address; None if it has to be done."""
    folder = Path(task.folder)
    if runs.row(folder)["status"] != runs.FINISHED:
        return None
    facts = Facts.read(folder)
    return facts if facts.address == task.address else None


def _forked(task: Task, again: bool) -> Answer:
    """Do a task in a process of its own and return its answer."""
    reading, writing = os.pipe()
    here = os.getpid()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _be_run(task, again, here, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        if sys.stdin in select.select([sys.stdin, told], [], [])[0]:  # nobody asks before the answer: the sweep is gone
            os.killpg(pid, signal.SIGKILL)
            os._exit(1)
        text = told.read()
    _, status = os.waitpid(pid, 0)
    if text:
        return json.loads(text)
    code = os.waitstatus_to_exitcode(status)
    return {"status": "failed", "error": LOST.format(f"signal {-code}" if code < 0 else f"exit code {code}")}


def _be_run(task: Task, again: bool, parent: int, writing: int) -> NoReturn:
    """Be the process of one run: with a kernel forked before anything starts a thread, do the task and end."""
    try:
        os.setsid()
        kernels.die_with(parent)
        answer = _perform(task, again, kernel=kernels.manager(kernels.prepare()))
        with os.fdopen(writing, "w", encoding="utf-8") as told:
            json.dump(answer, told)
    finally:
        os._exit(0)  # what this process inherited is not its own to tidy up
