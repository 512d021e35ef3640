"""What a store of machines and history does; history/sqlite.py and history/dynamodb.py do it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from oddsound.machines.records import HistoryRow, MachineRecord, StateEvent
from oddsound.machines.trend import Point

FIRST, LAST = " ", "\U0010ffff"
"""Texts that sort before and after every id and position, by code points and as UTF-8."""


def sortable(at: datetime) -> str:
    """A time in UTC as text that sorts like the time."""
    # Not strftime: it writes the year 328 with three digits, which neither sorts nor can be read.
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def position(row: HistoryRow) -> str:
    """The place of a row in its machine's history: sorts by time, and is unique."""
    return f"{sortable(row.recorded_at)}_{row.id}"


def point(row: HistoryRow) -> Point:
    """What a chart needs of a row."""
    review = row.review
    return Point(
        position(row),
        row.score,
        row.threshold,
        row.is_anomaly,
        review.label if review else None,
        sortable(review.at) if review else "",
    )


class HistoryStore(Protocol):
    """Machines and rows. Safe to share between threads and between processes.

    Every method raises StorageError if the store does not answer.
    """

    def machine(self, machine_id: str) -> MachineRecord | None:
        """A machine, as the last completed change left it."""

    def machines(self, limit: int, after: str = "") -> Sequence[MachineRecord]:
        """At most `limit` machines, by id, that come after this id."""

    def add_machine(self, record: MachineRecord) -> bool:
        """Store a new machine. Returns False, and changes nothing, if the id is known."""

    def change_machine(self, record: MachineRecord) -> bool:
        """Replace machine and status if the stored version is still `record.version`.

        The stored version becomes one larger. Returns False, and changes nothing, if somebody
        else was first.
        """

    def arrived(self, machine_id: str, recorded_at: datetime, arrived_at: datetime) -> None:
        """Note that a recording arrived; earlier times never replace later ones."""

    def add_row(self, row: HistoryRow) -> bool:
        """Store a row. Returns False, and changes nothing, if a row with this id is stored."""

    def row(self, row_id: str) -> HistoryRow | None:
        """The row with this id."""

    def rows_of_key(self, key: str) -> Sequence[HistoryRow]:
        """The rows of a key, last scored first: of each content and each model."""

    def rows(
        self,
        machine_id: str,
        limit: int,
        *,
        before: str | None = None,
        after: str | None = None,
        oldest_first: bool = False,
    ) -> Sequence[HistoryRow]:
        """At most `limit` rows of a machine whose `position` is between the two, exclusive.

        machine_id : "" for the rows without a machine
        before, after : a position, or the text of a time
        """

    def points(
        self, machine_id: str, limit: int, *, before: str | None = None, after: str | None = None
    ) -> Sequence[Point]:
        """What a chart needs of the newest `limit` rows between the two, by time.

        Much faster than `rows`. before, after : a position, or the text of a time
        """

    def replace_row(self, row: HistoryRow) -> None:
        """Store a row in the place of the one with the same id, machine and time."""

    def add_event(self, event: StateEvent) -> None:
        """Store an event of a machine; the one with its number, if it is there, stays."""

    def events(
        self, machine_id: str, limit: int, before: int | None = None
    ) -> Sequence[StateEvent]:
        """At most `limit` events of a machine with smaller numbers, newest first."""

    def close(self) -> None:
        """Close files and connections; the next call opens them again."""
