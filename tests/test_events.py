"""The sample events in events/, passed to the real handlers."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import boto3
import pytest
from moto import mock_aws

from functions.api import app as api
from oddsound import runtime
from oddsound_workbench.deploy import events
from oddsound_workbench.deploy.push import push
from oddsound_workbench.files import EVENTS
from tests.cloud import LambdaContext

pytestmark = pytest.mark.slow


def sample(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture
def s3(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The buckets that the events name, with the models and the recording."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", events.REGION)
    monkeypatch.setenv("MODELS_CONFIG_PATH", f"s3://{events.MODELS_BUCKET}/models.json")
    monkeypatch.setenv("INPUT_BUCKET", events.INPUT_BUCKET)
    monkeypatch.setenv("RESULTS_BUCKET", events.RESULTS_BUCKET)
    with mock_aws():
        client = boto3.client("s3")
        for bucket in (events.INPUT_BUCKET, events.RESULTS_BUCKET, events.MODELS_BUCKET):
            client.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": events.REGION}
            )
        push(trained, f"s3://{events.MODELS_BUCKET}", client)
        client.put_object(Bucket=events.INPUT_BUCKET, Key=events.KEY, Body=events.recording())
        runtime.clear()
        yield client


def stored(s3: Any, model: str) -> Any:
    key = f"results/{model}/{events.KEY}.json"
    return json.loads(s3.get_object(Bucket=events.RESULTS_BUCKET, Key=key)["Body"].read())


def test_the_files_are_those_that_make_events_writes(tmp_path: Path) -> None:
    written = {path.name: path.read_bytes() for path in events.write(tmp_path)}
    assert written == {path.name: path.read_bytes() for path in EVENTS.iterdir()}


def test_the_key_in_an_event_is_encoded() -> None:
    assert events.KEY == "hall 1/fan+pump.wav"
    assert sample("s3_put")["Records"][0]["s3"]["object"]["key"] == "hall+1/fan%2Bpump.wav"


def test_api_get_models(s3: Any) -> None:
    answer = api.handler(sample("api_get_models"), LambdaContext())
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is False
    assert json.loads(answer["body"])["default"] == "fan"


def test_api_predict(s3: Any) -> None:
    answer = api.handler(sample("api_predict"), LambdaContext())
    assert answer["statusCode"] == 200, answer["body"]
    body = json.loads(answer["body"])
    assert body["prediction"] == "normal"
    assert body["duration_s"] == 2


def test_s3_put(s3: Any) -> None:
    trigger = importlib.import_module("functions.s3_trigger.app")
    (outcome,) = trigger.handler(sample("s3_put"), LambdaContext())
    assert outcome["status"] == "succeeded"
    assert stored(s3, "fan")["prediction"]["prediction"] == "normal"


def test_sqs_batch(s3: Any) -> None:
    trigger = importlib.import_module("functions.sqs_trigger.app")
    answer = trigger.handler(sample("sqs_batch"), LambdaContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "malformed"}]}
    assert stored(s3, "fan")["status"] == "succeeded"
    assert stored(s3, "no-such-model")["error"]["error"] == "UnknownModelError"


@pytest.mark.parametrize(
    ("stage", "prefix"),
    [("dev", "/dev"), ("dev", ""), ("$default", "")],
    ids=["stage", "custom domain", "default stage"],
)
@pytest.mark.parametrize(("name", "files"), [("docs", 3), ("ui", 9)])
def test_the_links_of_a_page_contain_the_stage(
    configured: Path, stage: str, prefix: str, name: str, files: int
) -> None:
    def get(path: str) -> Any:
        event = events.through_api("GET", path, {})
        event["requestContext"] |= {"stage": stage, "path": prefix + path}
        return api.handler(event, LambdaContext())

    page = get(f"/{name}")
    assert page["statusCode"] == 200
    links = re.findall(rf'(?:src|href)="({name}/[^"]+)"', page["body"])
    assert len(links) == files
    for link in links:
        in_browser = urljoin(f"https://host{prefix}/{name}", link).removeprefix("https://host")
        assert in_browser == f"{prefix}/{link}"
        answer = get(f"/{link}")
        assert answer["statusCode"] == 200
        # API Gateway does not decode base64 for the requests that a browser sends.
        assert answer["isBase64Encoded"] is False
    assert 'url: "openapi.json"' in get("/docs/docs.js")["body"]


def test_the_schema_names_the_stage_and_the_key(configured: Path) -> None:
    answer = api.handler(events.through_api("GET", "/openapi.json", {}), LambdaContext())
    schema = json.loads(answer["body"])
    assert {"url": "/dev"} in schema["servers"]
    assert schema["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "x-api-key"


def test_a_path_that_starts_with_the_name_of_the_stage_is_found(configured: Path) -> None:
    event = events.through_api("GET", "/models", {})
    event["requestContext"] |= {"stage": "mod", "path": "/mod/models"}
    assert api.handler(event, LambdaContext())["statusCode"] == 200
