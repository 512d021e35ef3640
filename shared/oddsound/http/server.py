"""uvicorn as `oddsound serve` runs it: half-sent requests are closed in time."""

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADER_TIMEOUT_S = 10
"""Seconds for the head of a request, from the connection or from its first byte on."""

MAX_HEAD_BYTES = 1 << 19
"""Bytes of a request line and its headers that are kept. asyncio passes on up to 2^18 at once,
which may begin with the end of another request."""


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # one of two classes
    """uvicorn's protocol, with limits for the head of a request: it has none for its time, and only
    with h11 one for its size.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio when a client connects."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what arrived."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        if self._has_no_request():
            self._start()
        else:
            self._stop()

    def on_message_begin(self) -> None:
        """Called by httptools."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self._in_head = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection has ended."""
        self._stop()
        super().connection_lost(exc)

    def _has_no_request(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse_head(self) -> None:
        if self.transport.is_closing():
            return
        if self._has_no_request():
            self.send_400_response(f"The headers have more than {MAX_HEAD_BYTES:,} bytes.")
        else:  # the answer to the request before them is still being written
            self.transport.close()

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
    return uvicorn.Server(config_of(app))


def config_of(app: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves this app."""
    return uvicorn.Config(app, log_level="warning", lifespan="off", http=PatientProtocol)
