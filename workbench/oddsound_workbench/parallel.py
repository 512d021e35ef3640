"""Works on a list with all cores, in order, if it is long enough that starting processes pays."""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

FROM_S = 2.0
"""Seconds of remaining work from which on processes are started: each takes half a second."""

CHUNK_S = 0.25
"""Seconds of work that a process gets at once."""

CHUNKS_WAITING = 2
"""Chunks of a process: one that it works on, and the next."""


@dataclass(frozen=True)
class Processes:
    """How to start the processes, and how many may work, this one included.

    begin, arguments : called once in each process, before its first item
    preload : modules that are imported once for all of them
    """

    count: int
    begin: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    preload: tuple[str, ...] = ()

    def start(self) -> ProcessPoolExecutor:
        # Not a copy of this process: it may have threads, and locks that they hold.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", *self.preload])
        initial = (self.begin, self.arguments)
        return ProcessPoolExecutor(self.count - 1, context, _begin, initial)


def cores() -> int:
    """Cores that this process may use."""
    return os.process_cpu_count() or 1


def in_order[A, B](
    items: Sequence[A], work: Callable[[A], B], in_process: Callable[[A], B], processes: Processes
) -> Iterator[B]:
    """`work(item)` for each item, in their order.

    in_process : what another process calls instead of `work`; both must give the same
    """
    run = _Run(items, work, in_process, processes)
    try:
        for index in range(len(items)):
            while index not in run.done:
                run.step()
            yield run.done.pop(index)
    finally:
        run.end()


class _Run[A, B]:
    """The state of `in_order`.

    done : index of an item -> its result, until it is taken
    """

    def __init__(
        self,
        items: Sequence[A],
        work: Callable[[A], B],
        in_process: Callable[[A], B],
        processes: Processes,
    ) -> None:
        self.done: dict[int, B] = {}
        self._items = items
        self._work, self._in_process = work, in_process
        self._processes = processes
        self._waiting = deque(range(len(items)))
        self._pool: ProcessPoolExecutor | None = None
        self._may_start = processes.count > 1
        self._chunks: dict[Future[list[B]], list[int]] = {}
        self._worked_s, self._worked = 0.0, 0

    def step(self) -> None:
        """Give the processes work, do one item here, and take what is done."""
        self._hand_out()
        if self._waiting:
            started, index = time.perf_counter(), self._waiting.popleft()
            self.done[index] = self._work(self._items[index])
            self._worked_s += time.perf_counter() - started
            self._worked += 1
            finished = {future for future in self._chunks if future.done()}
        else:
            finished = wait(self._chunks, return_when=FIRST_COMPLETED).done
        for future in finished:
            self._take(future)

    def end(self) -> None:
        """Stop the processes; what they have not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _hand_out(self) -> None:
        mean_s = self._worked_s / self._worked if self._worked else 0.0
        if self._may_start and self._pool is None and mean_s * len(self._waiting) > FROM_S:
            self._pool = self._processes.start()
        if self._pool is None:
            return
        size = max(1, math.floor(CHUNK_S / mean_s)) if mean_s else 1
        most = CHUNKS_WAITING * (self._processes.count - 1)
        # The last items are done here: a chunk would be waited for.
        while len(self._chunks) < most and len(self._waiting) > size:
            chunk = [self._waiting.popleft() for _ in range(size)]
            items = [self._items[index] for index in chunk]
            try:
                self._chunks[self._pool.submit(_work_on, self._in_process, items)] = chunk
            except BrokenProcessPool:
                self._give_up(chunk)
                return

    def _take(self, future: Future[list[B]]) -> None:
        chunk = self._chunks.pop(future)
        try:
            self.done.update(zip(chunk, future.result(), strict=True))
        except BrokenProcessPool:
            self._give_up(chunk)

    def _give_up(self, chunk: list[int]) -> None:
        """A process has ended, for example for want of memory: this one does the rest."""
        self._waiting = deque(sorted([*chunk, *self._waiting]))
        self._may_start = False
        self.end()
        self._pool = None


def _begin(begin: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches all processes; the first one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    begin(*arguments)


def _end_with_the_first() -> None:
    """End this process if the first one was killed: the pool would wait for it for ever."""
    if first := multiprocessing.parent_process():
        first.join()
        os._exit(1)


def _work_on[A, B](work: Callable[[A], B], items: list[A]) -> list[B]:
    return [work(item) for item in items]
