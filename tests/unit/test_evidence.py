"""Explanations: a known change to a recording must appear in the explanation."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from oddsound import pipeline, runtime
from oddsound.descriptors import Array
from oddsound.features import extractor
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.schemas import Explanation, ModelEntry, Prediction
from oddsound_workbench.synthesis import fan
from tests.conftest import noise, sine
from tests.making import CALIBRATION, bayes, dumped, features

pytestmark = pytest.mark.slow

RATE = 16000
LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)
OUTLIER: dict[str, Any] = {"predictor": "sklearn_outlier", "calibration": CALIBRATION}
NORMAL_ROWS = features()[:6].astype(np.float64)


def wav(waveform: Array) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, "FLOAT", format="WAV")
    return file.getvalue()


def explained(waveform: Array, model: Model) -> tuple[Prediction, Explanation]:
    prediction = pipeline.predict(wav(waveform), model, LIMITS, explain=True)
    assert prediction.explanation is not None
    return prediction, prediction.explanation


def with_tone(waveform: Array, hz: float, relative_db: float) -> Array:
    """The recording plus a tone whose level is relative to the recording's level."""
    tone = sine(hz, len(waveform) / RATE) * np.sqrt(2) * waveform.std()
    mixed: Array = (waveform + tone * 10 ** (relative_db / 20)).astype(np.float32)
    return mixed


def model_of(fields: dict[str, Any] | None = None, **artifacts: Any) -> Model:
    stored = {f"{kind}_path": dumped(artifact) for kind, artifact in artifacts.items()}
    entry = ModelEntry(**{key: key for key in stored}, **(fields or {}))
    return Model.load("made", entry, RATE, stored.__getitem__)


@pytest.fixture
def detector(configured: Path) -> Model:
    return runtime.registry().get("fan")


@pytest.fixture
def classifier(configured: Path) -> Model:
    return runtime.registry().get("bearing")


class TestDetector:
    """The largest deviations from normal sound."""

    @pytest.mark.parametrize("relative_db", [-10, 0, 10])
    @pytest.mark.parametrize("hz", [440, 1000, 2300, 3100, 4500, 6700])
    def test_the_band_of_an_added_tone_is_first(
        self, detector: Model, hz: float, relative_db: float
    ) -> None:
        sound = fan(700, faulty=False, duration_s=2)
        prediction, explanation = explained(with_tone(sound, hz, relative_db), detector)
        assert prediction.is_anomaly
        top = explanation.bands[0]
        assert top.low_hz < hz < top.high_hz
        assert top.high_hz / top.low_hz < 1.7
        assert top.level_db > 5
        assert top.deviation > 3
        assert top.says.startswith("Louder than normal between")
        assert top.says in explanation.summary

    def test_an_attenuated_band_is_quieter_than_normal(self, detector: Model) -> None:
        sound = fan(701, faulty=False, duration_s=2)
        spectrum = np.fft.rfft(sound)
        hz = np.fft.rfftfreq(len(sound), 1 / RATE)
        spectrum[(hz > 2000) & (hz < 3000)] *= 0.05
        _, explanation = explained(np.fft.irfft(spectrum).astype(np.float32), detector)
        top = explanation.bands[0]
        assert top.says.startswith("Quieter than normal between")
        assert top.level_db < -10
        assert 1500 < top.low_hz < 2300
        assert 2700 < top.high_hz < 3500

    def test_the_resonance_of_a_faulty_bearing_is_reported(self, detector: Model) -> None:
        _, explanation = explained(fan(702, faulty=True, duration_s=2), detector)
        assert any(b.level_db > 0 and b.low_hz < 3100 < b.high_hz for b in explanation.bands)

    def test_the_features_are_the_largest_deviations(self, detector: Model) -> None:
        sound = with_tone(fan(703, faulty=False, duration_s=2), 3100, 0)
        _, explanation = explained(sound, detector)
        assert 0 < len(explanation.features) <= 8
        sizes = [abs(feature.deviation) for feature in explanation.features]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] >= 3
        values = dict(zip(detector.extractor.names, detector.extractor(sound), strict=True))
        for feature in explanation.features:
            assert feature.name in detector.extractor.families[feature.family]
            assert feature.value == pytest.approx(values[feature.name], rel=1e-4, abs=1e-4)
            assert (feature.value > feature.usual) == (feature.deviation > 0)
            assert feature.probability_change is None
        names = [feature.name for feature in explanation.features]
        assert not {f"{name.removesuffix('_mean')}_std" for name in names} & set(names)
        families = [feature.family for feature in explanation.features]
        assert max(families.count(family) for family in families) <= 2

    def test_deviations_are_in_standard_deviations_of_the_training_data(self) -> None:
        scaler = StandardScaler().fit(NORMAL_ROWS)
        estimator = EmpiricalCovariance().fit(scaler.transform(NORMAL_ROWS))
        made = model_of(OUTLIER, model=estimator, scaler=scaler)
        sound = with_tone(fan(20, faulty=False, duration_s=1), 1000, 0)
        _, explanation = explained(sound, made)
        values = extractor("default", RATE)(sound)
        for feature in explanation.features:
            column = made.extractor.names.index(feature.name)
            mean, deviation = NORMAL_ROWS[:, column].mean(), NORMAL_ROWS[:, column].std()
            expected = (values[column] - mean) / deviation
            assert feature.deviation == pytest.approx(expected, rel=1e-3)
            assert feature.usual == pytest.approx(mean, rel=1e-6)

    def test_a_normal_recording_is_not_described_as_anomalous(self, detector: Model) -> None:
        for seed in range(710, 716):
            prediction, explanation = explained(fan(seed, faulty=False, duration_s=2), detector)
            if prediction.is_anomaly:
                continue
            if explanation.features or explanation.bands:
                assert explanation.summary.startswith("Overall within the normal range.")
            else:
                assert (
                    explanation.summary
                    == "No feature deviates from normal by 3 or more standard deviations."
                )

    def test_a_long_recording_is_explained_by_its_most_anomalous_window(
        self, detector: Model
    ) -> None:
        sound = fan(720, faulty=False, duration_s=8)
        sound[4 * RATE : 6 * RATE] = with_tone(sound[4 * RATE : 6 * RATE], 2300, 0)
        prediction, explanation = explained(sound, detector)
        assert prediction.windows is not None
        assert explanation.window == prediction.windows[2]
        assert (explanation.window.start_s, explanation.window.end_s) == (4, 6)
        assert explanation.bands[0].low_hz < 2300 < explanation.bands[0].high_hz

    def test_the_explanation_of_a_short_recording_has_no_window(self, detector: Model) -> None:
        _, explanation = explained(fan(721, faulty=True, duration_s=2), detector)
        assert explanation.window is None


