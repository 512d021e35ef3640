"""Which machine an object is of, and when it was recorded."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from oddsound.machines.naming import fault_of_id, in_utc, machine_of_key
from oddsound.schemas import JobResult

if TYPE_CHECKING:
    from oddsound.machines.ledger import Origin

logger = logging.getLogger(__name__)

MACHINE, RECORDED_AT = "machine", "recorded-at"
"""Names of an object's metadata."""


def metadata_of(machine: str | None, recorded_at: datetime | None) -> dict[str, str]:
    """The metadata of an object. S3 takes ASCII only, so the machine's id is URL-encoded."""
    found = {}
    if machine is not None:
        found[MACHINE] = quote(machine, safe="/ ")
    if recorded_at is not None:
        found[RECORDED_AT] = recorded_at.isoformat()
    return found


def machine_of_metadata(metadata: Mapping[str, str], url: str) -> str | None:
    """The machine that an object's metadata names; None, with a warning, if it names none."""
    value = metadata.get(MACHINE)
    if value is None:
        return None
    machine = unquote(value)
    if reason := fault_of_id(machine):
        logger.warning("%s: its metadata %s is no id of a machine: %s", url, MACHINE, reason)
        return None
    return machine


def time_of_metadata(metadata: Mapping[str, str], url: str) -> datetime | None:
    """The time that an object's metadata names; None, with a warning, if it names none."""
    value = metadata.get(RECORDED_AT)
    if value is None:
        return None
    try:
        return in_utc(datetime.fromisoformat(value))
    except ValueError:
        logger.warning(
            "%s: its metadata %s is not a time such as 2026-11-23T10:30:00Z", url, RECORDED_AT
        )
        return None


def origin_of(result: JobResult) -> "Origin":
    """Where a stored result comes from. Results of earlier versions name no machine and no time."""
    # The routes that only name an upload's metadata start without the ledger.
    from oddsound.machines.ledger import Origin

    machine = result.prediction.machine if result.prediction else None
    return Origin(
        machine=machine or machine_of_key(result.key),
        recorded_at=result.recorded_at or result.finished_at,
        source="s3",
        bucket=result.bucket,
        key=result.key,
        content=f"{result.etag} {result.version_id or ''}",
    )
