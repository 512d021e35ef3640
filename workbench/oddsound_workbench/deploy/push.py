"""`oddsound push`: uploads models to S3, models.json last."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from oddsound.artifacts import digest
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.schemas import ARTIFACTS, ModelEntry
from oddsound.storage import ConflictError, MissingError, split_url, translating_errors
from oddsound_workbench import models_files
from oddsound_workbench.entries import Entry, State, joined, label, merged, versions
from oddsound_workbench.errors import FolderError
from oddsound_workbench.models_files import Entries, S3Object, Signer

FOLDER = "artifacts"
"""Prefix of the artifacts, each of which is named by its checksum."""

MODELS_JSON = "models.json"


@dataclass
class Pushed:
    """What a push did.

    uploaded : keys of the objects that were written
    states : by the name of a model
    served : name and checksum of the version that a service uses now, by the name of the model
    removed : models that only the target had, and that were removed from it
    """

    uploaded: list[str] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    served: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


def push(
    models: Path,
    target: str,
    s3: Any,
    *,
    replace: bool = False,
    sample_rate: int = 16000,
    allow_pickle: bool = True,
    signer: Signer | None = None,
) -> Pushed:
    """Upload the artifacts that models.json names, then merge its entries into that of the target.

    An artifact is stored under its checksum: what a running service may be reading is never
    overwritten, and nothing is uploaded twice. models.json is written last, on the condition that
    nobody else changed it since it was read. Models that only the target has stay.

    target : s3://bucket or s3://bucket/prefix
    replace : remove models that only the target has, and write ours even if they are older there
    sample_rate : in Hz, of models whose entry has none
    allow_pickle : whether joblib files may be loaded
    signer : signs models.json; what is there must have its signature, unless it is replaced
    Raises ModelArtifactError or ModelsConfigError, before anything is uploaded, if a file is
    missing or has another checksum, or if a model cannot be loaded; FolderError for an invalid
    target.
    """
    file = _target(target, s3)
    local = models_files.entries_of(models_files.LocalFile(models))
    contents = dict(_contents(models, local))
    _check_that_models_load(local, contents, sample_rate, allow_pickle)
    done = Pushed()
    folder = PurePosixPath(file.key).parent
    for (path, sha256), data in contents.items():
        key = (folder / stored_path(path, sha256)).as_posix()
        if _upload(s3, file.bucket, key, data):
            done.uploaded.append(key)
    ours = {name: _stored(entry) for name, entry in local.items()}

    def change(there: Entries) -> Entries:
        outcome = {name: _outcome(entry, there.get(name), replace) for name, entry in ours.items()}
        done.states = {name: state for name, (_, state) in outcome.items()}
        done.removed = sorted(there.keys() - ours.keys()) if replace else []
        kept = {} if replace else there
        return {**kept, **{name: entry for name, (entry, _) in outcome.items()}}

    new, written = models_files.update(file, change, signer=signer, anew=replace)
    if written:
        done.uploaded.append(file.key)
    done.served = {name: label(new[name]) for name in ours}
    return done


def stored_path(path: str, sha256: str) -> str:
    """Path of an artifact under the target, relative to models.json."""
    return f"{FOLDER}/{sha256}{PurePosixPath(path).suffix}"


def _target(target: str, s3: Any) -> S3Object:
    bucket, prefix = split_url(target)
    if not target.startswith("s3://") or not bucket:
        raise FolderError(
            f"{target!r} is not a valid target; use s3://bucket or s3://bucket/prefix"
        )
    parts = [bucket, *filter(None, prefix.split("/")), MODELS_JSON]
    return S3Object("s3://" + "/".join(parts), s3)


def _outcome(ours: Entry, theirs: Entry | None, replace: bool) -> tuple[Entry, State]:
    entry, state = merged(ours, theirs)
    if replace and theirs is not None and state == "older":
        return joined([*versions(ours), *versions(theirs)]), "replaced"
    return entry, state


def _contents(models: Path, entries: Entries) -> Iterator[tuple[tuple[str, str], bytes]]:
    """Path and checksum, and verified content, of every artifact that is a local file.

    Artifacts of previous versions too: a rollback on S3 needs them.
    """
    for name, entry in entries.items():
        for number, version in enumerate(versions(entry)):
            called = f"{name}, version {version.get('version')}" if number else name
            for key, path, sha256 in _artifacts(version):
                yield (path, sha256), _verified(models, f"{called}.{key}", path, sha256)


def _artifacts(version: Entry) -> Iterator[tuple[str, str, str]]:
    """Key, path and checksum of each artifact that is not on S3 already."""
    for key in ARTIFACTS:
        path = version.get(key)
        if path is not None and not path.startswith("s3://"):
            yield key, path, version.get("sha256", {}).get(key, "nothing")


def _verified(models: Path, called: str, path: str, sha256: str) -> bytes:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ModelsConfigError(f"{called}: {path} is not in the folder of {models}")
    try:
        data = (models.parent / path).read_bytes()
    except OSError as error:
        raise ModelArtifactError(f"{called}: {path}: {error.strerror}") from None
    if digest(data) != sha256:
        raise ModelArtifactError(
            f"{called}: the sha256 of {path} is {digest(data)}, models.json has {sha256}"
        )
    return data


def _check_that_models_load(
    entries: Entries,
    contents: dict[tuple[str, str], bytes],
    sample_rate: int,
    allow_pickle: bool,
) -> None:
    """Load the current version of each model as a service would."""
    from oddsound.model import Model

    for name, raw in entries.items():
        entry = ModelEntry.model_validate(raw)
        files = {key: contents[path, sha256] for key, path, sha256 in _artifacts(raw)}
        if all(getattr(entry, key) is None or key in files for key in ARTIFACTS):
            Model.load(name, entry, sample_rate, files.__getitem__, allow_pickle=allow_pickle)


def _stored(entry: Entry) -> Entry:
    """An entry whose paths are those under the target."""
    found = []
    for version in versions(entry):
        paths = {key: stored_path(path, sha256) for key, path, sha256 in _artifacts(version)}
        found.append({**version, **paths})
    return joined(found)


def _upload(s3: Any, bucket: str, key: str, data: bytes) -> bool:
    """Upload an object that is named by its checksum; False if it is there already."""
    url = f"s3://{bucket}/{key}"
    condition = {}
    try:
        with translating_errors(url):
            if s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(data):
                return False
    except MissingError:
        condition = {"IfNoneMatch": "*"}
    try:
        with translating_errors(url):
            # S3 verifies the checksum, and stores only a complete object.
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                ChecksumAlgorithm="SHA256",
                ContentType="application/octet-stream",
                **condition,
            )
    except ConflictError:  # somebody else uploaded the same content meanwhile
        return False
    return True
