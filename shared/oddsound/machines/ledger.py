"""The history: machines are registered, and every scored recording becomes one row."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from oddsound.errors import ResultNotFoundError, StorageError, UnknownMachineError
from oddsound.fields import Time
from oddsound.history.store import HistoryStore, position, sortable
from oddsound.machines.conditions import Conditions
from oddsound.machines.naming import EARLIEST, MAX_AHEAD
from oddsound.machines.notices import Channel, Notifier
from oddsound.machines.records import (
    MAX_ROW_EVENTS,
    MAX_ROW_WARNINGS,
    Drift,
    EventPage,
    HistoryPage,
    HistoryRow,
    Machine,
    MachineInfo,
    MachineList,
    MachineRecord,
    Review,
    ReviewLabel,
    State,
    Status,
)
from oddsound.machines.trend import MAX_POINTS, Trend, summarised
from oddsound.schemas import Prediction

logger = logging.getLogger(__name__)

CHECKED_AT_ONCE = 100

PAGE = 2000
"""Rows that are read at once: two megabytes."""

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


class Checked(NamedTuple):
    """What a check of all machines found.

    changed : machines whose state it changed
    states : number of machines in each state, after the check
    """

    changed: list[MachineInfo]
    states: Counter[State]


class Ledger:
    """Machines, their states and their history, in a store. Safe to share between threads.

    channels : that are told about changes of state
    base_url : of the service, for links; None for no links
    """

    def __init__(
        self,
        store: HistoryStore,
        channels: Sequence[Channel] = (),
        base_url: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._now = now
        notifier = Notifier(store, channels, base_url, now)
        self._conditions = Conditions(store, notifier, now)

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

    def rows(
        self, machine_id: str, after: datetime | None = None, before: datetime | None = None
    ) -> Iterator[HistoryRow]:
        """All rows of a machine between two times, newest first, read in pages as they are needed.

        Raises UnknownMachineError.
        """
        first = sortable(after) if after else None
        bound = sortable(before) if before else None
        while page := self._store.rows(machine_id, PAGE, before=bound, after=first):
            yield from page
            if len(page) < PAGE:
                return
            bound = position(page[-1])
        self._known(machine_id)

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
            if self._store.change_machine(changed):
                self._conditions.check(self._known(machine.id))
                return False
        raise StorageError(f"{machine.id} was changed by others during {ATTEMPTS} attempts")

    def record(self, prediction: Prediction, origin: Origin) -> HistoryRow:
        """Store the row of a scored recording, once however often it is called.

        A machine that is not known yet is registered; it is in the state `unknown`.
        """
        row = _row(prediction, origin, self._now())
        if not self._store.add_row(row):
            # What follows may not have been done when the row was stored. It changes nothing else.
            row = self._store.row(row.id) or row
        if row.machine is not None:
            self._arrived(row.machine, row)
            self._conditions.follow(row.machine, row)
        return row

    def rows_of_key(self, key: str) -> Sequence[HistoryRow]:
        """The rows of a key, last scored first: of each content and each model."""
        return self._store.rows_of_key(key)

    def review(
        self, key: str, label: ReviewLabel, person: str = "", note: str = "", at: Time | None = None
    ) -> HistoryRow:
        """Store what a person says about the newest recording of a key; it replaces what was said.

        It also counts for the state of the machine, from then on.
        at : when it was recorded, for a key with several recordings
        Raises ResultNotFoundError.
        """
        found = [row for row in self._store.rows_of_key(key) if at in (None, row.recorded_at)]
        if not found:
            raise ResultNotFoundError(
                f"the history has no recording {key!r}" + (f" of {at.isoformat()}" if at else "")
            )
        newest = max(found, key=lambda row: row.recorded_at)
        review = Review(label=label, note=note, person=person, at=self._now())
        # The models that scored it have a row each.
        for row in found:
            if row.recorded_at == newest.recorded_at:
                reviewed = row.model_copy(update={"review": review})
                self._store.replace_row(reviewed)
                if row.machine is not None:
                    self._conditions.follow(row.machine, reviewed)
        return newest.model_copy(update={"review": review})

    def events(self, machine_id: str, limit: int, before: int | None = None) -> EventPage:
        """A page of the changes of a machine's state, newest first. Raises UnknownMachineError."""
        found = self._store.events(machine_id, limit + 1, before)
        if not found:
            self._known(machine_id)
        page = list(found[:limit])
        following = page[-1].number if len(found) > limit else None
        return EventPage(machine=machine_id, events=page, next=following)

    def trend(
        self,
        machine_id: str,
        slices: int,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Trend:
        """The scores of a machine over time, for a chart. Raises UnknownMachineError."""
        self._known(machine_id)
        points = self._store.points(
            machine_id,
            MAX_POINTS,
            after=sortable(after) if after else None,
            before=sortable(before) if before else None,
        )
        complete = len(points) < MAX_POINTS
        return summarised(machine_id, points, slices, after, before, complete=complete)

    def drift(self, machine_id: str) -> Drift:
        """How recent recordings differ from the training recordings. Raises UnknownMachineError."""
        return self._conditions.drift(self._known(machine_id))

    def acknowledge(self, machine_id: str, person: str, note: str = "") -> MachineInfo:
        """A person has seen the alarm. Raises UnknownMachineError or InvalidStateError."""
        return self._conditions.acknowledge(machine_id, person, note)

    def clear(self, machine_id: str, person: str, note: str = "") -> MachineInfo:
        """A person ends the alarm. Raises UnknownMachineError or InvalidStateError."""
        return self._conditions.clear(machine_id, person, note)

    def snooze(self, machine_id: str, until: datetime, person: str, note: str = "") -> MachineInfo:
        """A person wants to hear nothing until a time. Raises UnknownMachineError."""
        return self._conditions.snooze(machine_id, until, person, note)

    def check(self) -> Checked:
        """Find machines that are silent or whose snooze is over, and send what was not sent.

        To be called every few minutes.
        """
        found, after = Checked([], Counter()), ""
        while page := self._store.machines(CHECKED_AT_ONCE, after):
            for record in page:
                checked = self._conditions.check(record)
                found.states[checked.status.state] += 1
                if checked.status.state != record.status.state:
                    found.changed.append(MachineInfo.of(checked))
            after = page[-1].machine.id
        return found

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
    # After one from the future, every later recording would count as late until that time has come.
    if not EARLIEST <= recorded_at <= now + MAX_AHEAD:
        logger.warning(
            "%s: its time, %s, is %s; the time of scoring is used",
            origin.key,
            recorded_at.isoformat(),
            "before 1970" if recorded_at < EARLIEST else "in the future",
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
        profile=prediction.profile,
    )
