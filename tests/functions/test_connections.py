"""What the service does with connections: HEAD, small answers at once, slow and half requests."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import app, handler
from oddsound import pipeline, runtime
from oddsound.http import nodelay, server
from tests.cloud import LambdaContext
from tests.functions.test_api import NORMAL, failed
from tests.functions.test_api_gateway import rest_event

pytestmark = pytest.mark.slow


@pytest.fixture
def client(configured: Path) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("path", ["/", "/health/ready", "/models", "/openapi.json", "/ui/app.js"])
def test_head_is_answered_as_get_without_the_body(client: TestClient, path: str) -> None:
    by_get, by_head = client.get(path), client.head(path)
    assert by_head.status_code == by_get.status_code == 200
    assert by_head.content == b""
    assert by_head.headers["content-length"] == str(len(by_get.content))
    assert set(by_head.headers) == set(by_get.headers)


def test_head_of_what_get_does_not_have_is_refused_without_a_body(client: TestClient) -> None:
    failed(client.get("/predict-anomaly"), 405, "MethodNotAllowed")
    for path, status in (("/predict-anomaly", 405), ("/nowhere", 404)):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (status, b"")


def test_head_is_answered_behind_api_gateway_too(configured: Path) -> None:
    answer = handler(rest_event("HEAD", "/"), LambdaContext())
    assert (answer["statusCode"], answer["body"]) == (200, "")


@pytest.mark.parametrize("kind", ["workers", "create_server"])
def test_every_connection_sends_small_answers_at_once(kind: str) -> None:
    """The sockets of `uvicorn --workers` and of `oddsound serve` name no protocol."""
    if kind == "workers":
        listener = uvicorn.Config(app, port=0, log_level="warning").bind_socket()
    else:
        listener = socket.create_server(("127.0.0.1", 0))
    assert listener.proto == 0
    nodelay.always()

    async def serve_one() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(on_connection, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            option = await asyncio.wait_for(found, 10)
            writer.close()
            await writer.wait_closed()
            return option

    # In a thread: afterwards, asyncio.run leaves none of the loops that Mangum asks for.
    options: list[int] = []
    thread = threading.Thread(target=lambda: options.append(asyncio.run(serve_one())))
    thread.start()
    thread.join(30)
    assert options
    assert options[0] != 0


@pytest.fixture
def port(configured: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of the server of `oddsound serve`, which is quickly tired of waiting."""
    monkeypatch.setenv("BODY_TIMEOUT_S", "0.3")
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.3)
    runtime.clear()
    made = server.create_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=made.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        made.should_exit = True
        thread.join(30)


def exchange(port: int, *parts: bytes) -> bytes:
    """What the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer


HEAD_OF_A_FORM = (
    b"POST /predict-anomaly HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
START_OF_A_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
)
HEAD_OF_A_RECORDING = HEAD_OF_A_FORM.replace(b"multipart/form-data; boundary=b", b"audio/wav")


@pytest.mark.parametrize(
    ("head", "body"),
    [(HEAD_OF_A_FORM, b""), (HEAD_OF_A_FORM, START_OF_A_FORM), (HEAD_OF_A_RECORDING, b"RIFF")],
)
def test_a_request_whose_body_stops_arriving_is_answered_and_closed(
    port: int, head: bytes, body: bytes
) -> None:
    answer = exchange(port, head, body)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close\r\n" in answer.lower()
    assert f"stopped arriving after {len(body):,} bytes".encode() in answer
    assert b"BODY_TIMEOUT_S" in answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHos"])
def test_a_connection_without_a_complete_head_is_closed(port: int, sent: bytes) -> None:
    assert exchange(port, sent) == b""


@pytest.mark.parametrize(
    ("before", "answers"),
    [(b"", [b"400"]), (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [b"200", b"400"])],
)
@pytest.mark.parametrize("start", [b"X: ", b"X: a\r\n"])
def test_headers_without_end_are_refused(
    port: int, before: bytes, answers: list[bytes], start: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        answer = b""
        if before:
            connection.sendall(before)
            answer += connection.recv(65536)
        sent, part = 0, (start * 65536)[:65536]
        connection.sendall(b"GET / HTTP/1.1\r\n" + start)
        with suppress(ConnectionError):
            while sent < 100 * server.MAX_HEAD_BYTES:
                connection.sendall(part if start.endswith(b"\n") else b"a" * 65536)
                sent += len(part)
            pytest.fail("the server reads headers without end")
        with suppress(ConnectionError):
            while more := connection.recv(65536):
                answer += more
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) in (answers, answers[:-1])  # or a reset


def test_large_headers_are_read(port: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"a" * 30_000 + b"\r\n\r\n"
    assert exchange(port, head).startswith(b"HTTP/1.1 200")


def test_a_second_request_on_a_connection_may_not_stop_in_its_head_either(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /models HTT")
        while more := connection.recv(65536):  # the rest of the first answer, then the end
            assert b"HTTP/1.1" not in more


def test_a_prediction_may_take_longer_than_the_timeouts(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is waited for from the client is limited."""
    predict = pipeline.predict

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.8)
        return predict(*arguments, **options)

    monkeypatch.setattr(pipeline, "predict", slow)
    head = HEAD_OF_A_RECORDING.replace(b"5000", str(len(NORMAL)).encode())
    head = head.replace(b"Host: x", b"Host: x\r\nConnection: close")
    assert exchange(port, head, NORMAL).startswith(b"HTTP/1.1 200")
