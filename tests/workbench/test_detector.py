"""Trained detectors: odd and short recordings, lossy codecs, the measured detection rate."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound import audio, load_model, pipeline, predict, runtime
from oddsound.errors import InvalidAudioError
from oddsound.features import extractor
from oddsound_workbench import training
from oddsound_workbench.learn import (
    dataset,
    detector,
    folds,
    robustness,
)
from oddsound_workbench.learn.dataset import ExtractionSettings, Rows
from oddsound_workbench.learn.plan import Plan, no_progress
from oddsound_workbench.learn.recordings import unlabelled
from oddsound_workbench.synthesis import fan

pytestmark = pytest.mark.slow


SETTINGS = ExtractionSettings(16000, 2.0, feature_extractor=detector.EXTRACTOR)


def test_one_odd_normal_recording_does_not_hide_the_anomalies(
    recordings: Path, tmp_path: Path
) -> None:
    plan = Plan(recordings / "normal", "fan", tmp_path / "models.json")
    data = detector.DetectorRecipe(plan).read(no_progress)
    anomalous = unlabelled(recordings / "faulty", "anomaly")
    faulty = dataset.rows_of(anomalous, SETTINGS)
    coded = dataset.rows_of(anomalous[:1], SETTINGS.under(robustness.OGG))

    def with_one_odd(rows: Rows, odd: Rows) -> Rows:
        return replace(rows, values=np.concatenate([odd.values[:1], rows.values[1:]]))

    assert data.coded is not None
    data = replace(
        data, rows=with_one_odd(data.rows, faulty), coded=with_one_odd(data.coded, coded)
    )
    everything = np.ones(len(data.rows.recordings), dtype=bool)
    fitted = detector.fit_detector(data, everything, threshold=0.9)
    scores = folds.score(fitted, faulty, data.choice)[1][1:, 1]
    assert (scores >= 0.9).mean() >= 0.8


def test_a_lossy_codec_is_no_anomaly(recordings: Path, tmp_path: Path) -> None:
    """Without its changes in the covariance, OGG raises an alarm for a third of the recordings."""
    plan = Plan(recordings / "normal", "fan", tmp_path / "models.json")
    data = detector.DetectorRecipe(plan).read(no_progress)
    everything = np.ones(len(data.rows.recordings), dtype=bool)
    extract = extractor(detector.EXTRACTOR, 16000)
    files = [
        robustness.ogg(fan(seed, faulty=False, duration_s=2), 16000) for seed in range(300, 340)
    ]
    coded = [audio.load(file, 16000, dataset.LIMITS).waveform for file in files]
    rows = np.array([extract(waveform)[data.choice.kept] for waveform in coded], np.float64)
    alarms = []
    for each in (data, replace(data, coded=None)):
        fitted = detector.fit_detector(each, everything, threshold=0.9)
        scores = fitted.predictor().probabilities(fitted.scaler.transform(rows))[:, 1]
        alarms.append((scores >= 0.9).mean())
    assert alarms[0] <= 0.15
    assert alarms[1] >= alarms[0] + 0.1


@pytest.mark.usefixtures("no_plots")
def test_the_detection_rate_is_that_of_the_saved_model(recordings: Path, tmp_path: Path) -> None:
    """Models of three recordings are stricter than the saved one, which has four."""
    for path in sorted((recordings / "normal").iterdir())[:4]:
        (tmp_path / "normal").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "normal")
    models = tmp_path / "models.json"
    plan = Plan(tmp_path / "normal", "fan", models, anomalies=recordings / "faulty")
    found = training.train(plan).result.metrics()
    model = load_model("fan", models)
    verdicts = [predict(path, model) for path in sorted((recordings / "faulty").iterdir())]
    assert found["detection_rate"] == np.mean([verdict.is_anomaly for verdict in verdicts])
    for row in found["thresholds"]:
        scores = np.array([verdict.anomaly_score for verdict in verdicts])
        assert row["detection_rate"] == np.mean(scores >= row["threshold"])


@pytest.mark.parametrize("seconds", [0.4, 0.6, 1.0, 2.0, 3.0])
def test_short_recordings_raise_no_more_false_alarms(configured: Path, seconds: float) -> None:
    """The model's window is 2 s; 10 % of the normal recordings may reach the threshold."""
    model = runtime.registry().get("fan")
    window = round(seconds * model.sample_rate)
    alarms = []
    for seed in range(300, 330):
        waveform = fan(seed, faulty=False, duration_s=3)[:window]
        scored = model.predictor.probabilities(model.scaled(model.features([waveform])), seconds)
        alarms.append(scored[0, 1] >= 0.9)
    assert np.mean(alarms) <= 0.25


def test_a_recording_that_is_too_short_to_judge_is_refused(
    configured: Path, tmp_path: Path
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, fan(300, faulty=False, duration_s=0.37), 16000)
    with pytest.raises(
        InvalidAudioError,
        match=r"lasts 0\.370 s, which is too short to judge; the model fan needs at least 0\.4 s",
    ):
        pipeline.predict(path, runtime.registry().get("fan"), runtime.limits())
