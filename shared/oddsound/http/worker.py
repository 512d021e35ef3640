"""One of the processes that serve together. http/workers.py starts it and gives it connections."""

import asyncio
import threading
from contextlib import suppress
from socket import recv_fds, socket

import uvicorn

from oddsound import runtime
from oddsound.errors import AudioAnomalyError
from oddsound.http.app import create_app
from oddsound.http.messages import ALIVE, CLOSED, LEAVING, PING, READY
from oddsound.http.server import PatientProtocol, config_of


def run(channel: socket, processes: int) -> None:
    """Serve until the other end of `channel` is closed, which also happens if the parent is killed.

    processes : that serve together, this one included
    """
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches all processes; uvicorn raises it again
        app = create_app(processes)
        threading.Thread(target=_load_default_model, daemon=True).start()
        Worker(config_of(app), channel).run()


def _load_default_model() -> None:
    """So that the first request of each process is as fast as the others."""
    from oddsound import pipeline  # noqa: F401  most of what a first prediction imports

    with suppress(AudioAnomalyError):  # the request that needs the model gets the reason
        runtime.registry().get()


class _Connection(PatientProtocol):
    """A connection that tells its worker when it has ended."""

    worker: "Worker"

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection has ended."""
        super().connection_lost(exc)
        self.worker.tell(CLOSED)


class Worker(uvicorn.Server):
    """uvicorn's server, but it listens nowhere: its connections arrive over a socket."""

    def __init__(self, config: uvicorn.Config, channel: socket) -> None:
        super().__init__(config)
        channel.setblocking(False)
        self._channel = channel
        self._unsent = b""
        self._opening = set[asyncio.Task[None]]()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().startup(sockets=[])
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self.tell(READY)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Called by uvicorn."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self.tell(LEAVING)
        await super().shutdown(sockets)

    def tell(self, message: bytes) -> None:
        """Send a message to the parent, or later, if it does not read now."""
        self._unsent += message
        with suppress(OSError):  # it does not read, or has ended; `_receive` sees the latter
            self._unsent = self._unsent[self._channel.send(self._unsent) :]

    def _receive(self) -> None:
        try:
            message, descriptors, _, _ = recv_fds(self._channel, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            asyncio.get_running_loop().remove_reader(self._channel)
            self.should_exit = True
        elif message == PING:
            self.tell(ALIVE)
        for descriptor in descriptors:
            task = asyncio.ensure_future(self._open(socket(fileno=descriptor)))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket) -> None:
        loop = asyncio.get_running_loop()
        connection = _Connection(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=loop,
        )
        connection.worker = self
        await loop.connect_accepted_socket(lambda: connection, accepted)
