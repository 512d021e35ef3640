"""What the service does with connections: HEAD, small answers at once."""

import asyncio
import socket
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import app, handler
from oddsound.http import nodelay
from tests.cloud import LambdaContext
from tests.functions.test_api import failed
from tests.functions.test_api_gateway import rest_event


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

    assert asyncio.run(serve_one()) != 0
