"""`oddsound push`: uploads models to S3, models.json last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oddsound import catalogue
from oddsound.artifacts import digest
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.schemas import ARTIFACTS, ModelEntry
from oddsound_workbench.errors import FolderError


def push(
    models: Path, target: str, s3: Any, advance: Callable[[str], Any] = lambda _key: None
) -> list[str]:
    """Upload every artifact that models.json names, then models.json itself.

    An artifact that is on S3 with the same checksum is not uploaded again. models.json is
    replaced last and in one request, so that a running service reads either the old set of
    models or the new one.

    target : s3://bucket or s3://bucket/prefix
    advance : called with the key of every object, uploaded or not

    Returns the keys that were uploaded. Raises ModelArtifactError, before anything is uploaded,
    if a file is missing or has another checksum; FolderError for an invalid target.
    """
    url = urlsplit(target)
    if url.scheme != "s3" or not url.netloc:
        raise FolderError(
            f"{target!r} is not a valid target; use s3://bucket or s3://bucket/prefix"
        )
    prefix = url.path.strip("/")
    entries = _entries(models)
    artifacts = dict(_artifacts(models, entries))
    uploaded = []
    for path, data in artifacts.items():
        key = "/".join(filter(None, [prefix, path]))
        if not _is_uploaded(s3, url.netloc, key, digest(data)):
            _put(s3, url.netloc, key, data)
            uploaded.append(key)
        advance(key)
    key = "/".join(filter(None, [prefix, "models.json"]))
    _put(s3, url.netloc, key, models.read_bytes())
    advance(key)
    return [*uploaded, key]


def _entries(models: Path) -> dict[str, ModelEntry]:
    try:
        return catalogue.parse(models.read_bytes(), str(models))
    except OSError as error:
        raise ModelsConfigError(f"{models}: {error.strerror}") from None


def _artifacts(models: Path, entries: dict[str, ModelEntry]) -> list[tuple[str, bytes]]:
    """Path under the target, and verified content, of every artifact that is a local file.

    Artifacts of previous versions too: a rollback on S3 needs them.
    """
    found = []
    versions = list(entries.items())
    versions += [
        (f"{name}, version {old.version}", old)
        for name, entry in entries.items()
        for old in entry.previous
    ]
    for name, entry in versions:
        for key in ARTIFACTS:
            path = getattr(entry, key)
            if path is None or path.startswith("s3://"):
                continue
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ModelsConfigError(f"{name}.{key}: {path} is not in the folder of {models}")
            try:
                data = (models.parent / path).read_bytes()
            except OSError as error:
                raise ModelArtifactError(f"{name}.{key}: {path}: {error.strerror}") from None
            if digest(data) != entry.sha256.get(key):
                raise ModelArtifactError(
                    f"{name}.{key}: the sha256 of {path} is {digest(data)}, models.json has"
                    f" {entry.sha256.get(key, 'nothing')}"
                )
            found.append((path, data))
    return found


def _is_uploaded(s3: Any, bucket: str, key: str, sha256: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        return bool(s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("sha256") == sha256)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise


def _put(s3: Any, bucket: str, key: str, data: bytes) -> None:
    """Upload one object. S3 verifies the checksum; the size is verified here."""
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=data,
        ChecksumAlgorithm="SHA256",
        Metadata={"sha256": digest(data)},
        ContentType="application/json" if key.endswith(".json") else "application/octet-stream",
    )
    if s3.head_object(Bucket=bucket, Key=key)["ContentLength"] != len(data):
        raise ModelArtifactError(f"s3://{bucket}/{key} has another size than the uploaded file")
