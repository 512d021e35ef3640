"""Drift: everything shifted, told apart from a fault; with invented and with real recordings."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import signal, stats

import oddsound
from oddsound import pipeline, runtime
from oddsound.descriptors import Array
from oddsound.history.store import HistoryStore
from oddsound.machines import drift
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.profile import BANDS, Profile
from oddsound.machines.records import HistoryRow, Machine, Review
from oddsound.model import Model
from oddsound_workbench import training
from oddsound_workbench.synthesis import SAMPLE_RATE, fan
from tests.machines.conftest import MONDAY, hour, row
from tests.machines.hearing import Clock, prediction

pytestmark = pytest.mark.slow

PUMP = Machine(id="hall-3/pump-07", model_name="fan")
TIME = 11


def profile(
    rng: random.Random, level: float = 0, bands: Sequence[float] = (), time: Sequence[float] = ()
) -> Profile:
    """A profile of a normal recording, plus shifts of the first groups."""

    def values(count: int, shifts: Sequence[float]) -> list[float | None]:
        padded = [*shifts, *[0.0] * (count - len(shifts))]
        return [rng.gauss(shift, 1) for shift in padded]

    shifted = values(1, [level])[0]
    return Profile(
        trained_with=30, level=shifted, bands=values(BANDS, bands), time=values(TIME, time)
    )


def rows(profiles: Sequence[Profile], **fields: Any) -> list[HistoryRow]:
    """Rows with these profiles, the newest first."""
    return [row(number, profile=each, **fields) for number, each in enumerate(profiles)][::-1]


def kind(profiles: Sequence[Profile], **fields: Any) -> str:
    return drift.examine(rows(profiles, **fields), PUMP).kind


def test_unchanged_recordings_stay_quiet_at_the_promised_rate() -> None:
    """Also if all groups vary together, and if each recording is like the one before."""
    rng, found = random.Random(0), Counter[str]()
    for _ in range(60):
        found[kind([profile(rng) for _ in range(30)])] += 1
        common, alike = 0.0, []
        for _ in range(30):
            common = 0.7 * common + rng.gauss(0, 0.7)  # deviation 1, correlation 0.7
            alike.append(
                Profile(trained_with=30, level=common, bands=[common] * BANDS, time=[common] * TIME)
            )
        found[kind(alike)] += 1
    assert found["none"] >= 119, found  # 1 % of 120 are permitted


@pytest.mark.parametrize(
    ("shifts", "expected", "words"),
    [
        ({"level": -6}, "everything", "the recordings are quieter"),
        ({"bands": [4, -3] * 6, "level": 2}, "everything", "12 of 16 groups of frequencies"),
        ({"bands": [6]}, "part", "1 of 16 groups of frequencies"),
        ({"bands": [6], "level": 6}, "part", "1 of 16 groups of frequencies, the loudness"),
        ({"time": [5]}, "part", "how the sound varies over time"),
        ({"bands": [4] * 16, "time": [5], "level": 4}, "part", "how the sound varies over time"),
    ],
)
def test_what_shifts_says_what_it_is(
    shifts: dict[str, Sequence[float]], expected: str, words: str
) -> None:
    rng = random.Random(1)
    found = drift.examine(rows([profile(rng, **shifts) for _ in range(30)]), PUMP)  # type: ignore[arg-type]
    assert found.kind == expected
    assert words in found.says
    assert ("recorder" in found.says) == (expected == "everything")
    assert (found.recordings, found.first_at, found.last_at) == (30, hour(0), hour(29))


def test_more_anomalies_than_promised_are_found_without_a_shift() -> None:
    rng = random.Random(2)
    quiet = rows([profile(rng) for _ in range(30)])
    loud = [each.model_copy(update={"is_anomaly": i % 3 > 0}) for i, each in enumerate(quiet)]
    found = drift.examine(loud, PUMP)
    assert found.kind == "part"
    assert found.says.startswith("20 of the last 30 recordings are anomalous")


def test_only_recordings_that_can_be_compared_count() -> None:
    rng = random.Random(3)
    shifted = [profile(rng, level=9) for _ in range(9)]
    assert drift.examine(rows(shifted), PUMP).says.startswith("9 recordings can be compared")
    older = rows([profile(rng, level=9) for _ in range(30)], model_version="0")
    newer = rows([profile(rng) for _ in range(12)])
    assert drift.examine([*newer, *older], PUMP).recordings == 12
    unusable = Review(label="unusable", at=MONDAY)
    assert drift.examine(rows(shifted * 2, review=unusable), PUMP).kind == "unknown"
    assert kind(shifted * 2, model_name="another") == "unknown"
    assert kind(shifted * 2) == "everything"
    without = [Profile(trained_with=30, level=None, bands=[9.0] * 16, time=[0.0] * 11)] * 10
    assert kind(without) == "everything"


def test_the_t_test_is_that_of_welch() -> None:
    """With a margin of 0 and recordings that are not alike, SciPy's test from statistics."""
    values = [4.0, -3.0] * 6
    test = drift._welch("x", "x", values, profile(random.Random(4)), 0, 0)
    expected = stats.ttest_ind_from_stats(
        np.mean(values), np.std(values, ddof=1), 12, 0, 1, 30, equal_var=False
    )
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_a_machine_knows_of_its_drift_until_it_is_over(store: HistoryStore) -> None:
    clock, rng = Clock(), random.Random(5)
    ledger = Ledger(store, now=clock)
    ledger.register(PUMP)

    def hear(start: int, count: int, **shifts: float) -> None:
        for number in range(start, start + count):
            clock.now = hour(number)
            found = prediction(anomalous=False, profile=profile(rng, **shifts))  # type: ignore[arg-type]
            ledger.record(found, Origin(PUMP.id, hour(number), "s3", f"{number}.wav", str(number)))

    hear(0, 15)
    assert ledger.machine(PUMP.id).drift is None
    hear(15, 12, level=-8)
    note = ledger.machine(PUMP.id).drift
    assert note is not None
    assert note.kind == ledger.drift(PUMP.id).kind == "everything"
    assert hour(15) < note.since <= hour(24)
    assert ledger.machine(PUMP.id).state == "normal"
    hear(27, 30)
    assert ledger.machine(PUMP.id).drift is None
    causes = [event.cause for event in ledger.events(PUMP.id, 10).events]
    assert causes == ["drift over", "drift"]  # once each, however often it was near the limit


