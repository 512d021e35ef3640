"""Machines and their history: what is stored, and what the API answers."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from oddsound.schemas import Event, MachineId, Probability, Schema, Time

State = Literal["normal", "unknown"]
"""unknown: the machine has no model yet."""

MAX_ROW_EVENTS = 3
"""Events of a recording that its row of history keeps: the most unusual ones."""

MAX_ROW_WARNINGS = 5


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
        allow_inf_nan=False,
        description="seconds between two recordings; null if they come at no fixed interval",
    )
    alarm: AlarmRule = AlarmRule()


class Status(Schema):
    """What is known about a machine's condition."""

    state: State = "unknown"
    since: Time


class Review(Schema):
    """What a person says about a recording."""

    label: Literal["normal", "fault", "unusable"]
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
    source: str = Field(description="the way in: http, s3, command-line")
    bucket: str | None = Field(description="null if the recording is not on S3")
    key: str = Field(description="key of the object, path of the file, or a name of the request")
    duration_s: float
    events: list[Event] = Field(description=f"the {MAX_ROW_EVENTS} most unusual events, by start")
    warnings: list[str] = Field(description="what is wrong with the recording")
    review: Review | None = None


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
    state: State
    since: datetime = Field(description="when it came into this state")
    last_recorded_at: datetime | None = Field(description="null if it has no recording yet")
    last_arrived_at: datetime | None

    @classmethod
    def of(cls, record: MachineRecord) -> Self:
        fields: dict[str, Any] = {
            name: getattr(record.machine, name) for name in Machine.model_fields
        }
        return cls(
            **fields,
            state=record.status.state,
            since=record.status.since,
            last_recorded_at=record.last_recorded_at,
            last_arrived_at=record.last_arrived_at,
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
