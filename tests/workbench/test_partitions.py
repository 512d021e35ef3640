"""Queries of the local DynamoDB: their partition only, with the answers of moto."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models.table import Table

from oddsound_workbench.local import partitions

TABLE, PLAIN = "with-index", "plain"
NUMBERS = [3, 1, 2, 10]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two tables: one with a sort key and an index, one without either."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("query", "all_items"):
        monkeypatch.setattr(Table, name, getattr(Table, name))  # restored after the test
    with mock_aws():
        made: Any = boto3.client("dynamodb")
        names = {"pk": "S", "sk": "S", "colour": "S"}
        attributes = [{"AttributeName": n, "AttributeType": of} for n, of in names.items()]
        index = {
            "IndexName": "by-colour",
            "KeySchema": keys("colour", "sk"),
            "Projection": {"ProjectionType": "ALL"},
        }
        billing = {"BillingMode": "PAY_PER_REQUEST"}
        made.create_table(
            **{"TableName": TABLE, "AttributeDefinitions": attributes, **billing},
            **{"KeySchema": keys("pk", "sk"), "GlobalSecondaryIndexes": [index]},
        )
        made.create_table(
            **{"TableName": PLAIN, "AttributeDefinitions": attributes[:1], **billing},
            **{"KeySchema": keys("pk")},
        )
        for partition in "abc":
            made.put_item(TableName=PLAIN, Item={"pk": {"S": partition}})
            for number in NUMBERS:
                item = {"pk": partition, "sk": f"{number:02}", "colour": "red"}
                made.put_item(TableName=TABLE, Item={n: {"S": of} for n, of in item.items()})
        yield made


def keys(*names: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind}
        for name, kind in zip(names, ("HASH", "RANGE"), strict=False)
    ]


def found(client: Any, key: str, **more: Any) -> list[str]:
    name = "colour" if "IndexName" in more else "pk"
    answer = client.query(
        **{"TableName": TABLE, "KeyConditionExpression": f"{name} = :key", **more},
        ExpressionAttributeValues={":key": {"S": key}},
    )
    return ["".join(item[n]["S"] for n in ("pk", "sk") if n in item) for item in answer["Items"]]


def test_a_query_reads_its_partition_alone(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole_table(_: Any) -> None:
        raise AssertionError("all items were read")

    monkeypatch.setattr(Table, "all_items", whole_table)
    partitions.attach()
    assert found(client, "b") == ["b01", "b02", "b03", "b10"]
    assert found(client, "b", ScanIndexForward=False, Limit=2) == ["b10", "b03"]
    start = {"pk": {"S": "b"}, "sk": {"S": "02"}}
    assert found(client, "b", ExclusiveStartKey=start) == ["b03", "b10"]
    assert found(client, "nobody") == []


def test_indexes_scans_and_tables_without_a_sort_key_are_as_before(client: Any) -> None:
    def answers() -> list[Any]:
        return [
            sorted(found(client, "red", IndexName="by-colour")),
            found(client, "b", TableName=PLAIN),
            len(client.scan(TableName=TABLE)["Items"]),
        ]

    before = answers()
    partitions.attach()
    assert answers() == before == [sorted(before[0]), ["b"], 12]
    assert len(before[0]) == 12
