"""Loading a model from its artifacts, and the errors if they do not fit together."""

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import SVC

from oddsound.errors import ModelArtifactError, ModelsConfigError, StorageError
from oddsound.features import extractor
from oddsound.joblib_files import unpickle
from oddsound.model import Model, kept_features
from oddsound.predictors import SklearnOutlier
from oddsound.schemas import ModelEntry
from oddsound_workbench.synthesis import fan
from tests.making import (
    CALIBRATION,
    LABELS,
    bayes,
    classifier,
    detector,
    dumped,
    encoded,
    features,
    probabilities,
)

NAMES = extractor("default", 16000).names
FAULTY = fan(51, faulty=True, duration_s=1)
OUTLIER: dict[str, Any] = {"predictor": "sklearn_outlier", "calibration": CALIBRATION}


def model_of(fields: dict[str, Any] | None = None, **made: Any) -> Model:
    """The model with the artifacts model=..., scaler=...; bytes are stored as they are."""
    stored = {f"{k}_path": v if isinstance(v, bytes) else dumped(v) for k, v in made.items()}
    paths = {key: f"fan/{key.removesuffix('_path')}.joblib" for key in stored}
    return Model.load("fan", ModelEntry(**paths, **(fields or {})), 16000, stored.__getitem__)


def refusal(fields: dict[str, Any] | None = None, **made: Any) -> str:
    with pytest.raises((ModelArtifactError, ModelsConfigError), match=r"^model 'fan': ") as caught:
        model_of(fields, **made)
    return str(caught.value)


def score(model: Model) -> float:
    """The probability that a faulty fan is faulty."""
    [row] = probabilities(model, [FAULTY])
    return float(row[model.predictor.classes.index("faulty")])


class TestSteps:
    """Drop -> scale -> predict -> labels; only the third step is required."""

    def test_the_steps_give_scikit_learns_probabilities(self) -> None:
        scaler, estimator = classifier()
        model = model_of(model=estimator, scaler=scaler)
        expected = estimator.predict_proba(scaler.transform(model.extractor(FAULTY)[None]))
        np.testing.assert_allclose(probabilities(model, [FAULTY]), expected, rtol=1e-6)
        assert model.predictor.classes == ("faulty", "normal")
        assert score(model) > 0.9

    def test_a_scaler_is_optional(self) -> None:
        model = model_of(model=bayes())
        assert model.scaler is None
        assert score(model) > 0.9

    def test_a_label_encoder_names_the_classes(self) -> None:
        scaler, estimator, encoder = encoded()
        assert model_of(model=estimator, scaler=scaler).predictor.classes == ("0", "1")
        named = model_of(model=estimator, scaler=scaler, label_encoder=encoder)
        assert named.predictor.classes == ("faulty", "normal")
        assert score(named) > 0.9

    @pytest.mark.parametrize(
        "dropped",
        [
            [NAMES[0], NAMES[7], NAMES[-1]],
            [0, 7, len(NAMES) - 1],
            np.array([0, 7, len(NAMES) - 1]),
            np.array([NAMES[0], NAMES[7], NAMES[-1]]),
            [0, NAMES[7], NAMES[-1], 7],
            {NAMES[0], NAMES[7], NAMES[-1]},
        ],
        ids=["names", "indices", "array of indices", "array of names", "both", "set"],
    )
    def test_dropped_features_are_names_or_indices(self, dropped: Any) -> None:
        kept = list(range(1, 7)) + list(range(8, len(NAMES) - 1))
        scaler, estimator = classifier(kept)
        model = model_of(model=estimator, scaler=scaler, dropped_features=dropped)
        assert model.kept.tolist() == kept
        assert score(model) > 0.9

    def test_nothing_dropped(self) -> None:
        assert kept_features(NAMES, []).tolist() == list(range(len(NAMES)))

    def test_every_window_has_a_row_and_every_row_sums_to_1(self) -> None:
        scaler, estimator = classifier()
        windows = [fan(seed, faulty=False, duration_s=1) for seed in range(60, 63)]
        model = model_of(model=estimator, scaler=scaler)
        rows = probabilities(model, windows)
        assert rows.shape == (3, 2)
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
        for window, row in zip(windows, rows, strict=True):
            np.testing.assert_allclose(probabilities(model, [window])[0], row, rtol=0, atol=1e-9)


