"""Invoke functions as AWS does: for S3 notifications, and for batches of SQS messages.

The semantics are Lambda's: batches and their window, partial batch failures, visibility timeout
and dead-letter queue; two retries of an asynchronous invocation, then the failure queue.
`oddsound worker` polls its queue with the same code.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from oddsound.aws.messages import CHECK

logger = logging.getLogger("oddsound.poller")

RETRY_DELAYS_S = (1, 2)
"""Delays before the retries of an asynchronous invocation. Lambda waits one minute, then two."""

POLL_S = 1
"""Longest time that one request waits for messages, in seconds."""

CHECK_EVERY_S = 60

MAX_MESSAGES = 10
"""SQS returns at most this many messages per request."""

EXTENSIONS = 3
"""How often in each visibility timeout the messages of a running batch are hidden again."""

type Invoke = Callable[[dict[str, Any]], Any]


class QueuePoller:
    """Polls a queue and invokes an SQS handler with each batch of its messages.

    Messages that the handler returns as batchItemFailures stay in the queue; if the handler
    raises, the whole batch does. They become visible again after the visibility timeout, and
    move to the dead-letter queue after the receives that the redrive policy allows. While the
    handler works, all messages of its batch stay hidden, however long it takes.

    batch_size : most messages per request, and per invocation
    window_s : how long a batch that is not full waits for more messages, in seconds
    one_by_one : invoke the handler with one message at a time, so that each is deleted when it is
        done, and those that were not begun are returned to the queue when polling stops
    """

    def __init__(
        self,
        sqs: Any,
        queue_url: str,
        queue_arn: str,
        invoke: Invoke,
        batch_size: int = 10,
        window_s: float = 0,
        *,
        one_by_one: bool = False,
    ) -> None:
        self._sqs, self._queue_url, self._queue_arn = sqs, queue_url, queue_arn
        self._invoke, self._batch_size, self._window_s = invoke, batch_size, window_s
        self._one_by_one = one_by_one
        self._visibility_s: int | None = None

    def run(self, stopped: threading.Event) -> None:
        """Poll until `stopped` is set; an invocation that was started is completed."""
        while not stopped.is_set():
            try:
                self.poll_once(stopped)
            # One failed request must not end the polling of all later messages.
            except Exception:
                if stopped.is_set():
                    return
                logger.exception("polling %s failed; next attempt in 1 s", self._queue_url)
                stopped.wait(1)

    def poll_once(self, stopped: threading.Event | None = None) -> int:
        """Process at most one batch. Returns the number of messages received."""
        messages = self._receive_batch()
        size = 1 if self._one_by_one else len(messages)
        waiting = list(messages)
        with self._hidden(waiting):
            while waiting and not (stopped and stopped.is_set()):
                self._process(waiting[:size])
                del waiting[:size]
        if waiting:
            logger.info("%d messages that were not begun return to the queue", len(waiting))
            self._hide(waiting, 0)
        return len(messages)

    def _process(self, messages: list[dict[str, Any]]) -> None:
        """Invoke the handler with messages, and delete those that are done."""
        records = [self._record(message) for message in messages]
        try:
            answer = self._invoke({"Records": records}) or {}
            failed = {item["itemIdentifier"] for item in answer.get("batchItemFailures", [])}
        # A handler that raises has processed none of its batch, as on Lambda.
        except Exception as error:
            logger.error("a batch of %d messages failed: %s", len(messages), error)
            failed = {message["MessageId"] for message in messages}
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            self._delete(done)

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        """Delete messages. One that cannot be deleted is received again, and finds its result."""
        try:
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=_entries(messages))
        except (BotoCoreError, ClientError) as error:
            logger.error("%d messages were not deleted: %s", len(messages), error)

    @contextmanager
    def _hidden(self, messages: list[dict[str, Any]]) -> Iterator[None]:
        """Hide messages again and again, until they leave the list or the context ends."""
        if not messages:
            yield
            return
        timeout_s = self._visibility_timeout_s()
        ended = threading.Event()

        def hide() -> None:
            while not ended.wait(timeout_s / EXTENSIONS):
                try:
                    self._hide(list(messages), timeout_s)
                # The next extension may succeed; if none does, the messages are received again.
                except (BotoCoreError, ClientError) as error:
                    logger.warning(
                        "%s: messages could not be hidden again: %s", self._queue_url, error
                    )

        thread = threading.Thread(target=hide, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _hide(self, messages: list[dict[str, Any]], seconds: int) -> None:
        """Make messages visible after this time. Those that are deleted meanwhile do not matter."""
        entries = [{**entry, "VisibilityTimeout": seconds} for entry in _entries(messages)]
        self._sqs.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)

    def _visibility_timeout_s(self) -> int:
        """Of the queue; at least a second, because nothing can be done in less."""
        if self._visibility_s is None:
            answer = self._sqs.get_queue_attributes(
                QueueUrl=self._queue_url, AttributeNames=["VisibilityTimeout"]
            )
            self._visibility_s = max(1, int(answer["Attributes"]["VisibilityTimeout"]))
        return self._visibility_s

    def _receive_batch(self) -> list[dict[str, Any]]:
        messages = self._receive(self._batch_size, POLL_S)
        deadline = time.monotonic() + self._window_s
        while messages and len(messages) < self._batch_size and time.monotonic() < deadline:
            messages += self._receive(self._batch_size - len(messages), 0)
            time.sleep(0.05)
        return messages

    def _receive(self, max_messages: int, wait_s: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(max_messages, MAX_MESSAGES),
            WaitTimeSeconds=wait_s,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        attributes = {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        }
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": attributes,
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._queue_arn,
            "awsRegion": self._queue_arn.split(":")[3],
        }


def _entries(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages in a request for several of them."""
    return [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(messages)
    ]


