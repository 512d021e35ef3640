"""The state of a machine, computed from its recordings: no store, no clock, no network.

A machine's recordings, by time, are divided by its alarms. Between two alarms, one begins with the
n-th anomaly among `of` recordings in a row; it ends with the n-th normal one among `of` that were
recorded after it had begun. Only the recordings around a new one are looked at, wherever in time it
belongs. What falls into an alarm that is known changes nothing: so neither repeated nor late
recordings make a second alarm of one fault.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from oddsound.machines.records import (
    MAX_ALARMS,
    Alarm,
    Cause,
    Machine,
    State,
    Status,
)

SILENT_INTERVALS = 3
RELAPSE_INTERVALS = 12
RELAPSE = timedelta(hours=12)
"""Until when a relapse is the same alarm, if nothing is known about the machine's intervals."""


@dataclass(frozen=True)
class Heard:
    """A recording of the machine's own model, with its time and the id of its row."""

    at: datetime
    row: str
    anomalous: bool


@dataclass(frozen=True)
class Change:
    """Something that happened to a machine, and the state that it has afterwards.

    says : why, if the other fields do not say it
    """

    cause: Cause
    state: State
    at: datetime
    alarm: int | None = None
    row: str | None = None
    announced: bool = True
    says: str = ""


def state_of(status: Status, machine: Machine, now: datetime) -> State:
    """The state, from everything else that the status says."""
    if status.snoozed_until is not None and now < status.snoozed_until:
        return "snoozed"
    if status.silent_since is not None:
        return "silent"
    if status.alarms and (last := status.alarms[-1]).cleared_at is None:
        return "acknowledged" if last.acknowledged else "active"
    if any(not alarm.acknowledged for alarm in status.alarms):
        return "returned"
    return "unknown" if machine.model_name is None else "normal"


def follow(
    status: Status,
    machine: Machine,
    heard: Sequence[Heard],
    last_arrived: datetime,
    now: datetime,
) -> tuple[Status, list[Change]]:
    """The status after these recordings, and what changed.

    heard : in the order of their times, with the `of` - 1 recordings before the first new one, and
        all later ones. The same call with the same recordings changes nothing.
    last_arrived : when the newest recording arrived
    """
    known = [h for h in heard if status.forgotten_until is None or h.at > status.forgotten_until]
    alarms = _alarms(status.alarms, machine, known)
    silent = status.silent_since
    back = silent is not None and last_arrived > silent
    update = {"alarms": alarms, "silent_since": None if back else silent}
    changed = _trimmed(status.model_copy(update=update))
    state = state_of(changed, machine, now)
    changes = list(_changes(status, alarms, state))
    if back:
        changes.insert(0, Change("heard again", state, now))
    return _with_state(changed, status, state, now), changes


def check(
    status: Status, machine: Machine, last_arrived: datetime, now: datetime
) -> tuple[Status, list[Change]]:
    """The status at this time: a snooze may have ended, or the machine may have become silent.

    last_arrived : when a recording arrived last; of a machine without any, when it was registered
    """
    changed, causes = status, list[Cause]()
    if status.snoozed_until is not None and now >= status.snoozed_until:
        changed, causes = changed.model_copy(update={"snoozed_until": None}), ["snooze ended"]
    interval_s = machine.expected_every_s
    if interval_s is not None and changed.silent_since is None:
        limit = timedelta(seconds=SILENT_INTERVALS * interval_s)
        if now - last_arrived > limit:
            changed = changed.model_copy(update={"silent_since": now})
            causes.append("silence")
    state = state_of(changed, machine, now)
    quiet = state not in ("active", "returned", "silent") or state == status.state
    changes = [Change(cause, state, now, announced=not quiet) for cause in causes[-1:]]
    if not causes and state != status.state:
        changes = [Change("model", state, now, announced=False)]
    return _with_state(changed, status, state, now), changes


def acknowledge(status: Status, machine: Machine, now: datetime) -> tuple[Status, list[Change]]:
    """The status after a person has seen the alarms; no change if there is none to see."""
    unseen = [alarm for alarm in status.alarms if not alarm.acknowledged]
    if not unseen:
        return status, []
    alarms = [alarm.model_copy(update={"acknowledged": True}) for alarm in status.alarms]
    changed = status.model_copy(update={"alarms": alarms})
    state = state_of(changed, machine, now)
    change = Change("acknowledged", state, now, unseen[-1].number)
    return _with_state(changed, status, state, now), [change]