class TestClassifier:
    """The features and bands that change the predicted probability most."""

    HZ = 1800

    @pytest.fixture
    def whistle(self) -> Model:
        """A classifier of fans with and without a tone at 1800 Hz."""
        sounds = [fan(seed, faulty=False, duration_s=1) for seed in range(16)]
        sounds[8:] = [with_tone(sound, self.HZ, -10) for sound in sounds[8:]]
        extract = extractor("default", RATE)
        rows = np.stack([extract(sound) for sound in sounds]).astype(np.float64)
        scaler = StandardScaler().fit(rows)
        estimator = LogisticRegression(C=0.01)
        estimator.fit(scaler.transform(rows), ["quiet"] * 8 + ["whistling"] * 8)
        return model_of(model=estimator, scaler=scaler)

    @pytest.mark.parametrize("seed", [30, 31, 32])
    def test_the_band_of_the_tone_that_defines_the_class_is_first(
        self, whistle: Model, seed: int
    ) -> None:
        sound = fan(seed, faulty=False, duration_s=1)
        without = pipeline.predict(wav(sound), whistle, LIMITS)
        prediction, explanation = explained(with_tone(sound, self.HZ, -10), whistle)
        assert (without.prediction, prediction.prediction) == ("quiet", "whistling")
        top = explanation.bands[0]
        assert top.low_hz < self.HZ < top.high_hz
        assert top.level_db > 3
        # Without the tone the other class is more probable, so the band must raise the probability.
        assert top.probability_change is not None
        assert 0.02 < top.probability_change < prediction.probability
        assert "Louder than average between" in top.says

    def test_the_change_equals_the_change_of_the_models_probability(self, whistle: Model) -> None:
        sound = with_tone(fan(33, faulty=False, duration_s=1), self.HZ, -10)
        prediction, explanation = explained(sound, whistle)
        assert explanation.features
        for feature in explanation.features:
            names = whistle.extractor.families[feature.family]
            columns = [whistle.extractor.names.index(name) for name in names]
            row = whistle.features([sound])
            row[:, columns] = whistle.scaler.mean_[columns]
            verdict = whistle.predictor.classes.index(prediction.prediction)
            without = whistle.predictor.probabilities(whistle.scaled(row))[0, verdict]
            expected = prediction.probability - without
            assert feature.probability_change == pytest.approx(expected, abs=1e-6)
            assert f"{without:.3f} instead of {prediction.probability:.3f}" in feature.says

    def test_a_classifier_without_a_decisive_feature_has_a_summary(self, classifier: Model) -> None:
        prediction, explanation = explained(fan(730, faulty=True, duration_s=2), classifier)
        assert prediction.probability > 0.9999
        assert explanation.features == []
        assert explanation.bands == []
        assert explanation.summary.startswith("No single family of features or frequency band")

    def test_a_long_recording_is_explained_as_a_whole(self, classifier: Model) -> None:
        prediction, explanation = explained(fan(731, faulty=True, duration_s=6), classifier)
        assert prediction.windows is not None
        assert explanation.window is None
        assert explanation.summary

    def test_explaining_does_not_change_the_prediction(self, classifier: Model) -> None:
        for seconds in (2, 6):
            sound = fan(732, faulty=True, duration_s=seconds)
            plain = pipeline.predict(wav(sound), classifier, LIMITS)
            prediction, _ = explained(sound, classifier)
            assert prediction.prediction == plain.prediction
            assert prediction.probability == pytest.approx(plain.probability, abs=1e-6)
            assert prediction.latency_ms > 0


