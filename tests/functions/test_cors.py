"""CORS: pages on other hosts, through an HTTP client and through API Gateway."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from mangum import Mangum

from oddsound import pipeline, runtime
from oddsound.errors import ModelsConfigError
from oddsound.http.app import create_app
from oddsound.http.gateway import RestApi
from tests.cloud import LambdaContext
from tests.functions.test_api import NORMAL, failed
from tests.functions.test_api_gateway import http_event, rest_event

ORIGIN = "https://plant.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-api-key",
}


@pytest.fixture
def allowed(configured: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("CORS_ORIGINS", f"{ORIGIN}, http://127.0.0.1:5173")
    return TestClient(create_app(), raise_server_exceptions=False)


def test_by_default_no_other_origin_is_allowed(configured: Path) -> None:
    client = TestClient(create_app())
    assert client.options("/predict-anomaly", headers=PREFLIGHT).status_code == 405
    answer = client.get("/models", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", [ORIGIN, "http://127.0.0.1:5173"])
def test_a_preflight_request_allows_the_key_and_the_content_type(
    allowed: TestClient, origin: str
) -> None:
    answer = allowed.options("/predict-anomaly", headers=PREFLIGHT | {"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    found = answer.headers["access-control-allow-headers"].lower()
    assert {"content-type", "x-api-key"} <= set(found.split(", "))
    assert "access-control-allow-credentials" not in answer.headers


def test_another_origin_is_refused(allowed: TestClient) -> None:
    headers = PREFLIGHT | {"Origin": "https://other.example"}
    answer = allowed.options("/predict-anomaly", headers=headers)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


def test_answers_and_errors_can_be_read(
    allowed: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Origin": ORIGIN}
    good = allowed.post("/predict-anomaly", files={"file": NORMAL}, headers=headers)
    bad = allowed.post("/predict-anomaly", files={"file": b"text"}, headers=headers)
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1000")
    runtime.clear()
    large = allowed.post("/predict-anomaly", files={"file": 5 * NORMAL}, headers=headers)
    assert [answer.status_code for answer in (good, bad, large)] == [200, 415, 413]
    for answer in (good, bad, large):
        assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_an_unexpected_error_can_be_read(
    allowed: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "predict", defect)
    headers = {"Origin": ORIGIN}
    answer = allowed.post("/predict-anomaly", files={"file": NORMAL}, headers=headers)
    failed(answer, 500, "InternalServerError", "the reason is in its log")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("event", [rest_event, http_event])
def test_a_preflight_request_through_api_gateway(allowed: TestClient, event: Any) -> None:
    """A browser sends no key with it; the template requires none."""
    request = event("OPTIONS", "/predict-anomaly")
    request["headers"] = request["headers"] | PREFLIGHT
    if "multiValueHeaders" in request:
        request["multiValueHeaders"] = {k: [v] for k, v in request["headers"].items()}
    handler = Mangum(create_app(), lifespan="off", custom_handlers=[RestApi])
    answer = handler(request, LambdaContext())
    assert answer["statusCode"] == 200
    headers = {key.lower(): value for key, value in answer["headers"].items()} | {
        key.lower(): value[0] for key, value in answer.get("multiValueHeaders", {}).items()
    }
    assert headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "value", ["plant.example", "https://plant.example/", "ftp://x", "*.example"]
)
def test_a_value_that_is_no_origin_is_rejected(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"{ORIGIN},{value}")
    runtime.clear()
    with pytest.raises(ModelsConfigError) as raised:
        runtime.settings()
    assert "CORS_ORIGINS" in str(raised.value)
    assert f"{value!r} is not an origin such as https://example.com" in str(raised.value)


def test_every_origin_may_be_allowed(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "*")
    answer = TestClient(create_app()).get("/", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert json.loads(answer.text)["status"] == "ok"
