"""The benchmark of detection: sets, splits, figures, thresholds, resuming, tables."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import stats

from benchmarks.detection import baselines, coverage, data, run
from benchmarks.detection.data import MachineSet
from benchmarks.detection.methods import METHODS
from benchmarks.detection.protocol import (
    figures,
    harmonic_mean,
    measure,
    out_of_fold,
    split,
    t_quantile,
)
from benchmarks.detection.results import Results
from benchmarks.detection.tables import combined, tables
from oddsound_workbench.errors import FolderError
from oddsound_workbench.synthesis import write_fan
from tests.pages import table

pytestmark = pytest.mark.slow

NORMALS, ANOMALIES = 12, 4
CLIPS = ("mahalanobis", "nearest", "lof", "isolation_forest")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines; the anomalies of the second are in two folders."""
    folder = tmp_path_factory.mktemp("machines")
    for number, name in enumerate(("pump", "saw")):
        for seed in range(NORMALS):
            path = folder / name / "normal" / f"{seed:02}.wav"
            write_fan(path, 100 * number + seed, faulty=False, duration_s=1)
        for seed in range(ANOMALIES):
            fault = "worn" if name == "saw" and seed % 2 else "abnormal"
            path = folder / name / fault / f"{seed:02}.wav"
            write_fan(path, 100 * number + 50 + seed, faulty=True, duration_s=1)
    (folder / "SOURCE.md").write_text("not a machine")
    return folder


def measured(machines: Path, results: Path, *options: str) -> bytes:
    run.main([str(machines), "--results", str(results), "--splits", "2", *options])
    return results.read_bytes()


@pytest.mark.slow
def test_the_coverage_of_intervals_is_measured(
    machines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coverage, "MIN_HELD_OUT", 6)
    coverage.main(machines, draws=1)
    found = capsys.readouterr().out
    assert "| Draws | 2 | 2 |  |  |  |" in found
    assert len(found.splitlines()) == 12


def test_a_count_of_held_out_alarms_is_compared_with_the_interval() -> None:
    def draw(alarms: int, held_out: int) -> coverage.Draw:
        return coverage.Draw(20, alarms, held_out, 1.0, 0.2)

    limits = draw(0, 16).interval
    assert 0 < limits.low < 0.1 < limits.high < 0.6
    # None of 16 is possible at a rate of 6 %, none of 1000 is not.
    assert draw(0, 16).side == 0
    assert draw(0, 1000).side == -1
    assert draw(200, 1000).side == 0
    assert draw(600, 1000).side == 1


def test_each_machine_is_a_set_of_normal_and_anomalous_recordings(machines: Path) -> None:
    sets = data.machine_sets(machines)
    assert [each.name for each in sets] == ["pump", "saw"]
    assert [len(each.normal) for each in sets] == [NORMALS, NORMALS]
    assert {path.parent.name for path in sets[1].anomalous} == {"abnormal", "worn"}


def test_a_folder_without_machines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="has no machines: each is a subfolder"):
        data.machine_sets(tmp_path)


def test_the_fan_and_the_classes_of_esc10_are_level_normalised(
    machines: Path, tmp_path: Path
) -> None:
    fan = data.fan_set(machines / "saw", tmp_path)
    classes = {each.name: each for each in data.esc10_sets(machines / "saw", tmp_path)}
    assert list(classes) == ["esc10_abnormal", "esc10_normal", "esc10_worn"]
    assert len(classes["esc10_worn"].anomalous) == NORMALS + ANOMALIES / 2
    for path in [*fan.normal, *fan.anomalous, *classes["esc10_worn"].normal]:
        assert np.sqrt(np.mean(soundfile.read(path)[0] ** 2)) == pytest.approx(0.05, rel=1e-4)


def test_a_level_normalised_set_has_the_same_checksum_in_every_run(
    machines: Path, tmp_path: Path
) -> None:
    checksums = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        checksums.add(data.fan_set(machines / "pump", tmp_path / name).checksum())
        time.sleep(1.1)  # libsndfile would write another second
    assert len(checksums) == 1


