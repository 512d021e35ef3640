"""The history: machines are registered, and every scored recording becomes one row."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from oddsound.errors import StorageError, UnknownMachineError
from oddsound.history.store import HistoryStore, position
from oddsound.machines.naming import MAX_AHEAD
from oddsound.machines.records import (
    MAX_ROW_EVENTS,
    MAX_ROW_WARNINGS,
    HistoryPage,
    HistoryRow,
    Machine,
    MachineInfo,
    MachineList,
    MachineRecord,
    Status,
)
from oddsound.schemas import Prediction

logger = logging.getLogger(__name__)

ATTEMPTS = 10
"""Tries of a change while others change the same machine."""


@dataclass(frozen=True)
class Origin:
    """Where a scored recording comes from.

    machine : id of the machine, or None
    recorded_at : as far as it is known; None for the time of scoring
    source : the way in
    key, bucket : of the object; path of the file, or a name of the request
    content : what identifies the recording together with bucket and key, such as its checksum.
        The same recording twice has the same one, and becomes one row.
    """

    machine: str | None
    recorded_at: datetime | None
    source: str
    key: str
    content: str
    bucket: str | None = None


class Ledger:
    """Machines and their history, in a store. Safe to share between threads."""

    def __init__(
        self, store: HistoryStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._now = now

    def machine(self, machine_id: str) -> MachineInfo:
        """A machine and its state. Raises UnknownMachineError."""
        return MachineInfo.of(self._known(machine_id))

    def machines(self, limit: int, after: str | None = None) -> MachineList:
        """A page of the machines, by id."""
        found = self._store.machines(limit + 1, after or "")
        page = found[:limit]
        return MachineList(
            machines=[MachineInfo.of(record) for record in page],
            next=page[-1].machine.id if len(found) > limit else None,
        )

    def history(self, machine_id: str, limit: int, before: str | None = None) -> HistoryPage:
        """A page of a machine's rows, newest first. Raises UnknownMachineError."""
        found = self._store.rows(machine_id, limit + 1, before=before)
        if not found:
            self._known(machine_id)
        page = list(found[:limit])
        following = position(page[-1]) if len(found) > limit else None
        return HistoryPage(machine=machine_id, rows=page, next=following)

    def model_of(self, machine_id: str) -> str | None:
        """Name of the machine's model; None if it has none, or is not registered yet."""
        record = self._store.machine(machine_id)
        return record.machine.model_name if record else None

    def register(self, machine: Machine) -> bool:
        """Add a machine, or replace what is known about it. Returns whether it is new."""
        status = Status(state=_first_state(machine), since=self._now())
        made = MachineRecord(machine=machine, status=status, created_at=self._now())
        for _ in range(ATTEMPTS):
            if self._store.add_machine(made):
                return True
            record = self._store.machine(machine.id)
            if record is None or record.machine == machine:
                return False
            changed = record.model_copy(update={"machine": machine})
            if _first_state(machine) != record.status.state:
                changed = changed.model_copy(update={"status": status})
            if self._store.change_machine(changed):
                return False
        raise StorageError(f"{machine.id} was changed by others during {ATTEMPTS} attempts")

    def record(self, prediction: Prediction, origin: Origin) -> HistoryRow:
        """Store the row of a scored recording, once however often it is called.

        A machine that is not known yet is registered; it is in the state `unknown`.
        """
        row = _row(prediction, origin, self._now())
        if self._store.add_row(row):
            if row.machine is not None:
                self._arrived(row.machine, row)
            return row
        return self._store.row(row.id) or row

    def close(self) -> None:
        """Close the store; the next call opens it again."""
        self._store.close()

    def _arrived(self, machine_id: str, row: HistoryRow) -> None:
        if self._store.machine(machine_id) is None and self.register(Machine(id=machine_id)):
            logger.info("%s is a new machine; it has no model yet, so no alarms", machine_id)
        self._store.arrived(machine_id, row.recorded_at, row.scored_at)

    def _known(self, machine_id: str) -> MachineRecord:
        record = self._store.machine(machine_id)
        if record is None:
            raise UnknownMachineError(
                f"no machine {machine_id!r} is registered; GET /machines lists all machines, and"
                " `oddsound machines add` adds one"
            )
        return record


def row_id(origin: Origin, model_name: str) -> str:
    """The same for the same recording and model, whatever else is known about it."""
    parts = (origin.bucket or "", origin.key, origin.content, model_name)
    return sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]


def _first_state(machine: Machine) -> str:
    return "unknown" if machine.model_name is None else "normal"


def _row(prediction: Prediction, origin: Origin, now: datetime) -> HistoryRow:
    recorded_at = origin.recorded_at or now
    if recorded_at > now + MAX_AHEAD:
        # Every later recording would count as late until this time has come.
        logger.warning(
            "%s: its time, %s, is in the future; the time of scoring is used",
            origin.key,
            recorded_at.isoformat(),
        )
        recorded_at = now
    events = sorted(prediction.events or [], key=lambda event: -event.score)[:MAX_ROW_EVENTS]
    return HistoryRow(
        id=row_id(origin, prediction.model_name),
        machine=origin.machine,
        recorded_at=recorded_at,
        scored_at=now,
        prediction=prediction.prediction,
        is_anomaly=prediction.is_anomaly,
        score=prediction.anomaly_score,
        level=prediction.anomaly_level,
        threshold=prediction.threshold,
        model_name=prediction.model_name,
        model_version=prediction.model_version,
        source=origin.source,
        bucket=origin.bucket,
        key=origin.key,
        duration_s=prediction.duration_s,
        events=sorted(events, key=lambda event: event.start_s),
        warnings=prediction.signal.warnings[:MAX_ROW_WARNINGS] if prediction.signal else [],
    )
