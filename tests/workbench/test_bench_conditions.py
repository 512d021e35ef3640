"""The benchmark of other files, noise and lengths: what is delivered, counted, resumed, shown."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.conditions import measure, run
from benchmarks.conditions.deliveries import DELIVERIES, LOW_RATES_HZ, headroom, mixed
from benchmarks.conditions.tables import tables
from benchmarks.detection.data import MachineSet
from benchmarks.detection.protocol import Split
from benchmarks.detection.results import Results
from oddsound_workbench.learn.augmentation import rms
from oddsound_workbench.synthesis import fan, write_fan
from tests.pages import table

pytestmark = pytest.mark.slow

RATE = 16000
SOUND = headroom(fan(1, faulty=False, duration_s=2).astype(np.float32))
QUIET = SOUND * np.float32(0.01)


@pytest.mark.parametrize("way", DELIVERIES)
def test_every_delivery_has_the_same_sound(way: str) -> None:
    content = DELIVERIES[way](SOUND, RATE)
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    is_rate = way.endswith(" kHz") and not way.startswith("recorded")
    hz = float(way.split()[0]) * 1000 if is_rate else None
    assert rate == (hz or (44100 if "MP3" in way else RATE))
    assert samples.shape[1] == (2 if "stereo" in way or "channel" in way or "dual" in way else 1)
    assert len(samples) / rate == pytest.approx(2, abs=0.06)
    level = samples[:, 0].std() / SOUND.std()
    assert level == pytest.approx(0.1 if "softer" in way else 1, rel=0.1)
    offset = float(way.rpartition(" ")[2]) if "DC" in way else 0
    assert samples[:, 0].mean() == pytest.approx(offset + float(SOUND.mean()), abs=0.01)


@pytest.mark.parametrize("hz", LOW_RATES_HZ)
def test_a_low_rate_leaves_nothing_above_half_of_it(hz: int) -> None:
    content = DELIVERIES[f"recorded at {hz / 1000:g} kHz"](SOUND, RATE)
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    above = np.fft.rfftfreq(len(samples), 1 / rate) > 0.51 * hz
    assert power[above].sum() < 1e-6 * power.sum()


def test_the_mp3_has_the_bit_rate_of_its_name() -> None:
    long = np.tile(SOUND, 5)
    assert len(DELIVERIES["MP3, 128 kbit/s"](long, RATE)) * 8 / 10 == pytest.approx(128e3, rel=0.05)


@pytest.mark.parametrize("snr_db", [6, 0, -6])
def test_noise_has_the_level_of_its_name(snr_db: float) -> None:
    noise = np.random.default_rng(1).standard_normal(RATE // 2).astype(np.float32)
    both = mixed(QUIET, RATE, [noise], snr_db, [1, 2])
    assert len(both) == len(SOUND)
    ratio = rms(QUIET) / rms(both - QUIET)
    assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=0.01)


def test_lengths_and_noise_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that is always there is found at every length that the recordings have."""
    monkeypatch.setattr(measure, "LONG_S", (4,))
    monkeypatch.setattr(measure, "LONG_RECORDINGS", {4: 2})
    monkeypatch.setattr(measure, "HOUR_S", 8)
    monkeypatch.setattr(measure, "FAULTY_MINUTES", 0.05)
    monkeypatch.setattr(measure, "MANY_S", 8)
    paths = [write_fan(tmp_path / f"{n}.wav", n, faulty=n > 7, duration_s=2) for n in range(10)]
    split = Split(paths[:6], paths[6:8], paths[8:])
    found = measure.lengths(split, [0, 0])
    assert found["recording"]["faulty"] == [2, 2]
    assert found["1 s"]["normal"][1] == 2
    assert found["2 s"]["normal"] == [0, 0]
    assert found["4 s"]["faulty"] == [2, 2]
    noisy = measure.in_noise(split, {"rain": paths[:1]}, [0, 0])
    assert set(noisy) == {"rain, +6 dB", "rain, +0 dB", "rain, -6 dB"}
    assert all(0 <= float(each["auc"]) <= 1 for each in noisy.values())


def test_a_run_continues_and_is_shown(tmp_path: Path) -> None:
    machine = MachineSet("pump", "machine", [], [])
    results = Results.open(tmp_path / "results.json", 0)
    results.content["sets"]["pump"] = {"kind": "machine", "methods": {}}
    measured = []

    def count(_: Split, seed: Sequence[int]) -> measure.Figures:
        measured.append(list(seed))
        return {"as recorded": {"normal": [seed[1], 4], "faulty": [3, 4]}}

    run.run("deliveries", count, [machine], 1, 0, results, again=False)
    run.run("deliveries", count, [machine], 2, 0, results, again=False)
    assert measured == [[0, 0], [0, 1]]
    reread = Results.open(tmp_path / "results.json", 0)
    assert table("False alarms / detected, delivered as", tables(reread.content)).splitlines()[
        -1
    ] == ("| as recorded | 12 / 75 % |")
