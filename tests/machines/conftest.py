"""Both stores of machines and history, and rows to put into them."""

import functools
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound.history.dynamodb import DynamoHistory
from oddsound.history.sqlite import SqliteHistory
from oddsound.history.store import HistoryStore
from oddsound.machines.records import HistoryRow, Machine, MachineRecord, Status
from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE
from tests.machines.hearing import MONDAY as MONDAY
from tests.machines.hearing import Clock
from tests.machines.hearing import hour as hour

TABLE = "history"


def row(number: float = 0, machine: str | None = "hall-3/pump-07", **fields: Any) -> HistoryRow:
    """A row that was recorded in that hour; its id says so too."""
    values: dict[str, Any] = {
        "id": f"row-{number:04g}",
        "machine": machine,
        "recorded_at": hour(number),
        "scored_at": hour(number) + timedelta(seconds=5),
        "prediction": "normal",
        "is_anomaly": False,
        "score": 0.25,
        "level": 0.1,
        "threshold": 0.9,
        "model_name": "fan",
        "model_version": "1",
        "source": "s3",
        "bucket": "recordings-in",
        "key": f"hall-3/pump-07/{number:04g}.wav",
        "duration_s": 10.0,
        "events": [],
        "warnings": [],
    }
    return HistoryRow(**values | fields)


def record(machine_id: str = "hall-3/pump-07", **fields: Any) -> MachineRecord:
    status = Status(state="normal", since=MONDAY)
    return MachineRecord(machine=Machine(id=machine_id, **fields), status=status, created_at=MONDAY)


def table_of_the_template(client: Any) -> None:
    """The table with the keys and settings that template.yaml declares."""
    properties = _properties_of_the_table()
    names = ("AttributeDefinitions", "KeySchema", "BillingMode")
    client.create_table(TableName=TABLE, **{name: properties[name] for name in names})


@functools.cache
def _properties_of_the_table() -> dict[str, Any]:
    properties: dict[str, Any] = template.load(TEMPLATE)["Resources"]["HistoryTable"]["Properties"]
    return properties


def one_at_a_time(client: Any) -> None:
    """Make requests atomic: DynamoDB's are, but moto's are not atomic between threads."""
    call, lock = client._make_api_call, threading.Lock()

    def locked(operation: str, arguments: dict[str, Any]) -> Any:
        with lock:
            return call(operation, arguments)

    client._make_api_call = locked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "dynamodb"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HistoryStore]:
    """Each of the two stores, empty."""
    if request.param == "sqlite":
        made = SqliteHistory(tmp_path / "data" / "history.sqlite")
        yield made
        made.close()
        return
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client: Any = boto3.client("dynamodb")
        table_of_the_template(client)
        one_at_a_time(client)
        yield DynamoHistory(lambda: client, TABLE)