class TestClassifier:
    """sklearn_proba."""

    def test_only_models_with_a_normal_class_have_a_threshold(self) -> None:
        plain = model_of(model=bayes()).predictor
        assert (plain.normal_label, plain.threshold) == (None, None)
        fields = {"normal_label": "normal"}
        assert model_of(fields, model=bayes()).predictor.threshold == 0.5
        assert model_of({**fields, "threshold": 0.0}, model=bayes()).predictor.threshold == 0

    def test_a_normal_class_that_the_model_does_not_have(self) -> None:
        words = refusal({"classes": ["faulty", "ok"]}, model=bayes())
        assert "classes are faulty, ok in models.json, and faulty, normal in the model" in words
        words = refusal({"normal_label": "ok"}, model=bayes())
        assert (
            "normal_label 'ok' is not a class of the model; its classes are faulty, normal" in words
        )

    def test_a_model_without_probabilities(self) -> None:
        svc = SVC().fit(features(), LABELS)
        assert "fan/model.joblib contains SVC, which has no predict_proba" in refusal(model=svc)
        assert "contains dict, which has no predict_proba" in refusal(model={})

    def test_windows_are_averaged(self) -> None:
        windows = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0.9, 0.1]])
        combined = model_of(model=bayes()).predictor.combine(windows)
        np.testing.assert_allclose(combined, [0.6, 0.4], rtol=0, atol=1e-12)


class TestDetector:
    """sklearn_outlier."""

    @pytest.mark.parametrize(
        "estimator",
        [detector()[1], IsolationForest(n_estimators=20, random_state=0)],
        ids=["mahalanobis", "score_samples"],
    )
    def test_a_faulty_fan_has_a_higher_score_than_a_normal_one(self, estimator: Any) -> None:
        scaler, _ = detector()
        estimator.fit(scaler.transform(features()[:6].astype(np.float64)))
        calibration = {"shape": 4.0, "scale": 0.1} if "Forest" in str(estimator) else CALIBRATION
        model = model_of({**OUTLIER, "calibration": calibration}, model=estimator, scaler=scaler)
        normal, faulty = probabilities(model, [fan(3, faulty=False, duration_s=1), FAULTY])
        assert faulty[1] > normal[1] + 0.05
        np.testing.assert_allclose([sum(normal), sum(faulty)], 1, rtol=0, atol=1e-12)
        assert model.predictor.classes == ("normal", "anomaly")
        assert model.predictor.threshold == 0.9

    def test_the_score_is_the_fraction_of_normal_recordings_with_a_lower_score(self) -> None:
        # A gamma distribution of shape 1 is exponential; its median is scale x ln 2.
        class Distance:
            def mahalanobis(self, rows: Any) -> Any:
                return rows[:, 0]

        entry = ModelEntry(model_path="-", calibration={"shape": 1.0, "scale": 10.0})
        found = SklearnOutlier(Distance(), None, entry).probabilities(
            np.array([[0.0], [10 * np.log(2)], [10 * np.log(10)], [1e9]])
        )
        np.testing.assert_allclose(found[:, 1], [0, 0.5, 0.9, 1], rtol=0, atol=1e-12)

    def test_very_small_kernel_sums_have_distinct_scores(self) -> None:
        class Kernels:
            def score_samples(self, rows: Any) -> Any:
                return rows[:, 0]

        calibration = {"shape": 1.0, "scale": 100.0, "loc": np.log(2), "log": True}
        entry = ModelEntry(model_path="-", calibration=calibration)
        sums = np.array([[1.0], [0.5], [0.5 * np.exp(-100)], [0.0]])
        found = SklearnOutlier(Kernels(), None, entry).probabilities(sums)
        expected = [0, 0, 1 - np.exp(-1), 1 - np.exp(-(300 * np.log(10) - np.log(2)) / 100)]
        np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("count", [1, 2, 60])
    def test_the_score_of_a_recording_is_that_of_the_maximum_of_its_windows(
        self, count: int
    ) -> None:
        scaler, estimator = detector()
        scores = np.linspace(0.2, 0.99, count)
        predictor = model_of(OUTLIER, model=estimator, scaler=scaler).predictor
        combined = predictor.combine(np.column_stack([1 - scores, scores]))
        expected = scores.max() ** count
        np.testing.assert_allclose(combined, [1 - expected, expected], rtol=0, atol=1e-12)

    def test_a_detector_needs_its_calibration(self) -> None:
        words = refusal({"predictor": "sklearn_outlier"}, model=detector()[1])
        assert "requires `calibration` (shape and scale of a gamma distribution)" in words

    def test_a_classifier_is_not_accepted_as_a_detector(self) -> None:
        assert "GaussianNB is not a detector: it has neither" in refusal(OUTLIER, model=bayes())


