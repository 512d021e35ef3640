"""Events and messages of AWS -> jobs."""

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from oddsound.errors import InvalidJobError
from oddsound.schemas import Job

logger = logging.getLogger(__name__)


def jobs_of_notification(event: Mapping[str, Any]) -> list[Job]:
    """The new objects in an S3 event notification; all else in it is skipped and logged.

    What is no recording is found when the object is read, not by its name.

    Raises InvalidJobError if it is not an S3 event notification.
    """
    if event.get("Event") == "s3:TestEvent":
        logger.info("skipped: s3:TestEvent, which S3 sends when notifications are configured")
        return []
    try:
        return [job for record in event["Records"] if (job := _job_of(record)) is not None]
    except (KeyError, TypeError, AttributeError, ValidationError):
        found = ", ".join(sorted(map(str, event))) or "none"
        raise InvalidJobError(f"this is not an S3 event notification; its keys: {found}") from None


def jobs_of_message(body: str) -> list[Job]:
    """The recordings that a message names: a Job as JSON, or an S3 event notification.

    Raises InvalidJobError; its text holds no part of the message except the names of its keys.
    """
    try:
        message = json.loads(body)
    except ValueError as error:
        raise InvalidJobError(f"the message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise InvalidJobError(f"the message is a JSON {type(message).__name__}, not an object")
    if "Records" in message or "Event" in message:
        return jobs_of_notification(message)
    try:
        return [Job.model_validate(message)]
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise InvalidJobError(
            f"the message is not a job: {faults}; expected keys: bucket, key and, optionally,"
            " model_name"
        ) from None


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
