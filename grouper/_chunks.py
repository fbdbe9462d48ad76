"""Threads over ranges: kernels release the GIL and write disjoint rows, so any split gives the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

from grouper import _platform

T = TypeVar("T")

STEP = 1 << 16

WATCH: ContextVar[Callable[[int, int], None] | None] = ContextVar("WATCH", default=None)
"""Who is told how many rows of how many are done: a progress bar, if somebody looks."""


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
        return list(_watched((task(a, b) for a, b in ranges), ranges))
    with ThreadPoolExecutor(threads) as pool:
        return list(_watched(pool.map(lambda r: task(*r), ranges), ranges))


def _watched(answers: Iterable[T], ranges: Sequence[tuple[int, int]]) -> Iterator[T]:
    """Pass answers on; tell after each how far it is."""
    watch = WATCH.get()
    for (_, stop), answer in zip(ranges, answers, strict=True):
        if watch is not None:
            watch(stop, ranges[-1][1])
        yield answer
