"""Compiled models: the same answers as their joblib files, and faults refused by name."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oddsound import numbers
from oddsound.artifacts import digest
from oddsound.errors import ModelArtifactError
from oddsound.model import Model
from oddsound.numbers import HEADER, Numbers, packed
from oddsound.schemas import Event, ModelEntry
from oddsound_workbench.compiling.compiler import compiled
from oddsound_workbench.synthesis import fan
from tests.making import classifier, detector, dumped, encoded, probabilities

NORMAL, FAULTY = (fan(51, faulty=faulty, duration_s=1) for faulty in (False, True))


def entry_of(files: dict[str, bytes], **fields: Any) -> ModelEntry:
    paths = {key: f"fan/{key}.joblib" for key in files}
    sha256 = {key: digest(data) for key, data in files.items()}
    return ModelEntry(**paths, sha256=sha256, **fields)


def with_compiled(files: dict[str, bytes], **fields: Any) -> tuple[ModelEntry, dict[str, bytes]]:
    """An entry with its joblib files and its compiled file."""
    entry = entry_of(files, **fields)
    files = {**files, "compiled_path": compiled("fan", entry, 16000, files.__getitem__)}
    return entry.model_copy(update={"compiled_path": "fan/compiled.npz"}), files


@pytest.fixture(scope="module")
def fan_model() -> tuple[ModelEntry, dict[str, bytes]]:
    """A classifier with a scaler, a label encoder and a dropped feature."""
    scaler, estimator, encoder = encoded()
    return with_compiled(
        {
            "model_path": dumped(estimator),
            "scaler_path": dumped(scaler),
            "label_encoder_path": dumped(encoder),
        },
        normal_label="normal",
    )


def load(entry: ModelEntry, files: dict[str, bytes]) -> Model:
    return Model.load("fan", entry, 16000, files.__getitem__)


def events(model: Model) -> list[Event] | None:
    """Those of a faulty fan; None for a classifier."""
    if (finder := model.event_finder()) is None:
        return None
    finder.feed(FAULTY)
    return finder.finish()


def changed(data: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """A compiled file after `change` altered its arrays and its header."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop(HEADER)))
    change(arrays, header)
    written = io.BytesIO()
    np.savez(written, allow_pickle=True, **{HEADER: np.array(json.dumps(header))}, **arrays)
    return written.getvalue()


class TestSameAnswers:
    def test_a_classifier_with_all_artifacts(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]]
    ) -> None:
        entry, files = fan_model
        by_sklearn = load(entry.model_copy(update={"compiled_path": None}), files)
        # Only the compiled file is fetched.
        found = load(entry, {"compiled_path": files["compiled_path"]})
        assert found.predictor.classes == by_sklearn.predictor.classes == ("faulty", "normal")
        expected = probabilities(by_sklearn, [NORMAL, FAULTY])
        np.testing.assert_allclose(
            probabilities(found, [NORMAL, FAULTY]), expected, rtol=1e-9, atol=1e-12
        )
        assert found.statistics is not None
        assert by_sklearn.statistics is not None
        np.testing.assert_array_equal(found.statistics.mean, by_sklearn.statistics.mean)

    def test_dropped_features(self) -> None:
        scaler, estimator = classifier(slice(3, None))
        files = {
            "model_path": dumped(estimator),
            "scaler_path": dumped(scaler),
            "dropped_features_path": dumped([0, "log_mel_0_std", 2]),
        }
        entry, files = with_compiled(files)
        found = load(entry, files)
        assert found.kept.tolist() == list(range(3, len(found.extractor.names)))

    def test_a_detector_of_scikit_learn(self) -> None:
        scaler, estimator = detector()
        entry, files = with_compiled(
            {"model_path": dumped(estimator), "scaler_path": dumped(scaler)},
            predictor="sklearn_outlier",
            calibration={"shape": 2.0, "scale": 100.0},
        )
        by_sklearn = load(entry.model_copy(update={"compiled_path": None}), files)
        np.testing.assert_allclose(
            probabilities(load(entry, files), [NORMAL, FAULTY]),
            probabilities(by_sklearn, [NORMAL, FAULTY]),
            rtol=1e-9,
        )

    @pytest.mark.parametrize("name", ["fan", "bearing"])
    def test_a_trained_model(self, name: str, trained: Path) -> None:
        entry = ModelEntry.model_validate(json.loads(trained.read_text())[name])

        def fetch(key: str) -> bytes:
            path: Path = trained.parent / getattr(entry, key)
            return path.read_bytes()

        assert entry.compiled_path is not None
        found = Model.load(name, entry, 16000, fetch)
        plain = entry.model_copy(update={"compiled_path": None})
        by_sklearn = Model.load(name, plain, 16000, fetch)
        assert found.bandwidth_hz == by_sklearn.bandwidth_hz == (8000 if name == "fan" else None)
        assert [model.sample_rate for model in found.narrower] == [
            model.sample_rate for model in by_sklearn.narrower
        ]
        for one, other in zip(
            (found, *found.narrower), (by_sklearn, *by_sklearn.narrower), strict=True
        ):
            np.testing.assert_allclose(
                probabilities(one, [NORMAL, FAULTY]),
                probabilities(other, [NORMAL, FAULTY]),
                rtol=1e-9,
                atol=1e-12,
            )
            assert events(one) == events(other)

    def test_the_same_model_gives_the_same_bytes(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]]
    ) -> None:
        entry, files = fan_model
        again = compiled("fan", entry, 16000, files.__getitem__)
        assert again == files["compiled_path"]


