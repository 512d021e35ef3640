"""What people hear of a machine's state, and what they say about it, with both stores."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler as on_upload
from functions.sqs_trigger.app import handler as on_batch
from oddsound import runtime
from oddsound.aws.messages import CHECK
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import Machine
from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE
from tests.cloud import FAULTY, NORMAL, Cloud, LambdaContext, batch, notification
from tests.functions.conftest import PUMP

pytestmark = pytest.mark.slow


def hear(client: TestClient, *sounds: bytes, start: int = 10) -> None:
    """Send recordings of consecutive hours."""
    for hour, sound in enumerate(sounds, start):
        form = {"machine": PUMP, "recorded_at": f"2026-11-23T{hour}:00:00Z"}
        answer = client.post("/predict-anomaly", files={"file": sound}, data=form)
        assert answer.status_code == 200, answer.text


def test_only_changes_of_state_reach_the_topic(cloud: Cloud, ledger: Ledger) -> None:
    ledger.register(Machine(id=PUMP, name="Coolant pump", model_name="fan"))
    for number, sound in enumerate((NORMAL, FAULTY, FAULTY, FAULTY, NORMAL, NORMAL)):
        key = f"{PUMP}/2026-11-23T1{number}-00-00.wav"
        event = notification(cloud.put(key, sound))
        on_upload(event, LambdaContext())
        on_upload(event, LambdaContext())
    first, second = (json.loads(alert["Message"]) for alert in cloud.alerts())
    assert (first["kind"], first["machine"], first["name"]) == (
        *("state-change", PUMP),
        "Coolant pump",
    )
    assert (first["event"]["state"], second["event"]["state"]) == ("active", "returned")
    assert first["event"]["key"] == f"{PUMP}/2026-11-23T12-00-00.wav"


def test_a_subscription_can_filter_by_machine_and_state(cloud: Cloud, ledger: Ledger) -> None:
    ledger.register(Machine(id=PUMP, model_name="fan"))
    hear(TestClient(app), FAULTY, FAULTY)
    (alert,) = cloud.alerts()
    values = {name: entry["Value"] for name, entry in alert["MessageAttributes"].items()}
    assert values == {
        **{"kind": "state-change", "machine": PUMP, "state": "active"},
        "id": f"{PUMP}#1",
    }
    assert alert["Subject"].startswith(f"{PUMP}: active. 2 of the last 3 recordings are anomalous")
    assert len(alert["Subject"]) <= 100


def test_a_topic_that_fails_gets_the_notice_at_the_next_check(
    cloud: Cloud, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.register(Machine(id=PUMP, model_name="fan"))
    real = runtime.settings().anomaly_topic_arn
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", f"{real}-gone")
    runtime.clear()
    hear(TestClient(app), FAULTY, FAULTY)
    assert cloud.alerts() == []
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", str(real))
    runtime.clear()
    assert on_batch(batch(CHECK), LambdaContext()) == {"batchItemFailures": []}
    assert len(cloud.alerts()) == 1
    assert on_batch(batch(CHECK), LambdaContext()) == {"batchItemFailures": []}
    assert cloud.alerts() == []


def test_a_check_counts_machines_for_the_alarms_of_the_template(
    cloud: Cloud, ledger: Ledger, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    ledger.register(Machine(id="hall-3/pump-08", model_name="fan"))
    ledger.register(Machine(id=PUMP, model_name="fan"))
    hear(TestClient(app), FAULTY, FAULTY)

    def counted() -> dict[str, Any]:
        lines()
        assert on_batch(batch(CHECK), LambdaContext()) == {"batchItemFailures": []}
        (metrics,) = [line for line in lines() if "Machines" in line]
        (declared,) = metrics["_aws"]["CloudWatchMetrics"]
        assert declared["Dimensions"] == [["service"]]
        names = {metric["Name"] for metric in declared["Metrics"]} - {"Received"}
        return {name: metrics[name] for name in names}

    alarms = [
        resource["Properties"]
        for resource in template.load(TEMPLATE)["Resources"].values()
        if resource["Properties"].get("Namespace") == "AudioAnomaly"
    ]
    found = counted()
    assert found == {"Machines": [2], "SilentMachines": [0], "FailingMachines": [1]}
    assert {alarm["MetricName"] for alarm in alarms} == set(found)
    for alarm in alarms:
        assert alarm["Dimensions"] == [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]
    ledger.acknowledge(PUMP, "Ada")
    assert counted()["FailingMachines"] == [0]


def test_the_message_of_the_template_is_the_one_that_asks_for_a_check() -> None:
    rule = template.load(TEMPLATE)["Resources"]["CheckMachines"]["Properties"]
    assert [target["Input"] for target in rule["Targets"]] == [CHECK]


def test_people_acknowledge_and_snooze_over_http(ledger: Ledger) -> None:
    client = TestClient(app)
    ledger.register(Machine(id=PUMP, model_name="fan"))
    path = f"/machines/{PUMP}"
    refused = client.post(f"{path}/acknowledge", json={"person": "Ada"})
    assert (refused.status_code, refused.json()["error"]) == (409, "InvalidStateError")
    hear(client, FAULTY, FAULTY)
    assert client.get(path).json()["state"] == "active"
    seen = client.post(f"{path}/acknowledge", json={"person": "Ada", "note": "the bearing"})
    assert (seen.status_code, seen.json()["state"]) == (200, "acknowledged")
    until = {"person": "Ada", "until": "2199-01-01T00:00:00Z"}
    assert client.post(f"{path}/snooze", json=until).json()["state"] == "snoozed"
    over = until | {"until": "2020-01-01T00:00:00Z"}
    assert client.post(f"{path}/snooze", json=over).json()["state"] == "acknowledged"
    page = client.get(f"{path}/events", params={"limit": 3}).json()
    assert [event["cause"] for event in page["events"]] == [
        *("snooze ended", "snoozed"),
        "acknowledged",
    ]
    older = client.get(f"{path}/events", params={"before": page["next"]}).json()
    assert [event["cause"] for event in older["events"]] == ["anomalies"]
    for body in ({}, {"person": ""}, {"person": "Ada", "name": "x"}):
        assert client.post(f"{path}/acknowledge", json=body).status_code == 422
    for route, body in (("acknowledge", {"person": "Ada"}), ("snooze", until)):
        assert client.post(f"/machines/nobody/{route}", json=body).status_code == 404


def test_a_person_reviews_a_result(cloud: Cloud, ledger: Ledger) -> None:
    client = TestClient(app)
    key = f"{PUMP}/2026-11-23T10-00-00.wav"
    said = {"label": "normal", "note": "the door", "person": "Ada"}
    assert client.post(f"/results/{key}/review", json=said).status_code == 404
    on_upload(notification(cloud.put(key, FAULTY)), LambdaContext())
    answer = client.post(f"/results/{key}/review", json=said)
    assert answer.status_code == 200
    assert {name: answer.json()["review"][name] for name in said} == said
    (row,) = client.get(f"/machines/{PUMP}/history").json()["rows"]
    assert row == answer.json()
    refused = client.post(f"/results/{key}/review", json={"label": "broken"})
    assert refused.status_code == 422
    assert "'normal', 'fault' or 'unusable'" in refused.json()["detail"]
