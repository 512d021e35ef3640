"""Where models live: a folder or s3://bucket/prefix; verified copies in a cache folder."""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oddsound.errors import ModelArtifactError, StorageError

logger = logging.getLogger(__name__)


class Artifacts:
    """Reads models.json and the files beside it, from disk or from S3.

    s3_client : makes the client; called only when something is on S3
    cache_dir : verified copies of what came from S3, each named by its sha256
    """

    def __init__(self, s3_client: Callable[[], Any], cache_dir: Path) -> None:
        self._s3_client = s3_client
        self._cache_dir = cache_dir

    def fetch(self, location: str, sha256: str | None) -> bytes:
        """The bytes of one artifact, checked against `sha256` where that is given.

        Raises ModelArtifactError where the file is missing or its checksum is another,
        StorageError where storage fails.
        """
        if not location.startswith("s3://"):
            return _verified(_read_file(location), location, sha256)
        if sha256 is None:
            return self._read_s3(location)
        copy = self._cache_dir / sha256
        try:
            data = copy.read_bytes()
            if digest(data) == sha256:
                return data
            logger.warning("%s in the cache is damaged; it is downloaded again", copy)
        except OSError:
            pass
        data = _verified(self._read_s3(location), location, sha256)
        _keep(data, copy)
        return data

    def read_if_changed(self, location: str, tag: str | None) -> tuple[bytes, str] | None:
        """A file and the tag of its state, or None where the tag is still `tag`.

        Raises ModelArtifactError where there is no such file, StorageError where storage fails.
        """
        if location.startswith("s3://"):
            return self._read_s3_if_changed(location, tag)
        try:
            stat = Path(location).stat()
        except OSError as error:
            raise ModelArtifactError(f"{location}: {error.strerror}") from None
        now = f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"
        return None if now == tag else (_read_file(location), now)

    def _read_s3(self, location: str) -> bytes:
        return self._get_s3(location)[0]

    def _read_s3_if_changed(self, location: str, tag: str | None) -> tuple[bytes, str] | None:
        try:
            return self._get_s3(location, {} if tag is None else {"IfNoneMatch": tag})
        except _NotModifiedError:
            return None

    def _get_s3(self, location: str, condition: dict[str, str] | None = None) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        # Not urlsplit, which would end the key at a "?" or "#".
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if not bucket or not key:
            raise ModelArtifactError(f"{location} names no object; s3://bucket/key does")
        try:
            answer = self._s3_client().get_object(Bucket=bucket, Key=key, **(condition or {}))
            return answer["Body"].read(), answer["ETag"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("304", "NotModified"):
                raise _NotModifiedError from None
            if code in ("NoSuchKey", "NoSuchBucket", "404"):
                raise ModelArtifactError(f"{location}: no such object") from None
            reason = error.response["Error"].get("Message", "no reason given")
            raise StorageError(f"{location}: {code}: {reason}") from error
        except BotoCoreError as error:
            raise StorageError(f"{location}: {error}") from error


class _NotModifiedError(Exception):
    """The object is still what its tag says."""


def digest(data: bytes) -> str:
    """The sha256 of `data`, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def beside(config: str, path: str) -> str:
    """Where `path` of an entry is: absolute, or relative to the folder of models.json.

    config : path or s3:// URL of models.json; "" for the working directory
    """
    if path.startswith("s3://") or Path(path).is_absolute():
        return path
    folder = config.rpartition("/")[0] if "://" in config else str(Path(config).parent)
    return f"{folder}/{path}"


def _verified(data: bytes, location: str, sha256: str | None) -> bytes:
    if sha256 is not None and (found := digest(data)) != sha256:
        raise ModelArtifactError(
            f"{location} is not the file that models.json describes: its sha256 is {found},"
            f" expected {sha256}"
        )
    return data


def _read_file(location: str) -> bytes:
    try:
        return Path(location).read_bytes()
    except OSError as error:
        raise ModelArtifactError(f"{location}: {error.strerror}") from None


def _keep(data: bytes, copy: Path) -> None:
    """Into the cache by atomic rename: another process never sees half a file."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=copy.parent, delete=False) as file:
            half = Path(file.name)
            try:
                file.write(data)
                file.flush()
                half.replace(copy)
            except OSError:
                half.unlink()
                raise
    except OSError as error:
        logger.warning("%s cannot be kept for the next start: %s", copy, error)
