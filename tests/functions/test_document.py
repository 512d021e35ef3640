"""The OpenAPI document says what the service does; `make fuzz-contract` compares much more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app, handler
from oddsound.formats import OPTIONAL_SUFFIXES, SUFFIXES
from oddsound_workbench.deploy.events import through_api
from oddsound_workbench.deploy.template import load
from oddsound_workbench.files import TEMPLATE
from tests.cloud import NORMAL, Cloud, LambdaContext

HTTP_METHODS = {"get", "post"}
client = TestClient(app, raise_server_exceptions=False)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("configured")]


def own_document() -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def document_of_api_gateway() -> dict[str, Any]:
    answer = handler(through_api("GET", "/openapi.json", {}), LambdaContext())
    return json.loads(answer["body"])  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_a_server_of_ones_own_checks_no_key_and_names_none() -> None:
    document = own_document()
    assert "securitySchemes" not in document["components"]
    assert "servers" not in document
    for operation in operations(document).values():
        assert "security" not in operation
        assert not {"403", "429"} & set(operation["responses"])


def test_behind_api_gateway_every_route_needs_the_key_that_needs_it_in_the_template() -> None:
    api = load(TEMPLATE)["Resources"]["ApiFunction"]["Properties"]["Events"].values()
    open_paths = {
        event["Properties"]["Path"]
        for event in api
        if event["Properties"].get("Auth", {}).get("ApiKeyRequired") is False
    }
    document = document_of_api_gateway()
    (scheme,) = document["components"]["securitySchemes"]
    for (_, path), operation in operations(document).items():
        assert ("security" not in operation) == (path in open_paths), path
        assert operation.get("security", [{scheme: []}]) == [{scheme: []}]
        assert {"403", "429", "504"} <= set(operation["responses"])
    assert "security" not in document["paths"]["/"]["get"]


def test_the_document_of_the_service_itself_is_not_changed_by_api_gateways() -> None:
    before = own_document()
    document_of_api_gateway()
    assert own_document() == before


def test_every_failure_has_the_one_body() -> None:
    for document in (own_document(), document_of_api_gateway()):
        for operation in operations(document).values():
            for status, answer in operation["responses"].items():
                if status != "200":
                    (content,) = answer["content"].values()
                    assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}


def test_what_needs_a_setting_may_answer_501(trained: Path) -> None:
    """The environment has no bucket and no history."""
    seen = set()
    for (method, path), operation in operations(own_document()).items():
        body = {"filename": "fan.wav", "person": "Ada", "label": "fault", "until": "2026-11-28"}
        accepted = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if accepted:
            name = accepted["schema"]["$ref"].rpartition("/")[2]
            known = own_document()["components"]["schemas"][name]["properties"]
            body = {key: value for key, value in body.items() if key in known}
        answer = client.request(
            method, re.sub(r"{\w+}", "x", path), json=body if accepted else None
        )
        assert str(answer.status_code) in operation["responses"], (method, path, answer.text)
        if answer.status_code == 501:
            seen.add(path)
    machines = {path for path in own_document()["paths"] if path.startswith("/machines")}
    assert machines <= seen
    of_keys = {"/results/{key}", "/results/{key}/review", "/recordings/{key}"}
    assert seen - machines >= {"/uploads", *of_keys}


def test_methods_that_are_allowed_are_those_of_the_document() -> None:
    for path, methods in own_document()["paths"].items():
        answer = client.delete(re.sub(r"{\w+}", "x", path))
        assert answer.status_code == 405
        allowed = {method.strip().lower() for method in answer.headers["allow"].split(",")}
        assert allowed & HTTP_METHODS == set(methods), path


@pytest.mark.parametrize(
    "path", ["/uploads", "/machines/x/acknowledge", "/machines/x/snooze", "/results/x/review"]
)
@pytest.mark.parametrize("body", [b"\xff", b'{"person": "\xe4"}'])
def test_a_body_that_is_not_utf_8_is_an_invalid_request(path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "InvalidRequest"
    assert answer.json()["detail"].startswith("the body is not JSON in UTF-8; ")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            '{"person": "ana", "note": "", "person": "bob"}',
            "the key 'person' appears more than once in an object",
        ),
        ('{"person": "ana", "days": NaN}', "it contains NaN, which is not a number of JSON"),
        ('{"person": "ana", "days": 1e999}', "days: the number is too large"),
        (r'{"person": "\ud800"}', "person: the text contains U+D800, which is not a character"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/uploads", "/machines/x/acknowledge", "/machines/x/snooze", "/results/x/review"]
)
def test_json_that_readers_understand_differently_is_an_invalid_request(
    path: str, body: str, fault: str
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "InvalidRequest"
    assert answer.json()["detail"].startswith(f"the body cannot be used: {fault}; ")


@pytest.mark.parametrize(
    "filename",
    [
        *(
            "fan.wav",
            "FAN.WaV",
            "a.b.flac",
            "Lüfter 3.mp3",
            "hall/fan.w64",
            "C:\\fan.wav",
            "fan.m4a",
        ),
        *("fan", "fan.txt", ".wav", "dir/.wav", "fan.wav.exe", "wav", "\\.wav"),
    ],
)
def test_the_pattern_of_file_names_is_what_is_accepted(cloud: Cloud, filename: str) -> None:
    schema = own_document()["components"]["schemas"]["UploadRequest"]["properties"]["filename"]
    fits = re.search(schema["pattern"], filename) is not None
    answer = client.post("/uploads", json={"filename": filename})
    assert answer.status_code == (200 if fits else 415), answer.text


def test_the_pattern_names_every_suffix() -> None:
    schema = own_document()["components"]["schemas"]["UploadRequest"]["properties"]["filename"]
    for suffix in SUFFIXES + OPTIONAL_SUFFIXES:
        assert re.search(schema["pattern"], f"fan{suffix}")


def test_empty_fields_say_nothing_as_the_document_says(trained: Path) -> None:
    parameters = {
        parameter["name"]: parameter["schema"]
        for parameter in own_document()["paths"]["/predict-anomaly"]["post"]["parameters"]
    }
    empty = {"type": "string", "maxLength": 0}
    assert empty in parameters["machine"]["anyOf"]
    assert empty in parameters["recorded_at"]["anyOf"]
    query = {"machine": "", "recorded_at": "", "model_name": ""}
    answer = client.post(
        "/predict-anomaly", params=query, content=NORMAL, headers={"content-type": "audio/wav"}
    )
    assert answer.status_code == 200
    assert "machine" not in answer.json()
