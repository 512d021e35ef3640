"""Publishes anomalies to an SNS topic."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from oddsound.errors import StorageError
from oddsound.schemas import JobResult
from oddsound.storage import MissingError, translating_errors

MAX_SUBJECT = 100
"""Characters that SNS accepts in a subject."""


class Alerts:
    """An SNS topic. Subscriptions can filter by the attributes `model` and `bucket`.

    SNS may deliver an alert more than once; the attribute `id` is the same each time.

    sns_client : creates the client; called only when there is something to publish
    """

    def __init__(self, sns_client: Callable[[], Any], topic_arn: str) -> None:
        self._sns_client = sns_client
        self._topic_arn = topic_arn

    def publish(self, result: JobResult) -> None:
        """Publish one result, without the windows of a long recording. Raises StorageError.

        The subject names the most unusual event, if there is one and it fits. If the recording has
        warnings, it says so: the recorder may be the cause.
        """
        signal = result.prediction and result.prediction.signal
        end = " (check the recorder)" if signal and signal.warnings else ""
        subject = re.sub(r"[^ -~]", "?", f"Anomaly: {result.key}{_strongest_event(result)}")
        if len(subject) + len(end) > MAX_SUBJECT:
            subject = f"{subject[: MAX_SUBJECT - 3 - len(end)]}..."
        attributes = {"model": result.model, "bucket": result.bucket, "id": _id(result)}
        try:
            with translating_errors(self._topic_arn):
                self._sns_client().publish(
                    TopicArn=self._topic_arn,
                    Subject=subject + end,
                    Message=result.model_dump_json(
                        exclude={"alert": True, "prediction": {"windows"}}
                    ),
                    MessageAttributes={
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in attributes.items()
                    },
                )
        except MissingError:
            raise StorageError(f"{self._topic_arn}: no such topic") from None


def _strongest_event(result: JobResult) -> str:
    events = result.prediction.events if result.prediction else None
    if not events:
        return ""
    strongest = max(events, key=lambda event: event.score)
    return f", at {strongest.start_s:.1f} s: {strongest.says}"


def _id(result: JobResult) -> str:
    """The same for each alert of one model about one content of one object."""
    content = (result.model, result.bucket, result.key, result.etag, result.version_id)
    return sha256(repr(content).encode()).hexdigest()
