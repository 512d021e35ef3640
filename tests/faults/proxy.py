"""An HTTP proxy in front of moto's server that breaks chosen requests."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What moto answered, or what a fault answers in its place."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client; `proxy` is set by the class that `running` makes."""

    protocol_version = "HTTP/1.1"
    proxy: "Proxy"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client has left, or a fault has closed the connection
            self.close_connection = True

    def _exchange(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self.headers.get("X-Amz-Target", "")
        fault = self.proxy.fault_for(self.command, self.path, operation, self.body)
        if fault is None:
            self.answer(self.forward())
        else:
            fault(self)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _exchange  # noqa: N815

    def forward(self) -> Answer:
        """Let moto answer. One request at a time: then conditional writes are atomic, as S3's."""
        with self.proxy.forwarding:
            target = urlsplit(self.proxy.target)
            connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=30)
            try:
                connection.request(self.command, self.path, self.body, dict(self.headers.items()))
                got = connection.getresponse()
                return Answer(got.status, got.getheaders(), got.read())
            finally:
                connection.close()

    def answer(self, answer: Answer, share: float = 1) -> None:
        """Send an answer. share : of the body that is sent; below 1, the connection then breaks."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = {n.lower(): v for n, v in answer.headers}.get("content-length")
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: round(share * len(answer.body))])
        if share < 1:
            self.reset()

    def reset(self) -> None:
        """Break the connection, so that the client sees "connection reset by peer"."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


type Fault = Callable[[Exchange], None]


def reset(exchange: Exchange) -> None:
    """The connection breaks before the request has any effect."""
    exchange.reset()


def lost_answer(exchange: Exchange) -> None:
    """The request has its effect, but the connection breaks before the answer."""
    exchange.forward()
    exchange.reset()


def half_body(exchange: Exchange) -> None:
    """The connection breaks in the middle of the answer's body."""
    exchange.answer(exchange.forward(), share=0.5)


def silence(exchange: Exchange) -> None:
    """Nothing is answered until the test ends."""
    exchange.proxy.ended.wait(60)
    exchange.reset()


def refusal(status: int, body: bytes = b"", content_type: str = "application/xml") -> Fault:
    """An answer in place of moto's."""
    return lambda exchange: exchange.answer(Answer(status, [("Content-Type", content_type)], body))


@dataclass
class _Rule:
    method: str
    part: str
    fault: Fault
    left: int


@dataclass
class Proxy:
    """The running proxy. requests : method and path of each request, in order."""

    target: str
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    forwarding: threading.Lock = field(default_factory=threading.Lock)
    _rules: list[_Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, method: str, part: str, fault: Fault, times: int = 1) -> None:
        """Break the next `times` requests whose path, operation or short body contains `part`."""
        with self._lock:
            self._rules.append(_Rule(method, part, fault, times))

    def heal(self) -> None:
        """Break nothing more."""
        with self._lock:
            self._rules.clear()

    def fault_for(self, method: str, path: str, operation: str, body: bytes) -> Fault | None:
        """The fault of a request, which is counted."""
        text = f"{path} {operation} " + ("" if len(body) > 10_000 else body.decode("latin-1"))
        with self._lock:
            self.requests.append((method, path))
            for rule in self._rules:
                if rule.left and rule.method == method and rule.part in text:
                    rule.left -= 1
                    return rule.fault
        return None


@contextmanager
def running(target: str) -> Iterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 in front of `target`."""
    proxy = Proxy(target)
    handler = type("Bound", (Exchange,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        server.server_close()