class TestTrainingStatistics:
    """The source of the mean and standard deviation of the training data."""

    SOUND = with_tone(fan(40, faulty=False, duration_s=1), 3000, 10)

    def test_a_covariance_provides_the_statistics_without_a_scaler(self) -> None:
        made = model_of(OUTLIER, model=EmpiricalCovariance().fit(NORMAL_ROWS))
        _, explanation = explained(self.SOUND, made)
        assert explanation.bands[0].low_hz < 3000 < explanation.bands[0].high_hz

    def test_the_first_step_of_a_pipeline_provides_the_statistics(self) -> None:
        made = model_of(
            OUTLIER, model=make_pipeline(StandardScaler(), IsolationForest()).fit(NORMAL_ROWS)
        )
        _, explanation = explained(self.SOUND, made)
        assert explanation.bands[0].low_hz < 3000 < explanation.bands[0].high_hz

    @pytest.mark.parametrize("scaler", [MinMaxScaler(), RobustScaler(), PCA(4), None])
    def test_the_summary_says_that_statistics_are_missing(self, scaler: Any) -> None:
        rows = NORMAL_ROWS if scaler is None else scaler.fit(NORMAL_ROWS).transform(NORMAL_ROWS)
        estimator = IsolationForest(n_estimators=10, random_state=0).fit(rows)
        made = model_of(OUTLIER, model=estimator, **({"scaler": scaler} if scaler else {}))
        prediction, explanation = explained(self.SOUND, made)
        assert prediction.anomaly_score is not None
        assert explanation.summary.startswith("No explanation is possible: the model's artifacts")
        assert explanation.features == []
        assert explanation.bands == []

    def test_the_summary_of_a_classifier_says_that_statistics_are_missing(self) -> None:
        _, explanation = explained(self.SOUND, model_of(model=bayes()))
        assert explanation.summary.startswith("No explanation is possible")

    def test_a_model_without_level_features_has_no_bands(self) -> None:
        names = extractor("default", RATE).names
        dropped = [name for name in names if name.startswith("log_mel")]
        kept = [i for i, name in enumerate(names) if name not in dropped]
        made = model_of(
            OUTLIER,
            model=EmpiricalCovariance().fit(NORMAL_ROWS[:, kept]),
            dropped_features=dropped,
        )
        _, explanation = explained(self.SOUND, made)
        assert explanation.bands == []
        assert explanation.features


def almost_silent(samples: int) -> Array:
    waveform = np.zeros(samples, np.float32)
    waveform[samples // 2] = 0.5
    return waveform


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("fan", 0.4), ("fan", 2), ("fan", 7), ("bearing", 0.064), ("bearing", 2), ("bearing", 7)],
)
@pytest.mark.parametrize("sound", [almost_silent, lambda samples: noise(1, 8)[:samples]])
def test_explanations_of_a_click_and_noise_contain_only_finite_numbers(
    configured: Path, name: str, seconds: float, sound: Any
) -> None:
    waveform = sound(round(seconds * RATE)).astype(np.float32)
    prediction, explanation = explained(waveform, runtime.registry().get(name))
    assert explanation.summary
    json.dumps(prediction.model_dump(), allow_nan=False)


def test_without_a_request_there_is_no_explanation(detector: Model) -> None:
    prediction = pipeline.predict(wav(fan(1, faulty=True, duration_s=2)), detector, LIMITS)
    assert prediction.explanation is None
    assert "explanation" not in prediction.model_dump()
    assert "explanation" not in prediction.model_dump_json()
