"""Leave to send one recording straight to S3, past the limits of an HTTP call to Lambda."""

import re
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from oddsound.errors import InvalidJobError, StorageError, UnsupportedAudioError
from oddsound.formats import FORMATS, SUFFIXES

MAX_NAME = 100
"""Characters of a file's name that are kept, without its suffix."""

MODEL_PREFIX = re.compile(r"models/([^/]+)/.")


@dataclass(frozen=True)
class PresignedPost:
    """Where a form is posted, what it must hold, and the one key that it may create."""

    url: str
    fields: dict[str, str]
    key: str
    expires_at: datetime


def upload_key(filename: str, model: str | None) -> str:
    """A new key for a file of that name, which chooses the model by its prefix.

    Of the folders, marks and scripts in the name only plain ASCII is left.
    Raises UnsupportedAudioError where the suffix is no recording's, InvalidJobError where the
    model's name cannot stand in a prefix.
    """
    path = PurePosixPath(filename.replace("\\", "/"))
    if path.suffix.lower() not in SUFFIXES:
        raise UnsupportedAudioError(
            f"{filename!r} does not end in {', '.join(SUFFIXES)}; {FORMATS} files are read"
        )
    if model is not None and "/" in model:
        raise InvalidJobError(f"the model's name {model!r} has a slash; uploads cannot choose it")
    ascii_only = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_only)[:MAX_NAME].strip("-") or "recording"
    folder = "uploads" if model is None else f"models/{model}"
    return f"{folder}/{uuid.uuid4()}/{stem}{path.suffix.lower()}"


def model_of_key(key: str) -> str | None:
    """The model that a key chooses by lying below `models/<name>/`, if it does."""
    found = MODEL_PREFIX.match(key)
    return found and found[1]


def presign(
    s3_client: Any, bucket: str, key: str, *, max_bytes: int, expiry_s: int
) -> PresignedPost:
    """A POST that S3 takes for this one key, up to `max_bytes`, for `expiry_s` seconds.

    Calls nobody; raises StorageError where this machine has no credentials to sign with.
    """
    from botocore.exceptions import BotoCoreError

    expires_at = datetime.now(UTC) + timedelta(seconds=expiry_s)
    try:
        post = s3_client.generate_presigned_post(
            bucket, key, Conditions=[["content-length-range", 1, max_bytes]], ExpiresIn=expiry_s
        )
    except AttributeError:  # what botocore has to say of credentials that are None
        raise StorageError("there are no AWS credentials to sign an upload with") from None
    except BotoCoreError as error:
        raise StorageError(f"s3://{bucket}/{key}: {error}") from error
    return PresignedPost(post["url"], post["fields"], key, expires_at)
