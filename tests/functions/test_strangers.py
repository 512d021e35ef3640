"""What strangers learn from answers, and where what they send ends up."""

import json
import logging
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler as on_upload
from functions.sqs_trigger.app import handler as on_batch
from oddsound import logs, runtime
from oddsound.errors import ModelArtifactError, ModelsConfigError, StorageError
from oddsound.http.errors import public
from oddsound.http.headers import HEADERS
from tests.cloud import (
    FAULTY,
    INPUT,
    MODELS,
    NORMAL,
    Cloud,
    LambdaContext,
    batch,
    measured,
    notification,
    refuse,
)
from tests.functions.test_api import failed

pytestmark = pytest.mark.slow

AWS_SAYS = (
    "User: arn:aws:sts::123456789012:assumed-role/audio-anomaly-dev-ApiRole-1A2B/api is not"
    " authorized to perform: s3:ListBucket on resource: arn:aws:s3:::audio-anomaly-dev-results"
)
HOSTILE = {
    "ansi": "\x1b[2J\x1b]0;owned\x07",
    "crlf": "fan\r\nSet-Cookie: owned=1\r\n\r\n<html>",
    "html": "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
    "traversal": "../../../models-here/models.json",
    "bidi": "fan\u202egnp.wav",
    "null": "fan\x00.wav",
    "ansi in 8 bits": "\x9b2J\x7f.wav",
}


@pytest.fixture
def client(cloud: Cloud) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def names_of_aws(text: str) -> list[str]:
    return [name for name in ("123456789012", "arn:", "Role", "results-out") if name in text]