def clear(status: Status, machine: Machine, now: datetime) -> tuple[Status, list[Change]]:
    """The status after a person has ended the open alarm; no change if there is none.

    Anomalies that come soon after it are a relapse: the same alarm, told again.
    """
    if not status.alarms or status.alarms[-1].cleared_at is not None:
        return status, []
    last = status.alarms[-1]
    over = {"cleared_at": max(now, last.raised_at), "acknowledged": True}
    seen = [alarm.model_copy(update={"acknowledged": True}) for alarm in status.alarms[:-1]]
    changed = status.model_copy(update={"alarms": [*seen, last.model_copy(update=over)]})
    state = state_of(changed, machine, now)
    change = Change("cleared", state, now, last.number)
    return _with_state(changed, status, state, now), [change]


def snooze(
    status: Status, machine: Machine, until: datetime, now: datetime
) -> tuple[Status, list[Change]]:
    """The status after a person has said to be told nothing until a time, or no longer so."""
    ends = until <= now
    if (ends and status.snoozed_until is None) or until == status.snoozed_until:
        return status, []
    changed = status.model_copy(update={"snoozed_until": None if ends else until})
    state = state_of(changed, machine, now)
    return _with_state(changed, status, state, now), [
        Change("snooze ended" if ends else "snoozed", state, now)
    ]


def _with_state(changed: Status, before: Status, state: State, now: datetime) -> Status:
    since = before.since if state == before.state else now
    return changed.model_copy(update={"state": state, "since": since})


def _changes(before: Status, alarms: Sequence[Alarm], state: State) -> Iterable[Change]:
    """One change for each alarm that is new, has ended, or came back."""
    known = {alarm.number: alarm for alarm in before.alarms}
    for alarm in alarms:
        was = known.get(alarm.number)
        quiet = state == "snoozed"
        if was is None and alarm.cleared_at is None:
            yield _change("anomalies", state, alarm, announced=not quiet)
        elif was is None:
            yield _change("came and went", state, alarm, announced=not quiet)
        elif was.cleared_at is None and alarm.cleared_at is not None:
            yield _change("normal again", state, alarm, announced=not quiet)
        elif was.cleared_at is not None and alarm.cleared_at is None:
            # Whoever has not seen the first announcement needs no second one.
            yield _change("relapse", state, alarm, announced=was.acknowledged and not quiet)


def _change(cause: Cause, state: State, alarm: Alarm, *, announced: bool) -> Change:
    over = alarm.cleared_at is not None and cause == "normal again"
    at = alarm.cleared_at if over and alarm.cleared_at else alarm.raised_at
    row = alarm.cleared_by if over else alarm.raised_by
    return Change(cause, state, at, alarm.number, row, announced)


def _alarms(known: Sequence[Alarm], machine: Machine, heard: Sequence[Heard]) -> list[Alarm]:
    """The alarms after these recordings."""
    walk = _Walk(list(known), machine)
    for each in heard:
        walk.hear(each)
    return walk.end()


