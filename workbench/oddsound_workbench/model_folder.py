"""The folder of models.json: how a model is saved there, versioned and read back.

models/<name>/<version>/ holds the artifacts, the report and training.json of one version. A
version that is replaced keeps its folder, and its entry under `previous` of the new entry.
Models of the first layout, with their artifacts in models/<name>/, stay where they are.
"""

import functools
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import joblib
import numpy as np
import sklearn

from oddsound import catalogue
from oddsound.artifacts import digest, resolve_path
from oddsound.errors import ModelsConfigError
from oddsound.schemas import ModelEntry
from oddsound_workbench.compiling import compiler
from oddsound_workbench.entries import content_checksum, to_json
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256, decoded, replace_file
from oddsound_workbench.learn.fitted import Fitted
from oddsound_workbench.learn.plan import Origin, Plan, TrainingData
from oddsound_workbench.learn.recordings import Labelled

METRICS_IN_ENTRY = (
    "accuracy",
    "accuracy_interval",
    "recordings",
    "auc",
    "auc_interval",
    "pauc",
    "log_loss",
    "false_alarm_rate",
    "false_alarm_rate_interval",
    "normal_recordings",
    "more_recordings_to_halve_interval",
    "detection_rate",
    "detection_rate_interval",
    "anomaly_recordings",
)
"""Metrics that models.json contains, and `GET /models` shows; training.json has all of them."""

CHECKSUM_LENGTH = 6

type Metrics = dict[str, Any]


@dataclass(frozen=True)
class NewVersion:
    """A version of a model that is ready to be saved.

    artifacts : content by file name
    entry : with its version and `previous`
    """

    name: str
    models: Path
    entry: ModelEntry
    artifacts: dict[str, bytes]

    @property
    def folder(self) -> Path:
        return self.models.parent / self.name / self.entry.version


def check_target(plan: Plan) -> None:
    """Check, before a long training, what saving its model needs.

    Raises FolderError for an unusable name or version, ModelsConfigError if models.json is
    not usable: it is never overwritten then.
    """
    for kind, value in (("model", plan.name), ("version", plan.version)):
        if value is not None and not _is_name(value):
            raise FolderError(
                f"{value!r} cannot name a {kind}: use letters, digits, '-', '_' and '.', and do not"
                " begin with '.'"
            )
    _current_entries(plan.models)


def new_version(plan: Plan, fitted: Fitted, data: TrainingData, metrics: Metrics) -> NewVersion:
    """Serialise a fitted model and give it a version.

    The version is plan.version, or today's date with a checksum of the artifacts and of the
    settings that predictions depend on: the same inputs give the same version on the same day.
    Raises FolderError if plan.version exists with other content.
    """
    artifacts = {
        f"{kind}.joblib": _dump(artifact)
        for kind, artifact in {
            "model": fitted.estimator,
            "scaler": fitted.scaler,
            "label_encoder": fitted.label_encoder,
            "dropped_features": list(data.choice.dropped) or None,
        }.items()
        if artifact is not None
    }
    checksums = {_key(file): digest(content) for file, content in artifacts.items()}
    fields: dict[str, Any] = {
        "feature_extractor": data.settings.feature_extractor,
        "predictor": fitted.predictor_name,
        "sha256": checksums,
        "sample_rate": data.settings.sample_rate,
        "window_s": data.settings.window_s,
        "sklearn_version": sklearn.__version__,
        **fitted.fields,
    }
    joblib_only = ModelEntry(**{_key(file): file for file in artifacts}, **fields)
    content = content_checksum(joblib_only)
    version = plan.version or f"{date.today().isoformat()}-{content[:CHECKSUM_LENGTH]}"
    artifacts[compiler.FILE] = _compiled(plan.name, joblib_only, artifacts, data)
    fields["sha256"] = {**checksums, "compiled_path": digest(artifacts[compiler.FILE])}
    entry = ModelEntry(
        **{_key(file): f"{plan.name}/{version}/{file}" for file in artifacts},
        **fields,
        version=version,
        description=plan.description,
        metrics={key: _rounded(metrics[key]) for key in METRICS_IN_ENTRY if key in metrics},
        previous=_previous(plan, version, content),
    )
    new = NewVersion(plan.name, plan.models, entry, artifacts)
    for file, written in artifacts.items():
        path = new.folder / file
        if path.exists() and path.read_bytes() != written:
            raise _version_exists(plan.name, version)
    return new


def save(new: NewVersion, documents: dict[str, bytes]) -> None:
    """Write artifacts and documents (by file name), then models.json last and atomically.

    Raises FolderError if a file cannot be written.
    """
    for file, content in {**new.artifacts, **documents}.items():
        write(new.folder / file, content)
    entries = {**_current_entries(new.models), new.name: _entry_json(new.entry)}
    write(new.models, to_json(dict(sorted(entries.items()))))


