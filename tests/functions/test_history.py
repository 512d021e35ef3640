"""Every way in adds one row to the history of the machine, in both stores."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler as on_upload
from functions.sqs_trigger.app import handler as on_batch
from oddsound import runtime
from oddsound.aws.jobs import Jobs
from oddsound.errors import StorageError
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import HistoryRow, Machine
from tests.cloud import FAULTY, INPUT, NORMAL, Cloud, LambdaContext, batch, notification
from tests.functions.conftest import PUMP
from tests.machines.conftest import MONDAY

pytestmark = pytest.mark.slow


def rows(machine: str = PUMP) -> list[HistoryRow]:
    return runtime.required_history().history(machine, 100).rows


def test_an_upload_is_of_the_machine_of_its_folder(cloud: Cloud, ledger: Ledger) -> None:
    job = cloud.put(f"{PUMP}/2026-11-23T10-00-00.wav", FAULTY)
    on_upload(notification(job), LambdaContext())
    (row,) = rows()
    result = cloud.result(job.key)
    assert result.prediction is not None
    assert result.prediction.machine == row.machine == PUMP
    assert result.recorded_at == row.recorded_at == MONDAY
    assert (row.bucket, row.key, row.source) == (INPUT, job.key, "s3")
    assert (row.is_anomaly, row.prediction, row.model_name) == (True, "anomaly", "fan")
    assert row.score == result.prediction.anomaly_score
    assert datetime.now(UTC) - row.scored_at < timedelta(minutes=1)
    machine = ledger.machine(PUMP)
    assert (machine.state, machine.model_name) == ("unknown", None)
    assert machine.last_recorded_at == MONDAY
    assert cloud.alerts() == []  # an alert for each recording is for those without a machine


def test_an_upload_without_a_machine_has_a_row_and_an_alert(cloud: Cloud, ledger: Ledger) -> None:
    on_upload(notification(cloud.put("fan.wav", FAULTY)), LambdaContext())
    (row,) = runtime.required_history().history("", 100).rows
    assert row.machine is None
    assert len(cloud.alerts()) == 1
    assert ledger.machines(10).machines == []


def test_metadata_and_messages_name_machine_and_time(cloud: Cloud, ledger: Ledger) -> None:
    metadata = {"machine": quote("Halle 3/Lüfter"), "recorded_at": "2026-11-23T12:00:00+02:00"}
    job = cloud.put("other/2020-01-01T00-00-00.wav", NORMAL, **metadata)
    on_upload(notification(job), LambdaContext())
    assert [row.recorded_at for row in rows("Halle 3/Lüfter")] == [MONDAY]
    message = {"bucket": INPUT, "key": "other/plain.wav", "machine": PUMP}
    cloud.put("other/plain.wav", NORMAL, machine="ignored")
    event = batch(message | {"recorded_at": "2026-11-23T10:00:00"})
    assert on_batch(event, LambdaContext()) == {"batchItemFailures": []}
    assert [row.recorded_at for row in rows()] == [MONDAY]
    known = [machine.id for machine in ledger.machines(10).machines]
    assert known == ["Halle 3/Lüfter", PUMP]


def test_metadata_that_cannot_be_used_is_logged_and_ignored(
    cloud: Cloud, ledger: Ledger, lines: Any
) -> None:
    job = cloud.put(f"{PUMP}/fan.wav", NORMAL, machine="/no/", recorded_at="yesterday")
    on_upload(notification(job), LambdaContext())
    (row,) = rows()
    uploaded = cloud.s3.head_object(Bucket=INPUT, Key=job.key)["LastModified"]
    assert row.recorded_at == uploaded
    texts = [line.get("message", "") for line in lines()]
    assert any("metadata machine is no id" in text for text in texts)
    assert any("metadata recorded-at is not a time" in text for text in texts)


def test_a_message_with_an_impossible_machine_is_refused_without_showing_it(
    cloud: Cloud, ledger: Ledger, lines: Any
) -> None:
    event = batch({"bucket": INPUT, "key": "fan.wav", "machine": "secret/"})
    assert on_batch(event, LambdaContext())["batchItemFailures"]
    text = str(lines())
    assert "machine: Value error, this is not the id of a machine" in text
    assert "secret/" not in text


def test_a_repeated_event_adds_no_row_and_new_content_does(cloud: Cloud, ledger: Ledger) -> None:
    for content in (NORMAL, NORMAL, FAULTY):
        event = notification(cloud.put(f"{PUMP}/latest.wav", content))
        on_upload(event, LambdaContext())
        on_upload(event, LambdaContext())
    assert [row.is_anomaly for row in rows()] == [True, False]


def test_a_recording_whose_row_could_not_be_written_is_retried(
    cloud: Cloud, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = notification(cloud.put(f"{PUMP}/fan.wav", NORMAL))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", _throttled)
        with pytest.raises(StorageError, match="throttled"):
            on_upload(event, LambdaContext())
    on_upload(event, LambdaContext())
    assert len(rows()) == 1
    assert len(cloud.results()) == 1


def _throttled(*_: Any) -> None:
    raise StorageError("throttled")


def test_the_model_of_a_machine_scores_its_recordings(cloud: Cloud, ledger: Ledger) -> None:
    ledger.register(Machine(id=PUMP, model_name="bearing"))
    on_upload(notification(cloud.put(f"{PUMP}/fan.wav", NORMAL)), LambdaContext())
    on_upload(notification(cloud.put(f"{PUMP}/2.wav", NORMAL, model_name="fan")), LambdaContext())
    assert sorted(row.model_name for row in rows()) == ["bearing", "fan"]
    client = TestClient(app)
    stored = client.get(f"/results/{PUMP}/fan.wav")
    assert stored.status_code == 200
    assert stored.json()["model"] == "bearing"
    answer = client.post("/predict-anomaly", files={"file": NORMAL}, params={"machine": PUMP})
    assert answer.json()["model_name"] == "bearing"


@pytest.mark.parametrize(
    "time", ["2199-01-01T00-00-00", "1969-12-31T23-59-59", "0328-08-26T07-53-35"]
)
def test_a_recording_of_an_impossible_time_has_the_time_of_its_scoring(
    cloud: Cloud, ledger: Ledger, time: str
) -> None:
    on_upload(notification(cloud.put(f"{PUMP}/{time}.wav", NORMAL)), LambdaContext())
    (row,) = rows()
    assert row.recorded_at == row.scored_at


@pytest.mark.parametrize("time", ["0001-01-01T00-00-00", "9999-12-31T23-59-59"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_time_that_no_calendar_has_in_utc_does_not_stop_the_job(
    cloud: Cloud, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, time: str, zone: str
) -> None:
    monkeypatch.setenv("RECORDED_AT_ZONE", zone)
    runtime.clear()
    on_upload(notification(cloud.put(f"{PUMP}/{time}.wav", NORMAL)), LambdaContext())
    assert cloud.result(f"{PUMP}/{time}.wav").status == "succeeded"


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_time_that_no_calendar_has_in_utc_is_refused(
    cloud: Cloud, ledger: Ledger, until: str
) -> None:
    client = TestClient(app)
    said = {"person": "Ada", "until": until}
    answer = client.post(f"/machines/{PUMP}/snooze", json=said)
    assert answer.status_code == 422
    assert "outside the years 1 to 9999" in answer.json()["detail"]
    form = {"machine": PUMP, "recorded_at": until}
    sent = client.post("/predict-anomaly", files={"file": NORMAL}, data=form)
    assert sent.status_code == 422


@pytest.mark.parametrize("until", [2026, 1.8e12, "2026", " 20261123.0 "])
def test_a_number_is_no_time(cloud: Cloud, ledger: Ledger, until: object) -> None:
    """Pydantic takes 2026 as 34 minutes after the beginning of 1970."""
    said = {"person": "Ada", "until": until}
    answer = TestClient(app).post(f"/machines/{PUMP}/snooze", json=said)
    assert answer.status_code == 422
    assert "until: " in answer.json()["detail"]
    assert "this is a number, not a time such as 2026-11-23T10:30:00Z" in answer.json()["detail"]
    answer = TestClient(app).get(f"/machines/{PUMP}/trend", params={"after": str(until)})
    assert answer.status_code == 422


def test_a_number_of_events_that_no_store_can_hold_is_refused(cloud: Cloud, ledger: Ledger) -> None:
    ledger.register(Machine(id=PUMP))
    answer = TestClient(app).get(f"/machines/{PUMP}/events", params={"before": 2**63})
    assert answer.status_code == 422


def test_http_requests_are_rows_too(ledger: Ledger) -> None:
    client = TestClient(app)
    form = {"machine": PUMP, "recorded_at": "2026-11-23T10:00:00Z"}
    for _ in range(2):  # a client that got no answer sends it again
        answer = client.post("/predict-anomaly", files={"file": ("a b.wav", NORMAL)}, data=form)
        assert answer.json()["machine"] == PUMP
    (row,) = rows()
    assert (row.recorded_at, row.source, row.bucket) == (MONDAY, "http", None)
    assert row.key.endswith("/a b.wav")
    for _ in range(2):  # without a time, each is a recording of its own
        url = f"/predict-anomaly?machine={PUMP}"
        answer = client.post(url, content=FAULTY, headers={"content-type": "audio/wav"})
        assert answer.status_code == 200
    assert [row.is_anomaly for row in rows()] == [True, True, False]
    named = client.post(
        "/predict-anomaly",
        files={"file": ("2026-11-23T09-00-00.wav", NORMAL)},
        data={"machine": PUMP},
    )
    assert named.status_code == 200
    assert rows()[-1].recorded_at == MONDAY - timedelta(hours=1)


@pytest.mark.parametrize(
    ("params", "form", "status", "words"),
    [
        ({"machine": "/a"}, {}, 400, "not the id of a machine"),
        ({"machine": "a"}, {"machine": "b"}, 400, "machine is 'a' in the URL and 'b' in the form"),
        ({"recorded_at": "soon"}, {}, 422, "'soon' is not a time"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(
    params: dict[str, str], form: dict[str, str], status: int, words: str, configured: Path
) -> None:
    answer = TestClient(app).post(
        "/predict-anomaly", files={"file": NORMAL}, params=params, data=form
    )
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_machines_and_history_are_paged(ledger: Ledger) -> None:
    client = TestClient(app)
    for number in range(3):
        ledger.register(Machine(id=f"hall-3/pump-{number}", model_name="fan", site="Ulm"))
    first = client.get("/machines", params={"limit": 2}).json()
    assert [machine["id"] for machine in first["machines"]] == ["hall-3/pump-0", "hall-3/pump-1"]
    assert first["machines"][0]["state"] == "normal"
    last = client.get("/machines", params={"after": first["next"]}).json()
    assert [machine["id"] for machine in last["machines"]] == ["hall-3/pump-2"]
    assert last["next"] is None
    assert client.get("/machines/hall-3/pump-1").json() == first["machines"][1]
    for hour in range(3):
        form = {"machine": "hall-3/pump-1", "recorded_at": f"2026-11-23T1{hour}:00:00Z"}
        client.post("/predict-anomaly", files={"file": NORMAL}, data=form)
    path = "/machines/hall-3/pump-1/history"
    newest = client.get(path, params={"limit": 2}).json()
    assert [row["recorded_at"][11:13] for row in newest["rows"]] == ["12", "11"]
    oldest = client.get(path, params={"limit": 2, "before": newest["next"]}).json()
    assert [row["recorded_at"][11:13] for row in oldest["rows"]] == ["10"]
    assert oldest["next"] is None
    assert client.get("/machines/hall-3/pump-2/history").json()["rows"] == []


def test_an_unknown_machine_is_404_and_no_history_501(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(app)
    for path in ("/machines/nobody", "/machines/nobody/history"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "UnknownMachineError")
    monkeypatch.delenv("HISTORY")
    runtime.clear()
    for path in ("/machines", "/machines/nobody", "/machines/nobody/history"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (501, "NotConfiguredError")
        assert "HISTORY" in answer.json()["detail"]


def test_without_a_history_folders_are_no_machines(cloud: Cloud) -> None:
    jobs: Jobs = runtime.jobs()
    result = jobs.process(cloud.put(f"{PUMP}/fan.wav", FAULTY))
    assert result.prediction is not None
    assert result.prediction.machine is None
    assert len(cloud.alerts()) == 1
