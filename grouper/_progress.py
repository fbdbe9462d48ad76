"""How far long work is (进度): told where loops turn, heard by who asked. In a library call nobody asks.

What is told is a share of the work at hand, 0 to 1; `share` places the work of a part in that of the whole.
Only the thread that asked is heard, so threads below need not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[float], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Listener | None) -> Iterator[None]:
    """Let a listener hear how far the work inside is; None = nobody."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def tell(done: float) -> None:
    """Say which share of the work at hand is done."""
    listener = _listener.get()
    if listener is not None:
        listener(done)


def told(things: Iterable[T], n: int) -> Iterator[T]:
    """Yield `n` things, telling after each; for loops in which nothing else tells."""
    for k, thing in enumerate(things, 1):
        yield thing
        tell(k / n)


@contextmanager
def share(start: float, stop: float) -> Iterator[None]:
    """Place the work inside between two shares of the work at hand."""
    outer = _listener.get()
    if outer is None:
        yield
        return
    with heard(lambda done: outer(start + (stop - start) * done)):
        yield
    outer(stop)
