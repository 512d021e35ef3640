"""`oddsound worker`: the SQS handler in a long-running process, for use without Lambda."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from oddsound import runtime
from oddsound.errors import StorageError
from oddsound_workbench.local import handlers
from oddsound_workbench.local.function_process import Context
from oddsound_workbench.local.poller import QueuePoller

logger = logging.getLogger("oddsound.worker")

MAX_HIDDEN_S = 12 * 3600
"""SQS hides a message for at most 12 hours, however often that is extended."""

START_DELAYS_S = (1, 2, 5, 10, 30)
"""Delays between attempts to reach AWS at the start; the last one is repeated."""

THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestThrottled"}


def work(sqs: Any, queue_url: str, batch_size: int, stopped: threading.Event) -> None:
    """Invoke the SQS handler with each message of a queue until `stopped` is set.

    A message stays hidden from other workers while it is processed. Messages that keep failing go
    to the dead-letter queue that the queue's redrive policy names.

    batch_size : most messages that are fetched at once. Each fetch counts for the redrive policy,
        also for messages that wait here when the process ends.
    Raises AudioAnomalyError if a setting or models.json cannot be used, and errors of botocore if
    the queue cannot be used.
    """
    handler = handlers.load("functions.sqs_trigger.app").handler

    def start() -> str:
        # Fail before the first message is received: with RESULTS_BUCKET missing, the whole queue
        # would end in its dead-letter queue.
        runtime.jobs()
        runtime.registry().describe()
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def invoke(event: dict[str, Any]) -> Any:
        return handler(event, Context("worker", MAX_HIDDEN_S, event["Records"][0]["messageId"]))

    if arn := _when_aws_answers(start, stopped):
        QueuePoller(sqs, queue_url, arn, invoke, batch_size, one_by_one=True).run(stopped)


def _when_aws_answers(start: Callable[[], str], stopped: threading.Event) -> str | None:
    """What `start` returns, tried until AWS answers; None if `stopped` is set before."""
    attempt = 0
    while not stopped.is_set():
        try:
            return start()
        except (StorageError, BotoCoreError, ClientError) as error:
            if not _is_transient(error):
                raise
            delay_s = START_DELAYS_S[min(attempt, len(START_DELAYS_S) - 1)]
            logger.error("AWS does not answer; next attempt in %d s: %s", delay_s, error)
            stopped.wait(delay_s)
            attempt += 1
    return None


def _is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later, without a change of settings or permissions."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    if isinstance(cause, ClientError):
        status = cause.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or cause.response.get("Error", {}).get("Code") in THROTTLED
    return isinstance(cause, (exceptions.ConnectionError, exceptions.HTTPClientError))
