"""S3: every new recording in the input bucket is scored, and its result stored."""

import oddsound.cold_start

# isort: split
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import S3Event, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

import oddsound.aws.jobs  # noqa: F401  while Lambda initialises, not in the first event
from oddsound import deadline, runtime, snapshot, threads
from oddsound.aws.messages import jobs_of_event
from oddsound.aws.results import outcome

logger = runtime.logger()
metrics = runtime.metrics()
threads.limit(runtime.settings().blas_threads)
snapshot.register()

UPLOAD_REQUEST = 'Records[0].responseElements."x-amz-request-id"'


@logger.inject_lambda_context(correlation_id_path=UPLOAD_REQUEST)
@metrics.log_metrics(capture_cold_start_metric=True)
@event_source(data_class=S3Event)
def handler(event: S3Event, context: LambdaContext) -> list[dict[str, Any]]:
    """What became of each recording, for the state machine of a backfill; S3 does not read it.

    Transient errors are raised: Lambda retries twice, then sends the event to a queue.
    """
    metrics.add_metric("Received", MetricUnit.Count, len(event.get("Records") or [event]))
    with deadline.within(context.get_remaining_time_in_millis() / 1000):
        results = runtime.jobs().process_all(jobs_of_event(event))
    return [outcome(result) for result in results]
