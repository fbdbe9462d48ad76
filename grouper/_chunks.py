"""Threads over ranges: kernels release the GIL and write disjoint rows, so any split gives the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from grouper import _platform
from grouper._progress import told

T = TypeVar("T")

STEP = 1 << 16


def cores() -> int:
    """Return how many threads to use when nobody says: the cores this process may run on."""
    return _platform.cores()


def run(
    task: Callable[[int, int], T], n: int, threads: int | None = None, step: int = STEP
) -> list[T]:
    """Call `task(start, stop)` over 0 … n in ranges of `step`; return the answers in order."""
    threads = threads or cores()
    ranges = [(a, min(a + step, n)) for a in range(0, n, step)]
    if threads == 1 or len(ranges) <= 1:
        return [task(a, b) for a, b in told(ranges, len(ranges))]
    with ThreadPoolExecutor(threads) as pool:
        return list(told(pool.map(lambda r: task(*r), ranges), len(ranges)))
