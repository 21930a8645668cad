"""A class that opens the first lesson within a minute: `python benchmarks/classroom.py [KERNELS]`, ten by default.

Each kernel runs all of lesson 00 with one thread, as a shared server would have it. They share one data folder
(SFTLAB_DATA), which may be one that they can only read. Memory is what a kernel holds of its own, and what all of them
share, at the moment when it is most in total.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

LESSON = Path(__file__).parents[1] / "notebooks" / "00_start_here.ipynb"
MINUTE = 60.0
RUN = "import sys, papermill; papermill.execute_notebook(sys.argv[1], None, progress_bar=False, log_output=False)"


def memory(parents: list[psutil.Process]) -> list[tuple[float, float]]:
    """Return, of each kernel that runs, what it holds of its own and what it shares with others, in GB."""
    found = []
    for parent in parents:
        try:
            for kernel in parent.children():
                now = kernel.memory_full_info()
                found.append((now.uss / 1e9, (now.rss - now.uss) / 1e9))
        except psutil.Error:  # it has just ended
            continue
    return found


def main(kernels: int) -> int:
    """Start the kernels over a minute, wait for all, print what each took; return how many failed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    seconds: dict[int, float] = {}
    codes: dict[int, int] = {}
    parents: list[psutil.Process] = []
    most: list[tuple[float, float]] = []

    def learner(number: int) -> None:
        time.sleep(MINUTE * number / kernels)
        clock = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", RUN, LESSON], env=env, stdout=subprocess.DEVNULL) as process:
            parents.append(psutil.Process(process.pid))
            codes[number] = process.wait()
        seconds[number] = time.perf_counter() - clock

    threads = [threading.Thread(target=learner, args=(number,)) for number in range(kernels)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, memory(parents), key=lambda found: sum(own for own, _ in found))
        time.sleep(1)
    failed = sum(code != 0 for code in codes.values())
    took = sorted(seconds.values())
    print(f"{kernels} kernels on {os.cpu_count()} cores: {failed} failed; {took[0]:.0f} to {took[-1]:.0f} s each")
    own, shared = zip(*most, strict=True)
    print(f"most memory: {sum(own):.1f} GB their own ({max(own):.2f} the largest), {max(shared):.2f} GB shared")
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