class TestFaults:
    """Each fault is refused when the model is loaded, with the name of the number."""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda a, h: a.pop("scaler/scale"), "scaler/scale is missing"),
            (lambda a, h: h.pop("labels"), "labels is missing"),
            (lambda a, h: h.pop("format"), "format is missing"),
            (lambda a, h: h.update(format=2), "format is 2; this version of oddsound reads 1"),
            (lambda a, h: a["scaler/centre"].__setitem__(3, np.nan), "scaler/centre is nan at [3]"),
            (lambda a, h: a["scaler/scale"].__setitem__(3, 0), "scaler/scale is 0.0 at [3]; above"),
            (
                lambda a, h: a.update({"scaler/scale": a["scaler/scale"][:7]}),
                "scaler/scale has the shape (7); (240) is expected",
            ),
            (
                lambda a, h: a.update({"scaler/scale": a["scaler/scale"].astype(str)}),
                "scaler/scale contains <U32; floating-point numbers are expected",
            ),
            (
                lambda a, h: a.update({"statistics/mean": a["statistics/mean"][:-1]}),
                "statistics/deviation has the shape (240); (239) is expected",
            ),
            (lambda a, h: h.update({"scaler/kind": "cube"}), "scaler/kind is 'cube'; this version"),
            (
                lambda a, h: h.update(labels=["faulty"]),
                "classifier/kind gives 2 probabilities for 1 labels",
            ),
            (lambda a, h: h.update(labels=[1, 2]), "labels is [1, 2]; a list of texts is expected"),
            (lambda a, h: h.update(dropped=["mel_99"]), "dropped feature 'mel_99' does not exist"),
            (
                lambda a, h: h.update(dropped=["log_mel_0_mean"]),
                "was trained on 240 features; the extractor returns 239 after dropping",
            ),
            (
                lambda a, h: h.update(feature_extractor="machine"),
                "feature_extractor is 'machine'; the entry has 'default'",
            ),
            (
                lambda a, h: h.update(predictor="sklearn_outlier"),
                "predictor is 'sklearn_outlier'; the entry has 'sklearn_proba'",
            ),
        ],
    )
    def test_a_fault_in_the_numbers(
        self,
        fan_model: tuple[ModelEntry, dict[str, bytes]],
        change: Callable[[dict[str, Any], dict[str, Any]], None],
        words: str,
    ) -> None:
        entry, files = fan_model
        with pytest.raises(ModelArtifactError) as caught:
            load(entry, {"compiled_path": changed(files["compiled_path"], change)})
        assert str(caught.value).startswith("model 'fan': ")
        assert words in str(caught.value)

    def test_a_pickle_in_the_file_is_not_loaded(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]], tmp_path: Path
    ) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "ran",)

        entry, files = fan_model
        data = changed(
            files["compiled_path"],
            lambda arrays, _: arrays.update({"scaler/scale": np.array([Bomb()], dtype=object)}),
        )
        with pytest.raises(ModelArtifactError, match=r"fan/compiled\.npz is not a compiled model"):
            load(entry, {"compiled_path": data})
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "data",
        [b"", b"<html>404</html>", packed({"x": np.ones(3)})[:-40], dumped({"a": 1})],
        ids=["empty", "a web page", "cut", "joblib"],
    )
    def test_another_file(
        self, data: bytes, fan_model: tuple[ModelEntry, dict[str, bytes]]
    ) -> None:
        with pytest.raises(ModelArtifactError, match=r"fan/compiled\.npz is not a compiled model"):
            load(fan_model[0], {"compiled_path": data})

    def test_a_small_file_with_gigabytes_of_zeros(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = io.BytesIO()
        np.savez_compressed(file, header=np.array("{}"), zeros=np.zeros(2_000_000))
        assert len(file.getvalue()) < 20_000
        monkeypatch.setattr(numbers, "MAX_BYTES", 10_000_000)
        words = "its arrays have 16,000,[0-9]{3} bytes; at most 10,000,000 are read"
        with pytest.raises(ModelArtifactError, match=words):
            load(fan_model[0], {"compiled_path": file.getvalue()})

    def test_a_member_that_has_more_than_it_claims(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]]
    ) -> None:
        entry, files = fan_model
        data = bytearray(files["compiled_path"])
        at = data.index(b"PK\1\2") + 24  # the size of the first member, unpacked
        data[at : at + 4] = (200).to_bytes(4, "little")
        with pytest.raises(ModelArtifactError, match=r"fan/compiled\.npz is not a compiled model"):
            load(entry, {"compiled_path": bytes(data)})

    def test_replaced_joblib_files(self, fan_model: tuple[ModelEntry, dict[str, bytes]]) -> None:
        entry, files = fan_model
        newer = entry.model_copy(update={"sha256": {**entry.sha256, "scaler_path": "0" * 64}})
        with pytest.raises(ModelArtifactError, match="scaler_path changed since; run `oddsound"):
            load(newer, files)

    def test_the_compiled_file_of_another_model_is_refused(
        self, fan_model: tuple[ModelEntry, dict[str, bytes]]
    ) -> None:
        scaler, estimator = classifier()
        other, others = with_compiled(
            {"model_path": dumped(estimator), "scaler_path": dumped(scaler)}
        )
        assert load(other, others).predictor.classes == ("faulty", "normal")
        with pytest.raises(ModelArtifactError, match="was compiled from other files"):
            load(fan_model[0], others)

    def test_trees_with_a_circle_are_refused(self) -> None:
        from oddsound.compiled.trees import Trees

        nodes = {
            "features_in": 1,
            "features": np.zeros(2, np.int64),
            "thresholds": np.zeros(2),
            "left": np.array([1, 0]),
            "right": np.array([1, 0]),
            "roots": np.array([0]),
            "values": np.ones((2, 1)),
        }
        with pytest.raises(ModelArtifactError, match="a node that is not before its children"):
            Trees.of(Numbers.of(nodes, "compiled.npz"))


def test_a_model_without_a_compiled_file_is_refused_if_pickles_are_not_allowed(
    fan_model: tuple[ModelEntry, dict[str, bytes]],
) -> None:
    entry, files = fan_model
    assert Model.load("fan", entry, 16000, files.__getitem__, allow_pickle=False).name == "fan"
    plain = entry.model_copy(update={"compiled_path": None})
    with pytest.raises(ModelArtifactError, match=r"fan/model_path\.joblib is a joblib file, which"):
        Model.load("fan", plain, 16000, files.__getitem__, allow_pickle=False)