def test_an_answer_contains_no_message_or_name_of_aws(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(runtime.s3_client(), "GetObject", 403, "AccessDenied", message=AWS_SAYS)
    answer = client.get("/results/fan.wav")
    failed(answer, 503, "StorageError", "the storage of the service failed; try again later")
    assert answer.headers["retry-after"] == "5"
    assert names_of_aws(answer.text) == []
    assert AWS_SAYS in caplog.text
    failed(client.get("/health/ready"), 503, "StorageError")
    assert names_of_aws(client.get("/health/ready").text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://models-123456789012-eu/fan/a.npz: no such object", "s3://.../fan/a.npz: no such"),
        (f"not loaded: {AWS_SAYS}", "User: (a name of AWS) is not authorized"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t: no such topic", "(a name of AWS) no such"),
        ("account 123456789012 is unknown", "account (a name of AWS) is unknown"),
    ],
)
def test_names_of_aws_are_left_out_of_what_a_client_is_told(text: str, expected: str) -> None:
    for error in (ModelArtifactError(text), ModelsConfigError(text), text):
        assert expected in public(error)
        assert names_of_aws(public(error)) == []
    assert names_of_aws(public(StorageError(text))) == []


def test_why_a_new_models_json_is_not_used_contains_no_bucket(
    client: TestClient, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_REFRESH_S", "0")
    runtime.clear()
    assert client.get("/models").json()["config_error"] is None
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=b"{")
    reason = client.get("/models").json()["config_error"]
    assert reason.startswith("s3://.../models.json is not JSON")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/models", 200),
        ("GET", "/ui", 200),
        ("GET", "/ui/app.js", 200),
        ("GET", "/nowhere", 404),
        ("PATCH", "/models", 405),
        ("POST", "/predict-anomaly", 415),
        ("POST", "/uploads", 422),
    ],
)
def test_every_answer_has_security_headers(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(map(str.lower, HEADERS)) <= set(answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "strict-transport-security" not in answer.headers
    by_https = TestClient(app, base_url="https://api.example").request(method, path)
    assert by_https.headers["strict-transport-security"] == "max-age=31536000"


def test_a_refused_upload_and_a_defect_have_them_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1000")
    runtime.clear()
    too_large = client.post("/predict-anomaly", files={"file": NORMAL * 2})
    assert (too_large.status_code, too_large.headers["cache-control"]) == (413, "no-store")

    def defect() -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(runtime, "registry", defect)
    answer = client.get("/models")
    assert (answer.status_code, answer.headers["x-frame-options"]) == (500, "DENY")


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_what_a_client_sends_comes_back_only_as_json(client: TestClient, hostile: str) -> None:
    files = {"file": (hostile, NORMAL)}
    answers: list[httpx2.Response] = [
        client.post("/predict-anomaly", files=files, params={"model_name": hostile}),
        client.post("/predict-anomaly", files=files, data={"model_name": hostile}),
        client.post("/uploads", json={"filename": hostile}),
        client.post("/uploads", json={"filename": "a.wav", "model_name": hostile}),
        client.get("/results/fan.wav", params={"model_name": hostile}),
        client.get("/models", params={hostile: hostile}),
    ]
    for answer in answers:
        assert answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert "set-cookie" not in answer.headers
        assert not [char for char in answer.text if unicodedata.category(char) == "Cc"]
        answer.json()


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_log_line_is_one_line_of_printable_characters(hostile: str) -> None:
    line = logs.JsonLine().format(
        logging.makeLogRecord({"msg": "%s: %s", "args": ("failed", hostile), "levelname": "ERROR"})
    )
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(line)["message"] == f"failed: {hostile}"


def test_the_traceback_of_a_defect_is_part_of_its_line() -> None:
    try:
        raise ZeroDivisionError("\x1b[2J")
    except ZeroDivisionError as error:
        record = logging.makeLogRecord({"msg": "defect", "exc_info": (type(error), error, None)})
    line = logs.JsonLine().format(record)
    assert line.isprintable()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_the_library_writes_its_own_log_only_if_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = logging.getLogger("oddsound")
    before, level = list(library.handlers), library.level
    try:
        logs.write_to_stderr("INFO")  # pytest has handlers of its own
        assert library.handlers == before
        monkeypatch.setattr(library, "propagate", False)
        library.handlers = []
        logs.write_to_stderr("INFO")
        logs.write_to_stderr("INFO")
        (handler,) = library.handlers
        assert isinstance(handler.formatter, logs.JsonLine)
    finally:
        library.handlers, library.level = before, level


def test_a_key_that_climbs_stays_below_the_results(cloud: Cloud) -> None:
    config = cloud.s3.get_object(Bucket=MODELS, Key="models.json")["Body"].read()
    key = "../../models-here/models.json"
    result = runtime.jobs().process(cloud.put(key, FAULTY))
    assert result.status == "succeeded"
    assert cloud.results() == [f"results/fan/{key}.json"]
    assert cloud.s3.get_object(Bucket=MODELS, Key="models.json")["Body"].read() == config


def test_names_of_models_that_a_sender_makes_up_are_no_metrics_of_their_own(
    cloud: Cloud, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """Each new value of a dimension is a metric that costs money."""
    there = cloud.put("fan.wav", NORMAL)
    jobs = [
        {"bucket": INPUT, "key": there.key, "model_name": "made-up-1"},
        {"bucket": INPUT, "key": "gone.wav", "model_name": "made-up-2"},
    ]
    assert on_batch(batch(*jobs), LambdaContext()) == {"batchItemFailures": []}
    logged = lines()
    assert measured(logged, "FailedJobs", "unknown") == [1, 1]
    assert not {"made-up-1", "made-up-2"} & {
        str(line.get("model")) for line in logged if "_aws" in line
    }


def test_the_service_needs_no_bucket_to_answer_strangers(configured: Path) -> None:
    answer = TestClient(app, raise_server_exceptions=False).get("/results/fan.wav")
    failed(answer, 501, "NotConfiguredError", "RESULTS_BUCKET")


UNSEEN = ["\x1b[31m", "\x9b31m", "\u202egnp.exe", "\u2028", "\x7f", "\u200b", "\r\nSet-Cookie: x=1"]
"""What a terminal obeys or hides: ANSI in 7 and in 8 bits, right to left, line breaks, no width."""


@pytest.mark.parametrize("text", UNSEEN)
def test_errors_repeat_printable_characters_only(configured: Path, text: str) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    file = ("fan.wav", NORMAL)
    answers = [
        client.get("/models", params={text: "x"}),
        client.get(f"/{quote(text)}"),
        client.get(f"/results/{quote(text)}", params={"model_name": text}),
        client.get(f"/machines/{quote(text)}"),
        client.post("/predict-anomaly", params={"model_name": text}, files={"file": file}),
        client.post("/predict-anomaly", data={"machine": text}, files={"file": file}),
        client.post("/predict-anomaly", data={"recorded_at": text}, files={"file": file}),
        client.post("/predict-anomaly", files={"file": file, f"a{text}": file}),
        client.post("/predict-anomaly", content=b"x", headers={b"content-type": b"text/\x9b"}),
        client.post("/uploads", json={"filename": f"fan{text}.exe", text: 1}),
    ]
    for answer in answers:
        assert 400 <= answer.status_code <= 501
        body = answer.json()
        assert set(body) == {"error", "detail"}
        assert body["detail"].isprintable(), answer.request.url


def test_a_key_comes_back_without_control_characters(cloud: Cloud) -> None:
    key = "\x9b2J\x7f.wav"
    on_upload(notification(cloud.put(key, NORMAL)), LambdaContext())
    answer = TestClient(app).get(f"/results/{quote(key)}")
    assert answer.json()["key"] == key
    assert answer.text.isprintable()


@pytest.mark.parametrize(
    ("content", "content_type", "words"),
    [
        (b"", "application/json", "the request has no body"),
        (b"[]", "application/json", "the body is not a JSON object"),
        (b"{}", "text/plain", "Content-Type is 'text/plain'; the body needs application/json"),
        (b"{}", "", "Content-Type is missing; the body needs application/json"),
        (b'{"filename": "a.wav", "modell": 1}', "application/json", "modell: is not known"),
    ],
)
def test_a_body_that_cannot_be_used_says_what_is_expected(
    configured: Path, content: bytes, content_type: str, words: str
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = TestClient(app).post("/uploads", content=content, headers=headers)
    failed(answer, 422, "InvalidRequest", words)


def test_a_key_may_contain_line_breaks(cloud: Cloud) -> None:
    for key in ("a\nb.wav", "hall-3/pump\r\n07/fan.wav", "fan.wav\n"):
        on_upload(notification(cloud.put(key, NORMAL)), LambdaContext())
        answer = TestClient(app).get(f"/results/{quote(key)}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["key"] == key


@pytest.mark.parametrize("path", ["/uploads", "/results/x/review", "/machines/x/snooze"])
def test_json_that_is_nested_too_deeply_is_an_invalid_request(configured: Path, path: str) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    deep = b"[" * 200_000
    answer = client.post(path, content=deep, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    expected = "the body cannot be used: it is nested deeper than 50 levels; "
    assert answer.json()["detail"].startswith(expected)
