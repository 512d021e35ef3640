"""Many requests at once, with uvicorn on 127.0.0.1: bounds, 503, hang-ups, long recordings."""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect

from functions.api.app import handler
from oddsound import deadline, pipeline, runtime
from oddsound.http import machines, predictions, recording, routes, spool
from oddsound.http.app import create_app
from oddsound.http.server import create_server
from oddsound_workbench.files import PROJECT
from tests.cloud import LambdaContext
from tests.conftest import noise
from tests.functions.test_api import NORMAL, wav
from tests.functions.test_api_gateway import rest_event

pytestmark = pytest.mark.slow

TIMEOUT_S = 30
BOUNDARY = "a-boundary"

type Predict = Callable[..., Any]


def form(content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


class Service:
    """A service with settings of its own, and how to send it recordings."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, content: bytes, media_type: str = "audio/wav") -> tuple[int, Any, Any]:
        """Status, headers and JSON; all of the body is sent before the answer is read."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("POST", "/predict-anomaly", content, {"Content-Type": media_type})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, answer.headers, body

    def begin(self, content: bytes, missing: int = 0) -> socket.socket:
        """Send a recording whose last bytes are missing, and wait for nothing."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        size = len(content) + missing
        head = f"POST /predict-anomaly HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
        connection.sendall(head.encode() + b"Content-Type: audio/wav\r\n\r\n" + content)
        return connection


@pytest.fixture
def service(
    configured: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The server of `oddsound serve` with one prediction at once; the parameter has settings."""
    for name, value in {"MAX_PREDICTIONS": "1", **getattr(request, "param", {})}.items():
        monkeypatch.setenv(name, value)
    runtime.clear()
    made: uvicorn.Server = create_server(create_app())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=made.run, args=([listener],))
        thread.start()
        yield Service(listener.getsockname()[1])
        made.should_exit = True
        thread.join(TIMEOUT_S)


def replaced(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[Predict, bytes], Any]) -> None:
    """Let `wrap(the real function, source)` compute predictions."""
    predict = pipeline.predict

    def wrapped(source: bytes, *arguments: Any, **options: Any) -> Any:
        return wrap(lambda: predict(source, *arguments, **options), source)

    monkeypatch.setattr(pipeline, "predict", wrapped)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("service", [{"MAX_WAITING_REQUESTS": "1"}], indirect=True)
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_past_the_bound_a_request_is_refused_and_may_be_sent_again(
    service: Service, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, proceed = threading.Event(), threading.Event()

    def held(predict: Predict, _: bytes) -> Any:
        begun.set()
        assert proceed.wait(TIMEOUT_S)
        return predict()

    replaced(monkeypatch, held)
    with ThreadPoolExecutor(2) as clients:
        computing = clients.submit(service.post, NORMAL)
        assert begun.wait(TIMEOUT_S)
        waiting = service.begin(NORMAL[:-1], missing=1)  # while it is sent, too
        refused: list[Any] = []

        def is_refused() -> bool:
            if not refused:
                status, headers, body = service.post(bytes(size), "audio/flac")
                if status == 503:
                    refused.append((headers, body))
            return bool(refused)

        until(is_refused)
        headers, body = refused[0]
        assert headers["Retry-After"] == "5"
        assert body["error"] == "ServiceUnavailable"
        assert "2 recordings" in body["detail"]
        assert "MAX_WAITING_REQUESTS" in body["detail"]
        proceed.set()
        assert computing.result()[0] == 200
        waiting.sendall(NORMAL[-1:])
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200")
        waiting.close()
    assert service.post(NORMAL)[0] == 200


def test_what_a_client_no_longer_waits_for_is_not_computed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bytes] = []
    ended: list[BaseException] = []

    def endless(predict: Predict, source: bytes) -> Any:
        if source == NORMAL:
            return predict()
        begun.append(source)
        try:
            while True:
                deadline.checkpoint()
                time.sleep(0.001)
        except BaseException as error:
            ended.append(error)
            raise

    replaced(monkeypatch, endless)
    computing = service.begin(b"computing")
    until(lambda: begun == [b"computing"])
    waiting = service.begin(b"waiting")
    waiting.close()
    computing.close()
    until(lambda: len(ended) == 1)
    assert isinstance(ended[0], ClientDisconnect)
    assert service.post(NORMAL)[0] == 200
    assert begun == [b"computing"]


