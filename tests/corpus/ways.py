"""The answer to a recording by each way in, without what differs between two calls."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

import oddsound
from functions.s3_trigger.app import handler
from oddsound.errors import AudioAnomalyError
from oddsound.http.errors import CONVERTED_BY_BROWSER
from tests.cloud import Cloud, LambdaContext, notification
from tests.workbench.command import run

type Answer = dict[str, Any]


def _answer(prediction: Answer) -> Answer:
    return {name: value for name, value in prediction.items() if name != "latency_ms"}


def by_call(source: bytes | Path) -> Answer:
    """From Python, as bytes or as a file."""
    try:
        return _answer(oddsound.predict(source).model_dump(mode="json"))
    except AudioAnomalyError as error:
        return {"error": type(error).__name__, "detail": str(error)}


def by_http(client: TestClient, data: bytes) -> Answer:
    posted = client.post("/predict-anomaly", content=data, headers={"content-type": "audio/wav"})
    found = _answer(posted.json())
    if detail := found.get("detail"):
        found["detail"] = detail.removesuffix(f"; {CONVERTED_BY_BROWSER}")
    return found


def by_s3(cloud: Cloud, name: str, data: bytes) -> Answer:
    key = f"{name}.wav"  # what is no recording by name and content is skipped
    handler(notification(cloud.put(key, data)), LambdaContext())
    result = cloud.result(key)
    stored = result.prediction or result.error
    assert stored is not None
    return _answer(stored.model_dump(mode="json"))


def by_command(paths: Iterable[Path], models: Path) -> list[Answer]:
    """Of one call with all files."""
    output = run("predict", *paths, "--models", models, "--json").stdout
    printed = json.loads(output[output.index("[\n") :])  # behind the lines of other logs
    return [
        _answer({key: value for key, value in each.items() if key != "file"}) for each in printed
    ]
