"""Time to store, list, export and chart the results of one machine, in both stores.

    make bench-history
    .venv/bin/python -m benchmarks.history [--rows 10000] [--stores sqlite]

DynamoDB is moto's server in a process of its own: the times include its Python, which takes most
of them, and not the network and the storage of AWS. "DynamoDB, client only" reads the same answers
from memory: what this library and boto3 compute, wherever the table is.
"""

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse
from rich.progress import track

from oddsound.history.dynamodb import DynamoHistory
from oddsound.history.packing import packed
from oddsound.history.sqlite import SqliteHistory
from oddsound.history.store import HistoryStore, position
from oddsound.machines.ledger import Ledger
from oddsound.machines.profile import BANDS, Profile
from oddsound.machines.records import HistoryRow, Machine
from oddsound.schemas import Event
from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE
from oddsound_workbench.local.aws import CREDENTIALS, aws_client, moto_server

MACHINE, TABLE, PAGE = "hall-3/pump-07", "history", 1000
START = datetime(2026, 1, 1, tzinfo=UTC)
TARGET_S = 2
SLICES = 200
LIST = 50
"""Rows that the page of a machine shows at first."""

SQLITE, DYNAMODB, CLIENT = "SQLite", "DynamoDB (moto)", "DynamoDB, client only"
KNOCK = "a knock, {} dB over the usual level between 1.5 kHz and 7.2 kHz"
UNIT_BYTES = 4096
"""Bytes of a read unit of DynamoDB, of a consistent read."""

COMMAND = """
import sys, time
from pathlib import Path
from oddsound_workbench.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status")
    # Not ru_maxrss, which includes the memory of the process that started this one.
    peak = status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else 0
    print(time.process_time(), peak, file=sys.stderr)
"""


@dataclass(frozen=True)
class Store:
    """history : what the option --history says; environment : of a process that uses it"""

    store: HistoryStore
    history: str
    environment: dict[str, str]


def row(number: int) -> HistoryRow:
    """A row as a detector leaves it: a profile, and events in every tenth recording."""
    rng = random.Random(number)  # noqa: S311
    at = START + timedelta(hours=number, seconds=rng.randrange(30))
    anomalous = number % 10 == 0
    events = [
        Event(start_s=s, end_s=s + 0.1, kind="impact", score=1.5, says=KNOCK.format(9 + int(s)))
        for s in sorted(rng.uniform(0, 9) for _ in range(3 * anomalous))
    ]
    shifts = [round(rng.gauss(0, 1), 2) for _ in range(BANDS + 12)]
    profile = Profile(
        trained_with=20, level=shifts[0], bands=shifts[1 : BANDS + 1], time=shifts[BANDS + 1 :]
    )
    return HistoryRow(
        **{"id": f"{rng.getrandbits(128):032x}", "machine": MACHINE, "recorded_at": at},
        **{"scored_at": at + timedelta(seconds=rng.uniform(2, 20)), "level": rng.gauss(0, 1)},
        **{"prediction": "anomaly" if anomalous else "normal", "is_anomaly": anomalous},
        **{"score": rng.random(), "threshold": 0.9, "model_name": "pump-07", "source": "s3"},
        **{"model_version": "2026-11-28-6e8ebd", "bucket": "audio-anomaly-dev-inputbucket-1x"},
        **{"key": f"{MACHINE}/{at:%Y%m%d_%H%M%S}.wav", "duration_s": 10.0, "events": events},
        **{"warnings": [], "profile": profile},
    )


@contextmanager
def stores(names: Sequence[str]) -> Iterator[dict[str, Store]]:
    properties = template.load(TEMPLATE)["Resources"]["HistoryTable"]["Properties"]
    keys = {n: properties[n] for n in ("AttributeDefinitions", "KeySchema", "BillingMode")}
    with tempfile.TemporaryDirectory() as folder, moto_server() as url:
        client = aws_client("dynamodb", url)
        client.create_table(TableName=TABLE, **keys)
        path = Path(folder) / "history.sqlite"
        found = {
            SQLITE: Store(SqliteHistory(path), str(path), {}),
            DYNAMODB: Store(
                DynamoHistory(lambda: client, TABLE),
                f"dynamodb:{TABLE}",
                {**CREDENTIALS, "AWS_ENDPOINT_URL": url},
            ),
        }
        yield {name: store for name, store in found.items() if name in names}
        found[SQLITE].store.close()
        if DYNAMODB in names:
            _client_only(client)


