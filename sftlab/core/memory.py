"""Keep freed memory while a network runs: half of the time of a large batch goes into asking the system for it again.

A convolution's output of many megabytes is handed back to the operating system as soon as it is freed, and the next
one is cleared page by page when it is first written. On two cores that costs as much as the convolutions themselves
(benchmarks/README.md). glibc can be told to keep what was freed; elsewhere this module does nothing.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import TypeVar

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # the numbers of glibc's malloc.h
EVERYTHING = 2**31 - 1
DYNAMIC_LIMIT = 32 * 2**20  # glibc's own threshold grows up to here, and so it stands in a process that runs networks

R = TypeVar("R")
_lock = threading.Lock()
_users = 0


@contextmanager
def kept() -> Iterator[None]:
    """Context: freed memory stays with the process inside; the last one to leave hands it back. Nests."""
    _enter()
    try:
        yield
    finally:
        _leave()


def keeping(stream: Iterator[R]) -> Iterator[R]:
    """Pass a stream through and keep freed memory until it ends, however it ends."""
    with kept(), closing(stream):  # type: ignore[type-var]
        yield from stream


@cache
def prepare() -> None:
    """Let threads that start from now on share one heap: only the main one can keep blocks of any size."""
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, 1)


def _enter() -> None:
    global _users
    prepare()
    with _lock:
        _users += 1
        if _users == 1 and (libc := _glibc()):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, EVERYTHING)


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if not _users and (libc := _glibc()):
            libc.mallopt(M_MMAP_MAX, 65536)
            libc.mallopt(M_MMAP_THRESHOLD, DYNAMIC_LIMIT)
            libc.mallopt(M_TRIM_THRESHOLD, 2 * DYNAMIC_LIMIT)
            libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
