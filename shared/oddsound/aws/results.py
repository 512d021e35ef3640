"""The results bucket: where the result of a recording is, and who may replace it."""

import logging
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from oddsound.errors import ResultNotFoundError
from oddsound.schemas import JobResult
from oddsound.storage import ConflictError, MissingError, calling

logger = logging.getLogger(__name__)

MAX_KEY_BYTES = 1024


def result_key(model: str, key: str) -> str:
    """Where the result of object `key` is: `results/<model>/<key>.json`.

    A slash in the model's name is %2F. What is too long for S3 ends in its sha256 instead.
    """
    folder = f"results/{_fitted(model.replace('%', '%25').replace('/', '%2F'), 255)}/"
    return f"{folder}{_fitted(key, MAX_KEY_BYTES - len(folder.encode()) - len('.json'))}.json"


def _fitted(text: str, most: int) -> str:
    """`text` in at most `most` bytes."""
    data = text.encode()
    if len(data) <= most:
        return text
    digest = sha256(data).hexdigest()
    return f"{data[: most - len(digest) - 1].decode(errors='ignore')}-{digest}"


class Results:
    """The results bucket: one JobResult, as JSON, for each model and recording."""

    def __init__(self, s3_client: Any, bucket: str) -> None:
        self._s3 = s3_client
        self.bucket = bucket

    def get(self, model: str, key: str) -> JobResult:
        """The result of object `key`. Raises ResultNotFoundError or StorageError."""
        result, _ = self.read(result_key(model, key))
        if result is None:
            raise ResultNotFoundError(
                f"no result of {key!r} by the model {model!r} is stored yet; one follows within"
                " seconds of an upload, or minutes where it has to be tried again. Where metadata"
                " or a message chose another model, name it with ?model_name="
            )
        return result

    def read(self, at: str) -> tuple[JobResult | None, str | None]:
        """The result at a key of the bucket, and the ETag to replace it by; None where none is."""
        url = f"s3://{self.bucket}/{at}"
        try:
            with calling(url):
                answer = self._s3.get_object(Bucket=self.bucket, Key=at)
                text = answer["Body"].read()
        except MissingError:
            return None, None
        try:
            return JobResult.model_validate_json(text), answer["ETag"]
        except ValidationError:
            logger.warning("%s is no result; it will be replaced", url)
            return None, answer["ETag"]

    def write(self, at: str, result: JobResult, etag: str | None) -> bool:
        """Store a result in place of the one with that ETag, or of none.

        Returns False where that is not what is there, or where S3 asks to try again.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            with calling(f"s3://{self.bucket}/{at}"):
                self._s3.put_object(
                    Bucket=self.bucket,
                    Key=at,
                    Body=result.model_dump_json().encode(),
                    ContentType="application/json",
                    **condition,
                )
        except (MissingError, ConflictError):
            return False
        return True
