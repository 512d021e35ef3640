"""`oddsound retrain`: corrections become a model, if it is not worse."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy import stats

from oddsound_workbench.promotion import Pair, decide
from oddsound_workbench.retraining import Recording, _divided
from oddsound_workbench.synthesis import fan, write_fan
from tests.workbench.command import read, run

PUMP = "hall-3/pump-07"


def recording(number: int, label: str = "normal", *, corrected: bool = False) -> Recording:
    return Recording(Path(f"{number}.wav"), f"{number:08x}{number:056x}", label, corrected)


def test_what_compares_the_models_was_trained_with_by_neither() -> None:
    normal = [recording(number, corrected=number % 2 == 0) for number in range(15)]
    fault, known_fault = recording(40, "fault"), recording(41, "fault")
    known = {normal[0].checksum[:16], known_fault.checksum[:16]}
    found = _divided([*normal, fault, known_fault, normal[1]], known)
    assert found.normal == normal
    assert found.faults == [fault]
    folded = [each for fold in found.folds for each in fold]
    assert sorted(folded, key=lambda each: each.checksum) == normal[1:]
    assert [len(fold) for fold in found.folds] == [5, 5, 4]
    assert _divided([fault, *normal[::-1]], known) == found


def pairs(both: int = 0, only_new: int = 0, only_old: int = 0, neither: int = 0) -> list[Pair]:
    return [
        *[Pair(old=True, new=True, corrected=True)] * both,
        *[Pair(old=False, new=True)] * only_new,
        *[Pair(old=True, new=False, corrected=True)] * only_old,
        *[Pair(old=False, new=False)] * neither,
    ]


FOUND = pairs(both=6)


@pytest.mark.parametrize(
    ("normal", "faults", "promoted", "words"),
    [
        (pairs(only_old=3, neither=12), FOUND, True, "0 instead of 3"),
        (pairs(neither=4), FOUND, True, "0 instead of 0"),
        # One recording, or some of many, may be chance.
        (pairs(only_new=1, neither=3), FOUND, True, "a probability of 50%"),
        (pairs(only_new=3, only_old=2, neither=25), FOUND, True, "a probability of 50%"),
        # Much better, although it calls both that nobody had to correct anomalies.
        (pairs(only_new=2, only_old=28), FOUND, True, "2 instead of 28"),
        # The old model called nothing an anomaly.
        (pairs(only_new=5, neither=25), pairs(only_new=6), True, "both together are better"),
        (pairs(only_new=12, neither=18), pairs(only_new=6), False, "its threshold promises 10%"),
        # What is much worse is refused, also with few recordings.
        (pairs(only_new=8, only_old=1, neither=60), FOUND, False, "is hardly chance"),
        (pairs(only_new=3, neither=1), FOUND, False, "its threshold promises 10%"),
        (pairs(only_new=9, only_old=9, neither=10), FOUND, False, "of the 19 that nobody had to"),
        # Faults.
        (pairs(neither=9), pairs(both=7, only_old=1), True, "may be chance"),
        (pairs(neither=9), pairs(both=11, only_old=3), False, "is hardly chance"),
        (pairs(neither=9), pairs(only_old=1), False, "less than 75%"),
        (pairs(neither=9), pairs(both=2, only_old=1, only_new=1), True, "3 instead of 3"),
    ],
)
def test_a_model_is_promoted_if_it_is_not_worse_beyond_chance(
    normal: list[Pair], faults: list[Pair], promoted: bool, words: str
) -> None:
    found = decide(normal, faults, 0.1)
    assert found.promoted is promoted
    assert words in " ".join(found.reasons)
    assert ("so the old one stays" in found.reasons[-1]) is not promoted


def test_the_test_is_mcnemars() -> None:
    """SciPy's exact binomial test of the recordings on which the models differ."""
    expected = stats.binomtest(7, 9, 0.5, alternative="greater").pvalue
    found = decide(pairs(only_new=7, only_old=2, neither=90), FOUND, 0.9)
    assert f"a probability of {expected:.0%} " in found.reasons[1]


@pytest.fixture
def machine(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models, and a history with a machine that is scored by `fan`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.parent, tmp_path / "models")
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(tmp_path / "models" / "models.json"))
    run("machines", "add", PUMP, "--model", "fan")
    return tmp_path


def humming(path: Path, seed: int) -> Path:
    """A normal fan beside which another machine hums: the model of the fan does not know it."""
    sound = fan(seed, faulty=False, duration_s=2)
    time_s = np.arange(len(sound)) / 16000
    soundfile.write(path, sound + 0.1 * np.sin(2 * np.pi * 900 * time_s), 16000, "PCM_16")
    return path