class TestInvalidModels:
    """Artifacts that do not fit together are rejected at loading, not at the first prediction."""

    def test_an_unknown_predictor_or_extractor_lists_the_known_ones(self) -> None:
        words = refusal({"predictor": "keras"}, model=bayes())
        known = "mahalanobis_views, sklearn_outlier, sklearn_proba"
        assert f"no predictor is called 'keras'; available: {known}" in words
        words = refusal({"feature_extractor": "yamnet"}, model=bayes())
        assert "no feature_extractor is called 'yamnet'; available: default, machine" in words

    def test_a_wrong_number_of_features(self) -> None:
        count = len(NAMES)
        words = refusal(model=bayes(), dropped_features=[0, 1])
        assert f"GaussianNB was trained on {count} features" in words
        assert f"the extractor returns {count - 2} after dropping" in words
        scaler, estimator = classifier()
        words = refusal(model=estimator, scaler=scaler, dropped_features=[0, 1])
        assert f"StandardScaler was trained on {count} features" in words

    def test_a_scaler_of_another_model(self) -> None:
        words = refusal(model=bayes(), scaler=PCA(5).fit(features()))
        assert f"GaussianNB was trained on {len(NAMES)} features; the scaler returns 5" in words
        assert "after dropping" not in words

    def test_swapped_files(self) -> None:
        scaler, estimator, encoder = encoded()
        words = refusal(model=estimator, scaler=encoder)
        assert f"fan/scaler.joblib (LabelEncoder) cannot scale {len(NAMES)} features" in words
        words = refusal(model=estimator, scaler=dumped({}))
        assert f"fan/scaler.joblib (dict) cannot scale {len(NAMES)} features" in words
        words = refusal(model=estimator, scaler=scaler, label_encoder=scaler)
        assert "fan/label_encoder.joblib (StandardScaler) cannot decode the classes" in words
        other = LabelEncoder().fit(["a"])
        words = refusal(model=estimator, scaler=scaler, label_encoder=other)
        assert "cannot decode the classes of fan/model.joblib" in words
        assert refusal(model=scaler, scaler=scaler).endswith("requires it")

    @pytest.mark.parametrize(
        ("dropped", "words"),
        [
            (["mel_99"], "dropped feature 'mel_99' does not exist; the extractor returns"),
            ([len(NAMES)], f"dropped feature {len(NAMES)} does not exist"),
            ([-1], "dropped feature -1 does not exist"),
            ([1.5], "dropped feature 1.5 does not exist"),
            ([True, False], "dropped feature True does not exist"),
            (NAMES[0], f"dropped features are '{NAMES[0]}'; a list of names or indices is"),
            (7, "dropped features are 7; a list of names or indices is required"),
        ],
    )
    def test_dropped_features_that_do_not_exist(self, dropped: Any, words: str) -> None:
        assert words in refusal(model=bayes(), dropped_features=dropped)

    def test_a_window_shorter_than_an_analysis_frame(self) -> None:
        words = refusal({"window_s": 0.05}, model=bayes())
        assert "window_s is 0.05; at least one analysis frame (0.064 s) is required" in words
        assert model_of({"window_s": 0.064}, model=bayes()).window_s == 0.064

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: data[: len(data) // 2],
            lambda data: b"<html>404</html>",
            lambda data: data.replace(b"sklearn.naive_bayes", b"sklearn.naive_boyes"),
        ],
        ids=["empty", "cut", "a web page", "a missing module"],
    )
    def test_a_damaged_pickle(self, damage: Any) -> None:
        assert "fan/model.joblib cannot be loaded: " in refusal(model=damage(dumped(bayes())))

    def test_an_artifact_of_another_version_of_scikit_learn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("sklearn.base.__version__", "1.3.2")
            old = dumped(StandardScaler().fit(features()))
        _, estimator = classifier()
        before = list(warnings.filters)
        words = refusal(model=estimator, scaler=old)
        assert "fan/scaler.joblib was created by scikit-learn 1.3.2, but" in words
        assert f"{sklearn.__version__} is installed: train the model again" in words
        assert warnings.filters == before

    def test_an_artifact_of_another_patch_version_is_accepted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        series = ".".join(sklearn.__version__.split(".")[:2])
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("sklearn.base.__version__", f"{series}.99")
            scaler = dumped(StandardScaler().fit(features()))
        assert isinstance(unpickle(scaler, "scaler.joblib"), StandardScaler)

    def test_a_storage_error_is_not_translated(self) -> None:
        def fetch(_: str) -> bytes:
            raise StorageError("s3://models/fan: SlowDown")

        with pytest.raises(StorageError, match=r"^s3://models/fan: SlowDown$"):
            Model.load("fan", ModelEntry(model_path="fan/model.joblib"), 16000, fetch)


def test_the_sample_rate_of_the_entry_overrides_that_of_the_service() -> None:
    entry = ModelEntry(model_path="-", sample_rate=16000)
    model = Model.load("fan", entry, 48000, lambda _: dumped(bayes()))
    assert model.sample_rate == 16000
    # At 8000 Hz the extractor gives fewer features than the model was trained on.
    with pytest.raises(ModelArtifactError, match="was trained on"):
        Model.load("fan", ModelEntry(model_path="-"), 8000, lambda _: dumped(bayes()))


def test_the_size_of_a_model_is_the_size_of_its_arrays() -> None:
    scaler, estimator = classifier()
    model = model_of(model=estimator, scaler=scaler)
    arrays = [scaler.mean_, scaler.var_, scaler.scale_, estimator.coef_, estimator.intercept_]
    assert model.size_bytes == pytest.approx(sum(a.nbytes for a in arrays), rel=0.2)
