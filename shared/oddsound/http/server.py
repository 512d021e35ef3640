"""uvicorn as `oddsound serve` runs it: half-sent requests are closed in time."""

import asyncio
import multiprocessing
import os
import signal
import threading
from socket import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_TIMEOUT_S = 10
"""Seconds for the head of a request, from the connection or from its first byte on."""


HEALTH_TIMEOUT_S = 30
"""Seconds after which a worker that does not answer its parent is started again."""


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # one of two classes
    """uvicorn's protocol; it has no limit for the head of a request, only between requests."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio when a client connects."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what arrived."""
        super().data_received(data)
        if self._has_no_request():
            self._start()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection has ended."""
        self._stop()
        super().connection_lost(exc)

    def _has_no_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._has_no_request() and not self.transport.is_closing():
            self.transport.close()


def create_server(app: ASGIApp) -> uvicorn.Server:
    """A server that logs warnings only. Needs the extra `serve`."""
    config = uvicorn.Config(app, log_level="warning", lifespan="off", http=PatientProtocol)
    return uvicorn.Server(config)


def run_workers(count: int, listener: socket) -> None:
    """Serve with so many processes until Ctrl-C or SIGTERM; one that ends is started again.

    Each makes its app from the environment. In one process, Python lets little more than one core
    compute.
    """
    from uvicorn.supervisors import Multiprocess

    config = uvicorn.Config(
        "oddsound.http.app:create_worker",
        factory=True,
        workers=count,
        log_level="warning",
        lifespan="off",
        http=PatientProtocol,
        timeout_worker_healthcheck=HEALTH_TIMEOUT_S,
    )
    Multiprocess(config, sockets=[listener]).run()


def end_with_parent() -> None:
    """End this worker in order if its parent was killed; nobody else would."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
