"""POST /uploads and GET /results; presigned uploads go to moto's S3 over HTTP."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer

from functions.api.app import app
from functions.s3_trigger.app import handler
from oddsound import formats, runtime
from oddsound.aws.uploads import upload_key
from oddsound.schemas import Job, JobResult
from tests.cloud import (
    ENVIRONMENT,
    FAULTY,
    INPUT,
    NORMAL,
    Cloud,
    LambdaContext,
    notification,
    refuse,
    set_up,
)
from tests.functions.test_api import failed

pytestmark = pytest.mark.slow


@pytest.fixture
def client(cloud: Cloud) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def served(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The same resources in a moto server, with its URL in AWS_ENDPOINT_URL."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    httpx2.post(f"http://{host}:{port}/moto-api/reset")
    made = set_up(trained)
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", made.topic_arn)
    runtime.clear()
    yield made
    server.stop()


def policy_of(upload: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(base64.b64decode(upload["fields"]["policy"]))
    return policy


@pytest.mark.parametrize("model", [None, "bearing"])
def test_a_recording_uploaded_by_presigned_post_is_scored(served: Cloud, model: str | None) -> None:
    client = TestClient(app)
    wanted = {"filename": "hall 3/Lüfter.WAV"} | ({"model_name": model} if model else {})
    answer = client.post("/uploads", json=wanted)
    assert answer.status_code == 200, answer.text
    upload = answer.json()
    failed(client.get(upload["result_url"]), 404, "ResultNotFoundError", upload["key"], "yet")

    sent = httpx2.post(upload["url"], data=upload["fields"], files={"file": ("x.wav", FAULTY)})
    assert sent.status_code == 204, sent.text
    stored = served.s3.get_object(Bucket=INPUT, Key=upload["key"])
    assert stored["Body"].read() == FAULTY

    job = Job(bucket=INPUT, key=upload["key"], etag=stored["ETag"].strip('"'))
    handler(notification(job), LambdaContext())
    found = client.get(upload["result_url"])
    assert found.status_code == 200
    result = JobResult.model_validate(found.json())
    assert result == served.result(upload["key"], model or "fan")
    assert (result.status, result.model) == ("succeeded", model or "fan")
    assert client.get(f"/results/{upload['key']}").json() == found.json()
    assert len(served.alerts()) == 1


def test_a_presigned_post_restricts_key_size_and_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_OBJECT_BYTES", "50000000")
    monkeypatch.setenv("UPLOAD_EXPIRY_S", "60")
    runtime.clear()
    upload = client.post("/uploads", json={"filename": "fan.wav"}).json()
    policy = policy_of(upload)
    # moto does not enforce the conditions as S3 does, so they are checked here.
    assert ["content-length-range", 1, 50_000_000] in policy["conditions"]
    assert {"bucket": INPUT} in policy["conditions"]
    assert {"key": upload["key"]} in policy["conditions"]
    assert upload["max_bytes"] == 50_000_000
    for expiry in (policy["expiration"], upload["expires_at"]):
        left = datetime.fromisoformat(expiry) - datetime.now(UTC)
        assert 30 < left.total_seconds() <= 60
    assert upload["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert upload["url"] == f"https://{INPUT}.s3.eu-central-1.amazonaws.com/"


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("fan.wav", "/fan.wav"),
        ("../../etc/passwd.flac", "/passwd.flac"),
        ("C:\\recordings\\Fan 7 (Halle Süd).MP3", "/Fan-7-Halle-Sud.mp3"),
        ("${filename}.wav", "/filename.wav"),
        ("a\r\nb%00&<>.wav", "/a-b-00.wav"),
        ("☂.wav", "/recording.wav"),
        ("x.tar.wav", "/x-tar.wav"),
        ("a" * 300 + ".wav", "/" + "a" * 100 + ".wav"),
    ],
)
def test_file_names_are_sanitized(filename: str, end: str) -> None:
    key = upload_key(filename, None)
    assert key.startswith("uploads/")
    assert key.endswith(end)
    assert key.count("/") == 2
    assert key != upload_key(filename, None)


def test_a_phone_recording_can_be_uploaded_where_it_can_be_read(client: TestClient) -> None:
    assert client.post("/uploads", json={"filename": "phone.M4A"}).json()["key"].endswith(".m4a")


def test_invalid_upload_requests_are_rejected(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(
        client.post("/uploads", json={"filename": "fan.txt"}),
        415,
        "UnsupportedAudioError",
        "'fan.txt'",
        ".wav, .wave, ",
    )
    monkeypatch.setattr(formats, "find_spec", lambda _: None)  # as on AWS
    failed(
        client.post("/uploads", json={"filename": "phone.M4A"}),
        415,
        "UnsupportedAudioError",
        "'phone.M4A'",
        "convert it to WAV or FLAC first",
        "the page /ui converts what the browser can play",
    )
    failed(
        client.post("/uploads", json={"filename": "fan.wav", "model_name": "pump"}),
        404,
        "UnknownModelError",
        "bearing, fan",
    )
    failed(client.post("/uploads", json={}), 422, "InvalidRequest", "filename", "send JSON such")
    failed(client.post("/uploads"), 422, "InvalidRequest", "send JSON such")


def test_a_model_name_with_a_slash_is_rejected(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = json.dumps({"a/b": {"model_path": "model.joblib"}})
    monkeypatch.setenv("MODELS_CONFIG_JSON", entry)
    runtime.clear()
    wanted = {"filename": "fan.wav", "model_name": "a/b"}
    failed(client.post("/uploads", json=wanted), 400, "InvalidJobError", "'a/b'")


def test_without_credentials_an_upload_request_returns_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        answer = client.post("/uploads", json={"filename": "fan.wav"})
    failed(answer, 503, "StorageError", "try again later")
    assert "no AWS credentials" in caplog.text


SPECIAL_KEYS = [
    "a b.wav",
    "a+b.wav",
    "100%.wav",
    "%2B.wav",
    "Lüfter ☂.wav",
    "a&b=c?d#e.wav",
    "/x.wav",
]


@pytest.mark.parametrize("key", SPECIAL_KEYS)
def test_a_result_is_found_by_its_key_in_a_url(cloud: Cloud, key: str) -> None:
    result = runtime.jobs().process(cloud.put(key, NORMAL))

    async def get() -> httpx2.Response:  # the TestClient decodes a path twice, servers once
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(f"/results/{quote(key)}")

    with start_blocking_portal() as portal:
        answer = portal.call(get)
    assert answer.status_code == 200
    assert JobResult.model_validate(answer.json()) == result


def test_a_failed_result_contains_the_error(client: TestClient, cloud: Cloud) -> None:
    runtime.jobs().process(cloud.put("fan.wav", b"text"))
    body = client.get("/results/fan.wav").json()
    assert (body["status"], body["prediction"]) == ("failed", None)
    assert body["error"]["error"] == "UnsupportedAudioError"


def test_a_missing_result_and_an_unknown_model_are_different_errors(
    client: TestClient, cloud: Cloud
) -> None:
    runtime.jobs().process(cloud.put("fan.wav", NORMAL))
    words = ("'fan.wav'", "'bearing'", "yet")
    failed(client.get("/results/fan.wav?model_name=bearing"), 404, "ResultNotFoundError", *words)
    failed(client.get("/results/other.wav"), 404, "ResultNotFoundError", "'fan'", "yet")
    failed(client.get("/results/"), 404, "ResultNotFoundError")
    failed(client.get("/results/fan.wav?model_name=pump"), 404, "UnknownModelError", "'pump'")
    cloud.put("models/pump/fan.wav", NORMAL)
    runtime.jobs().process(Job(bucket=INPUT, key="models/pump/fan.wav"))
    body = client.get("/results/models/pump/fan.wav").json()
    assert body["error"]["error"] == "UnknownModelError"


def test_a_storage_error_returns_503(client: TestClient) -> None:
    refuse(runtime.s3_client(), "GetObject", 503, "SlowDown")
    failed(client.get("/results/fan.wav"), 503, "StorageError", "try again later")
    # models.json is read from S3 as well.
    wanted = {"filename": "fan.wav", "model_name": "fan"}
    failed(client.post("/uploads", json=wanted), 503, "StorageError", "try again later")


@pytest.mark.parametrize("missing", ["INPUT_BUCKET", "RESULTS_BUCKET"])
def test_the_error_without_a_bucket_names_the_missing_setting(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    runtime.clear()
    failed(
        client.post("/uploads", json={"filename": "fan.wav"}), 501, "NotConfiguredError", missing
    )
    if missing == "RESULTS_BUCKET":
        failed(client.get("/results/fan.wav"), 501, "NotConfiguredError", missing)


def test_the_413_error_recommends_post_uploads(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "50000")
    monkeypatch.setenv("MAX_OBJECT_BYTES", "100000000")
    runtime.clear()
    answer = client.post("/predict-anomaly", files={"file": ("fan.wav", NORMAL)})
    failed(answer, 413, "AudioTooLargeError", "the limit is 50,000", "POST /uploads", "100,000,000")