def scored(*files: Path) -> list[Any]:
    found: list[Any] = read(run("predict", *files, "--machine", PUMP, "--json"))
    return found


def reviewed(label: str, *files: Path) -> None:
    for file in files:
        assert run("review", file, "--label", label).exit_code == 0


def test_too_few_reviews_are_named(machine: Path) -> None:
    files = [write_fan(machine / f"{n}.wav", 300 + n, faulty=False, duration_s=2) for n in range(2)]
    scored(*files)
    reviewed("normal", *files)
    found = read(run("retrain", PUMP, "--json"), code=11)
    assert found["promoted"] is False
    text = " ".join(found["missing"])
    assert "10 are needed" in text
    assert "No recording is reviewed as a fault" in text
    assert read(run("machines", "list", "--json"))["machines"][0]["model_name"] == "fan"
    assert read(run("retrain", "nobody", "--json"), code=3)["error"] == "UnknownMachineError"


@pytest.mark.slow
def test_a_false_alarm_that_was_marked_normal_does_not_alarm_again(
    machine: Path, no_plots: None
) -> None:
    normal = [
        write_fan(machine / f"n{n:02}.wav", 300 + n, faulty=False, duration_s=2) for n in range(18)
    ]
    false_alarms = [humming(machine / f"h{n}.wav", 400 + n) for n in range(4)]
    faults = [
        write_fan(machine / f"f{n}.wav", 500 + n, faulty=True, duration_s=2) for n in range(3)
    ]
    assert all(found["is_anomaly"] for found in scored(*false_alarms, *faults))
    scored(*normal)
    reviewed("normal", *normal, *false_alarms)
    reviewed("fault", *faults)
    found = read(run("retrain", PUMP, "--json"))
    assert found["promoted"] is True, found["reasons"]
    assert (found["corrected"], found["corrected_still_alarm"]) == (4, 0)
    assert found["new"]["detected"] == found["old"]["detected"] == 3
    assert found["new"]["false_alarms"] <= found["old"]["false_alarms"]
    info = read(run("machines", "list", "--json"))["machines"][0]
    assert info["model_name"] == found["model"] == "hall-3-pump-07"
    entries = json.loads((machine / "models" / "models.json").read_text())
    assert set(entries) == {"bearing", "fan", "hall-3-pump-07"}
    again = scored(*false_alarms, *faults)
    assert [result["is_anomaly"] for result in again] == 4 * [False] + 3 * [True]


@pytest.mark.slow
def test_a_model_that_learnt_faults_as_normal_is_refused(machine: Path, no_plots: None) -> None:
    """Somebody reviewed faults as normal; the others are not found any more."""
    normal = [
        write_fan(machine / f"n{n:02}.wav", 300 + n, faulty=False, duration_s=2) for n in range(9)
    ]
    faults = [
        write_fan(machine / f"f{n}.wav", 500 + n, faulty=True, duration_s=2) for n in range(12)
    ]
    scored(*normal, *faults)
    reviewed("normal", *normal, *faults[:9])
    reviewed("fault", *faults[9:])
    found = read(run("retrain", PUMP, "--json"), code=11)
    assert found["promoted"] is False
    assert found["new"]["detected"] < found["old"]["detected"]
    assert found["reasons"][-1] == "The new model is worse, so the old one stays in use."
    assert read(run("machines", "list", "--json"))["machines"][0]["model_name"] == "fan"


@pytest.mark.slow
def test_false_alarms_of_a_real_machine_are_corrected(
    real_data: Path, machine: Path, no_plots: None
) -> None:
    """A bearing that a model of its first recordings does not know well."""
    bearing = real_data / "machines" / "femto_bearing3_1"
    normal = sorted((bearing / "normal").glob("*.flac"))
    faults = sorted((bearing / "abnormal").glob("*.flac"))[:4]
    (machine / "first").mkdir()
    for path in normal[:6]:
        shutil.copy(path, machine / "first")
    run("train", machine / "first", "--name", "first", "--models", "models/models.json")
    run("machines", "add", PUMP, "--model", "first")
    later = normal[6::2]
    found = scored(*later, *faults)
    false_alarms = [path for path, each in zip(later, found, strict=False) if each["is_anomaly"]]
    assert len(false_alarms) >= 3
    reviewed("normal", *later)
    reviewed("fault", *faults)
    result = read(run("retrain", PUMP, "--json"))
    assert result["promoted"] is True, result["reasons"]
    assert result["corrected"] == len(false_alarms)
    assert not any(each["is_anomaly"] for each in scored(*false_alarms))
    assert all(each["is_anomaly"] for each in scored(*faults))
