"""Small real models for tests, saved in the form that a service loads."""

import functools
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import LabelEncoder, StandardScaler

from oddsound.artifacts import Artifacts, digest
from oddsound.descriptors import Array
from oddsound.features import extractor
from oddsound.model import Model
from oddsound.predictors import Floats
from oddsound_workbench.synthesis import fan

LABELS = ["normal"] * 6 + ["faulty"] * 6
CALIBRATION = {"shape": 2.0, "scale": 100.0}


class Watched(Artifacts):
    """Artifacts that record what was fetched, and how often models.json was checked."""

    def __init__(self, s3_client: Any = None, cache_dir: Path = Path("/nowhere")) -> None:
        super().__init__(lambda: s3_client, cache_dir)
        self.fetched: list[str] = []
        self.looks = 0

    def fetch(self, location: str, sha256: str | None) -> bytes:
        self.fetched.append(location)
        return super().fetch(location, sha256)

    def read_if_changed(self, location: str, tag: str | None) -> tuple[bytes, str] | None:
        self.looks += 1
        return super().read_if_changed(location, tag)


@functools.cache
def features() -> Array:
    """The features of six normal fans and six faulty ones [shape=(12, features)]."""
    extract = extractor("default", 16000)
    return np.stack([extract(fan(seed, faulty=seed >= 6, duration_s=1)) for seed in range(12)])


def classifier(
    kept: slice | list[int] = slice(None), labels: Iterable[Any] = LABELS
) -> tuple[StandardScaler, LogisticRegression]:
    """A scaler and a classifier of normal and faulty fans."""
    rows = features()[:, kept].astype(np.float64)
    scaler = StandardScaler().fit(rows)
    return scaler, LogisticRegression().fit(scaler.transform(rows), list(labels))


def bayes() -> GaussianNB:
    """A classifier that needs no scaler."""
    return GaussianNB().fit(features(), LABELS)


def encoded() -> tuple[StandardScaler, LogisticRegression, LabelEncoder]:
    """The same classifier, fitted to numbers that a label encoder converts to names."""
    encoder = LabelEncoder().fit(LABELS)
    scaler, estimator = classifier(labels=encoder.transform(LABELS))
    return scaler, estimator, encoder


def detector() -> tuple[StandardScaler, LedoitWolf]:
    """A scaler and a detector, fitted to the six normal fans only."""
    rows = features()[:6].astype(np.float64)
    scaler = StandardScaler().fit(rows)
    return scaler, LedoitWolf().fit(scaler.transform(rows))


def probabilities(model: Model, windows: list[Array]) -> Floats:
    """A model's probabilities for each waveform [shape=(windows, classes)]."""
    return model.predictor.probabilities(model.scaled(model.features(windows)))


def dumped(artifact: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(artifact, file)
    return file.getvalue()


def saved(folder: Path, name: str, **artifacts: Any) -> dict[str, Any]:
    """Save the artifacts of a model: model=..., scaler=...; bytes are saved unchanged.

    Returns its entry for models.json, with checksums.
    """
    entry: dict[str, Any] = {"sha256": {}}
    (folder / name).mkdir(parents=True, exist_ok=True)
    for kind, artifact in artifacts.items():
        data = artifact if isinstance(artifact, bytes) else dumped(artifact)
        (folder / name / f"{kind}.joblib").write_bytes(data)
        entry[f"{kind}_path"] = f"{name}/{kind}.joblib"
        entry["sha256"][f"{kind}_path"] = digest(data)
    return entry


def saved_classifier(folder: Path, name: str, **fields: Any) -> dict[str, Any]:
    scaler, model = classifier()
    return {**saved(folder, name, model=model, scaler=scaler), **fields}


def configured(folder: Path, **entries: dict[str, Any]) -> Path:
    """Write models.json."""
    path = folder / "models.json"
    path.write_text(json.dumps(entries))
    return path
