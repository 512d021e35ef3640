"""TCP_NODELAY for every connection: small answers are sent at once, not 40 ms later.

asyncio sets it only if a socket names its protocol (IPPROTO_TCP). Sockets made by
`socket.create_server` and by `uvicorn --workers` name none, and neither do the connections that
they accept; Nagle's algorithm and delayed acknowledgements then wait for each other.
"""

import asyncio.base_events
import socket
from collections.abc import Callable

NAME = "_set_nodelay"
"""The function of asyncio that is called for each connection. It is private: if it is missing,
nothing is changed."""

FAMILIES = (socket.AF_INET, socket.AF_INET6)


def always() -> None:
    """Make asyncio set it for every TCP socket of this process."""
    original: Callable[[socket.socket], None] | None
    original = getattr(asyncio.base_events, NAME, None)
    if original is None or original.__module__ == __name__:
        return

    def set_nodelay(sock: socket.socket) -> None:
        if sock.family in FAMILIES and sock.type == socket.SOCK_STREAM and sock.proto == 0:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        else:
            original(sock)

    setattr(asyncio.base_events, NAME, set_nodelay)