class _Walk:
    """Goes through recordings by time, and begins, ends and joins alarms.

    current : an alarm that began or came back in this walk, and is not over yet
    """

    def __init__(self, alarms: list[Alarm], machine: Machine) -> None:
        self.alarms = alarms
        self._rule = machine.alarm
        self._pause = _pause(machine)
        self._apart = _apart(machine)
        self._regular = machine.expected_every_s is not None
        self._known = {alarm.number for alarm in alarms}
        self._seen = {alarm.number for alarm in alarms if alarm.acknowledged}
        self._recent: deque[Heard] = deque(maxlen=machine.alarm.of)
        self._current: Alarm | None = None

    def hear(self, each: Heard) -> None:
        # Of a machine with a known interval, recordings that are far apart are not in a row: those
        # between them may be late, and two faults would be taken for one.
        if self._regular and self._recent and each.at - self._recent[-1].at > self._apart:
            self._recent.clear()
        found = next((alarm for alarm in reversed(self.alarms) if _contains(alarm, each.at)), None)
        if found is not None and self._current is not None and found is not self._current:
            found = self._join(self._current, found)  # there is no pause between the two
        elif found is not None and self._recent and found is not self._current:
            found = self._extended(found)
        if found is None:
            self._recent.append(each)
            self._begin()
        elif found.cleared_at is None and each.at > found.raised_at:
            self._recent.append(each)
            self._end(found, each)
        else:
            self._recent.clear()

    def end(self) -> list[Alarm]:
        """The alarms, by time."""
        if self._current is not None and self._current is not self.alarms[-1]:
            self._join(self._current, self.alarms[self.alarms.index(self._current) + 1])
        while (
            pair := next(filter(self._belongs_together, pairwise(self.alarms)), None)
        ) is not None:
            self._join(*pair)
        return self.alarms

    def _belongs_together(self, pair: tuple[Alarm, Alarm]) -> bool:
        """Whether one of two alarms is new, and the pause between them is too short for two."""
        earlier, later = pair
        new = not {earlier.number, later.number} <= self._known
        return (
            new
            and earlier.cleared_at is not None
            and later.started_at - earlier.cleared_at <= self._pause
        )

    def _extended(self, alarm: Alarm) -> Alarm:
        """The alarm with an earlier start, if late anomalies before it belong to it."""
        recent = [each for each in list(self._recent)[1 - self._rule.of :] if each.anomalous]
        before = [each for each in recent if each.at < alarm.started_at]
        if before and self._rule.of > 1 and len(before) + 1 >= self._rule.n:
            earlier = alarm.model_copy(update={"started_at": before[0].at})
            self._replace(alarm, earlier)
            return earlier
        return alarm

    def _begin(self) -> None:
        """Begin an alarm, or continue the one before, if there are enough anomalies."""
        anomalous = [each for each in self._recent if each.anomalous]
        if len(anomalous) < self._rule.n:
            return
        first, last = anomalous[0], anomalous[-1]
        raised = {"raised_at": last.at, "raised_by": last.row}
        before = [alarm for alarm in self.alarms if alarm.started_at < first.at]
        previous = before[-1] if before else None
        if previous and previous.cleared_at and first.at - previous.cleared_at <= self._pause:
            again = {**raised, "cleared_at": None, "cleared_by": None, "acknowledged": False}
            self._current = previous.model_copy(update=again)
            self._replace(previous, self._current)
        else:
            number = 1 + max((alarm.number for alarm in self.alarms), default=0)
            self._current = Alarm(number=number, started_at=first.at, **raised)
            self.alarms.insert(len(before), self._current)
        self._recent.clear()

    def _end(self, alarm: Alarm, each: Heard) -> None:
        """End an alarm if there are enough normal recordings."""
        if sum(not recent.anomalous for recent in self._recent) < self._rule.n:
            return
        seen = alarm.acknowledged or alarm.number in self._seen
        over = {"cleared_at": each.at, "cleared_by": each.row, "acknowledged": seen}
        self._replace(alarm, alarm.model_copy(update=over))
        self._current = None
        self._recent.clear()

    def _join(self, earlier: Alarm, later: Alarm) -> Alarm:
        """Make one alarm of two. It has the number of one that was known before, if one was."""
        kept = {} if later.number in self._known else {"number": earlier.number}
        if earlier.number in self._known and later.number not in self._known:
            kept["acknowledged"] = earlier.acknowledged
        joined = later.model_copy(update={"started_at": earlier.started_at, **kept})
        self.alarms.remove(earlier)
        self._replace(later, joined)
        self._current = None
        return joined

    def _replace(self, alarm: Alarm, by: Alarm) -> None:
        self.alarms[self.alarms.index(alarm)] = by


def _contains(alarm: Alarm, at: datetime) -> bool:
    return alarm.started_at <= at and (alarm.cleared_at is None or at <= alarm.cleared_at)


def _pause(machine: Machine) -> timedelta:
    """The longest time between two parts of one alarm."""
    if machine.same_alarm_within_s is not None:
        return timedelta(seconds=machine.same_alarm_within_s)
    return _apart(machine)


def _apart(machine: Machine) -> timedelta:
    """Recordings that are further apart are not in a row."""
    if machine.expected_every_s is None:
        return RELAPSE
    return timedelta(seconds=RELAPSE_INTERVALS * machine.expected_every_s)


def _trimmed(status: Status) -> Status:
    """Without alarms that are so old that no more recordings of their time are expected."""
    old = [alarm for alarm in status.alarms[:-MAX_ALARMS] if alarm.cleared_at is not None]
    if not old:
        return status
    update = {"alarms": status.alarms[len(old) :], "forgotten_until": old[-1].cleared_at}
    return status.model_copy(update=update)
