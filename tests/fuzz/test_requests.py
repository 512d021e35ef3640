"""Whatever a client sends, it gets a documented status and an error body; never a 500."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from functions.api.app import app
from tests.cloud import NORMAL, Cloud
from tests.fuzz.damage import damaged

BOUNDARY = "a-boundary"
FORM = (
    (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model_name"\r\n\r\nfan\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="fan.wav"\r\n'
        f"Content-Type: audio/wav\r\n\r\n"
    ).encode()
    + NORMAL[:4000]
    + f"\r\n--{BOUNDARY}--\r\n".encode()
)
STATUSES = {200, 400, 404, 413, 415, 422}

# An unexpected error must become a 500 here, and not an exception of the test's client.
client = TestClient(app, raise_server_exceptions=False)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("configured")]

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


def check(answer: Any) -> None:
    assert answer.status_code in STATUSES, (answer.status_code, answer.text)
    if answer.status_code != 200:
        assert set(answer.json()) == {"error", "detail"}


@given(damaged([FORM]))
def test_damaged_forms(body: bytes) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    check(client.post("/predict-anomaly", content=body, headers=headers))


@given(st.binary(max_size=400), PRINTABLE)
def test_arbitrary_bodies_and_types(body: bytes, parameters: str) -> None:
    for media_type in ("multipart/form-data", "audio/wav", "application/json", parameters):
        content_type = f"{media_type}; boundary={parameters}"
        check(client.post("/predict-anomaly", content=body, headers={"content-type": content_type}))


@given(
    names=st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=4),
    field=st.text(max_size=12),
    filename=st.text(max_size=30),
)
def test_arbitrary_names(names: Any, field: str, filename: str) -> None:
    files: Any = {field or "file": (filename, NORMAL[:2000]), "file": ("fan.wav", NORMAL[:2000])}
    check(client.post("/predict-anomaly", files=files, params=names))


@given(st.text(max_size=60), st.text(max_size=12))
def test_arbitrary_keys(cloud: Cloud, key: str, model_name: str) -> None:
    answer = client.get(f"/results/{quote(key)}", params={"model_name": model_name})
    check(answer)


@given(damaged([b'{"filename": "fan.wav", "model_name": "fan"}']))
def test_damaged_upload_requests(cloud: Cloud, body: bytes) -> None:
    check(client.post("/uploads", content=body, headers={"content-type": "application/json"}))


def test_the_intact_form_is_scored(configured: Path) -> None:
    body = FORM.replace(NORMAL[:4000], NORMAL)
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert client.post("/predict-anomaly", content=body, headers=headers).status_code == 200
