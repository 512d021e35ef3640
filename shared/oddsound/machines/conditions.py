"""Keeps the state of each machine in its record: after a recording, a check, or a person's word."""

from collections.abc import Callable, Sequence
from datetime import datetime

from oddsound.errors import InvalidStateError, StorageError, UnknownMachineError
from oddsound.history.store import HistoryStore, position
from oddsound.machines import states
from oddsound.machines.notices import Notifier
from oddsound.machines.records import (
    Cause,
    Drift,
    HistoryRow,
    Machine,
    MachineInfo,
    MachineRecord,
    Pending,
    StateEvent,
    Status,
)
from oddsound.machines.states import Change, Heard
from oddsound.machines.wording import strongest_event, why

ATTEMPTS = 20
"""Tries of a change while others change the same machine."""

LATER_ROWS, MAX_LATER_ROWS = 100, 25_600
"""Recordings after a late one that are read at first, and at most, to find how an alarm ended."""

DRIFT = ("drift", "drift over")
"""Causes of events that change no state."""

DRIFT_ROWS = 40
"""Recordings that are read to find drift: some of them may not be comparable."""

type Step = Callable[[MachineRecord], tuple[Status, list[Change]]]


class Conditions:
    """The states of the machines of a store. Safe to share between threads and processes."""

    def __init__(
        self, store: HistoryStore, notifier: Notifier, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._now = now

    def follow(self, machine_id: str, row: HistoryRow) -> None:
        """Bring the state up to date after a row was stored or reviewed."""

        def step(record: MachineRecord) -> tuple[Status, list[Change]]:
            limit = LATER_ROWS
            while True:
                heard, complete = self._heard(record.machine, row, limit)
                arrived = record.last_arrived_at or record.created_at
                found = states.follow(record.status, record.machine, heard, arrived, self._now())
                open_alarms = [alarm for alarm in found[0].alarms if alarm.cleared_at is None]
                if complete or not open_alarms or limit >= MAX_LATER_ROWS:
                    return self._with_drift(record.machine, row, *found)
                limit *= 4

        self._change(machine_id, step)

    def drift(self, record: MachineRecord) -> Drift:
        """How the recent recordings of a machine differ from the training recordings."""
        # Imported here and below: it imports NumPy, which most requests do not need.
        from oddsound.machines import drift

        return drift.examine(self._compared(record.machine, record.status), record.machine)

    def _compared(self, machine: Machine, status: Status) -> list[HistoryRow]:
        """The newest rows, without those of faults that a person knows of and that are over."""
        over = [alarm for alarm in status.alarms if alarm.acknowledged and alarm.cleared_at]
        rows = self._store.rows(machine.id, DRIFT_ROWS)
        return [row for row in rows if not any(alarm.covers(row.recorded_at) for alarm in over)]

    def _with_drift(
        self, machine: Machine, row: HistoryRow, status: Status, changes: list[Change]
    ) -> tuple[Status, list[Change]]:
        """The status with what is known about drift after a row was stored or reviewed."""
        if row.profile is None or row.model_name != machine.model_name:
            return status, changes
        from oddsound.machines import drift

        before = status.drift
        note = drift.followed(before, self._compared(machine, status), machine)
        if note == before:
            return status, changes
        says = note.says if note else "No shift from the training recordings is found any more."
        cause: Cause = "drift" if note else "drift over"
        # Not announced: it is no change of state, and a fault in its wake raises an alarm.
        change = Change(cause, status.state, row.recorded_at, None, row.id, False, says)
        return status.model_copy(update={"drift": note}), [*changes, change]

    def check(self, record: MachineRecord) -> MachineRecord:
        """See whether a machine is silent or its snooze is over; send what was not sent."""

        def step(record: MachineRecord) -> tuple[Status, list[Change]]:
            arrived = record.last_arrived_at or record.created_at
            return states.check(record.status, record.machine, arrived, self._now())

        return self._change(record.machine.id, step, record)

    def acknowledge(self, machine_id: str, person: str, note: str) -> MachineInfo:
        """A person has seen the alarm. Raises UnknownMachineError or InvalidStateError."""

        def step(record: MachineRecord) -> tuple[Status, list[Change]]:
            changed = states.acknowledge(record.status, record.machine, self._now())
            if not changed[1] and record.status.state != "acknowledged":
                raise InvalidStateError(
                    f"{machine_id} is in the state {record.status.state}: there is no alarm to"
                    " acknowledge; an alarm is active or returned"
                )
            return changed

        return MachineInfo.of(self._change(machine_id, step, person=person, note=note))

    def clear(self, machine_id: str, person: str, note: str) -> MachineInfo:
        """A person ends the alarm. Raises UnknownMachineError or InvalidStateError."""

        def step(record: MachineRecord) -> tuple[Status, list[Change]]:
            changed = states.clear(record.status, record.machine, self._now())
            if not changed[1]:
                raise InvalidStateError(
                    f"{machine_id} is in the state {record.status.state}, and no alarm is open that"
                    " could be ended"
                )
            return changed

        return MachineInfo.of(self._change(machine_id, step, person=person, note=note))

    def snooze(self, machine_id: str, until: datetime, person: str, note: str) -> MachineInfo:
        """A person wants to hear nothing until a time. Raises UnknownMachineError."""

        def step(record: MachineRecord) -> tuple[Status, list[Change]]:
            return states.snooze(record.status, record.machine, until, self._now())

        return MachineInfo.of(self._change(machine_id, step, person=person, note=note))

    def _change(
        self,
        machine_id: str,
        step: Step,
        record: MachineRecord | None = None,
        person: str = "",
        note: str = "",
    ) -> MachineRecord:
        """Apply a step to the newest record until nobody else was faster, and announce it."""
        for _ in range(ATTEMPTS):
            record = record or self._store.machine(machine_id)
            if record is None:
                raise UnknownMachineError(f"no machine {machine_id!r} is registered")
            status, changes = step(record)
            if status == record.status and not changes:
                break
            changed = self._with_events(record, status, changes, person, note)
            if self._store.change_machine(changed):
                record = changed.model_copy(update={"version": changed.version + 1})
                break
            record = None
        if record is None:
            raise StorageError(f"{machine_id} was changed by others during {ATTEMPTS} attempts")
        self._notifier.deliver(record)
        return record

    def _with_events(
        self,
        record: MachineRecord,
        status: Status,
        changes: Sequence[Change],
        person: str,
        note: str,
    ) -> MachineRecord:
        """The record with the new status, in which an event is pending for each change."""
        pending, state = list(status.pending), record.status.state
        for number, change in enumerate(changes, status.events + 1):
            row = self._store.row(change.row) if change.row else None
            event = StateEvent(
                machine=record.machine.id,
                number=number,
                before=state,
                state=change.state,
                cause=change.cause,
                at=change.at,
                stored_at=self._now(),
                alarm=change.alarm,
                why=why(change, record.machine, record.status, row),
                row=change.row,
                key=row and row.key,
                event=strongest_event(row),
                person=person,
                note=note,
                announced=change.announced,
            )
            state = change.state
            pending.append(Pending(event=event))
        reasons = [each.event.why for each in pending if _is_reason(each.event)]
        status = status.model_copy(
            update={
                "pending": pending,
                "events": status.events + len(changes),
                "why": reasons[-1] if reasons else status.why,
            }
        )
        return record.model_copy(update={"status": status})

    def _heard(self, machine: Machine, row: HistoryRow, limit: int) -> tuple[list[Heard], bool]:
        """The recordings around a row that count, and whether they are all that are later.

        Those count that are usable and were scored by the machine's model.
        """
        at = position(row)
        # More than `of` - 1, because some of them may not count.
        earlier = self._store.rows(machine.id, 4 * machine.alarm.of, before=at)
        later = self._store.rows(machine.id, limit, after=at, oldest_first=True)
        counted = [each for each in earlier if _counts(each, machine)][: machine.alarm.of - 1]
        rows = [*reversed(counted), row, *later]
        return [_heard(each) for each in rows if _counts(each, machine)], len(later) < limit


def _is_reason(event: StateEvent) -> bool:
    """Whether an event says why a machine is in its state: an acknowledged alarm keeps its own."""
    return event.cause not in DRIFT and event.state != "acknowledged"


def _counts(row: HistoryRow, machine: Machine) -> bool:
    usable = row.review is None or row.review.label != "unusable"
    return usable and row.is_anomaly is not None and row.model_name == machine.model_name


def _heard(row: HistoryRow) -> Heard:
    """What a person says about a recording counts more than what the model says."""
    anomalous = bool(row.is_anomaly) if row.review is None else row.review.label == "fault"
    return Heard(row.recorded_at, row.id, anomalous)