def heard(model: Model, sounds: Sequence[Array], rate: int, folder: Path) -> list[HistoryRow]:
    """Rows of these sounds, scored by a model; the newest first."""
    found = []
    for number, sound in enumerate(sounds):
        path = folder / f"{number}.wav"
        soundfile.write(path, sound, rate, "FLOAT")
        scored = pipeline.predict(path, model, runtime.limits())
        found.append(row(number, is_anomaly=scored.is_anomaly, profile=scored.profile))
    return found[::-1]


def microphone() -> Callable[[Array], Array]:
    """Another microphone: a smooth change of the frequency response by up to 8 dB."""
    hz = np.linspace(0, 1, 6)
    taps = signal.firwin2(255, hz, 10 ** (np.array([4, -6, 5, -4, 8, -8]) / 20))

    def heard_by_it(sound: Array) -> Array:
        return np.asarray(signal.lfilter(taps, [1.0], sound), np.float32)

    return heard_by_it


def test_a_recorder_is_told_apart_from_a_fault(configured: Path, tmp_path: Path) -> None:
    model = oddsound.load_model("fan", configured)
    normal = [fan(300 + seed, faulty=False, duration_s=2) for seed in range(12)]
    faulty = [fan(330 + seed, faulty=True, duration_s=2) for seed in range(12)]
    other = microphone()

    def found(sounds: Sequence[Array]) -> str:
        return drift.examine(heard(model, sounds, SAMPLE_RATE, tmp_path), PUMP).kind

    assert found(normal) == "none"
    assert found([sound * np.float32(1 / 16) for sound in normal]) == "everything"
    assert found([other(sound) for sound in normal]) == "everything"
    assert found(faulty) == "part"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cwru_de48_0hp", "stamping_day1"])
def test_real_machines(name: str, real_data: Path, tmp_path: Path, no_plots: None) -> None:
    """Half of the normal recordings train the model; the others and the faults are recent."""
    machine = real_data / "machines" / name
    normal = sorted((machine / "normal").glob("*.flac"))
    train = tmp_path / "train"
    train.mkdir()
    for path in normal[::2][:20]:
        (train / path.name).write_bytes(path.read_bytes())
    training.train(training.Plan(train, "fan", tmp_path / "models.json", links=False))
    model = oddsound.load_model("fan", tmp_path / "models.json")
    faulty = sorted((machine / "abnormal").glob("*.flac"))
    rate = soundfile.info(normal[0]).samplerate

    def found(paths: Sequence[Path], change: Callable[[Array], Array] = lambda sound: sound) -> str:
        sounds = [change(soundfile.read(path, dtype="float32")[0]) for path in paths]
        return drift.examine(heard(model, sounds, rate, tmp_path), PUMP).kind

    recent = normal[1::2][:20]
    assert found(recent) == "none"
    assert found(recent, lambda sound: sound * np.float32(0.25)) == "everything"
    assert found(recent, microphone()) == "everything"
    assert found(faulty[:: len(faulty) // 20]) == "part"
