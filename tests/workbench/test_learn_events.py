"""The reference of events that training writes, and models without one."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile

import oddsound
from oddsound import pipeline
from oddsound.events.finder import find_events
from oddsound.events.frames import FrameAnalyser
from oddsound.events.reference import ARTIFACT_KEY, MIN_LIMIT
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.predictors import Predictor
from oddsound.schemas import Prediction
from oddsound.views import ViewDetector
from oddsound_workbench.learn.events import (
    PERMITTED,
    Measured,
    _limit,
    _limited,
    fit_reference,
    reference_of,
)
from oddsound_workbench.learn.recordings import Labelled, unlabelled
from oddsound_workbench.synthesis import SAMPLE_RATE, fan, write_fan

LIMITS = AudioLimits(max_bytes=10**8, max_duration_s=1000)


@pytest.fixture
def model(trained: Path) -> Model:
    return oddsound.load_model("fan", trained)


def recording(path: Path, *, mute: bool) -> Path:
    sound = fan(700, faulty=False, duration_s=2)
    if mute:
        sound[16000:17600] = 0
    soundfile.write(path, sound, SAMPLE_RATE, "PCM_16")
    return path


def test_a_trained_detector_returns_events(model: Model, tmp_path: Path) -> None:
    found = oddsound.predict(recording(tmp_path / "mute.wav", mute=True), model)
    (event,) = found.events or []
    assert event.kind == "dropout"
    assert (event.start_s, event.end_s) == pytest.approx((1.0, 1.1), abs=0.012)
    assert oddsound.predict(recording(tmp_path / "fan.wav", mute=False), model).events == []


def test_a_detector_without_a_reference_has_no_events(model: Model, tmp_path: Path) -> None:
    old = dataclasses.replace(model, events_reference=None)
    path = recording(tmp_path / "mute.wav", mute=True)
    assert pipeline.predict(path, old, LIMITS).events == []


def test_a_classifier_without_a_normal_class_has_null(trained: Path, tmp_path: Path) -> None:
    model = oddsound.load_model("bearing", trained)
    plain = dataclasses.replace(model, predictor=cast(Predictor, Unnamed(model.predictor)))
    path = recording(tmp_path / "fan.wav", mute=False)
    prediction = pipeline.predict(path, plain, LIMITS)
    assert prediction.events is None
    assert json.loads(prediction.model_dump_json())["events"] is None


class Unnamed:
    """A predictor without a normal class."""

    normal_label = None
    threshold = None

    def __init__(self, predictor: object) -> None:
        self._predictor = predictor

    def __getattr__(self, name: str) -> object:
        return getattr(self._predictor, name)


def test_predictions_that_were_stored_before_events_can_be_read(
    model: Model, tmp_path: Path
) -> None:
    stored = oddsound.predict(recording(tmp_path / "fan.wav", mute=False), model).model_dump()
    del stored["events"]
    assert Prediction.model_validate(stored).events is None


def test_the_detector_reads_its_artifact_with_and_without_the_reference() -> None:
    view = {"columns": np.array([0]), "whiten": np.eye(1, dtype=np.float32), "handicap": 0.0}
    calibration = {name: np.ones(1) for name in ("lengths_s", "locations", "scales")}
    calibration |= {name: np.ones((1, 1)) for name in ("means", "deviations")}
    artifact: dict[str, Any] = {
        "views": (view,),
        "calibration": calibration,
        "df": 3.0,
        "recordings": 4,
    }
    artifact["n_features_in_"] = 1
    plain = ViewDetector.of_artifact(artifact, "model.joblib")
    both = ViewDetector.of_artifact({**artifact, ARTIFACT_KEY: {"usual": {}}}, "model.joblib")
    assert both.to_artifact().keys() == plain.to_artifact().keys()
    assert ARTIFACT_KEY not in both.to_artifact()


def test_the_reference_is_plain_small_and_the_same_each_time(recordings: Path) -> None:
    normal = unlabelled(recordings / "normal", "normal", None)
    first, second = (fit_reference(normal, [2.0] * 24, SAMPLE_RATE) for _ in range(2))
    values = list(leaves(first.to_artifact()))
    assert {type(value) for value in values} <= {int, float, np.ndarray}
    assert sum(np.asarray(value).nbytes for value in values) < 20_000
    for one, other in zip(values, leaves(second.to_artifact()), strict=True):
        np.testing.assert_array_equal(one, other)


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    return [value]


def test_short_recordings_only_have_the_kinds_that_fit(tmp_path: Path) -> None:
    """Half a second is too short to see a level rise and fall."""
    analyser = FrameAnalyser(SAMPLE_RATE)
    chunks = [
        Measured(str(seed), analyser(fan(seed, faulty=False, duration_s=0.5)).measures)
        for seed in range(6)
    ]
    reference = reference_of(chunks, SAMPLE_RATE, 1.0)
    assert set(reference.usual) == {"impact", "dropout", "tone", "level"}


def test_four_recordings_are_enough(recordings: Path) -> None:
    normal = unlabelled(recordings / "normal", "normal", None)
    few, many = (
        fit_reference(normal[:count], [2.0] * count, SAMPLE_RATE).usual for count in (4, 24)
    )
    assert all(np.isfinite(each.limit) for each in few.values())
    # With few recordings, little is known, so the limits are higher.
    assert np.mean([few[kind].limit for kind in few]) > np.mean([many[k].limit for k in many])


def test_the_permitted_share_of_maxima_exceeds_the_limit() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        limit, growth = _limit(rng.gumbel(5, 1, 20), 20)
        rates.append(np.mean(rng.gumbel(5, 1, 500) >= limit))
        assert growth >= 1
    assert 0.002 < np.mean(rates) < 1.3 * PERMITTED


def test_what_is_usual_is_never_an_event(tmp_path: Path) -> None:
    """Silence at the end of padded recordings is a drop-out in most of them.

    A limit far below 0 was learned, and recordings with less of it ended in an error.
    """
    assert _limit(np.full(20, -300.0), 20)[0] == MIN_LIMIT
    paths = [write_fan(tmp_path / f"{n}.wav", n, faulty=False, duration_s=2) for n in range(8)]
    for path in paths[:7]:
        sound, rate = soundfile.read(path, dtype="int16")
        sound[len(sound) // 2 :] = 0
        soundfile.write(path, sound, rate)
    recordings = [Labelled(path, "normal", str(path)) for path in paths]
    reference = fit_reference(recordings, [2.0] * len(paths), SAMPLE_RATE)
    assert all(usual.limit >= MIN_LIMIT for usual in reference.usual.values())
    analyser = FrameAnalyser(SAMPLE_RATE)
    for path in paths:
        waveform, _ = soundfile.read(path, dtype="float32")
        find_events(waveform, analyser, reference)


def test_the_limit_of_ten_times_the_duration_has_the_same_rate() -> None:
    rng = np.random.default_rng(1)
    maxima = rng.gumbel(5, 1, 400)
    limit, growth = _limit(maxima, 400)
    long = rng.gumbel(5, 1, (4000, 10)).max(axis=1)
    assert np.mean(long >= limit + growth * np.log(10)) == pytest.approx(PERMITTED, abs=0.01)


def test_one_odd_recording_does_not_hide_events() -> None:
    values = np.array([5.0, 5.2, 4.8, 5.5, 6.0, 4.9, 5.1, 5.3, 5.0, 500.0])
    assert _limited(values).max() < 12
    assert _limited(values[:7]).tolist() == values[:7].tolist()


def test_what_several_normal_recordings_do_is_usual() -> None:
    values = np.array([5.0] * 14 + [400.0] * 6)
    assert _limit(values, 20)[0] > 400
    assert _limit(np.array([5.0] * 19 + [400.0]), 20)[0] < 50


def test_a_mute_in_real_sound_is_found(real_data: Path) -> None:
    normal = unlabelled(real_data / "mimii_fan" / "normal", "normal", None)
    reference = fit_reference(normal[:8], [10.0] * 8, SAMPLE_RATE)
    for each in normal[8:]:
        sound, _ = soundfile.read(each.path, dtype="float32")
        sound[80000:81600] = 0
        events = find_events(sound, FrameAnalyser(SAMPLE_RATE), reference)
        (event,) = (event for event in events if event.kind == "dropout")
        assert [event.start_s, event.end_s] == pytest.approx([5.0, 5.1], abs=0.012)
