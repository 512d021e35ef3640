"""S3: every recording that arrives in the input bucket is scored, its result stored."""

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import S3Event, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

from oddsound import runtime, snapshot
from oddsound.aws import jobs

logger = runtime.logger()
metrics = runtime.metrics()
snapshot.register()

UPLOAD_REQUEST = 'Records[0].responseElements."x-amz-request-id"'


@logger.inject_lambda_context(correlation_id_path=UPLOAD_REQUEST)
@metrics.log_metrics(capture_cold_start_metric=True)
@event_source(data_class=S3Event)
def handler(event: S3Event, context: LambdaContext) -> None:
    """Transient errors leave here: Lambda retries twice, then parks the event."""
    metrics.add_metric("Received", MetricUnit.Count, len(event.get("Records") or ()))
    runtime.jobs().process_all(jobs.of_notification(event))
