"""Time to store, to list and to summarise the results of one machine, in both stores.

    .venv/bin/python benchmarks/history.py [ROWS]

DynamoDB is moto's, in a process of its own: the figures include its Python and HTTP on this
machine, and not the network and the storage of AWS.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from oddsound.history.dynamodb import DynamoHistory
from oddsound.history.sqlite import SqliteHistory
from oddsound.history.store import HistoryStore
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import HistoryRow, Machine
from oddsound.schemas import Event
from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE
from oddsound_workbench.local.aws import aws_client, moto_server

MACHINE, PAGE = "hall-3/pump-07", 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
TARGET_S = 2
SLICES = 400


def row(number: int) -> HistoryRow:
    """A row as a recording with two events leaves it."""
    at = START + timedelta(hours=number)
    events = [
        Event(start_s=s, end_s=s + 0.1, kind="impact", score=1.5, says="a knock, 14 dB over usual")
        for s in (1.0, 3.2)
    ]
    return HistoryRow(
        **{"id": f"{number:032x}", "machine": MACHINE, "recorded_at": at, "scored_at": at},
        **{"prediction": "normal", "is_anomaly": False, "score": 0.5, "level": 0.4},
        **{"threshold": 0.9, "model_name": "pump-07", "model_version": "2026-11-28"},
        **{"source": "s3", "bucket": "recordings", "key": f"{MACHINE}/{at:%Y%m%d_%H%M%S}.wav"},
        **{"duration_s": 10.0, "events": events, "warnings": []},
    )


@contextmanager
def stores() -> Iterator[dict[str, HistoryStore]]:
    properties = template.load(TEMPLATE)["Resources"]["HistoryTable"]["Properties"]
    keys = {n: properties[n] for n in ("AttributeDefinitions", "KeySchema", "BillingMode")}
    with tempfile.TemporaryDirectory() as folder, moto_server() as url:
        client = aws_client("dynamodb", url)
        client.create_table(TableName="history", **keys)
        yield {
            "SQLite": SqliteHistory(Path(folder) / "history.sqlite"),
            "DynamoDB (moto)": DynamoHistory(lambda: client, "history"),
        }


def listed(ledger: Ledger) -> int:
    """Read all pages of the history; returns the number of rows."""
    count, before = 0, None
    while True:
        page = ledger.history(MACHINE, PAGE, before)
        count += len(page.rows)
        if (before := page.next) is None:
            return count


def main(rows: int) -> int:
    """Print a line for each store. Returns 1 if a store is slower than the target."""
    slow = False
    with stores() as made:
        for name, store in made.items():
            ledger = Ledger(store)
            ledger.register(Machine(id=MACHINE))
            started = time.perf_counter()
            for number in range(rows):
                store.add_row(row(number))
            written = time.perf_counter()
            first = len(ledger.history(MACHINE, 100).rows)
            paged = time.perf_counter()
            count = listed(ledger)
            done = time.perf_counter()
            drawn = ledger.trend(MACHINE, SLICES).count
            summarised = time.perf_counter()
            if (first, count, drawn) != (min(100, rows), rows, rows):
                raise SystemExit(f"{name} listed {count} of {rows} rows")
            slow |= summarised - done > TARGET_S
            print(
                f"{name}: {1000 * (written - started) / rows:.2f} ms to store a row; newest 100"
                f" rows {1000 * (paged - written):.0f} ms; all {rows:,} rows {done - paged:.2f} s;"
                f" chart of all rows {summarised - done:.2f} s"
            )
            store.close()
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
