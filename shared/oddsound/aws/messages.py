"""Events and messages of AWS -> jobs."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from oddsound import strict_json
from oddsound.errors import InvalidJobError
from oddsound.schemas import Job

logger = logging.getLogger(__name__)

EVENT_KEYS = {"Records", "Event", "Type", "detail-type", "requestPayload"}
"""Each of them makes a message an event, and none of them is a key of a Job."""

CHECK = '{"check":"machines"}'
"""The message that template.yaml sends to the jobs queue every few minutes."""


OPTIONAL_KEYS = [name for name, field in Job.model_fields.items() if not field.is_required()]
"""Keys of a Job that a message need not have."""

JSON_TYPES = {
    "NoneType": "null",
    "str": "string",
    "int": "number",
    "float": "number",
    "bool": "boolean",
}

MAX_WRAPPINGS = 4
"""Services that an event may have passed, such as EventBridge, SNS and a failure queue."""


def jobs_of_event(event: Mapping[str, Any], wrappings: int = 0) -> list[Job]:
    """The new objects that an event names; all else in it is skipped and logged.

    An event is an S3 event notification or S3's event of EventBridge, either of them also inside a
    notification of SNS, or inside the record of a failed invocation that Lambda sends to a queue.
    What is no recording is found when the object is read, not by its name.

    wrappings : of the event, already removed
    Raises InvalidJobError if it is none of these.
    """
    if not isinstance(event, Mapping):
        raise InvalidJobError(f"the event is a JSON {_json_type(event)}, not an object")
    if event.get("Event") == "s3:TestEvent" and "Records" not in event:
        logger.info("skipped: s3:TestEvent, which S3 sends when notifications are configured")
        return []
    try:
        if "detail-type" in event:
            return _jobs_of_event_bridge(event)
        if event.get("Type") == "Notification":
            return jobs_of_message(event["Message"], wrappings + 1)
        if "requestPayload" in event:
            return _jobs_of_value(event["requestPayload"], wrappings + 1)
        records = event["Records"]
        if not isinstance(records, list) or not records:
            raise InvalidJobError("this event has no records: it names no object")
        return [job for record in records for job in _jobs_of_record(record, wrappings)]
    except (KeyError, TypeError, AttributeError, ValidationError):
        found = ", ".join(sorted(map(str, event))) or "none"
        raise InvalidJobError(
            f"this is not an event about new objects on S3; its keys: {found}"
        ) from None


def asks_for_check(body: str) -> bool:
    """Whether a message is the scheduled one that asks to check all machines."""
    return body.strip() == CHECK


def jobs_of_message(body: str, wrappings: int = 0) -> list[Job]:
    """The recordings that a message names: a Job as JSON, or an event of `jobs_of_event`.

    wrappings : of the message, already removed
    Raises InvalidJobError; its text holds no part of the message except the names of its keys.
    """
    try:
        message = strict_json.loads(body)
    except ValueError as error:
        raise InvalidJobError(f"the message is not JSON: {error}") from None
    return _jobs_of_value(message, wrappings)


def _jobs_of_value(message: object, wrappings: int) -> list[Job]:
    if not isinstance(message, dict):
        raise InvalidJobError(f"the message is a JSON {_json_type(message)}, not an object")
    if wrappings > MAX_WRAPPINGS:
        raise InvalidJobError(f"the message is wrapped more than {MAX_WRAPPINGS} times")
    if EVENT_KEYS & message.keys():
        return jobs_of_event(message, wrappings)
    try:
        return [Job.model_validate(message)]
    except ValidationError as error:
        # A key that is not text, such as half of a surrogate pair, has no place.
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'a key'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise InvalidJobError(
            f"the message is not a job: {faults}; expected keys: bucket, key and, optionally,"
            f" {', '.join(OPTIONAL_KEYS)}"
        ) from None


def _json_type(value: object) -> str:
    """What JSON calls the type of a value, as far as Python calls it something else."""
    name = type(value).__name__
    return JSON_TYPES.get(name, name)


def _jobs_of_record(record: Mapping[str, Any], wrappings: int) -> list[Job]:
    """The jobs of one record: S3's own, or a notification with which SNS invokes a function."""
    if "Sns" in record:
        return jobs_of_message(record["Sns"]["Message"], wrappings + 1)
    job = _job_of(record)
    return [] if job is None else [job]


def _jobs_of_event_bridge(event: Mapping[str, Any]) -> list[Job]:
    """The new object of an event of EventBridge, in which keys are not URL-encoded."""
    detail = event["detail"]
    found = detail["object"]
    job = Job(
        bucket=detail["bucket"]["name"],
        key=found["key"],
        etag=found.get("etag"),
        version_id=found.get("version-id"),
    )
    if event["detail-type"] == "Object Created":
        return [job]
    logger.info("skipped: %s; %r does not create an object", job.url, event["detail-type"])
    return []


def _job_of(record: Mapping[str, Any]) -> Job | None:
    name, s3 = record["eventName"].removeprefix("s3:"), record["s3"]
    job = Job(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        etag=s3["object"].get("eTag"),
        version_id=s3["object"].get("versionId"),
    )
    if name.startswith("ObjectCreated:"):
        return job
    logger.info("skipped: %s; %s does not create an object", job.url, name)
    return None
