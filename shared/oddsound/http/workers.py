"""A service of several processes: this one accepts the connections and hands them over.

Each goes to the process that has the fewest, so that clients that connect at the same time use all
cores. If the processes accepted by themselves, one of them could take all of them.
"""

import logging
import multiprocessing
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from socket import send_fds, socket, socketpair
from typing import Any

from oddsound.http import messages, series

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
"""How a process is started. A fork server imports once what all of them need, in memory that they
share. Other systems have libraries that cannot be forked."""

PRELOADED = ("oddsound.http.worker", "oddsound.pipeline", "prometheus_client")

TICK_S = 0.2
"""Seconds after which a signal is noticed."""

RESTART_EVERY_S = 1.0
"""Seconds between two starts of processes that replace others."""

PING_EVERY_S = 10
HEALTH_TIMEOUT_S = 30
"""Seconds after which a process whose event loop does not answer is replaced."""

ACCEPTED_AT_ONCE = 64
STARTUP_FAILURE = 3
"""Exit code if the first process ends before it can serve."""

logger = logging.getLogger("oddsound.workers")


class _Worker:
    """What the parent knows of a process.

    connections : that it was given and that have not ended
    asked_at : when it was asked whether it is alive; None if it has answered
    """

    def __init__(self, processes: int) -> None:
        context: Any = multiprocessing.get_context(METHOD)
        context.set_forkserver_preload(["__main__", *PRELOADED])
        self.channel, theirs = socketpair()
        self.channel.setblocking(False)
        self.process = context.Process(target=_serve, args=(theirs, processes))
        with theirs:
            self.process.start()
        self.is_ready = False
        self.connections = 0
        self.heard_at = time.monotonic()
        self.asked_at: float | None = None

    def take(self, connection: socket) -> bool:
        """Give it a connection. Returns False if it does not read, or has ended."""
        try:
            send_fds(self.channel, [messages.CONNECTION], [connection.fileno()])
        except OSError:
            return False
        self.connections += 1
        return True

    def hear(self) -> bool:
        """Read what it says. Returns False if it has ended."""
        try:
            said = self.channel.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.heard_at, self.asked_at = time.monotonic(), None
        self.is_ready = (self.is_ready or messages.READY in said) and messages.LEAVING not in said
        self.connections -= said.count(messages.CLOSED)
        return bool(said)

    def check(self) -> None:
        """Ask now and then whether it is alive; kill it if there was no answer for too long."""
        now = time.monotonic()
        if self.asked_at is None:
            if self.is_ready and now - self.heard_at > PING_EVERY_S:
                self.asked_at = now
                try:
                    self.channel.send(messages.PING)
                except OSError:  # its channel is full; what it says next counts as an answer
                    return
        elif now - self.asked_at > HEALTH_TIMEOUT_S:
            logger.error("process %s does not answer", self.process.pid)
            self.process.kill()


def _serve(channel: socket, processes: int) -> None:
    from oddsound.http import worker  # not for the parent, which needs no FastAPI

    worker.run(channel, processes)


class Workers:
    """So many processes that serve what one socket accepts."""

    def __init__(self, count: int, listener: socket) -> None:
        self._count, self._listener = count, listener
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._may_start_at = 0.0
        self._was_ready = self._is_accepting = self._is_stopping = False

    def run(self) -> None:
        """Serve until Ctrl-C or SIGTERM. A process that ends is replaced.

        What has begun is answered before the end, unless a second signal comes. Raises SystemExit
        if no process can be started.
        """
        self._listener.setblocking(False)
        with self._signals(), self._selector:
            try:
                self._start_all()
                while not self._is_stopping:
                    self._step()
            finally:
                self._stop()

    def _start_all(self) -> None:
        try:
            for _ in range(self._count):
                self._start()
        except (OSError, EOFError) as error:  # EOFError: the fork server has ended
            logger.error("a process cannot be started: %s", error or "its imports failed")
            sys.exit(STARTUP_FAILURE)

    def _step(self) -> None:
        found = self._selector.select(TICK_S)
        ended = [key.data for key, _ in found if key.data and not key.data.hear()]
        for each in ended:
            self._replace(each)
        self._listen()
        if self._is_accepting and any(key.data is None for key, _ in found):
            self._accept()
        for each in self._workers:
            each.check()
        if len(self._workers) < self._count and time.monotonic() >= self._may_start_at:
            try:
                self._start()
            except (OSError, EOFError) as error:  # such as too little memory; it is tried again
                logger.error("a process cannot be started: %s", error)

    def _start(self) -> None:
        self._may_start_at = time.monotonic() + RESTART_EVERY_S
        started = _Worker(self._count)
        self._workers.append(started)
        self._selector.register(started.channel, selectors.EVENT_READ, started)

    def _replace(self, ended: _Worker) -> None:
        self._workers.remove(ended)
        self._end(ended)
        if self._is_stopping:
            return
        if not (self._was_ready or ended.is_ready):
            logger.error("process %s ended before it could serve", ended.process.pid)
            sys.exit(STARTUP_FAILURE)
        logger.error(
            "process %s ended with %s; its %d connections are closed, and another one starts",
            *(ended.process.pid, ended.process.exitcode, ended.connections),
        )

    def _end(self, ended: _Worker) -> None:
        self._selector.unregister(ended.channel)
        ended.channel.close()
        if not self._is_stopping:
            ended.process.kill()
        ended.process.join()
        series.forget_process(ended.process.pid)

    def _listen(self) -> None:
        """Accept connections only while a process can take them; others wait in the system."""
        can_accept = any(each.is_ready for each in self._workers)
        self._was_ready = self._was_ready or can_accept
        if can_accept and not self._is_accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._is_accepting and not can_accept:
            self._selector.unregister(self._listener)
        self._is_accepting = can_accept

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # such as too many open files
                logger.error("a connection cannot be accepted: %s", error)
                time.sleep(TICK_S)
                return
            with connection:
                ready = [each for each in self._workers if each.is_ready]
                for each in sorted(ready, key=lambda each: each.connections):
                    if each.take(connection):
                        break

    def _stop(self) -> None:
        """Let the processes answer what has begun, and wait for their end."""
        self._is_stopping = True
        self._listener.close()
        for each in self._workers:
            each.channel.close()
        for each in self._workers:
            each.process.join()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        with ExitStack() as stack:
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self._on_signal)
                stack.callback(signal.signal, number, before)
            yield

    def _on_signal(self, *_: Any) -> None:
        if self._is_stopping:  # the second one
            for each in self._workers:
                each.process.kill()
        self._is_stopping = True
