"""Job -> read the object, predict, store the result, announce an anomaly.

A permanent failure is stored as a result; every other failure is raised, and the sender sends the
job again. A stored result names the content that was scored, so that the same job twice gives one
result. An object that is no recording, by its name and its content, has a result that says so.
"""

import io
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oddsound import containers, pipeline
from oddsound.arriving import ArrivingFile
from oddsound.aws.alerts import Alerts
from oddsound.aws.announcements import Announcements
from oddsound.aws.downloads import arriving
from oddsound.aws.origins import machine_of_metadata, origin_of, time_of_metadata
from oddsound.aws.results import Results, result_key
from oddsound.aws.uploads import model_of_key
from oddsound.errors import (
    AudioTooLargeError,
    InvalidAudioError,
    ModelsConfigError,
    RecordingNotFoundError,
    StorageError,
    UnknownModelError,
    UnsupportedAudioError,
)
from oddsound.formats import FORMATS, AudioLimits, named_as_recording
from oddsound.machines.ledger import Ledger
from oddsound.machines.naming import machine_of_key
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.schemas import ErrorBody, Job, JobResult, Status
from oddsound.storage import (
    ConflictError,
    MissingError,
    read_object,
    translating_errors,
)

logger = logging.getLogger(__name__)

PERMANENT = (
    InvalidAudioError,
    UnsupportedAudioError,
    AudioTooLargeError,
    UnknownModelError,
    RecordingNotFoundError,
)
"""Failures that an immediate retry would repeat: they are stored, not raised."""

RETRY_AFTER_FIX = {
    error.__name__ for error in (AudioTooLargeError, UnknownModelError, RecordingNotFoundError)
}
"""Permanent failures worth retrying after a configuration change or another upload."""

ATTEMPTS = 5

# SystemRandom, because processes restored from one SnapStart snapshot share the state of `random`
# and would all wait for the same time.
_jitter = random.SystemRandom()

Measure = Callable[[JobResult, float | None], None]
"""Called with each stored result, and with the ms it took to load the model, if it was loaded."""


class NotARecordingError(Exception):
    """An object in the input bucket that is not meant to be scored."""


@dataclass(frozen=True)
class _Content:
    """The content of an object at one moment.

    model_name, machine : those that its metadata names
    recorded_at : the time in its metadata, or that of its upload
    """

    etag: str | None
    version_id: str | None
    model_name: str | None = None
    machine: str | None = None
    recorded_at: datetime | None = None
    exists: bool = True


