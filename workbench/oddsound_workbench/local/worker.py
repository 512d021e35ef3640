"""The SQS function as a long-running worker, for those who do not use Lambda."""

import threading
from typing import Any

from oddsound import runtime
from oddsound_workbench.local.function_process import Context
from oddsound_workbench.local.poller import QueuePump


def work(sqs: Any, queue_url: str, batch_size: int, stopped: threading.Event) -> None:
    """Hand the messages of a queue to the SQS handler until `stopped`.

    The time that a batch has is the queue's visibility timeout: after it, another worker
    would receive the same messages. The queue's own redrive policy parks what keeps failing.
    """
    from functions.sqs_trigger.app import handler

    # What no message can mend stops the worker before it takes one: a missing RESULTS_BUCKET
    # would send all of a queue to its dead-letter queue.
    runtime.jobs()
    runtime.registry().describe()
    answer = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["QueueArn", "VisibilityTimeout"]
    )["Attributes"]
    timeout_s = float(answer["VisibilityTimeout"])

    def invoke(event: dict[str, Any]) -> Any:
        return handler(event, Context("worker", timeout_s, event["Records"][0]["messageId"]))

    QueuePump(sqs, queue_url, answer["QueueArn"], invoke, batch_size).run(stopped)
