"""Bounds what POST /predict-anomaly does at once, so that the service answers under any load."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import anyio.to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from oddsound import deadline, memory
from oddsound.errors import AudioTooLargeError
from oddsound.http.errors import busy
from oddsound.http.ways_in import through_api_gateway

TURN_S = 0.25
"""Seconds that a prediction computes before others that wait get their turn."""

BEGUN_PER_TURN = 4
"""Predictions that have begun, for each that computes: those that wait for a turn need memory."""

MANY = 16
"""After so many requests at once, their memory is given back."""

SETTING = "MAX_PREDICTION_S"


class Predictions:
    """The predictions of one process.

    A request gets a place before its body is read, and keeps it until it is answered. Of those with
    places, at most `computing` compute at a time. One that takes long lets the next in line compute
    in between, so a recording of an hour does not hold up those of a second.

    computing : most predictions that compute at a time
    waiting : most requests with a place beside those that compute
    max_s : processor time that a prediction may take
    processes : that share the first two, this one included
    """

    def __init__(self, computing: int, waiting: int, max_s: float, processes: int = 1) -> None:
        self.computing = computing = math.ceil(computing / processes)
        self._waiting = math.ceil(waiting / processes)
        self.places = computing + self._waiting
        self._taken = self._most_taken = 0
        self._share = f" in one of {processes} processes, which share" if processes > 1 else ","
        self._max_s = max_s
        self._begun = anyio.CapacityLimiter(BEGUN_PER_TURN * computing)
        self._turns = anyio.CapacityLimiter(computing)
        self._threads = anyio.CapacityLimiter(math.inf)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for a request. Raises HTTPException 503 if all are taken."""
        if self._taken >= self.places:
            raise busy(
                f"{self._taken:,} recordings are being received or scored, and no more than"
                f" {self._waiting:,} may wait{self._share} the limit set by MAX_WAITING_REQUESTS"
            )
        self._taken += 1
        self._most_taken = max(self._most_taken, self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            if not self._taken and self._most_taken >= MANY:
                self._most_taken = 0
                asyncio.get_running_loop().call_soon(memory.give_back)

    async def run[T](
        self, request: Request, compute: Callable[[], T], finish: Callable[[T], T]
    ) -> T:
        """Call `compute` in its turn, and `finish` with its result after the turn.

        compute : must call `deadline.checkpoint` now and then
        finish : may wait, for a database for example: others compute in the meantime
        Raises ClientDisconnect if the client hangs up: then nothing is computed any more, and
        AudioTooLargeError if it takes longer than is allowed.
        """
        work = _Work(self._turns, self._max_s)
        if through_api_gateway(request.scope):  # one request at a time, and nobody hangs up
            return work.compute(compute, finish)
        hung_up = anyio.CancelScope()
        watching = asyncio.ensure_future(_watch(request, work, hung_up))
        try:
            with hung_up:
                async with self._begun:
                    await work.wait_for_turn()
                    try:
                        return await anyio.to_thread.run_sync(
                            partial(work.compute, compute, finish), limiter=self._threads
                        )
                    finally:
                        work.end_turn()
        finally:
            watching.cancel()
        raise ClientDisconnect


async def _watch(request: Request, work: "_Work", hung_up: anyio.CancelScope) -> None:
    """Wait until the client closes the connection. Then end the work, and the wait for a turn."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    work.is_abandoned = True
    hung_up.cancel()


class _Work:
    """One prediction: it waits in the event loop and computes in a thread."""

    def __init__(self, turns: anyio.CapacityLimiter, max_s: float) -> None:
        self.is_abandoned = False
        self._turns = turns
        self._max_s = max_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_turn = False
        self._turn_began = self._used_before = 0.0

    async def wait_for_turn(self) -> None:
        await self._turns.acquire_on_behalf_of(self)
        self._loop = asyncio.get_running_loop()
        self._has_turn, self._turn_began = True, time.monotonic()

    def end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turns.release_on_behalf_of(self)

    def compute[T](self, compute: Callable[[], T], finish: Callable[[T], T]) -> T:
        """Called in the thread."""
        self._used_before = time.thread_time()
        with deadline.checked(self._check):
            found = compute()
            if self._loop:
                self._loop.call_soon_threadsafe(self.end_turn)
            return finish(found)

    def _check(self) -> None:
        if self.is_abandoned:
            raise ClientDisconnect
        if time.thread_time() - self._used_before > self._max_s:
            raise AudioTooLargeError(
                f"the prediction takes more than {self._max_s:g} s of processor time, the limit set"
                f" by {SETTING}; send a shorter recording",
                setting=SETTING,
            )
        if deadline.remaining_s() <= 0:
            raise AudioTooLargeError(
                "the time of this request does not suffice for the recording; send a shorter one"
            )
        is_long = self._has_turn and time.monotonic() - self._turn_began > TURN_S
        if is_long and self._loop and self._turns.statistics().tasks_waiting:
            asyncio.run_coroutine_threadsafe(self._let_others(), self._loop).result()

    async def _let_others(self) -> None:
        self.end_turn()
        await self.wait_for_turn()