class Jobs:
    """Scores recordings on S3. Safe to share between threads.

    alerts : topic that anomalies are published to, or None
    measure : called with each result after it is stored
    history : where each scored recording becomes a row, or None
    time_of_name : when a recording was made, as its key says
    """

    def __init__(
        self,
        s3_client: Any,
        registry: Registry,
        results: Results,
        limits: AudioLimits,
        alerts: Alerts | None = None,
        measure: Measure = lambda result, load_ms: None,
        history: Ledger | None = None,
        time_of_name: Callable[[str], datetime | None] = lambda key: None,
    ) -> None:
        self._s3 = s3_client
        self._registry = registry
        self._results = results
        self._limits = limits
        self._announcements = Announcements(results, alerts)
        self._measure = measure
        self._history = history
        self._time_of_name = time_of_name

    def process_all(self, jobs: Iterable[Job]) -> list[JobResult]:
        """Process every job; afterwards raise the first failure, if there was one."""
        results, failures = [], []
        for job in jobs:
            try:
                results.append(self.process(job))
            except Exception as error:  # no failure may keep the other jobs from being processed
                logger.error("%s will be retried: %s: %s", job.url, type(error).__name__, error)
                failures.append(error)
        if failures:
            raise failures[0]
        return results

    def process(self, job: Job) -> JobResult:
        """Score one recording, unless that was done; store its result, then its row of history.

        Returns the stored result. Raises StorageError, ModelArtifactError or ModelsConfigError:
        retry the job.
        """
        result = self._result(job)
        if self._history and result.prediction:
            self._history.record(result.prediction, origin_of(result))
        return result

    def _result(self, job: Job) -> JobResult:
        """Score one recording, unless its result is already stored. Returns the stored result.

        The object is scored as it is when it is read, not as it was announced. If it was deleted,
        so was its metadata: the failed result is stored under the job's model, the model of the
        key's prefix or machine, or the default model.
        """
        done: _Outcome | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_jitter.uniform(0, 0.05 * 2**attempt))
            content = self._content(job)
            named = self._named_model(job, content)
            model = named or self._registry.catalogue.current_default_name()
            at = result_key(model, job.key)
            # Read before the object is read, so that a result of newer content is never replaced.
            stored, etag, age_s = self._results.read(at)
            if stored is not None and etag and _settles(stored, job, content):
                logger.info("%s: its result is already stored", job.url)
                own = done.attempt if done else None
                return self._announcements.complete(at, stored, etag, age_s, own)
            try:
                if done is None or (done.content, done.result.model) != (content, model):
                    done = self._score(job, content, model, is_default=named is None)
                else:
                    self._check_unchanged(job, content)
            except (MissingError, ConflictError):
                continue
            if stored is not None and _agree(stored, done.result):
                return stored
            if new_etag := self._results.write(at, done.result, etag):
                self._measure(done.result, done.load_ms)
                _log(done.result)
                return self._announcements.complete(at, done.result, new_etag, own=done.attempt)
        raise StorageError(
            f"{job.url}: it or its result changed during each of {ATTEMPTS} attempts"
        )

    def _content(self, job: Job) -> _Content:
        try:
            with translating_errors(job.url):
                head = self._s3.head_object(Bucket=job.bucket, Key=job.key)
        except MissingError:
            self._check_bucket(job.bucket)
            return _Content(job.etag, job.version_id, exists=False)
        metadata = head["Metadata"]
        return _Content(
            head["ETag"].strip('"'),
            head.get("VersionId"),
            metadata.get("model-name"),
            machine_of_metadata(metadata, job.url),
            time_of_metadata(metadata, job.url)
            or self._time_of_name(job.key)
            or head["LastModified"],
        )

    def _machine(self, job: Job, content: _Content) -> str | None:
        """The machine that the message, the metadata or, with a history, the folder names."""
        named = job.machine or content.machine
        return named or (machine_of_key(job.key) if self._history else None)

    def _named_model(self, job: Job, content: _Content) -> str | None:
        """The model that the job, the metadata, the key or its machine names, or None."""
        named = job.model_name or content.model_name or model_of_key(job.key)
        machine = self._machine(job, content)
        if named is None and machine and self._history:
            return self._history.model_of(machine)
        return named

    def _check_bucket(self, bucket: str) -> None:
        """Raise StorageError if the bucket is missing: that is not a fault of the recording."""
        try:
            with translating_errors(f"s3://{bucket}"):
                self._s3.head_bucket(Bucket=bucket)
        except MissingError:
            raise StorageError(f"s3://{bucket}: no such bucket") from None

    def _score(self, job: Job, content: _Content, model: str, *, is_default: bool) -> "_Outcome":
        """The prediction or the permanent failure, not yet stored."""
        prediction, failure, load_ms = None, None, None
        status: Status = "succeeded"
        try:
            if not content.exists:
                self._check_unchanged(job, content)
                raise RecordingNotFoundError(f"{job.url}: no such object; was it deleted?")
            if not named_as_recording(job.key):
                self._check_content(job, content)
            loaded, load_ms = self._model(model, is_default=is_default)
            with self._arriving(job, content) as file:
                prediction = pipeline.predict(file, loaded, self._limits)
            machine = self._machine(job, content)
            prediction = prediction.model_copy(update={"machine": machine})
        except PERMANENT as error:
            status, failure = "failed", ErrorBody(error=type(error).__name__, detail=str(error))
        except NotARecordingError as error:
            status, failure = "skipped", ErrorBody(error=type(error).__name__, detail=str(error))
        of_machine = self._history and prediction and prediction.machine
        result = JobResult(
            status=status,
            prediction=prediction,
            error=failure,
            bucket=job.bucket,
            key=job.key,
            etag=content.etag,
            version_id=content.version_id,
            model=model,
            finished_at=datetime.now(UTC),
            recorded_at=(job.recorded_at or content.recorded_at) if prediction else None,
            # Of a machine, only changes of its state are announced.
            alert=None if of_machine else self._announcements.planned(prediction),
        )
        return _Outcome(content, result, load_ms)

    def _check_unchanged(self, job: Job, content: _Content) -> None:
        if self._content(job) != content:
            raise ConflictError(f"{job.url}: it has changed")

    def _check_content(self, job: Job, content: _Content) -> None:
        """Raises NotARecordingError if the content of an object is not that of a recording."""
        head, _ = read_object(
            self._s3, job.bucket, job.key, _unchanged(content), containers.HEAD_BYTES
        )
        if containers.identify(io.BytesIO(head)) is None:
            found = f"begins with {head[:8]!r}" if head else "is empty"
            raise NotARecordingError(
                f"neither its name nor its content is that of a recording: it {found};"
                f" supported: {FORMATS}"
            )

    def _model(self, name: str, *, is_default: bool) -> tuple[Model, float | None]:
        """The model, and the ms it took to load it; None if it was loaded before."""
        known = {info.name: info.loaded for info in self._registry.describe().models}
        if name not in known:
            # It may have been pushed a moment ago, together with the recording.
            self._registry.catalogue.refresh()
        started = time.perf_counter()
        try:
            model = self._registry.get(name)
        except UnknownModelError as error:
            if is_default:  # nobody asked for it: this is no fault of the job
                raise ModelsConfigError(f"there is no default model: {error}") from None
            raise
        return model, None if known.get(name) else 1000 * (time.perf_counter() - started)

    def _arriving(self, job: Job, content: _Content) -> AbstractContextManager[ArrivingFile]:
        """The object, to be read while it arrives.

        Raises AudioTooLargeError before a byte is read, ConflictError if the object is no longer
        `content`.
        """

        def accept(size: int) -> None:
            self._limits.check_bytes(size, "the object")

        return arriving(self._s3, job.bucket, job.key, _unchanged(content), accept)