def test_a_checksum_depends_on_content_and_not_on_the_folder(
    machines: Path, tmp_path: Path
) -> None:
    pump, saw = data.machine_sets(machines)
    (tmp_path / "copies").symlink_to(machines)
    assert data.machine_sets(tmp_path / "copies")[0].checksum() == pump.checksum()
    assert pump.checksum() != saw.checksum()


def test_half_of_the_normals_train_and_no_recording_is_in_both_parts() -> None:
    machine = MachineSet("pump", data.MACHINE, [Path(str(n)) for n in range(11)], [Path("a")])
    splits = [split(machine, number, seed=0) for number in range(5)]
    for each in splits:
        assert (len(each.train), len(each.normal)) == (5, 6)
        assert {*each.train, *each.normal} == set(machine.normal)
    assert len({tuple(sorted(each.train)) for each in splits}) == 5
    assert splits[3] == split(machine, 3, seed=0)
    assert splits[3] != split(machine, 3, seed=1)


def test_the_figures_are_those_that_one_can_count_by_hand() -> None:
    # Of 10 x 2 pairs, the anomaly at 8.5 is above 9 normals and the one at 20 above all 10.
    found = figures(np.arange(10.0), np.array([8.5, 20.0]), threshold=8)
    assert found["auc"] == pytest.approx(19 / 20)
    # Up to a false-alarm rate of 0.1, half of the anomalies are found: area 0.05. McClish's
    # formula maps 0.005 (chance) to 0.5 and 0.1 (perfect) to 1.
    assert found["pauc"] == pytest.approx(0.5 * (1 + (0.05 - 0.005) / (0.1 - 0.005)))
    assert found["false_alarm_rate"] == 0.2
    assert found["detection_rate"] == 1


def test_a_score_at_the_threshold_is_an_alarm() -> None:
    found = figures(np.array([1.0, 2.0]), np.array([2.0, 3.0]), threshold=2)
    assert (found["false_alarm_rate"], found["detection_rate"]) == (0.5, 1)


def test_the_threshold_leaves_the_promised_share_of_normal_scores_below_it() -> None:
    expected = 2 + stats.t.ppf(0.9, 2) * 1 * np.sqrt(1 + 1 / 3)
    assert t_quantile(np.array([1.0, 2.0, 3.0])) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 7))
    below = np.mean([row[6] < t_quantile(row[:6]) for row in rows])
    assert below == pytest.approx(0.9, abs=0.02)


def test_an_out_of_fold_score_comes_from_a_fit_without_the_recording() -> None:
    paths = [Path(str(number)) for number in range(7)]
    scores = out_of_fold(lambda train: lambda tested: np.array([p in train for p in tested]), paths)
    assert scores.tolist() == [0] * 7


def test_the_harmonic_mean_is_that_of_rates() -> None:
    assert harmonic_mean([0.5, 1.0]) == pytest.approx(2 / 3)
    assert harmonic_mean([0.0, 1.0]) == 0


def test_rates_are_averaged_arithmetically() -> None:
    one = {"auc": 0.5, "pauc": 0.5, "false_alarm_rate": 0.0, "detection_rate": 0.5}
    two = {"auc": 1.0, "pauc": 1.0, "false_alarm_rate": 0.2, "detection_rate": 1.0}
    assert combined([one, two]) == pytest.approx(
        {"auc": 2 / 3, "pauc": 2 / 3, "false_alarm_rate": 0.1, "detection_rate": 0.75}
    )


@pytest.mark.parametrize("name", [*CLIPS, "gmm"])
def test_a_baseline_ignores_the_gain(name: str, machines: Path, tmp_path: Path) -> None:
    (pump, _) = data.machine_sets(machines)
    path = pump.normal[0]
    waveform, sample_rate = soundfile.read(path)
    soundfile.write(tmp_path / "softer.wav", waveform / 10, sample_rate, "FLOAT")
    score = METHODS[name].fit(pump.normal[6:]).score([path, tmp_path / "softer.wav"])
    assert score[1] == pytest.approx(score[0], abs=0.01)


