"""What hands events to functions: S3's asynchronous invocations, SQS's event source mapping.

With Lambda's semantics: batches and their window, partial failures, visibility and redrive,
two retries and then the failure queue. Also the worker for those who do not use Lambda.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("oddsound.pump")

RETRY_DELAYS_S = (1, 2)
"""Before the retries of an asynchronous invocation; Lambda waits one minute, then two."""

POLL_S = 1

type Invoke = Callable[[dict[str, Any]], Any]


class QueuePump:
    """Long-polls a queue and hands its messages, a batch at a time, to an SQS handler.

    What the handler gives back as batchItemFailures stays in the queue, and so does the
    whole batch where it raises: it is seen again after the visibility timeout, and goes to
    the dead-letter queue when it was received as often as the redrive policy allows.

    window_s : how long a batch that is not full waits for more
    """

    def __init__(
        self,
        sqs: Any,
        queue_url: str,
        queue_arn: str,
        invoke: Invoke,
        batch_size: int = 10,
        window_s: float = 0,
    ) -> None:
        self._sqs, self._queue_url, self._queue_arn = sqs, queue_url, queue_arn
        self._invoke, self._batch_size, self._window_s = invoke, batch_size, window_s

    def run(self, stopped: threading.Event) -> None:
        """Until `stopped`; a batch that has begun is ended."""
        while not stopped.is_set():
            try:
                self.once()
            # A pump that ended with one bad answer of the queue would lose all that follow.
            except Exception:
                if stopped.is_set():
                    return
                logger.exception("polling %s failed; next try in a second", self._queue_url)
                stopped.wait(1)

    def once(self) -> int:
        """One batch. Returns how many messages were received."""
        messages = self._batch()
        if not messages:
            return 0
        records = [self._record(message) for message in messages]
        try:
            answer = self._invoke({"Records": records}) or {}
            failed = {item["itemIdentifier"] for item in answer.get("batchItemFailures", [])}
        # A function that fails as a whole has handled none of its batch.
        except Exception as error:
            logger.error("a batch of %d failed: %s", len(messages), error)
            failed = {message["MessageId"] for message in messages}
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(done)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return len(messages)

    def _batch(self) -> list[dict[str, Any]]:
        messages = self._receive(self._batch_size, POLL_S)
        until = time.monotonic() + self._window_s
        while messages and len(messages) < self._batch_size and time.monotonic() < until:
            messages += self._receive(self._batch_size - len(messages), 0)
            time.sleep(0.05)
        return messages

    def _receive(self, most: int, wait_s: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(most, 10),
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


class NotificationPump:
    """Hands S3's notifications, which a queue carries here, to an S3 handler one by one.

    An invocation that fails is tried again after a second and after two more; then the event
    goes to the failure queue in the form of Lambda's destinations.
    """

    def __init__(
        self,
        sqs: Any,
        queue_url: str,
        invoke: Invoke,
        retries: int = 2,
        failure_queue_url: str | None = None,
    ) -> None:
        self._sqs, self._queue_url, self._invoke = sqs, queue_url, invoke
        self._retries, self._failure_queue_url = retries, failure_queue_url

    def run(self, stopped: threading.Event) -> None:
        """Until `stopped`; an invocation that has begun is ended."""
        arn = "arn:aws:sqs:eu-central-1:123456789012:notifications"
        QueuePump(self._sqs, self._queue_url, arn, self._on_batch).run(stopped)

    def _on_batch(self, event: dict[str, Any]) -> None:
        for record in event["Records"]:
            notification = json.loads(record["body"])
            attempts = record["messageAttributes"].get("attempts", {}).get("stringValue", "0")
            # S3 sends a test of its own when a notification is set up.
            if "Records" in notification:
                self._attempt(notification, int(attempts) + 1)

    def _attempt(self, notification: dict[str, Any], number: int) -> None:
        try:
            self._invoke(notification)
        # Whatever it was, Lambda tries again.
        except Exception as error:
            logger.error("attempt %d to score an upload failed: %s", number, error)
            if number <= self._retries:
                self._later(notification, number)
            elif self._failure_queue_url is not None:
                self._give_up(notification, number, str(error))

    def _later(self, notification: dict[str, Any], attempts: int) -> None:
        """Through the queue, so that no other upload waits for this one."""
        self._sqs.send_message(
            QueueUrl=self._queue_url,
            MessageBody=json.dumps(notification),
            DelaySeconds=RETRY_DELAYS_S[min(attempts, len(RETRY_DELAYS_S)) - 1],
            MessageAttributes={"attempts": {"DataType": "Number", "StringValue": str(attempts)}},
        )

    def _give_up(self, notification: dict[str, Any], attempts: int, reason: str) -> None:
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
