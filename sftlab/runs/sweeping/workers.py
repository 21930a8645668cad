"""Who does the runs: processes of this machine, or the workers of a Dask cluster. Each keeps a nursery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

from sftlab.runs.execution import Task
from sftlab.runs.parameters import NotebookError

GIGABYTES = 2.0  # what one run may need while it fine-tunes; fewer at once where memory is short
SECONDS = 15  # to wait for a scheduler or its workers
Answer = dict[str, Any]
Answers = Iterator[tuple[Task, Answer]]


class Nursery:
    """A child process that does tasks one after the other; what dies is replaced at the next task.

    imports: what the notebook imports. threads: what each run may use; None leaves the environment as it is.
    """

    def __init__(self, imports: Sequence[str], threads: int | None = None) -> None:
        self.imports, self.threads = list(imports), threads
        self.process: subprocess.Popen[str] | None = None

    def do(self, task: Task, *, again: bool = False) -> Answer:
        """Do a task and return its facts. A process that was killed meanwhile is an answer too."""
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin and self.process.stdout
        try:
            print(json.dumps({"task": asdict(task), "again": again}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        code = self.close()
        return {"status": "failed", "error": f"its worker process was killed (exit code {code})"}

    def close(self) -> int | None:
        """End the process, and with it a run that is under way; return the exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.kill()
        with suppress(BrokenPipeError), process:  # closes its pipes
            pass
        return process.returncode

    def _start(self) -> None:
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sftlab.runs.sweeping.nursery import main; main()"],
            env=os.environ | threads,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            start_new_session=True,  # Ctrl-C is not for it
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"imports": self.imports}), file=self.process.stdin, flush=True)
        self.process.stdout.readline()


def shares(count: int, jobs: int | None = None) -> tuple[int, int]:
    """Return how many runs at once, and threads for each: all cores are used, none twice.

    jobs: how many at once; by default as many as there are cores, runs, and pairs of gigabytes of free memory.
    """
    from joblib import cpu_count  # knows of containers and of the cores this process may use
    from psutil import virtual_memory

    cores = cpu_count()
    if jobs is None:
        jobs = min(cores, int(virtual_memory().available / 1e9 / GIGABYTES))
    jobs = max(1, min(jobs, count))
    return jobs, max(1, cores // jobs)


def here(tasks: Sequence[Task], imports: Sequence[str], jobs: int, threads: int, *, again: bool = False) -> Answers:
    """Do tasks on this machine, `jobs` at a time; yield each with its answer as it ends."""
    done: SimpleQueue[tuple[Task, Answer]] = SimpleQueue()
    todo, lock = iter(tasks), threading.Lock()
    nurseries = [Nursery(imports, threads) for _ in range(jobs)]

    def serve(nursery: Nursery) -> None:
        while True:
            with lock:
                task = next(todo, None)
            if task is None:
                return
            try:
                done.put((task, nursery.do(task, again=again)))
            except Exception as error:  # one that cannot even start: the sweep must not wait for it
                done.put((task, {"status": "failed", "error": f"{type(error).__name__}: {error}"}))

    for nursery in nurseries:
        threading.Thread(target=serve, args=(nursery,), daemon=True).start()
    try:
        for _ in tasks:
            yield done.get()
    finally:  # reached as well when the sweep is stopped
        with lock:
            todo = iter(())
        for nursery in nurseries:
            nursery.close()


def on_dask(tasks: Sequence[Task], imports: Sequence[str], scheduler: str, *, again: bool = False) -> Answers:
    """Do tasks on the workers of a Dask cluster, one run for each of their threads; yield each as it ends.

    The workers need sftlab and the folders of this machine. Raises NotebookError if nobody answers.
    """
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise NotebookError('--scheduler needs Dask: pip install "sftlab[dask]"') from None
    try:
        client = Client(scheduler, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NotebookError(f"no Dask scheduler answers at {scheduler}: {error or 'it took too long'}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=SECONDS)
        except TimeoutError:
            raise NotebookError(f"the scheduler at {scheduler} has no workers: start some with `dask worker`") from None
        futures = {client.submit(perform, asdict(task), list(imports), again, pure=False): task for task in tasks}
        try:
            for future in as_completed(futures, loop=client.loop):
                try:
                    answer = future.result()
                except Exception as error:  # as when its workers were killed again and again
                    answer = {"status": "failed", "error": f"Dask gave it up: {type(error).__name__}: {error}"}
                yield futures[future], answer
        finally:
            client.cancel(list(futures))


_mine = threading.local()


def perform(task: dict[str, Any], imports: list[str], again: bool) -> Answer:
    """Do a task on a Dask worker: each of its threads keeps a nursery of its own."""
    if getattr(_mine, "imports", None) != imports:
        _mine.imports, _mine.nursery = imports, Nursery(imports)
    return _mine.nursery.do(Task(**task), again=again)
