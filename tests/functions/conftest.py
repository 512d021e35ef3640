"""The history of a deployed service."""

from pathlib import Path

import boto3
import pytest

from oddsound import runtime
from oddsound.machines.ledger import Ledger
from tests.cloud import Cloud
from tests.machines.conftest import TABLE, table_of_the_template

PUMP = "hall-3/pump-07"


@pytest.fixture(params=["sqlite", "dynamodb"])
def ledger(
    request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Ledger:
    """The history of a deployed service, in each of the stores."""
    if request.param == "sqlite":
        monkeypatch.setenv("HISTORY", str(tmp_path / "history.sqlite"))
    else:
        table_of_the_template(boto3.client("dynamodb"))
        monkeypatch.setenv("HISTORY", f"dynamodb:{TABLE}")
    runtime.clear()
    return runtime.required_history()