@dataclass(frozen=True)
class _Outcome:
    content: _Content
    result: JobResult
    load_ms: float | None

    @property
    def attempt(self) -> str | None:
        """Id of this attempt to send the alert, if there is one to send."""
        return self.result.alert.attempt if self.result.alert else None


def _unchanged(content: _Content) -> dict[str, str]:
    """The condition that an object is still this content."""
    return {"IfMatch": f'"{content.etag}"'}


def _settles(stored: JobResult, job: Job, content: _Content) -> bool:
    """Whether the stored result is final for this job and content.

    For a deleted recording, any result of the announced content is final.
    """
    if stored.bucket != job.bucket:
        return False
    if not content.exists:
        return job.etag in (None, stored.etag)
    same = (stored.etag, stored.version_id) == (content.etag, content.version_id)
    return same and (stored.error is None or stored.error.error not in RETRY_AFTER_FIX)


def _agree(stored: JobResult, result: JobResult) -> bool:
    """Whether both are the same failure of the same content, apart from the time."""
    return result.error is not None and result == stored.model_copy(
        update={"finished_at": result.finished_at}
    )


def _log(result: JobResult) -> None:
    fields: dict[str, Any] = {
        "bucket": result.bucket,
        "key": result.key,
        "model": result.model,
        "status": result.status,
    }
    if prediction := result.prediction:
        fields |= {
            "prediction": prediction.prediction,
            "anomaly_score": prediction.anomaly_score,
            "latency_ms": prediction.latency_ms,
        }
        logger.info("scored", extra=fields)
    elif result.error and result.status == "skipped":
        logger.info("skipped: %s", result.error.detail, extra=fields)
    elif result.error:
        logger.warning("failed: %s", result.error.detail, extra=fields)
