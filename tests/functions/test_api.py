"""Every route of the API and its errors, through an HTTP client."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import app
from oddsound import __version__, pipeline, runtime, scanning
from oddsound.decoding import Source
from oddsound.errors import AudioAnomalyError, StorageError
from oddsound.formats import AudioLimits
from oddsound.http.errors import STATUS_OF
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.schemas import Explanation
from oddsound_workbench.synthesis import fan
from tests.conftest import noise


def wav(waveform: np.ndarray, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, "PCM_16", format="WAV")
    return file.getvalue()


NORMAL = wav(fan(500, faulty=False, duration_s=2))
FAULTY = wav(fan(501, faulty=True, duration_s=2))


@pytest.fixture
def client(configured: Path) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def post(client: httpx2.Client, data: bytes, model: str | None = None) -> httpx2.Response:
    params = {} if model is None else {"model_name": model}
    return client.post("/predict-anomaly", files={"file": ("fan.wav", data)}, params=params)


def failed(response: httpx2.Response, status: int, error: str, *words: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "detail"}
    assert body["error"] == error
    for word in words:
        assert word in body["detail"]


def test_the_root_route_returns_name_version_and_status(client: TestClient) -> None:
    body = client.get("/").json()
    assert body == {"name": "Audio anomaly detection", "version": __version__, "status": "ok"}


def test_listing_the_models_loads_none(client: TestClient) -> None:
    body = client.get("/models").json()
    assert body["default"] == "fan"
    assert body["config_error"] is None
    fan_info = next(info for info in body["models"] if info["name"] == "fan")
    assert fan_info["threshold"] == 0.9
    assert fan_info["classes"] == ["normal", "anomaly"]
    assert fan_info["sample_rate"] == 16000
    assert fan_info["description"] == "A fan."
    assert fan_info["metrics"]["auc"] > 0.9
    limits = fan_info["metrics"]["auc_interval"]
    assert limits["low"] < fan_info["metrics"]["auc"] <= limits["high"]
    assert fan_info["metrics"]["false_alarm_rate_interval"]["confidence"] == 0.9
    assert fan_info["metrics"]["more_recordings_to_halve_interval"] > 24
    assert [info["loaded"] for info in body["models"]] == [False, False]
    post(client, NORMAL)
    loaded = {info["name"]: info["loaded"] for info in client.get("/models").json()["models"]}
    assert loaded == {"bearing": False, "fan": True}


@pytest.mark.parametrize(("data", "verdict"), [(NORMAL, "normal"), (FAULTY, "anomaly")])
def test_the_detector_separates_normal_and_faulty_fans(
    client: TestClient, data: bytes, verdict: str
) -> None:
    response = post(client, data)
    assert response.status_code == 200
    body = response.json()
    assert body["prediction"] == verdict
    assert body["is_anomaly"] is (verdict == "anomaly")
    assert body["all_probabilities"].keys() == {"normal", "anomaly"}
    assert sum(body["all_probabilities"].values()) == pytest.approx(1, abs=1e-9)
    assert body["probability"] == body["all_probabilities"][verdict]
    assert body["anomaly_score"] == pytest.approx(body["all_probabilities"]["anomaly"], abs=1e-12)
    assert (body["anomaly_score"] >= body["threshold"]) is body["is_anomaly"]
    assert body["model_name"] == "fan"
    assert body["duration_s"] == 2
    assert body["sample_rate"] == 16000
    assert body["latency_ms"] > 0
    assert body["windows"] is None


@pytest.mark.parametrize(("data", "verdict"), [(NORMAL, "normal"), (FAULTY, "faulty")])
def test_the_model_name_is_accepted_in_the_url_and_in_the_form(
    client: TestClient, data: bytes, verdict: str
) -> None:
    in_url = post(client, data, "bearing").json()
    in_form = client.post(
        "/predict-anomaly", files={"file": data}, data={"model_name": "bearing"}
    ).json()
    assert in_url["prediction"] == in_form["prediction"] == verdict
    assert in_url["model_name"] == in_form["model_name"] == "bearing"
    assert in_url["is_anomaly"] is (verdict != "normal")


@pytest.mark.parametrize("model", ["fan", "bearing"])
def test_an_explanation_is_returned_on_request(client: TestClient, model: str) -> None:
    plain = post(client, FAULTY, model).json()
    response = client.post(
        "/predict-anomaly",
        files={"file": FAULTY},
        params={"model_name": model, "explain": "true"},
    )
    assert response.status_code == 200
    body = response.json()
    assert "explanation" not in plain
    assert list(body) == [*plain, "explanation"]
    assert body["prediction"] == plain["prediction"]
    assert Explanation.model_validate(body["explanation"]).summary
    assert list(body["explanation"]) == list(Explanation.model_fields)
    assert bool(body["explanation"]["bands"]) is (model == "fan")


def test_the_schema_documents_explanations(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    parameters = schema["paths"]["/predict-anomaly"]["post"]["parameters"]
    assert {"model_name", "explain", "machine", "recorded_at"} == {
        parameter["name"] for parameter in parameters
    }
    prediction = schema["components"]["schemas"]["Prediction"]
    assert "explanation" in prediction["properties"]
    assert "explanation" not in prediction["required"]
    assert "level_db" in schema["components"]["schemas"]["BandEvidence"]["properties"]


def test_explain_must_be_a_boolean(client: TestClient) -> None:
    response = client.post(
        "/predict-anomaly", files={"file": NORMAL}, params={"explain": "perhaps"}
    )
    failed(response, 422, "InvalidRequest", "explain")


def test_two_different_model_names_are_rejected(client: TestClient) -> None:
    response = client.post(
        "/predict-anomaly?model_name=fan", files={"file": NORMAL}, data={"model_name": "bearing"}
    )
    failed(response, 400, "BadRequest", "'fan' in the URL", "'bearing' in the form")


def test_ready_loads_the_default_model(client: TestClient) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["model_name"] == "fan"
    assert response.json()["status"] == "ready"


def test_not_ready_if_the_model_cannot_be_loaded(
    client: TestClient, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "models.json"
    copy.write_text(trained.read_text())
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(copy))
    runtime.clear()
    failed(client.get("/health/ready"), 503, "ModelArtifactError", "fan/", "No such file")
    failed(post(client, NORMAL), 500, "ModelArtifactError", "model 'fan'")


def test_an_unknown_model_lists_the_known_models(client: TestClient) -> None:
    failed(post(client, NORMAL, "pump"), 404, "UnknownModelError", "'pump'", "bearing, fan")


@pytest.mark.parametrize(
    ("data", "status", "error", "words"),
    [
        (b"", 422, "InvalidAudioError", "empty"),
        (
            b"just a text",
            415,
            "UnsupportedAudioError",
            "WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64",
        ),
        (NORMAL[:20], 422, "InvalidAudioError", "begins like WAV"),
        (NORMAL[:44], 422, "InvalidAudioError", "0 frames"),
        (wav(noise(1)[:1000]), 422, "InvalidAudioError", "(0.064 s) is required"),
    ],
)
def test_invalid_recordings_are_rejected(
    client: TestClient, data: bytes, status: int, error: str, words: str
) -> None:
    failed(post(client, data), status, error, words)


def test_a_dead_microphone_is_an_error_and_no_anomaly(client: TestClient) -> None:
    silence = wav(np.zeros(32000, np.float32))
    failed(post(client, silence), 422, "InvalidAudioError", "is digital silence", "was the")


def test_the_error_for_a_missing_file_shows_how_to_send_one(client: TestClient) -> None:
    without = client.post("/predict-anomaly", files={"fan": NORMAL})
    failed(without, 422, "InvalidRequest", "file: Field required", "curl -F file=@")
    empty = client.post("/predict-anomaly")
    failed(empty, 415, "UnsupportedMediaType", "no Content-Type", "curl -F file=@")


def test_text_instead_of_a_file_is_rejected(client: TestClient) -> None:
    answer = client.post("/predict-anomaly", files={"file": (None, "fan.wav")})
    failed(answer, 422, "InvalidRequest", "file: expected a file, found text", "curl -F file=@")
    answer = client.post("/predict-anomaly", files={"file": NORMAL, "model_name": ("x", b"fan")})
    failed(answer, 422, "InvalidRequest", "model_name: expected text, found a file")
    broken = client.post(
        "/uploads", content=b'{"filename": ', headers={"content-type": "application/json"}
    )
    failed(broken, 422, "InvalidRequest", "the body is not JSON")


def test_framework_errors_have_the_same_body(client: TestClient) -> None:
    failed(client.get("/nowhere"), 404, "NotFound", "/nowhere", "/docs")
    failed(client.get("/predict-anomaly"), 405, "MethodNotAllowed", "allowed: POST")


def test_an_upload_over_the_size_limit_returns_413(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "50000")
    client = TestClient(app)
    limited = post(client, wav(noise(1, 1.7)))
    failed(limited, 413, "AudioTooLargeError", "54,444 bytes", "limit is 50,000 bytes", "S3")
    unread = post(client, wav(noise(1, 60)))
    failed(unread, 413, "AudioTooLargeError", "more than 50,000 bytes", "MAX_UPLOAD_BYTES", "S3")


def test_a_recording_over_the_duration_limit_returns_413(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_DURATION_S", "1")
    limited = post(TestClient(app), NORMAL)
    failed(limited, 413, "AudioTooLargeError", "2.0 s; the limit is 1 s, set by MAX_DURATION_S")
    # An upload to S3 would be refused as well.
    assert "S3" not in limited.json()["detail"]


def test_what_decoding_costs_is_limited(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DECODED_SAMPLES", "20000")
    limited = post(TestClient(app), NORMAL)
    failed(limited, 413, "AudioTooLargeError", "32,000 samples", "set by MAX_DECODED_SAMPLES")


def test_an_unexpected_error_does_not_expose_its_traceback(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(pipeline, "predict", defect)
    response = post(client, NORMAL)
    failed(response, 500, "InternalServerError")
    assert "secret" not in response.text
    assert "the secret of the house" in caplog.text


def test_unavailable_storage_returns_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise StorageError("s3://models/models.json: SlowDown")

    monkeypatch.setattr(Registry, "get", down)
    failed(post(client, NORMAL), 503, "StorageError", "try again later")
    failed(client.get("/health/ready"), 503, "StorageError", "try again later")


def test_every_error_has_a_status() -> None:
    assert set(STATUS_OF) == set(AudioAnomalyError.__subclasses__())


def test_the_schema_describes_requests_and_responses(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/",
        "/models",
        "/predict-anomaly",
        "/uploads",
        "/results/{key}",
        "/results/{key}/review",
        "/recordings/{key}",
        "/machines",
        "/machines/{machine_id}",
        "/machines/{machine_id}/history",
        "/machines/{machine_id}/events",
        "/machines/{machine_id}/drift",
        "/machines/{machine_id}/acknowledge",
        "/machines/{machine_id}/snooze",
        "/machines/{machine_id}/clear",
        "/machines/{machine_id}/trend",
        "/health/ready",
    }
    operation = schema["paths"]["/predict-anomaly"]["post"]
    assert "multipart/form-data" in operation["requestBody"]["content"]
    assert {"200", "400", "404", "413", "415", "422", "500", "503"} <= set(operation["responses"])
    assert operation["responses"]["503"]["headers"]["Retry-After"]["schema"] == {"type": "integer"}
    assert client.get("/docs").status_code == 200


@pytest.fixture
def server(configured: Path) -> Iterator[str]:
    """Run the service with uvicorn on a free port; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_prediction_does_not_block_other_requests(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, proceed = threading.Event(), threading.Event()
    scan = scanning.scan

    def slow(
        source: Source, model: Model, limits: AudioLimits, *, keep_rows: bool
    ) -> scanning.Scan:
        started.set()
        assert proceed.wait(timeout=10)
        return scan(source, model, limits, keep_rows=keep_rows)

    monkeypatch.setattr(scanning, "scan", slow)
    answers = []

    def send() -> None:
        with httpx2.Client(base_url=server) as client:
            answers.append(post(client, NORMAL))

    thread = threading.Thread(target=send)
    thread.start()
    assert started.wait(timeout=10)
    assert httpx2.get(f"{server}/").json()["status"] == "ok"
    assert httpx2.get(f"{server}/models").status_code == 200
    assert not answers
    proceed.set()
    thread.join()
    assert answers[0].json()["prediction"] == "normal"


def test_concurrent_requests_get_the_same_answer_as_one_request(server: str) -> None:
    with httpx2.Client(base_url=server) as client:
        expected = post(client, FAULTY).json()["all_probabilities"]
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(post(client, FAULTY).json()))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [body["all_probabilities"] for body in found] == [expected] * 16


def test_a_client_that_sends_too_much_still_receives_the_error(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "1000000")
    runtime.clear()
    with httpx2.Client(base_url=server) as client:
        failed(post(client, bytes(3_000_000)), 413, "AudioTooLargeError", "1,000,000 bytes")
        assert post(client, NORMAL).status_code == 200


def test_error_bodies_are_json(server: str) -> None:
    assert json.loads(httpx2.get(f"{server}/nowhere").text)["error"] == "NotFound"
