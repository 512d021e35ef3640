"""Machines and their history: what is stored, and what the API answers."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from oddsound.fields import MachineId, Probability, Schema, Time
from oddsound.machines.profile import Profile
from oddsound.schemas import Event

State = Literal["normal", "active", "acknowledged", "returned", "snoozed", "silent", "unknown"]
"""As in ISA-18.2: active is an alarm that nobody has seen, acknowledged one that somebody has;
returned is one that went away before anybody saw it. snoozed: a person wants to hear nothing until
a time. silent: no recording arrived for three intervals. unknown: the machine has no model yet."""

Cause = Literal[
    "anomalies",
    "normal again",
    "came and went",
    "relapse",
    "acknowledged",
    "snoozed",
    "cleared",
    "snooze ended",
    "silence",
    "heard again",
    "model",
    "drift",
    "drift over",
]

DriftKind = Literal["none", "part", "everything", "unknown"]
"""part: some features shifted, as a fault shifts them. everything: the recorder, the room or the
load changed. unknown: too few recordings to compare."""

MAX_ALARMS = 20
"""Alarms of a machine that late recordings are compared with: the newest ones."""

MAX_ROW_EVENTS = 3
"""Events of a recording that its row of history keeps: the most unusual ones."""

MAX_ROW_WARNINGS = 5

MAX_INTERVAL_S = 10 * 366 * 86_400
"""Ten years. Multiples of an interval are added to times, which end with the year 9999."""


class AlarmRule(Schema):
    """A machine is in alarm after `n` anomalies among its last `of` recordings."""

    model_config = ConfigDict(extra="forbid")

    n: int = Field(default=2, ge=1, le=100)
    of: int = Field(default=3, ge=1, le=100)

    @model_validator(mode="after")
    def _n_is_possible(self) -> Self:
        if self.n > self.of:
            raise ValueError(f"n is {self.n}, and at most `of`, which is {self.of}, is possible")
        return self


class Machine(Schema):
    """One physical machine or measuring point."""

    model_config = ConfigDict(extra="forbid")

    id: MachineId = Field(description="a path such as hall-3/pump-07", examples=["hall-3/pump-07"])
    name: str = Field(default="", max_length=200, description="for people; empty for none")
    site: str = Field(default="", max_length=200, description="where it is; empty for unknown")
    model_name: str | None = Field(
        default=None,
        min_length=1,
        description="model that scores its recordings; null: it is unknown what is normal for it",
    )
    expected_every_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_INTERVAL_S,
        allow_inf_nan=False,
        description="seconds between two recordings; null if they come at no fixed interval",
    )
    alarm: AlarmRule = AlarmRule()
    same_alarm_within_s: float | None = Field(
        default=None,
        ge=0,
        le=MAX_INTERVAL_S,
        allow_inf_nan=False,
        description="an alarm that comes back within this time is the same one; default: twelve"
        " intervals, or twelve hours",
    )


class Alarm(Schema):
    """One fault of a machine, from its first anomaly until it is normal again."""

    number: int = Field(description="counts the alarms of the machine")
    started_at: Time = Field(description="time of the first anomalous recording")
    raised_at: Time = Field(description="time of the recording with which it was an alarm")
    raised_by: str = Field(description="id of that recording's row")
    cleared_at: Time | None = Field(
        default=None, description="time of the recording with which it was over; null if it is not"
    )
    cleared_by: str | None = None
    acknowledged: bool = Field(default=False, description="whether a person has seen it")

    def covers(self, at: datetime) -> bool:
        """Whether a time is within the alarm."""
        return self.started_at <= at and (self.cleared_at is None or at < self.cleared_at)


class StateEvent(Schema):
    """A change of a machine's state. Numbers grow by one with each event of a machine."""

    machine: str
    number: int
    before: State
    state: State
    cause: Cause
    at: Time = Field(description="when it happened: a recording's time, or the present")
    stored_at: Time
    alarm: int | None = Field(default=None, description="number of the alarm that it is about")
    why: str = Field(default="", description="in a sentence")
    row: str | None = Field(default=None, description="id of the recording's row")
    key: str | None = Field(default=None, description="of the recording")
    event: Event | None = Field(
        default=None, description="the most unusual event of that recording, and when it is"
    )
    person: str = ""
    note: str = ""
    announced: bool = Field(default=True, description="whether others are told about it")


class Pending(Schema):
    """An event that is not yet announced everywhere. sent_to : names of channels that have it."""

    event: StateEvent
    sent_to: list[str] = Field(default=[])


class DriftNote(Schema):
    """A shift of the recent recordings from the training recordings, in the machine's record."""

    kind: DriftKind
    since: Time = Field(description="time of the recording with which it was found")
    says: str


class Status(Schema):
    """What is known about a machine's condition.

    alarms : by time, at most MAX_ALARMS; only the last one may be open
    why : the reason for the newest change of state
    forgotten_until : end of the newest alarm that is no longer among them
    events : number of the newest event
    pending : events that are to be stored and announced; sending_until : while someone does so
    """

    state: State = "unknown"
    since: Time
    alarms: list[Alarm] = Field(default=[])
    forgotten_until: Time | None = None
    silent_since: Time | None = None
    snoozed_until: Time | None = None
    drift: DriftNote | None = None
    why: str = ""
    events: int = 0
    pending: list[Pending] = Field(default=[])
    sending_until: Time | None = None

    @property
    def current_alarm(self) -> Alarm | None:
        """The newest alarm that is open, or that nobody has seen."""
        of_interest = [
            alarm for alarm in self.alarms if alarm.cleared_at is None or not alarm.acknowledged
        ]
        return of_interest[-1] if of_interest else None

    @property
    def drift_explained(self) -> bool:
        """Whether an open alarm explains the drift: a fault shifts a part of the sound."""
        is_open = self.current_alarm is not None and self.current_alarm.cleared_at is None
        return is_open and self.drift is not None and self.drift.kind == "part"


