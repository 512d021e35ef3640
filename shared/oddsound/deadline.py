"""The time until which the current call has to answer, for everything that it calls.

It belongs to the context of the call: threads that anyio starts for a request inherit it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is called inside has this much time. An earlier deadline stays in force."""
    outer, own = _deadline.get(), time.monotonic() + seconds
    token = _deadline.set(own if outer is None else min(outer, own))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_s() -> float:
    """Seconds until the deadline, negative after it; infinite if there is none."""
    deadline = _deadline.get()
    return float("inf") if deadline is None else deadline - time.monotonic()


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """What is called inside calls `check` at each `checkpoint`, and ends if it raises."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def checkpoint() -> None:
    """Called by long computations every few milliseconds of work."""
    if check := _check.get():
        check()
