"""The same routes through `handler`, with events of API Gateway's REST (v1) and HTTP (v2) APIs."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.api.app import handler
from oddsound import pipeline, runtime
from tests.cloud import LambdaContext
from tests.functions.test_api import FAULTY, NORMAL

BOUNDARY = "----recording-of-a-fan"


def multipart(data: bytes, **fields: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="fan.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return b"".join([*parts, head.encode(), data, f"\r\n--{BOUNDARY}--\r\n".encode()])


def rest_event(
    method: str, path: str, body: bytes | None = None, query: dict[str, str] | None = None
) -> dict[str, Any]:
    """An event of a REST API with multipart/form-data as a binary media type."""
    headers = {
        "Accept": "*/*",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Host": "abc123.execute-api.eu-central-1.amazonaws.com",
        "X-Forwarded-Proto": "https",
    }
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {k: [v] for k, v in query.items()},
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": f"/prod{path}",
            "stage": "prod",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "apiId": "abc123",
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "curl/8.5.0"},
        },
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def http_event(
    method: str, path: str, body: bytes | None = None, query: dict[str, str] | None = None
) -> dict[str, Any]:
    """An event of an HTTP API, payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": {
            "content-type": f"multipart/form-data; boundary={BOUNDARY}",
            "host": "abc123.execute-api.eu-central-1.amazonaws.com",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": query or {},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


pytestmark = [
    pytest.mark.usefixtures("configured"),
    pytest.mark.parametrize("event", [rest_event, http_event]),
]


def call(event: dict[str, Any]) -> tuple[int, Any]:
    answer = handler(event, LambdaContext())
    assert answer["isBase64Encoded"] is False
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.parametrize(("data", "verdict"), [(NORMAL, "normal"), (FAULTY, "anomaly")])
def test_a_prediction(event: Any, data: bytes, verdict: str) -> None:
    status, body = call(event("POST", "/predict-anomaly", multipart(data)))
    assert status == 200
    assert body["prediction"] == verdict
    assert body["duration_s"] == 2


def test_the_model_name_is_accepted_in_the_query_and_in_the_form(event: Any) -> None:
    for request in (
        event("POST", "/predict-anomaly", multipart(FAULTY), {"model_name": "bearing"}),
        event("POST", "/predict-anomaly", multipart(FAULTY, model_name="bearing")),
    ):
        status, body = call(request)
        assert status == 200
        assert (body["model_name"], body["prediction"]) == ("bearing", "faulty")


@pytest.mark.parametrize(
    ("path", "key"), [("/", "status"), ("/models", "default"), ("/health/ready", "model_version")]
)
def test_the_other_routes(event: Any, path: str, key: str) -> None:
    status, body = call(event("GET", path))
    assert status == 200
    assert key in body


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status", "error"),
    [
        ("GET", "/nowhere", None, None, 404, "NotFound"),
        ("GET", "/predict-anomaly", None, None, 405, "MethodNotAllowed"),
        ("POST", "/predict-anomaly", None, None, 422, "InvalidRequest"),
        ("POST", "/predict-anomaly", multipart(b"text"), None, 415, "UnsupportedAudioError"),
        ("POST", "/predict-anomaly", multipart(b""), None, 422, "InvalidAudioError"),
        (
            *("POST", "/predict-anomaly", multipart(NORMAL), {"model_name": "pump"}),
            *(404, "UnknownModelError"),
        ),
    ],
)
def test_errors(
    event: Any,
    method: str,
    path: str,
    body: bytes | None,
    query: dict[str, str] | None,
    status: int,
    error: str,
) -> None:
    found, answer = call(event(method, path, body, query))
    assert found == status
    assert answer["error"] == error
    assert set(answer) == {"error", "detail"}


def test_too_large(event: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1000")
    status, body = call(event("POST", "/predict-anomaly", multipart(NORMAL)))
    assert (status, body["error"]) == (413, "AudioTooLargeError")


def test_binary_bodies_arrive_unchanged(event: Any, tmp_path: Path) -> None:
    """Many bytes of a WAV file are not text; the prediction is the same as for the file itself."""
    path = tmp_path / "fan.wav"
    path.write_bytes(FAULTY)
    direct = pipeline.predict(path, runtime.registry().get("bearing"), runtime.limits())
    _, body = call(event("POST", "/predict-anomaly", multipart(FAULTY), {"model_name": "bearing"}))
    assert body["all_probabilities"] == direct.all_probabilities
