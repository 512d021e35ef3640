"""SQS: every recording that a message names is scored; only failed messages are returned."""

import oddsound.cold_start

# isort: split
import logging
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

import oddsound.aws.jobs  # noqa: F401  while Lambda initialises, not in the first event
from oddsound import deadline, runtime, snapshot, threads
from oddsound.aws.messages import asks_for_check, jobs_of_message
from oddsound.aws.metrics import state_counts

logger = runtime.logger()
metrics = runtime.metrics()
threads.limit(runtime.settings().blas_threads)
snapshot.register()


@logger.inject_lambda_context
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The ids of the messages to retry; after five tries they go to the dead-letter queue."""
    processor = BatchProcessor(
        EventType.SQS,
        raise_on_entire_batch_failure=False,
        logger=logging.getLogger("oddsound.sqs_trigger"),
    )
    reserve_ms = 1000 * runtime.settings().batch_reserve_s

    def process(record: SQSRecord) -> None:
        logger.set_correlation_id(record.message_id)
        remaining_ms = context.get_remaining_time_in_millis()
        # The first message is always started: with too large a reserve, none would ever be.
        if remaining_ms < reserve_ms and (processor.success_messages or processor.fail_messages):
            raise TimeoutError(
                f"not started: {remaining_ms} ms remain, {reserve_ms:g} ms are reserved"
            )
        with deadline.within(remaining_ms / 1000):
            if asks_for_check(record.body):
                for name, count in state_counts(runtime.required_history().check().states).items():
                    metrics.add_metric(name, MetricUnit.Count, count)
            else:
                runtime.jobs().process_all(jobs_of_message(record.body))

    metrics.add_metric("Received", MetricUnit.Count, len(event["Records"]))
    return process_partial_response(
        event=event, record_handler=process, processor=processor, context=context
    )