def test_a_long_prediction_lets_short_ones_through(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one turn; the long one ends only after the short ones were answered."""
    monkeypatch.setattr(predictions, "TURN_S", 0.01)
    begun, answered = threading.Event(), threading.Event()

    def long(predict: Predict, source: bytes) -> Any:
        if source == b"long":
            begun.set()
            end = time.monotonic() + TIMEOUT_S
            while not answered.is_set() and time.monotonic() < end:
                deadline.checkpoint()
                time.sleep(0.001)
            assert answered.is_set()
        return predict()

    replaced(monkeypatch, long)
    with ThreadPoolExecutor(1) as clients:
        of_long = clients.submit(service.post, b"long")
        assert begun.wait(TIMEOUT_S)
        assert [service.post(NORMAL)[0] for _ in range(3)] == [200] * 3
        answered.set()
        assert of_long.result()[0] == 415  # b"long" is no recording


def test_a_slow_database_holds_up_no_prediction(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, proceed = threading.Event(), threading.Event()

    def slow(prediction: Any, sent: Any, asked: Any) -> Any:
        if sent.source == NORMAL:
            stored.set()
            assert proceed.wait(TIMEOUT_S)
        return machines.remembered(prediction, sent, asked)

    monkeypatch.setattr(routes, "remembered", slow)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(service.post, NORMAL)
        assert stored.wait(TIMEOUT_S)
        assert service.post(wav(noise(0, 2)))[0] == 200
        proceed.set()
        assert first.result()[0] == 200


@pytest.mark.parametrize("service", [{"MAX_PREDICTION_S": "0.001"}], indirect=True)
def test_a_prediction_has_a_budget_of_processor_time(service: Service) -> None:
    content = wav(noise(0, 60))
    for body, media_type in (
        (content, "audio/wav"),
        (form(content), f"multipart/form-data; boundary={BOUNDARY}"),
    ):
        status, _, answer = service.post(body, media_type)
        assert (status, answer["error"]) == (413, "AudioTooLargeError")
        assert "0.001 s of processor time" in answer["detail"]
        assert "MAX_PREDICTION_S" in answer["detail"]


@pytest.mark.parametrize("is_form", [False, True])
def test_a_large_recording_waits_on_the_disk(
    is_form: bool, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sources: list[Any] = []

    def noted(predict: Predict, source: bytes) -> Any:
        sources.append(source)
        return predict()

    replaced(monkeypatch, noted)
    content = wav(noise(0, 40))
    assert len(content) > spool.MEMORY_BYTES + recording.WRITE_BYTES
    media_type = f"multipart/form-data; boundary={BOUNDARY}" if is_form else "audio/wav"
    status, _, answer = service.post(form(content) if is_form else content, media_type)
    assert status == 200
    assert [type(source) for source in sources] == [type(tmp_path)]
    until(lambda: list(tmp_path.glob("oddsound-upload-*")) == [])
    model = runtime.registry().get()
    expected = json.loads(pipeline.predict(content, model, runtime.limits()).model_dump_json())
    assert answer | {"latency_ms": 0} == expected | {"latency_ms": 0}


def test_a_full_disk_is_answered_with_503(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    status, headers, answer = service.post(bytes(2_000_000))
    assert (status, answer["error"]) == (503, "ServiceUnavailable")
    assert headers["Retry-After"] == "5"
    assert "no space" in answer["detail"]
    assert str(tmp_path) not in answer["detail"]


def memory_mb(pid: int) -> float:
    (kb,) = (
        line.split()[1]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    return int(kb) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_uploads_wait_outside_the_memory_and_leave_none(configured: Path, tmp_path: Path) -> None:
    """48 uploads of 4 MB are all there but for their last byte."""
    count, size = 48, 4_000_000
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--http-only", "--json"]
    command += [
        "--port",
        "0",
        "--workers",
        "1",
        "--data",
        str(tmp_path),
        "--models",
        str(configured),
    ]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            service = Service(int(url.rpartition(":")[2]))
            assert service.post(NORMAL)[0] == 200
            before = memory_mb(process.pid)
            connections = [service.begin(bytes(size - 1), missing=1) for _ in range(count)]
            waiting = memory_mb(process.pid) - before
            for connection in connections:
                connection.sendall(b"\0")
            answers = [connection.recv(1000) for connection in connections]
            after = memory_mb(process.pid) - before
            for connection in connections:
                connection.close()
        finally:
            process.terminate()
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 415"}
    assert waiting < 0.4 * count * size / 1e6
    assert after < 0.15 * count * size / 1e6


def raw_event(content: bytes) -> dict[str, Any]:
    event = rest_event("POST", "/predict-anomaly", content)
    event["headers"]["Content-Type"] = "audio/wav"
    event["multiValueHeaders"]["Content-Type"] = ["audio/wav"]
    return event


def test_on_lambda_nothing_waits_and_nothing_is_stored(
    configured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    threads: list[int] = []

    def noted(predict: Predict, source: bytes) -> Any:
        assert source == content
        threads.append(threading.get_ident())
        return predict()

    replaced(monkeypatch, noted)
    content = wav(noise(0, 40))
    answer = handler(raw_event(content), LambdaContext())
    assert answer["statusCode"] == 200
    assert threads == [threading.get_ident()]


def test_on_lambda_a_prediction_ends_before_its_invocation(configured: Path) -> None:
    answer = handler(raw_event(NORMAL), LambdaContext(lambda: 900))
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["error"]) == (413, "AudioTooLargeError")
    assert "time" in body["detail"]
