"""From a recording to a prediction."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.naive_bayes import GaussianNB

from oddsound import pipeline, runtime
from oddsound.descriptors import Array
from oddsound.errors import AudioTooLargeError, InvalidAudioError
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.pipeline import verdict
from oddsound.predictors import SklearnProba
from oddsound.schemas import ModelEntry, Prediction, Window
from oddsound_workbench.synthesis import fan
from tests.conftest import noise

RATE = 16000
LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)


@pytest.fixture
def detector(configured: Path) -> Model:
    return runtime.registry().get("fan")


@pytest.fixture
def classifier(configured: Path) -> Model:
    return runtime.registry().get("bearing")


def wav(waveform: Array, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, "FLOAT", format="WAV")
    return file.getvalue()


def anomaly_score(scored: Prediction | Window) -> float:
    assert scored.anomaly_score is not None
    return scored.anomaly_score


def predictor(*classes: str, normal: str | None = None, at: float | None = None) -> SklearnProba:
    """A classifier that is fitted to one number for each class."""
    rows = np.repeat(np.arange(len(classes)), 2)[:, None] + [[0.0]]
    estimator = GaussianNB().fit(rows, np.repeat(classes, 2))
    return SklearnProba(
        estimator, None, ModelEntry(model_path="-", normal_label=normal, threshold=at)
    )


class TestVerdict:
    """The class, the score and the threshold, from probabilities."""

    @pytest.mark.parametrize(
        ("score", "prediction", "is_anomaly"),
        [(0.0, "ok", False), (0.29, "ok", False), (0.3, "bad", True), (1.0, "bad", True)],
    )
    def test_a_score_at_the_threshold_is_an_anomaly(
        self, score: float, prediction: str, is_anomaly: bool
    ) -> None:
        probabilities = np.array([score, 1 - score])
        label, anomaly_score, anomalous = verdict(
            probabilities, predictor("bad", "ok", normal="ok", at=0.3)
        )
        assert (label, anomalous) == (prediction, is_anomaly)
        assert anomaly_score == pytest.approx(score, abs=1e-12)

    def test_a_classifier_predicts_the_most_probable_class(self) -> None:
        many = predictor("bearing", "belt", "ok", normal="ok", at=0.7)
        assert verdict(np.array([0.5, 0.3, 0.2]), many) == ("bearing", 0.8, True)
        assert verdict(np.array([0.3, 0.3, 0.4]), many) == ("ok", 0.6, False)

    def test_without_a_normal_class_nothing_is_an_anomaly(self) -> None:
        assert verdict(np.array([0.2, 0.8]), predictor("cat", "dog")) == ("dog", None, None)

    def test_rounding_gives_no_score_outside_0_to_1(self) -> None:
        near = predictor("bad", "ok", normal="ok", at=0.5)
        assert verdict(np.array([0.0, 1 + 1e-15]), near) == ("ok", 0.0, False)


class TestPredict:
    """Real models on real recordings."""

    def test_bytes_and_a_file_give_the_same_prediction(
        self, detector: Model, tmp_path: Path
    ) -> None:
        data = wav(fan(1, faulty=True, duration_s=2))
        path = tmp_path / "fan.wav"
        path.write_bytes(data)
        from_bytes, from_file = (pipeline.predict(s, detector, LIMITS) for s in (data, path))
        assert from_bytes.model_dump(exclude={"latency_ms"}) == from_file.model_dump(
            exclude={"latency_ms"}
        )
        assert from_bytes.is_anomaly
        assert from_bytes.latency_ms > 0

    def test_a_short_recording_has_no_windows(self, detector: Model) -> None:
        assert detector.window_s == 2
        found = pipeline.predict(wav(fan(2, faulty=False, duration_s=3)), detector, LIMITS)
        assert found.windows is None
        assert found.duration_s == 3

    def test_a_detector_scores_a_long_recording_by_its_most_anomalous_window(
        self, detector: Model
    ) -> None:
        sound = fan(503, faulty=False, duration_s=8)
        sound[4 * RATE : 6 * RATE] = fan(504, faulty=True, duration_s=2)
        found = pipeline.predict(wav(sound), detector, LIMITS)
        windows = found.windows or []
        assert [(w.start_s, w.end_s) for w in windows] == [(0, 2), (2, 4), (4, 6), (6, 8)]
        alone = [
            pipeline.predict(wav(sound[i * 2 * RATE : (i + 1) * 2 * RATE]), detector, LIMITS)
            for i in range(4)
        ]
        scores = [anomaly_score(window) for window in windows]
        np.testing.assert_allclose(scores, [anomaly_score(a) for a in alone], rtol=0, atol=1e-6)
        # Simes' test, which has 80 % of the permitted false alarms; only one window is anomalous.
        assert found.anomaly_score == pytest.approx(1 - 4 * (1 - max(scores)) / 0.8, abs=1e-12)
        assert np.argmax(scores) == 2
        assert windows[2].prediction == found.prediction == "anomaly"
        assert sum(found.all_probabilities.values()) == pytest.approx(1, abs=1e-12)

    def test_a_classifier_averages_the_windows_of_a_long_recording(self, classifier: Model) -> None:
        parts = [fan(510, faulty=False, duration_s=4), fan(511, faulty=True, duration_s=2)]
        found = pipeline.predict(wav(np.concatenate(parts)), classifier, LIMITS)
        windows = found.windows or []
        assert [window.prediction for window in windows] == ["normal", "normal", "faulty"]
        mean = np.mean([window.anomaly_score or 0 for window in windows])
        assert found.anomaly_score == pytest.approx(mean, abs=1e-12)
        assert found.all_probabilities["faulty"] == pytest.approx(mean, abs=1e-12)
        assert found.prediction == "normal"
        assert sum(found.all_probabilities.values()) == pytest.approx(1, abs=1e-12)

    def test_the_result_contains_the_sample_rate_of_the_upload(self, detector: Model) -> None:
        found = pipeline.predict(wav(noise(1, 2, 44100), 44100), detector, LIMITS)
        assert (found.sample_rate, found.duration_s) == (44100, 2)

    @pytest.mark.parametrize("name", ["fan", "bearing"])
    @pytest.mark.parametrize("seconds", [0.064, 2, 7])
    @pytest.mark.parametrize("rate", [RATE, 44100])
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([0.0], "is digital silence"),
            ([0.3], "never changes"),
            ([3 / 32768, 4 / 32768], "changes by one bit at most"),
        ],
    )
    def test_what_a_dead_microphone_delivers_is_refused(
        self,
        configured: Path,
        name: str,
        seconds: float,
        rate: int,
        values: list[float],
        words: str,
    ) -> None:
        dead = np.random.default_rng(0).choice(values, round(seconds * rate) + 10)
        file = io.BytesIO()
        soundfile.write(file, dead, rate, "PCM_16", format="WAV")
        with pytest.raises(InvalidAudioError, match=f"the recording {words}; was the microphone"):
            pipeline.predict(file.getvalue(), runtime.registry().get(name), LIMITS)

    def test_a_sound_with_fine_steps_may_be_very_quiet(self, detector: Model) -> None:
        """A vibration sensor may deliver small numbers as floats."""
        quiet = fan(1, faulty=True, duration_s=2) * np.float32(1e-6)
        file = io.BytesIO()
        soundfile.write(file, quiet, RATE, "FLOAT", format="WAV")
        assert pipeline.predict(file.getvalue(), detector, LIMITS).is_anomaly is True

    @pytest.mark.parametrize("samples", [1, 500, 1023])
    def test_a_recording_shorter_than_one_frame_is_rejected(
        self, detector: Model, classifier: Model, samples: int
    ) -> None:
        for model in (detector, classifier):
            with pytest.raises(
                InvalidAudioError, match=rf"lasts {samples / RATE:.3f} s; .*\(0\.064 s\)"
            ):
                pipeline.predict(wav(noise(1)[:samples]), model, LIMITS)
        found = pipeline.predict(wav(noise(1)[:1024]), classifier, LIMITS)
        assert found.duration_s == 0.064

    def test_the_limits_are_enforced(self, detector: Model) -> None:
        with pytest.raises(AudioTooLargeError, match=r"lasts 2\.0 s; the limit is 1 s"):
            pipeline.predict(wav(noise(1, 2)), detector, AudioLimits(10_000_000, 1))
