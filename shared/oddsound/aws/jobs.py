"""Job -> read object, predict, store result, alert: AWS at both ends.

Permanent failures become a stored result; all others are raised, and whoever sent the job
sends it again. The stored result of a recording names the content that was scored, therefore
the same job twice is one result.
"""

import json
import logging
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from oddsound import pipeline
from oddsound.aws.results import Results, result_key
from oddsound.aws.uploads import model_of_key
from oddsound.errors import (
    AudioTooLargeError,
    InvalidAudioError,
    InvalidJobError,
    RecordingNotFoundError,
    StorageError,
    UnknownModelError,
    UnsupportedAudioError,
)
from oddsound.formats import SUFFIXES, AudioLimits
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.schemas import ErrorBody, Job, JobResult
from oddsound.storage import ConflictError, MissingError, calling

logger = logging.getLogger(__name__)

PERMANENT = (
    InvalidAudioError,
    UnsupportedAudioError,
    AudioTooLargeError,
    UnknownModelError,
    RecordingNotFoundError,
)
"""Failures that another try at the same moment would repeat: stored, not raised."""

MENDABLE = {
    error.__name__ for error in (AudioTooLargeError, UnknownModelError, RecordingNotFoundError)
}
"""Permanent failures that a setting, a new model or the same file sent again can mend."""

ATTEMPTS = 5
CHUNK_BYTES = 1 << 20

# Not random's own state: processes restored from one SnapStart image would wait alike.
_jitter = random.SystemRandom()

Measure = Callable[[JobResult, float | None], None]
"""Told of each result that was stored, and of the ms to load its model, if it was loaded."""


def of_notification(event: Mapping[str, Any]) -> list[Job]:
    """The new recordings that an S3 event notification names; all else in it is skipped.

    Raises InvalidJobError where it is no such notification.
    """
    if event.get("Event") == "s3:TestEvent":
        logger.info("skipped: s3:TestEvent, which S3 sends when notifications are set up")
        return []
    try:
        return [job for record in event["Records"] if (job := _of_record(record)) is not None]
    except (KeyError, TypeError, AttributeError, ValidationError):
        found = ", ".join(sorted(map(str, event))) or "nothing"
        raise InvalidJobError(f"this is no S3 event notification; it has {found}") from None


def _of_record(record: Mapping[str, Any]) -> Job | None:
    name, s3 = record["eventName"].removeprefix("s3:"), record["s3"]
    job = Job(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        etag=s3["object"].get("eTag"),
        version_id=s3["object"].get("versionId"),
    )
    if not name.startswith("ObjectCreated:"):
        reason = f"{name} is no new object"
    elif job.key.endswith("/"):
        reason = "it is a folder"
    elif PurePosixPath(job.key).suffix.lower() not in SUFFIXES:
        reason = f"the names of recordings end in {', '.join(SUFFIXES)}"
    else:
        return job
    logger.info("skipped: %s; %s", job.url, reason)
    return None


