"""Files of models, in a folder or under s3://bucket/prefix, verified and cached."""

import hashlib
import logging
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oddsound.errors import ModelArtifactError, StorageError
from oddsound.storage import MissingError, NotModifiedError, read_object, split_url

logger = logging.getLogger(__name__)


class Artifacts:
    """Reads models.json and the artifacts that it names, from disk or from S3.

    s3_client : creates the client; called only when a file is on S3
    cache_dir : folder for verified copies of objects from S3, each named by its SHA-256
    """

    def __init__(self, s3_client: Callable[[], Any], cache_dir: Path) -> None:
        self._s3_client = s3_client
        self._cache_dir = cache_dir

    def fetch(self, location: str, sha256: str | None) -> bytes:
        """The bytes of one artifact, checked against `sha256` if that is given.

        Raises ModelArtifactError if the file is missing or has another checksum, StorageError
        if storage fails.
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
            logger.warning("%s in the cache is damaged and is downloaded again", copy)
        except OSError:
            pass
        data = _verified(self._read_s3(location), location, sha256)
        _keep(data, copy)
        return data

    def read_if_changed(self, location: str, tag: str | None) -> tuple[bytes, str] | None:
        """The content of a file and its tag, or None if its tag is still `tag`.

        The tag is the ETag of an object, or modification time, size and inode of a file.
        Raises ModelArtifactError if there is no such file, StorageError if storage fails.
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
        except NotModifiedError:
            return None

    def _get_s3(self, location: str, condition: dict[str, str] | None = None) -> tuple[bytes, str]:
        bucket, key = split_url(location)
        if not bucket or not key:
            raise ModelArtifactError(f"{location} names no object; expected s3://bucket/key")
        try:
            content, answer = read_object(self._s3_client(), bucket, key, condition or {})
            return content, answer["ETag"]
        except MissingError:
            raise ModelArtifactError(f"{location}: no such object") from None
        except StorageError as error:
            if error.code == "NoSuchBucket":
                raise ModelArtifactError(f"{location}: no such bucket") from None
            raise


def digest(data: bytes) -> str:
    """The SHA-256 of `data`, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def resolve_path(config: str, path: str) -> str:
    """Where the artifact `path` of an entry is: absolute, or relative to the folder of models.json.

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
    path = Path(location)
    try:
        # A device or a pipe may have no end.
        if stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode):
            return path.read_bytes()
    except OSError as error:
        raise ModelArtifactError(f"{location}: {error.strerror}") from None
    raise ModelArtifactError(f"{location} is a device or a pipe, not a file")


def _keep(data: bytes, copy: Path) -> None:
    """Write to the cache by an atomic rename: another process never reads half a file."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=copy.parent, delete=False) as file:
            partial = Path(file.name)
            try:
                file.write(data)
                file.flush()
                partial.replace(copy)
            except BaseException:  # also MemoryError: the cache keeps no parts of files
                partial.unlink()
                raise
    except OSError as error:
        logger.warning("%s cannot be cached for the next start: %s", copy, error)
