"""Publishes changes of machines' states to an SNS topic."""

import re
from collections.abc import Callable
from typing import Any

from oddsound.aws.alerts import MAX_SUBJECT
from oddsound.errors import StorageError
from oddsound.machines.notices import Notice
from oddsound.storage import MissingError, translating_errors


class TopicChannel:
    """An SNS topic. Subscriptions can filter by the attributes `kind`, `machine` and `state`.

    SNS may deliver a notice more than once; the attribute `id` is the same each time.

    sns_client : creates the client; called only when there is something to publish
    """

    name = "sns"

    def __init__(self, sns_client: Callable[[], Any], topic_arn: str) -> None:
        self._sns_client = sns_client
        self._topic_arn = topic_arn

    def send(self, notice: Notice) -> None:
        """Publish a notice as JSON. Raises StorageError."""
        text = f"{notice.machine}: {notice.event.state}. {notice.event.why}"
        subject = re.sub(r"[^ -~]", "?", text)
        if len(subject) > MAX_SUBJECT:
            subject = f"{subject[: MAX_SUBJECT - 3]}..."
        attributes = {
            "kind": notice.kind,
            "machine": notice.machine,
            "state": notice.event.state,
            "id": notice.id,
        }
        try:
            with translating_errors(self._topic_arn):
                self._sns_client().publish(
                    TopicArn=self._topic_arn,
                    Subject=subject,
                    Message=notice.model_dump_json(),
                    MessageAttributes={
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in attributes.items()
                    },
                )
        except MissingError:
            raise StorageError(f"{self._topic_arn}: no such topic") from None
