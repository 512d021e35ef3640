"""A recording as the body of POST /predict-anomaly, with its own content type."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from functions.api.app import app, handler
from oddsound.http.recording import RAW_TYPES
from tests.cloud import LambdaContext
from tests.conftest import noise
from tests.functions.test_api import FAULTY, NORMAL, failed, wav
from tests.functions.test_api_gateway import http_event, rest_event


@pytest.fixture
def client(configured: Path) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def post(
    client: httpx2.Client, data: bytes, content_type: str = "audio/wav", **params: str
) -> httpx2.Response:
    headers = {"content-type": content_type}
    return client.post("/predict-anomaly", content=data, headers=headers, params=params)


@pytest.mark.parametrize(
    "content_type",
    ["audio/wav", "audio/x-wav", "Audio/FLAC; codecs=1", "application/octet-stream", *RAW_TYPES],
)
def test_a_raw_body_has_the_same_prediction_as_a_form(
    client: TestClient, content_type: str
) -> None:
    raw = post(client, FAULTY, content_type, model_name="bearing", explain="true").json()
    params = {"model_name": "bearing", "explain": "true"}
    form = client.post("/predict-anomaly", files={"file": FAULTY}, params=params).json()
    assert raw["prediction"] == "faulty"
    assert raw | {"latency_ms": 0} == form | {"latency_ms": 0}


def test_without_a_model_name_the_default_model_is_used(client: TestClient) -> None:
    assert post(client, NORMAL).json()["model_name"] == "fan"


@pytest.mark.parametrize(
    ("content_type", "found"),
    [
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("application/json", "'application/json'"),
        ("text/plain; charset=utf-8", "'text/plain'"),
        ("video/mp4", "'video/mp4'"),
        ("audio", "'audio'"),
    ],
)
def test_other_content_types_are_rejected(
    client: TestClient, content_type: str, found: str
) -> None:
    answer = post(client, NORMAL, content_type)
    words = (
        "multipart/form-data, audio/*, application/octet-stream",
        "curl --data-binary @fan.wav",
    )
    failed(answer, 415, "UnsupportedMediaType", f"Content-Type is {found}", *words)


@pytest.mark.parametrize(
    ("data", "params", "status", "error", "words"),
    [
        (b"", {}, 422, "InvalidAudioError", "empty"),
        (b"just a text", {}, 415, "UnsupportedAudioError", "WAV, FLAC"),
        (NORMAL[:44], {}, 422, "InvalidAudioError", "0 frames"),
        (NORMAL, {"model_name": "pump"}, 404, "UnknownModelError", "'pump'"),
        (NORMAL, {"explain": "perhaps"}, 422, "InvalidRequest", "explain"),
    ],
)
def test_the_errors_are_those_of_a_form(
    client: TestClient, data: bytes, params: dict[str, str], status: int, error: str, words: str
) -> None:
    failed(post(client, data, **params), status, error, words)


def test_the_limits_are_those_of_a_form(
    configured: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "50000")
    client = TestClient(app)  # raises what the service does not handle
    limited = post(client, wav(noise(1, 1.7)))
    failed(limited, 413, "AudioTooLargeError", "54,444 bytes", "limit is 50,000 bytes", "S3")
    unread = post(client, wav(noise(1, 60)))
    failed(unread, 413, "AudioTooLargeError", "more than 50,000 bytes", "S3")
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_the_schema_documents_both_kinds_of_body(client: TestClient) -> None:
    body = client.get("/openapi.json").json()["paths"]["/predict-anomaly"]["post"]["requestBody"]
    assert {"multipart/form-data", "audio/wav", *RAW_TYPES} <= set(body["content"])
    assert set(body["content"]["multipart/form-data"]["schema"]["properties"]) == {
        "file",
        "model_name",
        "machine",
        "recorded_at",
    }
    assert body["required"] is True


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("event", [rest_event, http_event])
def test_a_raw_body_through_api_gateway(event: Any) -> None:
    request = event("POST", "/predict-anomaly", FAULTY, {"model_name": "bearing"})
    for headers in (request["headers"], request.get("multiValueHeaders", {})):
        for name in headers:
            if name.lower() == "content-type":
                many = headers is not request["headers"]
                headers[name] = ["audio/wav"] if many else "audio/wav"
    answer = handler(request, LambdaContext())
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["prediction"]) == (200, "faulty"), body


@pytest.mark.parametrize("content_type", ["audio/wav", "multipart/form-data; boundary=x"])
def test_a_compressed_body_is_refused_by_name(client: TestClient, content_type: str) -> None:
    headers = {"content-type": content_type, "content-encoding": "gzip"}
    answer = client.post("/predict-anomaly", content=gzip.compress(NORMAL), headers=headers)
    assert answer.status_code == 415
    assert (
        answer.json()["detail"] == "Content-Encoding is 'gzip'; send the body without one, as it is"
    )
    headers["content-encoding"] = "identity"
    headers["content-type"] = "audio/wav"
    assert client.post("/predict-anomaly", content=NORMAL, headers=headers).status_code == 200
