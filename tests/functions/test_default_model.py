"""The model for recordings that specify none is the same in every process, warm or cold."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.sqs_trigger.app import handler
from oddsound import runtime
from oddsound.errors import ModelsConfigError
from oddsound.schemas import Job
from tests.cloud import FAULTY, MODELS, NORMAL, OTHER_NORMAL, Cloud, LambdaContext, batch

pytestmark = pytest.mark.slow


@pytest.fixture
def models(cloud: Cloud, trained: Path) -> Callable[..., None]:
    """Write a models.json with only these models."""
    entries = json.loads(trained.read_text(encoding="utf-8"))

    def write(**chosen: str) -> None:
        body = json.dumps({name: entries[of] for name, of in chosen.items()})
        cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=body.encode())

    return write


def score(job: Job) -> None:
    event = batch({"bucket": job.bucket, "key": job.key})
    assert handler(event, LambdaContext())["batchItemFailures"] == []


def test_the_only_model_scores_the_first_job_of_a_process(
    cloud: Cloud, models: Callable[..., None]
) -> None:
    models(pump="fan")
    score(cloud.put("a.wav", NORMAL))
    assert cloud.result("a.wav", "pump").status == "succeeded"
    assert cloud.results() == ["results/pump/a.wav.json"]


def test_a_cold_process_finds_the_result_of_the_only_model(
    cloud: Cloud, models: Callable[..., None]
) -> None:
    models(pump="fan")
    score(cloud.put("a.wav", NORMAL))
    client = TestClient(app)
    for _ in ("cold", "warm"):
        assert client.get("/results/a.wav").status_code == 200
    runtime.clear()
    assert client.get("/results/a.wav").json()["model"] == "pump"


def test_a_new_models_json_applies_to_the_first_recording_after_it(
    cloud: Cloud, models: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_REFRESH_S", "0")
    runtime.clear()
    models(pump="fan")
    score(cloud.put("a.wav", NORMAL))
    models(press="fan")
    score(cloud.put("b.wav", OTHER_NORMAL))
    assert cloud.results() == ["results/press/b.wav.json", "results/pump/a.wav.json"]
    client = TestClient(app)
    models(bearing="bearing")
    answer = client.post("/predict-anomaly", files={"file": FAULTY})
    assert answer.json()["model_name"] == "bearing"


def test_a_default_model_that_is_missing_for_a_moment_is_a_reason_to_try_again(
    cloud: Cloud, models: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_MODEL_NAME", "fan")
    monkeypatch.setenv("MODELS_REFRESH_S", "0")
    runtime.clear()
    models(bearing="bearing")
    job = cloud.put("a.wav", NORMAL)
    event = batch({"bucket": job.bucket, "key": job.key})
    assert len(handler(event, LambdaContext())["batchItemFailures"]) == 1
    with pytest.raises(ModelsConfigError, match=r"no default model: .*'fan'.*bearing"):
        runtime.jobs().process(job)
    assert cloud.results() == []
    models(fan="fan", bearing="bearing")
    score(job)
    assert cloud.result("a.wav").status == "succeeded"


def test_a_recording_is_scored_by_the_default_model_that_models_json_has_now(
    cloud: Cloud, models: Callable[..., None]
) -> None:
    """Without DEFAULT_MODEL_NAME, and before MODELS_REFRESH_S have passed."""
    models(pump="fan")
    score(cloud.put("a.wav", NORMAL))
    models(press="fan")
    score(cloud.put("b.wav", OTHER_NORMAL))
    assert cloud.results() == ["results/press/b.wav.json", "results/pump/a.wav.json"]