class _Content:
    """The body of an answer, as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _client_only(client: Any) -> None:
    """Print the processor time for answers that are there already, and what would be charged."""
    answers: list[tuple[int, Any, bytes]] = []
    session = client._endpoint.http_session

    def record(request: Any, **_: Any) -> AWSResponse:
        answer: AWSResponse = session.send(request)
        answers.append((answer.status_code, answer.headers, answer.content))
        return answer

    def replay(request: Any, **_: Any) -> AWSResponse:
        status, headers, content = next(again)
        return AWSResponse(request.url, status, headers, _Content(content))

    ledger = Ledger(DynamoHistory(lambda: client, TABLE))
    client.meta.events.register("before-send.dynamodb", record)
    rows = list(ledger.rows(MACHINE))
    client.meta.events.unregister("before-send.dynamodb", record)
    client.meta.events.register("before-send.dynamodb", replay)
    again = iter(answers)
    started = time.process_time()
    count = sum(1 for _ in ledger.rows(MACHINE))
    spent = time.process_time() - started
    sizes = [
        len(packed(each)) + len(position(each)) + len(f"rows#{MACHINE}#2026-11") for each in rows
    ]
    item_bytes = sum(sizes) + len(rows) * len("pkskpacked")
    json_bytes = sum(len(each.model_dump_json()) for each in rows)
    print(
        f"{CLIENT}: {count:,} rows in {spent:.2f} s of processor time, {len(answers)} requests,"
        f" {sum(len(content) for *_, content in answers) / 1e6:.1f} MB of answers; items of"
        f" {item_bytes / len(rows):.0f} bytes ({json_bytes / len(rows):.0f} as JSON),"
        f" {item_bytes / UNIT_BYTES:,.0f} read units"
    )


def paged(ledger: Ledger) -> int:
    """Read all pages of the history, as a client of the API does; returns the number of rows."""
    count, before = 0, None
    while True:
        page = ledger.history(MACHINE, PAGE, before)
        count += len(page.model_dump_json()) and len(page.rows)
        if (before := page.next) is None:
            return count


def exported(store: Store, option: str) -> None:
    """Print what `oddsound history` takes, as a process of its own."""
    with tempfile.TemporaryFile("w+") as file:
        started = time.perf_counter()
        command = [sys.executable, "-c", COMMAND, "history", MACHINE, option]
        done = subprocess.run(
            [*command, "--history", store.history],
            check=True,
            stdout=file,
            stderr=subprocess.PIPE,
            env={**os.environ, **store.environment},
        )
        spent = time.perf_counter() - started
        file.seek(0)
        lines = sum(1 for _ in file)
    processor_s, peak_kb = map(float, done.stderr.split())
    print(
        f"  oddsound history {option}: {spent:.2f} s, {processor_s:.2f} s of them of its processor;"
        f" {lines:,} lines, {peak_kb / 1024:.0f} MB at most"
    )


def measured(name: str, store: Store, rows: int) -> bool:
    """Print what a store takes. Returns whether listing and drawing each meet TARGET_S."""
    ledger = Ledger(store.store)
    ledger.register(Machine(id=MACHINE))
    started = time.perf_counter()
    for number in track(range(rows), f"{name}: storing", transient=True):
        store.store.add_row(row(number))
    print(f"{name}: {1000 * (time.perf_counter() - started) / rows:.2f} ms to store a row")
    _timed(f"newest {LIST} rows", lambda: len(ledger.history(MACHINE, LIST).rows), LIST)
    _timed(f"all rows, pages of {PAGE:,}", lambda: paged(ledger), rows)
    listed_s = _timed("all rows, read on", lambda: sum(1 for _ in ledger.rows(MACHINE)), rows)
    drawn_s = _timed("chart of all rows", lambda: ledger.trend(MACHINE, SLICES).count, rows)
    for option in ("--csv", "--json"):
        exported(store, option)
    return max(listed_s, drawn_s) <= TARGET_S


def _timed(what: str, call: Callable[[], int], expected: int) -> float:
    """Print the time of a call. Returns that of the processor, which other load does not change."""
    started, own, others = time.perf_counter(), time.process_time(), _processor_s_of_moto()
    found = call()
    spent = time.perf_counter() - started
    own, others = time.process_time() - own, _processor_s_of_moto() - others
    if found != expected:
        raise SystemExit(f"{what}: {found} of {expected} rows")
    print(f"  {what}: {spent:.2f} s; of the processor: ours {own:.2f} s, moto's {others:.2f} s")
    return own + others


def _processor_s_of_moto() -> float:
    """Processor time of moto's server until now; 0 where the system does not say it."""
    try:
        stats = [
            Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            for child in multiprocessing.active_children()
        ]
    except OSError:
        return 0.0
    return sum(int(ticks) for of in stats for ticks in of[11:13]) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Returns 1 if listing or drawing in a store takes more processor time than TARGET_S."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000, help="default: %(default)s")
    names = {"sqlite": SQLITE, "dynamodb": DYNAMODB}
    parser.add_argument("--stores", choices=names, nargs="+", default=list(names))
    options = parser.parse_args()
    with stores([names[name] for name in options.stores]) as found:
        fast = [measured(name, store, options.rows) for name, store in found.items()]
    return 0 if all(fast) else 1


if __name__ == "__main__":
    sys.exit(main())
