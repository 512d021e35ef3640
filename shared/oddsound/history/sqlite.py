"""Machines and history in one SQLite file: the store of a single computer."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from oddsound.errors import StorageError
from oddsound.history.store import FIRST, LAST, position, sortable
from oddsound.machines.records import HistoryRow, MachineRecord, StateEvent
from oddsound.machines.trend import Point

BUSY_TIMEOUT_S = 30
MAX_NUMBER = 2**62

VERSIONS = (
    """
CREATE TABLE machines (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, recorded TEXT NOT NULL, arrived TEXT NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE rows (
    machine TEXT NOT NULL, position TEXT NOT NULL, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL,
    scored TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (machine, position)
) WITHOUT ROWID;
CREATE INDEX rows_by_key ON rows (key, scored);
""",
    """
CREATE TABLE events (
    machine TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (machine, number)
) WITHOUT ROWID;
""",
)
"""What each version of the file adds to the one before. A file of a newer one is refused."""

POINTS = (
    "SELECT position, json_extract(body, '$.score', '$.threshold', '$.is_anomaly',"
    " '$.review.label', '$.review.at') FROM rows WHERE machine = ? AND position > ?"
    " AND position < ? ORDER BY position DESC LIMIT ?"
)
OLDEST_FIRST = (
    "SELECT body FROM rows WHERE machine = ? AND position > ? AND position < ?"
    " ORDER BY position LIMIT ?"
)
NEWEST_FIRST = OLDEST_FIRST.replace("ORDER BY position", "ORDER BY position DESC")


class SqliteHistory:
    """A HistoryStore in a file. Several processes may use it at once.

    The file is created when it is first needed, with its folder. Write-ahead logging lets readers
    read while another process writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def machine(self, machine_id: str) -> MachineRecord | None:
        with self._reading() as database:
            found = database.execute(
                "SELECT body, version, recorded, arrived FROM machines WHERE id = ?", (machine_id,)
            ).fetchone()
        return found and _record(*found)

    def machines(self, limit: int, after: str = "") -> Sequence[MachineRecord]:
        with self._reading() as database:
            found = database.execute(
                "SELECT body, version, recorded, arrived FROM machines WHERE id > ?"
                " ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
        return [_record(*columns) for columns in found]

    def add_machine(self, record: MachineRecord) -> bool:
        with self._writing() as database:
            done = database.execute(
                "INSERT OR IGNORE INTO machines VALUES (?, ?, '', '', ?)",
                (record.machine.id, record.version, _body(record)),
            )
        return done.rowcount == 1

    def change_machine(self, record: MachineRecord) -> bool:
        with self._writing() as database:
            done = database.execute(
                "UPDATE machines SET body = ?, version = version + 1 WHERE id = ? AND version = ?",
                (_body(record), record.machine.id, record.version),
            )
        return done.rowcount == 1

    def arrived(self, machine_id: str, recorded_at: datetime, arrived_at: datetime) -> None:
        with self._writing() as database:
            database.execute(
                "UPDATE machines SET recorded = max(recorded, ?), arrived = max(arrived, ?)"
                " WHERE id = ?",
                (sortable(recorded_at), sortable(arrived_at), machine_id),
            )

    def add_row(self, row: HistoryRow) -> bool:
        with self._writing() as database:
            done = database.execute(
                "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(row.machine or "", position(row), row.id, row.key),
                    *(sortable(row.scored_at), row.model_dump_json()),
                ),
            )
        return done.rowcount == 1

    def row(self, row_id: str) -> HistoryRow | None:
        with self._reading() as database:
            found = database.execute("SELECT body FROM rows WHERE id = ?", (row_id,)).fetchone()
        return found and HistoryRow.model_validate_json(found[0])

    def rows_of_key(self, key: str) -> Sequence[HistoryRow]:
        with self._reading() as database:
            found = database.execute(
                "SELECT body FROM rows WHERE key = ? ORDER BY scored DESC", (key,)
            ).fetchall()
        return [HistoryRow.model_validate_json(body) for (body,) in found]

    def rows(
        self,
        machine_id: str,
        limit: int,
        *,
        before: str | None = None,
        after: str | None = None,
        oldest_first: bool = False,
    ) -> Sequence[HistoryRow]:
        query = OLDEST_FIRST if oldest_first else NEWEST_FIRST
        with self._reading() as database:
            found = database.execute(
                query, (machine_id, after or FIRST, before or LAST, limit)
            ).fetchall()
        return [HistoryRow.model_validate_json(body) for (body,) in found]

    def points(
        self, machine_id: str, limit: int, *, before: str | None = None, after: str | None = None
    ) -> Sequence[Point]:
        with self._reading() as database:
            found = database.execute(
                POINTS, (machine_id, after or FIRST, before or LAST, limit)
            ).fetchall()
        return [Point(position, *_numbers(text)) for position, text in reversed(found)]

    def replace_row(self, row: HistoryRow) -> None:
        with self._writing() as database:
            database.execute(
                "UPDATE rows SET body = ?, scored = ? WHERE machine = ? AND position = ?",
                (
                    *(row.model_dump_json(), sortable(row.scored_at)),
                    *(row.machine or "", position(row)),
                ),
            )

    def add_event(self, event: StateEvent) -> None:
        with self._writing() as database:
            database.execute(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?)",
                (event.machine, event.number, event.model_dump_json()),
            )

    def events(
        self, machine_id: str, limit: int, before: int | None = None
    ) -> Sequence[StateEvent]:
        with self._reading() as database:
            found = database.execute(
                "SELECT body FROM events WHERE machine = ? AND number < ?"
                " ORDER BY number DESC LIMIT ?",
                (machine_id, MAX_NUMBER if before is None else before, limit),
            ).fetchall()
        return [StateEvent.model_validate_json(body) for (body,) in found]

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes during; all of it happens, or nothing."""
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                database.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._open is None:
                    self._open = self._connected()
                yield self._open
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self._path}: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")  # an answer means: it is on the disk
            database.execute("BEGIN IMMEDIATE")
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found > len(VERSIONS):
                raise StorageError(
                    f"{self._path} is of a newer version of oddsound: it has tables of version"
                    f" {found}, this one knows {len(VERSIONS)}"
                )
            for statement in ";".join(VERSIONS[found:]).split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {len(VERSIONS)}")
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database


def _numbers(text: str) -> tuple[float | None, float | None, bool | None, str | None, str]:
    score, threshold, is_anomaly, label, at = json.loads(text)
    return score, threshold, is_anomaly, label, at or ""


def _body(record: MachineRecord) -> str:
    return record.model_dump_json(exclude={"version", "last_recorded_at", "last_arrived_at"})


def _record(body: str, version: int, recorded: str, arrived: str) -> MachineRecord:
    return MachineRecord.model_validate_json(body).model_copy(
        update={
            "version": version,
            "last_recorded_at": datetime.fromisoformat(recorded) if recorded else None,
            "last_arrived_at": datetime.fromisoformat(arrived) if arrived else None,
        }
    )