def update_entry(
    models: Path, name: str, fields: dict[str, Any], checksums: dict[str, str]
) -> None:
    """Change fields of one entry, and leave everything else in models.json as it is."""
    entries = _current_entries(models)
    entry = entries[name]
    entry |= {**fields, "sha256": {**entry.get("sha256", {}), **checksums}}
    write(models, to_json(entries))


def training_details(plan: Plan, data: TrainingData, metrics: Metrics) -> bytes:
    """The content of training.json: seed, metrics, and the recordings by content.

    `stretches` has the seconds of long recordings that were used, by the content of each.
    """
    recordings = {
        decoded(plan.name_of(recording.path)): content_sha256(recording.path)[:16]
        for recording in data.rows.recordings
    }
    details = {"seed": plan.seed, "metrics": metrics, "recordings": recordings}
    content_of = functools.cache(content_sha256)
    stretches: dict[str, list[list[float]]] = {}
    for recording in data.rows.recordings:
        if origin := plan.origins.get(recording.path):
            content = content_of(origin.recording)[:16]
            stretches.setdefault(content, []).append([origin.start_s, origin.end_s])
    return to_json(details | ({"stretches": stretches} if stretches else {}))


def count_trained_on(
    models: Path,
    entry: ModelEntry,
    recordings: Sequence[Labelled],
    origins: Mapping[Path, Origin] = MappingProxyType({}),
) -> int | None:
    """How many of the recordings a model was trained on, compared by content.

    origins : of recordings that were cut from long ones; they count if some of their sound was
        used in training
    Returns None if the folder of the model has no training.json, so that this is unknown.
    """
    details = Path(resolve_path(str(models), entry.model_path)).parent / "training.json"
    if not details.exists():
        return None
    found = json.loads(details.read_text(encoding="utf-8"))
    known, stretches = set(found["recordings"].values()), found.get("stretches", {})
    content_of = functools.cache(lambda path: content_sha256(path)[:16])

    def trained_on(path: Path) -> bool:
        if (origin := origins.get(path)) is None:
            return content_of(path) in known or content_of(path) in stretches
        used = stretches.get(content_of(origin.recording), [])
        return content_of(path) in known or any(
            start_s < origin.end_s and end_s > origin.start_s for start_s, end_s in used
        )

    return sum(trained_on(recording.path) for recording in recordings)


def _previous(plan: Plan, version: str, content: str) -> list[ModelEntry]:
    """The versions that a new one replaces, newest first; none has `previous` itself."""
    raw = _current_entries(plan.models).get(plan.name)
    if raw is None:
        return []
    old = ModelEntry.model_validate(raw)
    versions = [old.model_copy(update={"previous": []}), *old.previous]
    for each in versions:
        if each.version == version and content_checksum(each) != content:
            raise _version_exists(plan.name, version)
    return [each for each in versions if each.version != version]


def _version_exists(name: str, version: str) -> FolderError:
    return FolderError(
        f"model {name!r} already has a version {version!r} with other content; choose another"
        " --version, or leave the option out to get a unique one"
    )


def _current_entries(models: Path) -> dict[str, Any]:
    """The entries of models.json as they are written there; empty if there is no such file."""
    try:
        text = models.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelsConfigError(f"{models} cannot be read: {error.strerror}") from None
    try:
        catalogue.parse(text, str(models))
    except ModelsConfigError as error:
        raise ModelsConfigError(f"{error}; fix or delete the file first") from None
    entries = catalogue.parse_json(text, str(models))
    return entries if isinstance(entries, dict) else {}


def _entry_json(entry: ModelEntry) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_none=True)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _key(file: str) -> str:
    """The key of an entry that names the artifact in `file`."""
    return f"{Path(file).stem}_path"


def _compiled(
    name: str, entry: ModelEntry, artifacts: dict[str, bytes], data: TrainingData
) -> bytes:
    """The compiled form, compared with scikit-learn on the training data too."""
    rows = data.rows.values[:, data.choice.kept].astype(np.float64)
    return compiler.compiled(
        name, entry, data.settings.sample_rate, lambda key: artifacts[getattr(entry, key)], rows
    )


def _dump(artifact: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(artifact, file, compress=3)
    return file.getvalue()


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step. Raises FolderError if it cannot be written."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror}") from None


def _is_name(text: str) -> bool:
    allowed = all(c.isascii() and (c.isalnum() or c in "-_.") for c in text)
    return bool(text) and allowed and not text.startswith(".")
