"""Rows as DynamoDB stores them: small, read by later versions, and as earlier ones wrote them."""

import random
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound.errors import StorageError
from oddsound.history.dynamodb import DynamoHistory
from oddsound.history.packing import packed, unpacked
from oddsound.history.store import position
from oddsound.machines.profile import BANDS, Profile
from oddsound.machines.records import HistoryRow, Review
from oddsound.schemas import Event
from tests.machines.conftest import TABLE, hour, row, table_of_the_template

KNOCK = Event(
    **{"start_s": 1.5, "end_s": 1.6, "kind": "impact", "score": 2.5},
    says="a knock, 14 dB over the usual level between 1.5 kHz and 7.2 kHz",
)
REVIEWED = row(
    3, events=[KNOCK], review=Review(label="fault", note="Lärm", at="2026-11-24T00:00:00Z")
)
STORED = bytes.fromhex(
    "01834650517eb92e30688d3123ca58bfa034b740d7c01c678c191987181ae38b366425a6e4c59e912992270d09c45f"
    "5a621e962834c41d71f03aa65837330f1e6fa8ded707050fe158442a5b0cf54ce1658ba19e199ee2c514b37c313421"
    "58c200cd0797d4a092cd5ccf0852b8e14c45d568a50bbc38f239bca428176799048a3c931070e482e3b7b61600"
)
"""REVIEWED, as the first version with packed rows stored it."""


def test_a_row_that_was_stored_once_is_read_by_every_later_version() -> None:
    assert unpacked(STORED) == REVIEWED
    assert unpacked(packed(REVIEWED)) == REVIEWED


def test_a_packed_row_is_less_than_half_as_large() -> None:
    rng = random.Random(1)
    shifts = [round(rng.gauss(0, 1), 2) for _ in range(BANDS + 12)]
    profile = Profile(trained_with=20, level=0.5, bands=shifts[:BANDS], time=shifts[BANDS + 1 :])
    typical = row(1, id=f"{rng.getrandbits(128):032x}", score=rng.random(), profile=profile)
    assert unpacked(packed(typical)) == typical
    assert len(packed(typical)) < 0.45 * len(typical.model_dump_json())


def test_a_row_of_a_newer_version_is_refused() -> None:
    with pytest.raises(StorageError, match="newer version of oddsound: it is packed in form 2"):
        unpacked(b"\x02" + STORED[1:])


def test_rows_of_earlier_versions_are_listed_and_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stored JSON in the attribute `body`."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client: Any = boto3.client("dynamodb")
        table_of_the_template(client)
        store = DynamoHistory(lambda: client, TABLE)
        store.add_row(row(2))
        old = row(1)
        store.add_row(old)
        as_before(client, old)
        assert store.rows("hall-3/pump-07", 10) == [row(2), old]
        assert store.row(old.id) == old
        reviewed = old.model_copy(update={"review": Review(label="normal", at=hour(5))})
        store.replace_row(reviewed)
        assert store.rows("hall-3/pump-07", 10) == [row(2), reviewed]
        assert store.rows_of_key(old.key) == [reviewed]
        attributes = [set(item) for item in client.scan(TableName=TABLE)["Items"]]
        assert {"pk", "sk", "packed", "body"} not in attributes


def as_before(client: Any, of: HistoryRow) -> None:
    client.put_item(
        TableName=TABLE,
        Item={
            "pk": {"S": f"rows#{of.machine}#2026-11"},
            "sk": {"S": position(of)},
            "body": {"S": of.model_dump_json()},
        },
    )
