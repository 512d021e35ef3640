"""`oddsound worker`: the SQS handler in a long-running process, for use without Lambda."""

import threading
from typing import Any

from oddsound import runtime
from oddsound_workbench.local import handlers
from oddsound_workbench.local.function_process import Context
from oddsound_workbench.local.poller import QueuePoller


def work(sqs: Any, queue_url: str, batch_size: int, stopped: threading.Event) -> None:
    """Invoke the SQS handler with the messages of a queue until `stopped` is set.

    A batch has as much time as the queue's visibility timeout: after it, another worker would
    receive the same messages. Messages that keep failing go to the dead-letter queue that the
    queue's redrive policy names.

    Raises AudioAnomalyError if a setting or models.json cannot be used.
    """
    handler = handlers.load("functions.sqs_trigger.app").handler
    # Fail before the first message is received: with RESULTS_BUCKET missing, the whole queue
    # would end in its dead-letter queue.
    runtime.jobs()
    runtime.registry().describe()
    answer = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["QueueArn", "VisibilityTimeout"]
    )["Attributes"]
    timeout_s = float(answer["VisibilityTimeout"])

    def invoke(event: dict[str, Any]) -> Any:
        return handler(event, Context("worker", timeout_s, event["Records"][0]["messageId"]))

    QueuePoller(sqs, queue_url, answer["QueueArn"], invoke, batch_size).run(stopped)
