"""Names that no route reads are refused by name."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from tests.cloud import FAULTY, NORMAL
from tests.functions.test_api import failed

client = TestClient(app)
WAV = ("fan.wav", NORMAL, "audio/wav")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("modelname=fan", ("modelname: is not known; is model_name meant?",)),
        ("explane=true&colour=red", ("explane: is not known; is explain meant?", "colour: is not")),
        ("model_name=fan&model_name=bearing", ("model_name: given 2 times; once is allowed",)),
        ("explain=true&explain=true", ("explain: given 2 times",)),
        ("file=x", ("file: is not known",)),
        ("%1b[31m=x", ("is not known; known are: model_name, explain",)),
    ],
)
def test_an_unknown_or_repeated_parameter_of_the_url_is_refused(
    configured: Path, query: str, words: tuple[str, ...]
) -> None:
    answer = client.post(f"/predict-anomaly?{query}", files={"file": WAV})
    failed(answer, 422, "InvalidRequest", *words)


@pytest.mark.parametrize("path", ["/", "/models", "/health/ready", "/results/fan.wav"])
def test_no_route_ignores_a_parameter(configured: Path, path: str) -> None:
    failed(client.get(f"{path}?x=1"), 422, "InvalidRequest", "x: is not known")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([("file", WAV), ("file", ("other.wav", FAULTY))], "file: given 2 times; once is allowed"),
        ([("file", WAV), ("model", (None, "fan"))], "model: is not known; is model_name meant?"),
        ([("file", WAV), ("audio", WAV)], "audio: is not known; known are: file, model_name"),
        ([("File", WAV)], "File: is not known; is file meant?"),
        ([("model_name", (None, "fan"))] * 2 + [("file", WAV)], "model_name: given 2 times"),
    ],
)
def test_an_unknown_or_repeated_field_of_the_form_is_refused(
    configured: Path, fields: Any, words: str
) -> None:
    failed(client.post("/predict-anomaly", files=fields), 422, "InvalidRequest", words)


def test_known_names_are_still_read(configured: Path) -> None:
    fields: Any = [("file", WAV), ("model_name", (None, "bearing"))]
    answer = client.post("/predict-anomaly?explain=false", files=fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_name"] == "bearing"
