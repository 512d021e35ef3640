"""`oddsound retrain`: corrections become a model, if it is not worse."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from oddsound_workbench.retraining import Recording, Score, _compared, _divided
from oddsound_workbench.synthesis import fan, write_fan
from tests.workbench.command import read, run

PUMP = "hall-3/pump-07"


def recording(number: int, label: str = "normal", *, corrected: bool = False) -> Recording:
    return Recording(Path(f"{number}.wav"), f"{number:08x}{number:056x}", label, corrected)


def test_what_compares_the_models_was_trained_with_by_neither() -> None:
    normal = [recording(number, corrected=number % 2 == 0) for number in range(15)]
    fault, known_fault = recording(40, "fault"), recording(41, "fault")
    known = {normal[0].checksum[:16], known_fault.checksum[:16]}
    train, test = _divided([*normal, fault, known_fault, normal[1]], known)
    assert normal[0] in train
    assert set(test) == {*(normal[number] for number in (3, 6, 9, 12)), fault}
    assert len(train) == 11
    again_train, again_test = _divided([*normal[::-1], fault], known)
    assert set(again_test) == set(test)
    assert set(again_train) == set(train)


@pytest.mark.parametrize(
    ("old", "new", "promoted"),
    [
        ((3, 5), (0, 5), True),
        ((1, 5), (1, 5), True),
        ((0, 5), (1, 5), False),
        ((3, 5), (0, 4), False),
    ],
)
def test_a_model_is_promoted_only_if_it_is_not_worse(
    old: tuple[int, int], new: tuple[int, int], promoted: bool
) -> None:
    before, after = (Score("m", "1", alarms, 8, found, 5) for alarms, found in (old, new))
    reasons, found = _compared(before, after, 2, 1, new[1])
    assert found is promoted
    assert f"{new[0]} instead of {old[0]}" in reasons[0]
    assert f"{new[1]} instead of {old[1]}" in reasons[1]
    said = "Of 2 false alarms that were reviewed as normal, 1 are normal" in reasons[2]
    assert said is promoted
    assert _compared(before, after, 2, 1, 3)[1] is False  # it finds fewer after all


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