def of_message(body: str) -> list[Job]:
    """The recordings that a message names: a Job as JSON, or an S3 event notification.

    Raises InvalidJobError; its text has no part of the message beyond the names of its keys.
    """
    try:
        message = json.loads(body)
    except ValueError as error:
        raise InvalidJobError(f"the message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise InvalidJobError(f"the message is a JSON {type(message).__name__}, not an object")
    if "Records" in message or "Event" in message:
        return of_notification(message)
    try:
        return [Job.model_validate(message)]
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise InvalidJobError(
            f"the message is no job: {faults}; bucket, key and, if wanted, model_name are expected"
        ) from None


class Alerts:
    """The SNS topic that is told of anomalies. model and bucket are there to filter by.

    sns_client : makes the client; called only when there is something to tell
    """

    def __init__(self, sns_client: Callable[[], Any], topic_arn: str) -> None:
        self._sns_client = sns_client
        self._topic_arn = topic_arn

    def publish(self, result: JobResult) -> None:
        """Tell of one result, without the windows of a long recording. Raises StorageError."""
        subject = re.sub(r"[^ -~]", "?", f"Anomaly: {result.key}")
        attributes = {"model": result.model, "bucket": result.bucket}
        try:
            with calling(self._topic_arn):
                self._sns_client().publish(
                    TopicArn=self._topic_arn,
                    Subject=subject if len(subject) <= 100 else f"{subject[:97]}...",
                    Message=result.model_dump_json(exclude={"prediction": {"windows"}}),
                    MessageAttributes={
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in attributes.items()
                    },
                )
        except MissingError:
            raise StorageError(f"{self._topic_arn}: no such topic") from None


@dataclass(frozen=True)
class _Content:
    """What an object holds at one moment. model_name : what its metadata asks for."""

    etag: str | None
    version_id: str | None
    model_name: str | None = None
    exists: bool = True


class Jobs:
    """Scores recordings on S3. Safe to share between threads.

    alerts : where anomalies are announced, if anywhere
    measure : told of each result after it is stored
    """

    def __init__(
        self,
        s3_client: Any,
        registry: Registry,
        results: Results,
        limits: AudioLimits,
        alerts: Alerts | None = None,
        measure: Measure = lambda result, load_ms: None,
    ) -> None:
        self._s3 = s3_client
        self._registry = registry
        self._results = results
        self._limits = limits
        self._alerts = alerts
        self._measure = measure

    def process_all(self, jobs: Iterable[Job]) -> list[JobResult]:
        """Every job has its turn; then the first failure, if there was one, is raised."""
        results, failures = [], []
        for job in jobs:
            try:
                results.append(self.process(job))
            except Exception as error:  # whatever it is, it must not keep the others waiting
                logger.error(
                    "%s is to be tried again: %s: %s", job.url, type(error).__name__, error
                )
                failures.append(error)
        if failures:
            raise failures[0]
        return results

    def process(self, job: Job) -> JobResult:
        """Score one recording, unless its result is already stored. Returns the stored result.

        What is scored is the object as it is when it is read, not as it was announced. Where
        it is gone, so is its metadata: the failed result is filed under the job's model, that
        of the prefix, or the default one.
        Raises StorageError, ModelArtifactError or ModelsConfigError: the job is to be tried again.
        """
        done: _Outcome | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_jitter.uniform(0, 0.05 * 2**attempt))
            content = self._content(job)
            model = job.model_name or content.model_name or model_of_key(job.key)
            model = model or self._registry.default_name
            at = result_key(model, job.key)
            # Read before the object is read: the result of newer content is then never replaced.
            stored, etag = self._results.read(at)
            if stored is not None and _settles(stored, job, content):
                logger.info("%s: its result is stored already", job.url)
                return stored
            try:
                if done is None or (done.content, done.result.model) != (content, model):
                    done = self._score(job, content, model)
                else:
                    self._check_unchanged(job, content)
            except (MissingError, ConflictError):
                continue
            if stored is not None and _agree(stored, done.result):
                return stored
            if self._results.write(at, done.result, etag):
                self._measure(done.result, done.load_ms)
                _log(done.result)
                return done.result
        raise StorageError(
            f"{job.url}: it or its result changed during each of {ATTEMPTS} attempts"
        )

    def _content(self, job: Job) -> _Content:
        try:
            with calling(job.url):
                head = self._s3.head_object(Bucket=job.bucket, Key=job.key)
        except MissingError:
            self._check_bucket(job.bucket)
            return _Content(job.etag, job.version_id, exists=False)
        return _Content(
            head["ETag"].strip('"'), head.get("VersionId"), head["Metadata"].get("model-name")
        )

    def _check_bucket(self, bucket: str) -> None:
        """A bucket that is not there is the deployment's fault, not the recording's."""
        try:
            with calling(f"s3://{bucket}"):
                self._s3.head_bucket(Bucket=bucket)
        except MissingError:
            raise StorageError(f"s3://{bucket}: no such bucket") from None

    def _score(self, job: Job, content: _Content, model: str) -> "_Outcome":
        """The verdict, or the permanent failure. An anomaly is announced before it is stored."""
        prediction, failure, load_ms = None, None, None
        try:
            if not content.exists:
                self._check_unchanged(job, content)
                raise RecordingNotFoundError(f"{job.url}: no such object; was it deleted?")
            loaded, load_ms = self._model(model)
            with self._downloaded(job, content) as path:
                prediction = pipeline.predict(path, loaded, self._limits)
        except PERMANENT as error:
            failure = ErrorBody(error=type(error).__name__, detail=str(error))
        result = JobResult(
            status="failed" if failure else "succeeded",
            prediction=prediction,
            error=failure,
            bucket=job.bucket,
            key=job.key,
            etag=content.etag,
            version_id=content.version_id,
            model=model,
            finished_at=datetime.now(UTC),
        )
        if self._alerts and prediction and prediction.is_anomaly:
            self._alerts.publish(result)
        return _Outcome(content, result, load_ms)

    def _check_unchanged(self, job: Job, content: _Content) -> None:
        if self._content(job) != content:
            raise ConflictError

    def _model(self, name: str) -> tuple[Model, float | None]:
        """The model, and the ms to load it; None where it was loaded before."""
        known = {info.name: info.loaded for info in self._registry.describe().models}
        if name not in known:
            # It may have been pushed a moment ago, together with the recording.
            self._registry.refresh()
        started = time.perf_counter()
        model = self._registry.get(name)
        return model, None if known.get(name) else 1000 * (time.perf_counter() - started)

    @contextmanager
    def _downloaded(self, job: Job, content: _Content) -> Iterator[Path]:
        """The object in a file that is there for as long as the context is.

        Raises AudioTooLargeError before a byte is read, ConflictError where the object is
        no longer `content`.
        """
        with calling(job.url):
            answer = self._s3.get_object(
                Bucket=job.bucket, Key=job.key, IfMatch=f'"{content.etag}"'
            )
        with tempfile.NamedTemporaryFile(prefix="recording-") as file:
            with closing(answer["Body"]) as body, calling(job.url):
                size, most = answer["ContentLength"], self._limits.max_bytes
                if size > most:
                    raise AudioTooLargeError(
                        f"the object has {size:,} bytes; at most {most:,} are read"
                    )
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    file.write(chunk)
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True)
class _Outcome:
    content: _Content
    result: JobResult
    load_ms: float | None


def _settles(stored: JobResult, job: Job, content: _Content) -> bool:
    """Whether nothing is left to do, given what is stored.

    A recording that is gone is settled by any result of what the job announced.
    """
    if stored.bucket != job.bucket:
        return False
    if not content.exists:
        return job.etag in (None, stored.etag)
    same = (stored.etag, stored.version_id) == (content.etag, content.version_id)
    return same and (stored.error is None or stored.error.error not in MENDABLE)


def _agree(stored: JobResult, result: JobResult) -> bool:
    """Whether two failures are the same, of the same content, whenever they happened."""
    return result.error is not None and result == stored.model_copy(
        update={"finished_at": result.finished_at}
    )


def _log(result: JobResult) -> None:
    said: dict[str, Any] = {
        "bucket": result.bucket,
        "key": result.key,
        "model": result.model,
        "status": result.status,
    }
    if prediction := result.prediction:
        said |= {
            "prediction": prediction.prediction,
            "anomaly_score": prediction.anomaly_score,
            "latency_ms": prediction.latency_ms,
        }
        logger.info("scored", extra=said)
    elif result.error:
        logger.warning("failed: %s", result.error.detail, extra=said)