class CheckPoller:
    """Asks for a check of all machines every minute, as a rule of the template does on AWS."""

    def __init__(self, sqs: Any, jobs_queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, jobs_queue_url

    def run(self, stopped: threading.Event) -> None:
        """Send the message until `stopped` is set."""
        while not stopped.wait(CHECK_EVERY_S):
            try:
                self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=CHECK)
            # One failed request must not end all later checks.
            except Exception:
                logger.exception("asking for a check of the machines failed")


class NotificationPoller:
    """Invokes an S3 handler with each S3 notification, which a queue delivers here.

    A failed invocation is retried after 1 s, then after 2 s. After the last attempt the event
    goes to the failure queue, in the form of a Lambda destination.
    """

    def __init__(
        self,
        sqs: Any,
        queue_url: str,
        queue_arn: str,
        invoke: Invoke,
        retries: int = 2,
        failure_queue_url: str | None = None,
    ) -> None:
        self._sqs, self._queue_url, self._queue_arn = sqs, queue_url, queue_arn
        self._invoke, self._retries, self._failure_queue_url = invoke, retries, failure_queue_url

    def run(self, stopped: threading.Event) -> None:
        """Poll until `stopped` is set; an invocation that was started is completed."""
        QueuePoller(self._sqs, self._queue_url, self._queue_arn, self._on_batch).run(stopped)

    def _on_batch(self, event: dict[str, Any]) -> None:
        for record in event["Records"]:
            notification = json.loads(record["body"])
            attempts = record["messageAttributes"].get("attempts", {}).get("stringValue", "0")
            # S3 sends a test event without records when a notification is configured.
            if "Records" in notification:
                self._attempt(notification, int(attempts) + 1)

    def _attempt(self, notification: dict[str, Any], number: int) -> None:
        try:
            self._invoke(notification)
        # Lambda retries an asynchronous invocation whatever the error is.
        except Exception as error:
            logger.error("attempt %d to score an upload failed: %s", number, error)
            if number <= self._retries:
                self._retry_later(notification, number)
            elif self._failure_queue_url is not None:
                self._send_to_failure_queue(notification, number, str(error))

    def _retry_later(self, notification: dict[str, Any], attempts: int) -> None:
        """Send the event to the queue again, so that other uploads do not wait for it."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=json.dumps(notification),
            DelaySeconds=RETRY_DELAYS_S[min(attempts, len(RETRY_DELAYS_S)) - 1],
            MessageAttributes={"attempts": {"DataType": "Number", "StringValue": str(attempts)}},
        )

    def _send_to_failure_queue(
        self, notification: dict[str, Any], attempts: int, reason: str
    ) -> None:
        body = {
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(),
            "requestContext": {
                "condition": "RetriesExhausted",
                "approximateInvokeCount": attempts,
            },
            "requestPayload": notification,
            "responsePayload": {"errorMessage": reason},
        }
        self._sqs.send_message(QueueUrl=self._failure_queue_url, MessageBody=json.dumps(body))
