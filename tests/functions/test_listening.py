"""GET /recordings: links to listen, to S3 and to files, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from oddsound import runtime
from oddsound.machines.ledger import Ledger, Origin
from tests.cloud import INPUT, NORMAL, Cloud
from tests.functions.conftest import PUMP
from tests.functions.test_api import failed
from tests.functions.test_pages import policy_of
from tests.functions.test_uploads import served as served
from tests.machines.hearing import MONDAY, prediction

pytestmark = pytest.mark.slow

KEY = f"{PUMP}/Lüfter 7 + 1.wav"


@pytest.fixture
def client() -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def history(configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The history of a service on one computer."""
    monkeypatch.setenv("HISTORY", str(tmp_path / "history.sqlite"))
    runtime.clear()
    return runtime.required_history()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path.resolve() / "hall-3" / "Lüfter 7 + 1.wav"
    made.parent.mkdir()
    made.write_bytes(NORMAL)
    return made


def heard(
    ledger: Ledger, key: str, source: str = "s3", bucket: str | None = None, **more: Any
) -> None:
    origin = Origin(PUMP, MONDAY, source, key, content=f"{source} {bucket}", bucket=bucket)
    ledger.record(prediction(anomalous=True, **more), origin)


def test_the_link_to_a_recording_on_s3_delivers_it_for_five_minutes(
    served: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    monkeypatch.setenv("HISTORY", str(tmp_path / "history.sqlite"))
    runtime.clear()
    served.s3.put_object(Bucket=INPUT, Key=KEY, Body=NORMAL, ContentType="text/html")
    heard(runtime.required_history(), KEY, bucket=INPUT)
    link = client.get(f"/recordings/{KEY}").json()
    answer = httpx2.get(link["url"], headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"RIFF")
    whole = httpx2.get(link["url"])
    assert whole.content == NORMAL
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["content-disposition"] == "inline"
    assert parse_qs(urlsplit(link["url"]).query)["X-Amz-Expires"] == ["300"]
    left = datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    assert datetime.fromisoformat(link["recorded_at"]) == MONDAY


def test_the_page_of_a_machine_may_play_from_the_input_bucket_only(
    cloud: Cloud, ledger: Ledger, client: TestClient
) -> None:
    heard(ledger, "a.wav", bucket=INPUT)
    url = urlsplit(client.get("/recordings/a.wav").json()["url"])
    assert url.netloc == f"{INPUT}.s3.eu-central-1.amazonaws.com"
    assert policy_of(client, "/ui/machine")["media-src"] == f"'self' https://{url.netloc}"
    assert "media-src" not in policy_of(client, "/ui/machines")


def test_without_a_bucket_the_page_plays_from_the_service_only(
    history: Ledger, client: TestClient
) -> None:
    assert policy_of(client, "/ui/machine")["media-src"] == "'self'"


@pytest.mark.parametrize(
    ("source", "bucket", "words"),
    [
        ("http", None, "a recording that was sent by HTTP is not kept"),
        ("s3", "bucket-of-others", "it is not in INPUT_BUCKET"),
        ("s3", None, "it is a file of the computer that scored it"),
        ("watch", None, "its file is gone or was moved"),
    ],
)
def test_what_cannot_be_played_is_not_found_and_it_says_why(
    history: Ledger, client: TestClient, source: str, bucket: str | None, words: str
) -> None:
    heard(history, "http/0123/fan.wav", source, bucket)
    for route in ("recordings", "audio"):
        answer = client.get(f"/{route}/http/0123/fan.wav")
        failed(answer, 404, "ResultNotFoundError", words)
        assert "bucket-of-others" not in answer.text


@pytest.mark.parametrize("source", ["watch", "file"])
def test_a_file_of_this_computer_is_played_with_ranges(
    history: Ledger, client: TestClient, file: Path, source: str
) -> None:
    heard(history, str(file), source)
    link = client.get(f"/recordings/{file}").json()
    assert link["expires_at"] is None
    assert urlsplit(link["url"]).netloc == "testserver"
    answer = client.get(link["url"])
    assert (answer.content, answer.headers["content-type"]) == (NORMAL, "audio/wav")
    part = client.get(link["url"], headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    head = client.head(link["url"])
    assert (head.content, head.headers["content-length"]) == (b"", str(len(NORMAL)))


def test_only_a_path_that_is_exactly_the_key_of_a_row_is_read(
    history: Ledger, client: TestClient, file: Path
) -> None:
    heard(history, str(file), "watch")
    secret = file.with_name("secret.wav")
    secret.write_bytes(NORMAL)
    for path in (secret, "/etc/passwd", f"{file.parent}/%2e%2e/hall-3/{file.name}", f"/{file}"):
        failed(client.get(f"/audio/{path}"), 404, "ResultNotFoundError", "has no recording")
        failed(client.get(f"/recordings/{path}"), 404, "ResultNotFoundError", "has no recording")


def test_a_name_that_a_client_sends_reads_no_file(
    history: Ledger, client: TestClient, file: Path
) -> None:
    """The key of a sent recording is a name of its own; also if it were a path, it is not read."""
    heard(history, str(file), "http")
    failed(client.get(f"/audio/{file}"), 404, "ResultNotFoundError", "sent by HTTP is not kept")


def test_a_link_in_the_place_of_a_file_is_not_followed(
    history: Ledger, client: TestClient, file: Path
) -> None:
    heard(history, str(file), "watch")
    other = file.with_name("other")
    other.write_bytes(b"secret")
    file.unlink()
    file.symlink_to(other)
    failed(client.get(f"/audio/{file}"), 404, "ResultNotFoundError", "gone or was moved")


def test_a_service_in_the_cloud_reads_no_files(
    cloud: Cloud, ledger: Ledger, client: TestClient, file: Path
) -> None:
    heard(ledger, str(file), "watch")
    answer = client.get(f"/audio/{file}")
    if runtime.settings().history_table is None:
        assert answer.content == NORMAL
    else:
        failed(answer, 404, "ResultNotFoundError", "a file of the computer that scored it")


def test_a_parameter_that_is_not_known_is_refused(history: Ledger, client: TestClient) -> None:
    failed(client.get("/recordings/a.wav?expiry=9"), 422, "InvalidRequest", "expiry")


def test_without_credentials_there_is_no_link(
    cloud: Cloud, ledger: Ledger, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(ledger, "a.wav", bucket=INPUT)
    monkeypatch.setattr(runtime.s3_client()._request_signer, "_credentials", None)
    failed(client.get("/recordings/a.wav"), 503, "StorageError", "try again later")
    assert policy_of(client, "/ui/machine")["media-src"] == "'self'"