ReviewLabel = Literal["normal", "fault", "unusable"]


class Review(Schema):
    """What a person says about a recording."""

    label: ReviewLabel
    note: str = ""
    person: str = ""
    at: Time


class HistoryRow(Schema):
    """One scored recording."""

    id: str = Field(description="of the recording's content and the model, as a checksum")
    machine: str | None = Field(description="null if it is not known")
    recorded_at: Time
    scored_at: Time
    prediction: str
    is_anomaly: bool | None = Field(description="null if the model has no normal class")
    score: Probability | None = Field(description="anomaly_score of the prediction")
    level: float | None = Field(description="anomaly_level of the prediction")
    threshold: float | None
    model_name: str
    model_version: str
    source: str = Field(description="the way in: http, s3, watch, file")
    bucket: str | None = Field(description="null if the recording is not on S3")
    key: str = Field(description="key of the object, path of the file, or a name of the request")
    duration_s: float
    events: list[Event] = Field(description=f"the {MAX_ROW_EVENTS} most unusual events, by start")
    warnings: list[str] = Field(description="what is wrong with the recording")
    review: Review | None = None
    profile: Profile | None = Field(default=None, exclude_if=lambda profile: profile is None)


class MachineRecord(Schema):
    """A machine as it is stored.

    version : grows by one with each change of machine or status
    last_recorded_at : of the newest recording; last_arrived_at : when one was last scored
    """

    machine: Machine
    status: Status
    version: int = 0
    created_at: Time
    last_recorded_at: Time | None = None
    last_arrived_at: Time | None = None


class LastRecording(Schema):
    """The newest recording of a machine."""

    recorded_at: datetime
    key: str
    prediction: str
    is_anomaly: bool | None
    score: Probability | None


class MachineInfo(Schema):
    """A machine and its state, in the response of GET /machines and GET /machines/{id}."""

    id: str
    name: str
    site: str
    model_name: str | None
    expected_every_s: float | None
    alarm: AlarmRule
    same_alarm_within_s: float | None
    state: State
    since: datetime = Field(description="when it came into this state")
    why: str = Field(description="why it is in this state, in a sentence; empty for a new machine")
    last_recorded_at: datetime | None = Field(description="null if it has no recording yet")
    last_arrived_at: datetime | None
    current_alarm: Alarm | None = Field(
        description="the alarm that is open, or that nobody has seen; null if there is none"
    )
    snoozed_until: datetime | None
    silent_since: datetime | None = Field(description="when the silence was noticed")
    drift: DriftNote | None = Field(
        description="how the recent recordings differ from the training recordings; null if they do"
        " not, or if too few can be compared"
    )
    drift_explained: bool = Field(
        description="whether an open alarm explains the drift: a fault shifts a part of the sound."
        " Such a drift needs no attention of its own"
    )

    @classmethod
    def of(cls, record: MachineRecord) -> Self:
        fields: dict[str, Any] = {
            name: getattr(record.machine, name) for name in Machine.model_fields
        }
        return cls(
            **fields,
            state=record.status.state,
            since=record.status.since,
            why=record.status.why,
            last_recorded_at=record.last_recorded_at,
            last_arrived_at=record.last_arrived_at,
            current_alarm=record.status.current_alarm,
            snoozed_until=record.status.snoozed_until,
            silent_since=record.status.silent_since,
            drift=record.status.drift,
            drift_explained=record.status.drift_explained,
        )


class MachineList(Schema):
    """A page of the response of GET /machines, by id."""

    machines: list[MachineInfo]
    next: str | None = Field(description="value of `after` for the next page; null on the last one")


class HistoryPage(Schema):
    """A page of the response of GET /machines/{id}/history, newest first."""

    machine: str
    rows: list[HistoryRow]
    next: str | None = Field(
        description="value of `before` for the next page; null on the last one"
    )


class DriftGroup(Schema):
    """A group of features of the recent recordings, compared with the training recordings."""

    name: str
    shift: float = Field(
        description="difference of the means, in standard deviations over the training recordings;"
        " of anomalies, the difference from the promised share"
    )
    p_value: Probability = Field(description="that the shift is too small to matter")
    shifted: bool = Field(description="by Holm's procedure over all groups, at 1 %")


class Drift(Schema):
    """The response of GET /machines/{id}/drift."""

    machine: str
    kind: DriftKind
    says: str = Field(description="what it means, in plain words")
    recordings: int = Field(description="number of recent recordings that were compared")
    first_at: datetime | None = None
    last_at: datetime | None = None
    model_name: str | None = None
    model_version: str | None = None
    groups: list[DriftGroup] = Field(default=[])


class EventPage(Schema):
    """A page of the response of GET /machines/{id}/events, newest first."""

    machine: str
    events: list[StateEvent]
    next: int | None = Field(
        description="value of `before` for the next page; null on the last one"
    )


class Acknowledgement(Schema):
    """The request body of POST /machines/{id}/acknowledge and POST /machines/{id}/clear."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=200)
    note: str = Field(default="", max_length=2000)


class Snooze(Acknowledgement):
    """The request body of POST /machines/{id}/snooze."""

    until: Time = Field(description="a time that has passed ends a snooze")


class ReviewRequest(Schema):
    """The request body of POST /results/{key}/review."""

    model_config = ConfigDict(extra="forbid")

    label: ReviewLabel = Field(
        description="what the recording is: normal; fault: of the machine; unusable: a fault of the"
        " recorder or something else that says nothing about the machine"
    )
    note: str = Field(default="", max_length=2000)
    person: str = Field(default="", max_length=200)
