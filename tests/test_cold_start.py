"""A cold call imports only what it needs; each runs in a new process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oddsound.schemas import Job
from oddsound.settings import Settings
from oddsound_workbench.deploy.events import through_api
from oddsound_workbench.local.aws import CREDENTIALS, moto_server
from tests.cloud import ENVIRONMENT, INPUT, MODELS, NORMAL, REGION, batch, notification, set_up

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HTTP = {"fastapi", "starlette", "mangum", "anyio"}
PREDICTION = {"soundfile", "soxr", "numpy"}
JOBLIB_ONLY = "joblib-only.json"
"""Key of a models.json on S3 without compiled models."""

PICKLES = {"sklearn", "joblib", "scipy"}
"""What loads joblib files; a compiled model needs none of it."""

AWS = {"botocore"}
HISTORY = {"sqlite3", "oddsound.machines.ledger", "oddsound.history.store"}
SLOW = {"boto3", "scipy.signal", "librosa"}
"""Slow imports that would be needed for a single function only, and are avoided."""


def cold(function: str, event: dict[str, Any], folder: Path, **environment: str) -> tuple[Any, Any]:
    """The answer of a new process, and the modules and packages that it imported."""
    (answer,), imported = answered(function, [event], folder, **environment)
    return answer, imported


def answered(
    function: str, events: list[dict[str, Any]], folder: Path, **environment: str
) -> tuple[list[Any], set[str]]:
    """The answers of a new process, and the modules and packages that it imported for them."""
    files = [folder / f"{number}.json" for number, _ in enumerate(events)]
    for file, event in zip(files, events, strict=True):
        file.write_text(json.dumps(event))
    settings = {name.upper() for name in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "cold_call.py", *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in settings}
        | {"PYTHONPATH": str(ROOT / function), "TMPDIR": str(folder)}
        | environment,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    modules = set(printed["modules"])
    return printed["answers"], modules | {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def on_s3(trained: Path) -> Any:
    """The environment of a deployed function, with models and one recording on S3."""
    credentials = CREDENTIALS | {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    with moto_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        cloud = set_up(trained, endpoint_url=endpoint)
        cloud.put("fan.wav", NORMAL)
        for bucket in ("compiled-results", "joblib-results"):
            location = {"LocationConstraint": REGION}
            cloud.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
        entries = json.loads(trained.read_text())
        for entry in entries.values():
            del entry["compiled_path"], entry["sha256"]["compiled_path"]
        cloud.s3.put_object(Bucket=MODELS, Key=JOBLIB_ONLY, Body=json.dumps(entries).encode())
        yield {"AWS_ENDPOINT_URL": endpoint, **credentials, **ENVIRONMENT}


def test_the_routes_without_prediction_do_not_import_the_prediction_packages(
    trained: Path, tmp_path: Path
) -> None:
    paths = ["/", "/models", "/docs", "/ui", "/openapi.json"]
    events = [through_api("GET", path, {}) for path in paths]
    settings = {"MODELS_CONFIG_PATH": str(trained)}
    answers, imported = answered("functions/api", events, tmp_path, **settings)
    assert [answer["statusCode"] for answer in answers] == [200] * len(paths)
    assert imported >= {"fastapi"}
    assert imported & (PREDICTION | PICKLES | SLOW | AWS | HISTORY) == set()


def test_models_on_s3_are_listed_without_being_loaded(
    on_s3: dict[str, str], tmp_path: Path
) -> None:
    answer, imported = cold("functions/api", through_api("GET", "/models", {}), tmp_path, **on_s3)
    assert [info["name"] for info in json.loads(answer["body"])["models"]] == ["bearing", "fan"]
    assert imported & (PREDICTION | PICKLES | SLOW) == set()
    assert imported >= AWS


def test_a_presigned_upload_needs_no_model(on_s3: dict[str, str], tmp_path: Path) -> None:
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"filename": "fan.wav", "model_name": "fan"}).encode()
    event = through_api("POST", "/uploads", headers, body)
    answer, imported = cold("functions/api", event, tmp_path, **on_s3)
    assert answer["statusCode"] == 200
    assert imported & (PREDICTION | PICKLES | SLOW) == set()


@pytest.mark.parametrize("function", ["s3_trigger", "sqs_trigger"])
@pytest.mark.parametrize("form", ["compiled", "joblib"])
def test_a_trigger_imports_no_http_package(
    function: str, form: str, on_s3: dict[str, str], trained: Path, tmp_path: Path
) -> None:
    """Both forms of a model go from S3 into /tmp, with their checksums; only one needs the other's
    packages.
    """
    name = {"s3_trigger": "fan", "sqs_trigger": "bearing"}[function]
    events = {
        "s3_trigger": notification(Job(bucket=INPUT, key="fan.wav")),
        "sqs_trigger": batch({"bucket": INPUT, "key": "fan.wav", "model_name": name}),
    }
    settings = {
        "compiled": {"ALLOW_PICKLE": "false"},
        "joblib": {"MODELS_CONFIG_PATH": f"s3://{MODELS}/{JOBLIB_ONLY}"},
    }
    environment = {**on_s3, **settings[form]}
    # Another bucket of results: a recording that has a result is not scored again.
    environment["RESULTS_BUCKET"] = f"{form}-results"
    answer, imported = cold(f"functions/{function}", events[function], tmp_path, **environment)
    if function == "s3_trigger":
        assert [outcome["status"] for outcome in answer] == ["succeeded"]
    else:
        assert answer == {"batchItemFailures": []}
    assert imported >= (PREDICTION if form == "compiled" else PREDICTION | PICKLES) | AWS
    assert imported & (HTTP | SLOW if form == "joblib" else HTTP | SLOW | PICKLES) == set()
    entry = json.loads(trained.read_text())[name]
    checksums = set(entry["sha256"].values())
    compiled = entry["sha256"]["compiled_path"]
    in_tmp = {path.name for path in (tmp_path / "oddsound").iterdir()}
    assert in_tmp == ({compiled} if form == "compiled" else checksums - {compiled})


def test_the_benchmark_measures_the_steps_of_a_prediction(trained: Path, tmp_path: Path) -> None:
    recording = tmp_path / "fan.wav"
    recording.write_bytes(NORMAL)
    request = {"path": str(recording), "calls": 1}
    answer, _ = cold("benchmarks/steps", request, tmp_path, MODELS_CONFIG_PATH=str(trained))
    assert list(answer) == ["decode", "features", "model"]
    assert all(ms > 0 for ms in answer.values())
