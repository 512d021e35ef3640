"""The benchmarks of machines: what is changed, divided, counted, resumed and shown."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oddsound
from benchmarks.detection.data import MachineSet
from benchmarks.detection.protocol import Split
from benchmarks.detection.results import Results
from benchmarks.drift import measure
from benchmarks.drift import run as drift_run
from benchmarks.drift.changes import CHANGES, UNCHANGED
from benchmarks.drift.tables import table as drift_table
from benchmarks.retrain import run as retrain_run
from benchmarks.retrain.measure import Case, case
from benchmarks.retrain.tables import table as retrain_table
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.augmentation import rms
from oddsound_workbench.synthesis import fan, write_fan
from tests.pages import page

RATE = 16000
SOUND = fan(1, faulty=False, duration_s=1).astype(np.float32)


def paths(count: int, name: str = "") -> list[Path]:
    return [Path(f"{name}{number}.wav") for number in range(count)]


@pytest.fixture
def pump(monkeypatch: pytest.MonkeyPatch) -> MachineSet:
    """A set whose recordings nobody reads."""
    monkeypatch.setattr(MachineSet, "checksum", lambda _: "0")
    return MachineSet("pump", "machine", paths(40), paths(12, "f"))


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_leaves_a_sound_of_the_same_length(name: str) -> None:
    apply = CHANGES[name](RATE, [0, 1])
    changed = apply(SOUND, 3)
    assert changed.dtype == np.float32
    assert changed.shape == SOUND.shape
    np.testing.assert_array_equal(changed, CHANGES[name](RATE, [0, 1])(SOUND, 3))
    assert np.array_equal(changed, SOUND) is (name == UNCHANGED)


def test_changes_have_the_sizes_of_their_names() -> None:
    def changed(name: str) -> float:
        return 20 * float(np.log10(rms(CHANGES[name](RATE, [0, 1])(SOUND, 3)) / rms(SOUND)))

    assert changed("12 dB softer") == pytest.approx(-12, abs=0.01)
    # Sounds that have nothing in common add their powers.
    assert changed("new noise, as loud as the machine") == pytest.approx(3.01, abs=0.3)
    assert changed("new noise, 10 dB softer") == pytest.approx(0.41, abs=0.1)
    assert changed("a reverberant room") == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_the_drift_is_that_of_a_machine_which_sent_the_recordings(
    configured: Path, tmp_path: Path
) -> None:
    model = oddsound.load_model("fan", configured)
    files = [
        write_fan(tmp_path / f"{n}.wav", 300 + n, faulty=False, duration_s=1) for n in range(10)
    ]
    softer = CHANGES["12 dB softer"](RATE, [0])
    assert measure._kind(model, files, CHANGES[UNCHANGED](RATE, [0])) == "none"
    assert measure._kind(model, files, lambda sound, n: softer(softer(sound, n), n)) == "everything"
    assert measure._kind(model, files[:9], softer) == "unknown"


def test_drift_is_measured_once_counted_and_shown(pump: MachineSet, tmp_path: Path) -> None:
    seen = []

    def count(parts: Split, seed: Sequence[int]) -> dict[str, str]:
        assert len(parts.train) == len(parts.normal) == 20
        seen.append(list(seed))
        kinds = dict.fromkeys(measure.CONDITIONS, "part")
        return {**kinds, UNCHANGED: "none" if seed[1] else "unknown"}

    results = Results.open(tmp_path / "results.json", 0)
    drift_run.run([pump], 1, 0, results, measure=count)
    results = Results.open(tmp_path / "results.json", 0)
    drift_run.run([pump], 3, 0, results, measure=count)
    assert seen == [[0, 0], [0, 1], [0, 2]]
    lines = drift_table(results.content).splitlines()
    assert lines[0].endswith("of 3) | pump | all |")
    assert lines[2] == "| unchanged | 2 / 0 / 0 / 1 | 2 / 0 / 0 / 1 |"
    assert lines[-1] == "| faults | 0 / 3 / 0 | 0 / 3 / 0 |"


def test_machines_with_too_few_recordings_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for machine, count in (("large", 20), ("small", 12)):
        for kind, files in (("normal", count), ("faulty", 10)):
            folder = tmp_path / machine / kind
            folder.mkdir(parents=True)
            for path in paths(files):
                (folder / path).touch()
    assert [each.name for each in drift_run.machine_sets(tmp_path)] == ["large"]
    assert "left out: small, with fewer than 10 recordings" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "large")
    with pytest.raises(FolderError, match="small"):
        drift_run.machine_sets(tmp_path)


def test_a_case_has_no_recording_twice(pump: MachineSet) -> None:
    found = case(pump, [0, 1])
    assert found == case(pump, [0, 1]) != case(pump, [0, 2])
    assert (len(found.first), len(found.later), len(found.faults)) == (10, 30, 6)
    assert {*found.first, *found.later} == set(pump.normal)
    assert {*found.faults, *found.others} == set(pump.anomalous)


def test_cases_are_measured_once_added_and_shown(pump: MachineSet, tmp_path: Path) -> None:
    counts = {
        **{"later": 30, "false_alarms": 4, "again": 1, "compared": 30, "old_alarms": 4},
        **{"new_alarms": 2, "faults": 6, "old_detected": 5, "new_detected": 6, "others": 6},
        **{"others_old": 3, "others_new": 4},
    }
    measured: list[Case] = []

    def count(parts: Case) -> dict[str, Any]:
        measured.append(parts)
        return {"promoted": len(measured) > 1, **counts}

    results = Results.open(tmp_path / "results.json", 0)
    retrain_run.run([pump], 1, 0, results, measure=count)
    retrain_run.run([pump], 2, 0, results, measure=count)
    assert len(measured) == 2
    assert retrain_table(Results.open(tmp_path / "results.json", 0).content).splitlines()[2:] == [
        "| pump | 2 | 1 | 8 of 60 | 2 | 8 / 4 of 60 | 10 / 12 of 12 | 6 / 8 of 12 |"
    ]


@pytest.mark.parametrize(
    ("results", "table"),
    [(drift_run.RESULTS, drift_table), (retrain_run.RESULTS, retrain_table)],
)
def test_the_documentation_has_the_tables_of_the_results(results: Path, table: Any) -> None:
    found = Results.open(results, 0).content
    assert len(found["sets"]) == 5
    assert table(found) in page("performance")
