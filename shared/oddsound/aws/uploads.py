"""Presigned uploads of one recording to S3, beyond the size limit of an HTTP request to Lambda."""

import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from oddsound.errors import InvalidJobError, UnsupportedAudioError
from oddsound.formats import FORMATS, HOW_TO_CONVERT, OPTIONAL_SUFFIXES, SUFFIXES, ffmpeg_installed
from oddsound.storage import signing

MAX_STEM = 100
"""Characters of a file name that are kept, not counting its suffix."""

UPLOADS, MODELS = "uploads", "models"
"""First parts of the keys that uploads get: the role that signs them may write below these only."""

MODEL_PREFIX = re.compile(rf"{MODELS}/([^/]+)/.")


@dataclass(frozen=True)
class PresignedPost:
    """URL and fields of a form that uploads one object under one key."""

    url: str
    fields: dict[str, str]
    key: str
    expires_at: datetime


def upload_key(filename: str, model: str | None) -> str:
    """A new, unique key for a file of that name. Its prefix chooses the model.

    The file name is reduced to ASCII letters, digits, "-" and "_".
    Raises UnsupportedAudioError if the suffix is not that of a recording, InvalidJobError if the
    model's name cannot be part of a prefix.
    """
    path = PurePosixPath(filename.replace("\\", "/"))
    suffix = path.suffix.lower()
    convertible = suffix in OPTIONAL_SUFFIXES
    if suffix not in SUFFIXES and not (convertible and ffmpeg_installed()):
        raise UnsupportedAudioError(
            f"{filename!r} does not end in {', '.join(SUFFIXES)}; supported formats: {FORMATS}"
            + (f"; {HOW_TO_CONVERT}" if convertible else ""),
            convertible=convertible,
        )
    if model is not None and "/" in model:
        raise InvalidJobError(f"the model name {model!r} has a slash; uploads cannot choose it")
    ascii_only = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_only)[:MAX_STEM].strip("-") or "recording"
    folder = UPLOADS if model is None else f"{MODELS}/{model}"
    return f"{folder}/{uuid.uuid4()}/{stem}{suffix}"


def model_of_key(key: str) -> str | None:
    """The model that a key chooses by the prefix `models/<name>/`, or None."""
    found = MODEL_PREFIX.match(key)
    return found and found[1]


def presign(
    s3_client: Any,
    bucket: str,
    key: str,
    *,
    max_bytes: int,
    expiry_s: int,
    metadata: Mapping[str, str] | None = None,
) -> PresignedPost:
    """A form that S3 accepts for this key, up to `max_bytes`, for `expiry_s` seconds.

    metadata : of the object, which the form sends

    Sends no request. Raises StorageError if there are no AWS credentials to sign with.
    """
    expires_at = datetime.now(UTC) + timedelta(seconds=expiry_s)
    fields = {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items()}
    conditions = [["content-length-range", 1, max_bytes], *({n: v} for n, v in fields.items())]
    with signing(f"s3://{bucket}/{key}"):
        post = s3_client.generate_presigned_post(
            bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=expiry_s
        )
    return PresignedPost(post["url"], post["fields"], key, expires_at)