def test_the_autoencoder_sees_each_frame_with_the_four_that_follow(machines: Path) -> None:
    path = data.machine_sets(machines)[0].normal[0]
    frames, windows = baselines.log_mel(path), baselines._windows(path)
    assert windows.shape == (len(frames) - 4, 640)
    assert frames.mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_array_equal(windows[3], frames[3:8].ravel())


def test_an_interrupted_run_continues_and_gives_the_same_file(
    machines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("--methods", "mahalanobis,nearest")
    whole = measured(machines, tmp_path / "whole.json", *methods)
    assert measured(machines, tmp_path / "again.json", *methods) == whole

    calls = 0

    def interrupted(*parts: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return measure(*parts)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(run, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measured(machines, tmp_path / "parts.json", *methods)
    done = json.loads((tmp_path / "parts.json").read_text())["sets"]
    assert len(done["saw"]["methods"]["mahalanobis"]) == 1
    calls = 10
    monkeypatch.setattr(run, "measure", interrupted)
    assert measured(machines, tmp_path / "parts.json", *methods) == whole
    assert calls == 10 + 8 - 3
    measured(machines, tmp_path / "parts.json", *methods, "--again", "--sets", "pump")
    assert calls == 10 + 8 - 3 + 4


def test_changed_recordings_are_measured_again(machines: Path, tmp_path: Path) -> None:
    pump = data.machine_sets(machines)[0]
    results = Results.open(tmp_path / "results.json", seed=0)
    results.enter(pump)
    results.splits("pump", "lof").append({"auc": 1.0})
    results.save()
    results = Results.open(tmp_path / "results.json", seed=0)
    results.enter(pump)
    assert results.splits("pump", "lof") == [{"auc": 1.0}]
    results.enter(MachineSet("pump", data.MACHINE, pump.normal[1:], pump.anomalous))
    assert results.splits("pump", "lof") == []


def test_results_of_another_seed_are_not_mixed(machines: Path, tmp_path: Path) -> None:
    measured(machines, tmp_path / "results.json", "--methods", "nearest")
    with pytest.raises(SystemExit, match="pass another file to --results"):
        measured(machines, tmp_path / "results.json", "--methods", "nearest", "--seed", "1")


def test_the_tables_show_means_and_what_is_not_installed() -> None:
    def entry(kind: str, *aucs: float) -> dict[str, object]:
        rates = {"false_alarm_rate": 0.125, "detection_rate": 0.75}
        splits = [{"auc": auc, "pauc": auc, **rates} for auc in aucs]
        return {"kind": kind, "methods": {"mahalanobis": splits}}

    content = {
        "not_installed": ["pyod_embedding"],
        "sets": {
            "esc10_rain": entry("esc10", 0.5),
            "esc10_rooster": entry("esc10", 1.0),
            "pump": entry("machine", 0.9, 1.1),
            "saw": entry("machine", 0.5, 0.5),
        },
    }
    text = tables(content)
    assert table("Method", text).splitlines()[2:4] == [
        "| Mahalanobis (Ledoit-Wolf) | 0.667 | 0.667 | 12.5 % | 75.0 % | 2 |",
        "| PyOD EmbeddingOD.for_audio | not installed |  |  |  |  |",
    ]
    assert table("AUC / pAUC", text).splitlines()[::2] == [
        "| AUC / pAUC | pump | saw | ESC-10 classes |",
        "| Mahalanobis (Ledoit-Wolf) | 1.000 / 1.000 | 0.500 / 0.500 | 0.667 / 0.667 |",
    ]
    assert "| Mahalanobis (Ledoit-Wolf) | 12 / 75 % |" in table("False alarms / detected", text)


@pytest.mark.slow
def test_every_installed_method_finds_a_clear_fault(
    machines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(machines / "pump", tmp_path / "machines" / "pump")
    results = tmp_path / "results.json"
    content = json.loads(measured(tmp_path / "machines", results, "--splits", "1"))
    for name, method in METHODS.items():
        if not method.installed:
            assert name in content["not_installed"]
            continue
        for each in content["sets"].values():
            assert each["methods"][name][0]["auc"] > 0.9, name
    assert "| DCASE autoencoder |" in capsys.readouterr().out
