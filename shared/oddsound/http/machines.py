"""Routes of machines and their history, and what /predict-anomaly does for them."""

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Self

from fastapi import APIRouter, Depends, Path, Query
from fastapi.exceptions import RequestValidationError

from oddsound import runtime
from oddsound.fields import Time
from oddsound.http.errors import documented
from oddsound.http.parameters import only_known_query
from oddsound.http.recording import SentRecording
from oddsound.http.strict_body import StrictRoute
from oddsound.machines.naming import check_machine_id, in_utc
from oddsound.machines.records import (
    Acknowledgement,
    Drift,
    EventPage,
    HistoryPage,
    MachineInfo,
    MachineList,
    Snooze,
)
from oddsound.machines.trend import Trend
from oddsound.schemas import Prediction

if TYPE_CHECKING:
    from oddsound.machines.ledger import Origin

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(only_known_query)])

MAX_PAGE = 1000
MAX_NUMBER = 2**53 - 1
"""Largest integer that every JSON parser reads exactly; no machine has as many events."""

MAX_SLICES = 1000
MAX_NAME = 200
"""Characters of a file name that a row keeps."""

MachineIdPath = Annotated[str, Path(description="of a machine, such as hall-3/pump-07")]


@router.get("/machines", responses=documented(422, 500, 501, 503))
def machines(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    after: Annotated[str | None, Query(description="`next` of the previous page")] = None,
) -> MachineList:
    """The machines and their states, by id."""
    return runtime.required_history().machines(limit, after)


@router.get("/machines/{machine_id:path}/history", responses=documented(404, 422, 500, 501, 503))
def history(
    machine_id: MachineIdPath,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    before: Annotated[
        str | None, Query(description="`next` of the previous page, or a time in UTC")
    ] = None,
) -> HistoryPage:
    """The scored recordings of a machine, newest first."""
    return runtime.required_history().history(machine_id, limit, before)


@router.get("/machines/{machine_id:path}/events", responses=documented(404, 422, 500, 501, 503))
def events(
    machine_id: MachineIdPath,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    before: Annotated[
        int | None, Query(ge=0, le=MAX_NUMBER, description="`next` of the previous page")
    ] = None,
) -> EventPage:
    """The changes of a machine's state, newest first."""
    return runtime.required_history().events(machine_id, limit, before)


@router.get("/machines/{machine_id:path}/trend", responses=documented(404, 422, 500, 501, 503))
def trend(
    machine_id: MachineIdPath,
    slices: Annotated[int, Query(ge=1, le=MAX_SLICES)] = 200,
    after: Annotated[Time | None, Query(description="default: the first recording")] = None,
    before: Annotated[Time | None, Query(description="default: the last recording")] = None,
) -> Trend:
    """The scores of a machine over time, in stretches of the same length, for a chart."""
    return runtime.required_history().trend(machine_id, slices, after, before)


@router.get("/machines/{machine_id:path}/drift", responses=documented(404, 422, 500, 501, 503))
def drift(machine_id: MachineIdPath) -> Drift:
    """How the recent recordings of a machine differ from the training recordings of its model."""
    return runtime.required_history().drift(machine_id)


@router.post(
    "/machines/{machine_id:path}/acknowledge",
    responses=documented(404, 408, 409, 413, 422, 500, 501, 503),
)
def acknowledge(machine_id: MachineIdPath, said: Acknowledgement) -> MachineInfo:
    """A person has seen the machine's alarm."""
    return runtime.required_history().acknowledge(machine_id, said.person, said.note)


@router.post(
    "/machines/{machine_id:path}/clear",
    responses=documented(404, 408, 409, 413, 422, 500, 501, 503),
)
def clear(machine_id: MachineIdPath, said: Acknowledgement) -> MachineInfo:
    """A person ends the machine's alarm, for example after a repair."""
    return runtime.required_history().clear(machine_id, said.person, said.note)


@router.post(
    "/machines/{machine_id:path}/snooze",
    responses=documented(404, 408, 413, 422, 500, 501, 503),
)
def snooze(machine_id: MachineIdPath, said: Snooze) -> MachineInfo:
    """A person wants to hear nothing about the machine until a time; a past time ends that."""
    return runtime.required_history().snooze(machine_id, said.until, said.person, said.note)


@router.get("/machines/{machine_id:path}", responses=documented(404, 422, 500, 501, 503))
def machine(machine_id: MachineIdPath) -> MachineInfo:
    """One machine and its state."""
    return runtime.required_history().machine(machine_id)


@dataclass(frozen=True)
class Asked:
    """What a request says about its recording, in the URL or in the form."""

    model_name: str | None
    machine: str | None
    recorded_at: datetime | None

    @classmethod
    def of(
        cls,
        sent: SentRecording,
        model_name: str | None,
        machine: str | None,
        recorded_at: str | None,
    ) -> Self:
        """Raises HTTPException 400 if URL and form differ, InvalidMachineError, or
        RequestValidationError if the time is none.
        """
        machine = sent.said("machine", machine)
        time = sent.said("recorded_at", recorded_at)
        return cls(
            sent.said("model_name", model_name),
            check_machine_id(machine) if machine else None,
            _time(time) if time else None,
        )


def model_of(machine: str | None) -> str | None:
    """Name of the machine's model; None if it has none, or if this service keeps no history."""
    ledger = runtime.history() if machine else None
    return ledger.model_of(machine) if ledger and machine else None


def remembered(prediction: Prediction, sent: SentRecording, asked: Asked) -> Prediction:
    """The prediction with its machine; its row is stored, if this service keeps a history."""
    prediction = prediction.model_copy(update={"machine": asked.machine})
    if ledger := runtime.history():
        ledger.record(prediction, _origin(sent, asked))
    return prediction


def _origin(sent: SentRecording, asked: Asked) -> "Origin":
    """Where a sent recording comes from.

    The same recording sent twice with the same time is one recording, and without a time two.
    """
    from oddsound.machines.ledger import Origin

    with BytesIO(sent.source) if isinstance(sent.source, bytes) else sent.source.open("rb") as file:
        checksum = file_digest(file, "sha256").hexdigest()
    name = re.sub(r"[^\w. -]+", "-", (sent.filename or "").replace("\\", "/").rpartition("/")[2])
    recorded_at = asked.recorded_at or runtime.recorded_at_of(sent.filename or "")
    time = (recorded_at or runtime.now()).isoformat()
    return Origin(
        machine=asked.machine,
        recorded_at=recorded_at,
        source="http",
        key=f"http/{checksum[:16]}/{name[-MAX_NAME:] or 'recording'}",
        content=f"{checksum} {asked.machine} {time}",
    )


def _time(text: str) -> datetime:
    try:
        return in_utc(datetime.fromisoformat(text))
    except ValueError:
        message = f"{text!r} is not a time such as 2026-11-23T10:30:00Z"
        raise RequestValidationError(
            [{"type": "time", "loc": ("query", "recorded_at"), "msg": message}]
        ) from None
