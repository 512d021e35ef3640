"""`make costs`: the tables of docs/operations.md, and the requests of one recording."""

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.s3_trigger.app import handler as on_upload
from oddsound import runtime
from oddsound.machines.records import Machine
from oddsound_workbench.deploy import costs
from oddsound_workbench.deploy.costs import LOG_BYTES, METRICS_OF_MODEL, WAYS, Usage, load, tables
from tests.cloud import NORMAL, Cloud, LambdaContext, notification
from tests.machines.conftest import TABLE, table_of_the_template
from tests.pages import ROOT

pytestmark = pytest.mark.slow

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_documentation_has_the_present_tables_and_the_date_of_the_prices() -> None:
    found = load()
    for lines in tables(found):
        assert "\n".join(lines) in OPERATIONS, "run `make costs` and replace the table"
    assert f"read on {found.prices['read']}" in OPERATIONS
    assert isinstance(found.prices["read"], date)


def test_every_price_has_a_source() -> None:
    for name, prices in load().prices.items():
        if isinstance(prices, dict):
            assert re.search(r"\w\.\w", prices["source"]), name
            values = [value for key, value in prices.items() if key != "source"]
            assert values, name
            assert all(isinstance(value, float) and value > 0 for value in values), name


def test_a_changed_price_changes_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    text = costs.PRICES.read_text(encoding="utf-8")
    path.write_text(text.replace("request = 3.50e-6", "request = 7.00e-6"))
    before, after = (next(iter(tables(load(prices))))[2] for prices in (costs.PRICES, path))
    assert " 3.50 | 0.00 |" in before
    assert " 7.00 | 0.00 |" in after


def test_the_arithmetic_of_one_invocation() -> None:
    """0.06 s with 1,769 MB: 1,769 / 1,024 GB, and 0.20 USD per million requests."""
    assert load().function() == pytest.approx(0.2e-6 + 1769 / 1024 * 0.06 * 0.0000166667)
    assert load(memory_mb=1024, seconds=1).function() == pytest.approx(0.2e-6 + 0.0000166667)
    assert load().concurrency() == pytest.approx(75.7, abs=0.1)


KEYS_BYTES = len("pkrows#hall-3/pump-07#2026-11sk2026-11-01T00:00:00.000000Z_") + 32
"""Of a row, whose keys are not asked for, but charged."""


def units(items: list[Any], unit_bytes: int) -> int:
    """As DynamoDB counts: the names and values of all attributes."""
    count = sum(
        len(name) + sum(map(len, value if isinstance(value, list) else [value]))
        for item in items
        for name, (value,) in ((name, of.values()) for name, of in item.items())
    )
    keys = sum(KEYS_BYTES for item in items if "pk" not in item)
    return max(1, math.ceil((count + keys) / unit_bytes))


@pytest.fixture
def used(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the service has used since the counter was cleared."""
    table_of_the_template(boto3.client("dynamodb"))
    monkeypatch.setenv("HISTORY", f"dynamodb:{TABLE}")
    runtime.clear()
    found: Counter[str] = Counter()

    def on_request(params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in ("PutItem", "UpdateItem"):
            item = params.get("Item") or params.get("ExpressionAttributeValues")
            found["write_units"] += units([item], 1024)
        elif model.service_model.service_name == "s3":
            found["puts" if model.name == "PutObject" else "gets"] += 1
        elif model.service_model.service_name == "sns":
            found["publishes"] += 1

    def on_answer(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name == "Query":
            found["read_units"] += units(parsed["Items"], 4096)
        elif model.name == "GetItem":
            found["read_units"] += units([parsed.get("Item", {})], 4096)

    for client in (runtime.s3_client(), runtime.sns_client(), runtime.dynamodb_client()):
        client.meta.events.register("provide-client-params", on_request)
        client.meta.events.register("after-call", on_answer)
    return found


def test_an_upload_uses_what_the_costs_say(
    cloud: Cloud, used: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The fortieth recording of a machine, as the thousandth: only the newest ones are read."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    runtime.required_history().register(Machine(id="hall-3/pump-07", model_name="fan"))
    for number in range(40):
        at = f"{start + timedelta(hours=number):%Y-%m-%dT%H:%M:%SZ}"
        job = cloud.put(f"hall-3/pump-07/{number}.wav", NORMAL, recorded_at=at)
        used.clear()
        capsys.readouterr()
        on_upload(notification(job), LambdaContext())
    expected = WAYS["upload"]
    assert used["gets"] == expected.gets - 1, "a machine without a model takes one more"
    assert used["puts"] == expected.puts - 1, "the other one is the client's"
    # An update writes the whole item, which is larger than what is sent.
    assert used["write_units"] <= expected.write_units <= used["write_units"] + 2
    assert used["read_units"] == expected.read_units
    assert used["publishes"] == 0
    assert len(capsys.readouterr().out) < LOG_BYTES


def test_each_model_has_that_many_metrics(
    cloud: Cloud, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    runtime.clear()
    on_upload(notification(cloud.put("a.wav", NORMAL)), LambdaContext())
    names = {
        metric["Name"]
        for line in lines()
        if "_aws" in line and line.get("model")
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert len(names) == METRICS_OF_MODEL


def test_every_way_in_is_priced_by_one_request_of_its_own() -> None:
    assert set(WAYS) == {"HTTPS", "upload", "message", "backfill"}
    assert WAYS["HTTPS"] == Usage(gateway=1)
