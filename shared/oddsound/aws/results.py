"""The results bucket: the key of a result, and conditional reads and writes."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import ValidationError

from oddsound.errors import ResultNotFoundError
from oddsound.schemas import JobResult
from oddsound.storage import ConflictError, MissingError, read_object, translating_errors

logger = logging.getLogger(__name__)

MAX_KEY_BYTES = 1024


def result_key(model: str, key: str) -> str:
    """Key of the result of object `key`: `results/<model>/<key>.json`.

    A slash in the model's name becomes %2F. A part that is too long for S3 is cut and ends in its
    SHA-256.
    """
    folder = f"results/{_fitted(model.replace('%', '%25').replace('/', '%2F'), 255)}/"
    return f"{folder}{_fitted(key, MAX_KEY_BYTES - len(folder.encode()) - len('.json'))}.json"


def outcome(result: JobResult) -> dict[str, Any]:
    """A result in short: key, model and status, whether it is an anomaly, and the error's name."""
    prediction, error = result.prediction, result.error
    return {
        "key": result.key,
        "model": result.model,
        "status": result.status,
        "is_anomaly": prediction and prediction.is_anomaly,
        "error": error and error.error,
    }


def _fitted(text: str, max_bytes: int) -> str:
    """`text`, cut to at most `max_bytes` bytes."""
    data = text.encode()
    if len(data) <= max_bytes:
        return text
    digest = sha256(data).hexdigest()
    return f"{data[: max_bytes - len(digest) - 1].decode(errors='ignore')}-{digest}"


class Stored(NamedTuple):
    """What is stored at a key of the results bucket; result is None if it is not a JobResult."""

    result: JobResult | None
    etag: str | None
    age_s: float = 0
    """Seconds since it was stored."""


class Results:
    """The results bucket: one JobResult, as JSON, for each model and recording."""

    def __init__(self, s3_client: Any, bucket: str) -> None:
        self._s3 = s3_client
        self.bucket = bucket

    def get(self, model: str, key: str) -> JobResult:
        """The result of object `key`. Raises ResultNotFoundError or StorageError."""
        result = self.read(result_key(model, key)).result
        if result is None:
            raise ResultNotFoundError(
                f"no result of {key!r} by the model {model!r} is stored yet. Each object in the"
                " input bucket gets one within seconds, or within minutes if it has to be retried,"
                " also if it cannot be read or is no recording. If none appears, no object has this"
                " key, its event is in a failure queue, or its metadata or a message chose another"
                " model: name it with ?model_name="
            )
        return result

    def read(self, at: str) -> Stored:
        """The result at a key of the bucket; without an ETag if there is no object."""
        try:
            text, answer = read_object(self._s3, self.bucket, at)
        except MissingError:
            return Stored(None, None)
        try:
            return Stored(JobResult.model_validate_json(text), answer["ETag"], _age_s(answer))
        except ValidationError:
            logger.warning("s3://%s/%s is not a result; it will be replaced", self.bucket, at)
            return Stored(None, answer["ETag"])

    def write(self, at: str, result: JobResult, etag: str | None) -> str | None:
        """Store a result, replacing the one with that ETag; with None, only if there is none.

        Returns the new ETag; None if the condition is not met, or if S3 asks for a retry.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            with translating_errors(f"s3://{self.bucket}/{at}"):
                answer = self._s3.put_object(
                    Bucket=self.bucket,
                    Key=at,
                    Body=result.model_dump_json().encode(),
                    ContentType="application/json",
                    **condition,
                )
        except (MissingError, ConflictError):
            return None
        return str(answer["ETag"])


def _age_s(answer: Mapping[str, Any]) -> float:
    """Seconds since an object was stored, by the clock of S3."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return float((now - answer["LastModified"]).total_seconds())
