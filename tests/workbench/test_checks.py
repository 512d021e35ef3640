"""Recordings are checked before training: all bad ones are listed, and faults are counted."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import Result

from oddsound_workbench.files import printable
from oddsound_workbench.learn import checks
from oddsound_workbench.learn.recordings import Labelled, unlabelled
from oddsound_workbench.synthesis import fan, write_fan
from tests.workbench.command import run

RATE = 16000
BAD = {
    "dead.wav": "the recording is digital silence; was the microphone on?",
    "empty.wav": "the file is empty (0 bytes)",
    "short.wav": "the recording lasts 0.010 s; at least one analysis frame (0.064 s) is required",
    "text.wav": "this is not a recording: it begins with b'hello he'; supported: WAV, FLAC, OGG,"
    " MP3, AIFF, AU, CAF and W64",
    "truncated.flac": "the file is damaged",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven good recordings, two with recorder faults, and one for each reason to refuse it."""
    folder = tmp_path / "normal"
    for seed in range(7):
        write_fan(folder / f"{seed}.wav", seed, faulty=False, duration_s=2)
    soundfile.write(folder / "clipped.wav", (20 * sound(30)).clip(-1, 1), RATE)
    soundfile.write(folder / "dead.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(folder / "dropped.wav", dropped(sound(31)), RATE)
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "short.wav", sound(32)[:160], RATE)
    (folder / "text.wav").write_bytes(b"hello hello hello" * 10)
    soundfile.write(folder / "truncated.flac", sound(33), RATE)
    whole = (folder / "truncated.flac").read_bytes()
    (folder / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    return folder


def sound(seed: int) -> np.ndarray:
    return fan(seed, faulty=False, duration_s=2)


def dropped(samples: np.ndarray) -> np.ndarray:
    samples[8000:9000] = 0
    return samples


def train(folder: Path, *options: object) -> Result:
    models = folder.parent / "models" / "models.json"
    return run("train", folder, "--name", "fan", "--models", models, *options)


def test_every_bad_recording_is_listed_and_nothing_is_written(folder: Path) -> None:
    result = train(folder)
    assert result.exit_code == 3
    head, *lines = result.stderr.splitlines()
    assert "5 of 14 recordings cannot be used" in head
    assert "(--skip-bad leaves them out)" in head
    assert len(lines) == len(BAD)
    for line, (name, reason) in zip(lines, BAD.items(), strict=True):
        assert line.startswith(f"  {folder / name}: {reason}")
    assert not (folder.parent / "models").exists()


def test_the_reasons_are_those_of_predict(folder: Path, configured: Path) -> None:
    found = json.loads(run("predict", folder, "--json").stdout)
    predicted = {Path(each["file"]).name: each["detail"] for each in found if "error" in each}
    detail = json.loads(train(folder, "--json").stdout)["detail"]
    assert set(predicted) == set(BAD)
    for name, reason in predicted.items():
        assert f"{name}: {reason}" in detail


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_skip_bad_trains_without_them_and_says_so(folder: Path) -> None:
    (folder / "notes.txt").write_text("pump 7")
    result = train(folder, "--skip-bad", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    left_out = next(note for note in found["notes"] if note.startswith("Left out 5 of 14"))
    for name, reason in BAD.items():
        assert f"{name} ({reason}" in left_out
    assert found["metrics"]["normal_recordings"] == 9
    (details,) = folder.parent.rglob("training.json")
    assert set(json.loads(details.read_text())["recordings"]).isdisjoint(BAD)
    assert left_out in (details.parent / "report.txt").read_text()
    other = f"Left out 1 file that is no recording by name in {folder}: notes.txt."
    assert other in found["notes"]


@pytest.mark.parametrize("skip", [False, True])
def test_a_finished_model_is_evaluated_in_the_same_way(
    folder: Path, trained: Path, skip: bool
) -> None:
    options = ("--model", "fan", "--models", trained, *(("--skip-bad",) if skip else ()))
    result = run("evaluate", folder, *options)
    if skip:
        (folder / "notes.txt").write_text("pump 7")
        found = json.loads(run("evaluate", folder, *options, "--json").stdout)
        assert found["left_out"] == [
            f"Left out 1 file that is no recording by name in {folder}: notes.txt."
        ]
        assert result.exit_code == 0, result.output
        assert "Left out 5 of 14 recordings: dead.wav" in result.stdout
    else:
        assert result.exit_code == 3
        assert "5 of 14 recordings cannot be used" in result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_recorder_faults_of_training_recordings_are_counted(folder: Path) -> None:
    notes = json.loads(train(folder, "--skip-bad", "--json").stdout)["notes"]
    assert notes[-1] == (
        "Recorder warnings for 9 training recordings: clipping in 1 (clipped.wav);"
        " drop-outs in 1 (dropped.wav). The model learns these faults too."
    )


def test_too_few_recordings_remain(folder: Path) -> None:
    for seed in range(1, 7):
        (folder / f"{seed}.wav").unlink()
    result = train(folder, "--skip-bad")
    assert result.exit_code == 3
    assert "a detector needs at least 4 normal recordings, found 3" in " ".join(
        result.stderr.split()
    )


def test_bad_anomalies_are_listed_too(folder: Path, recordings: Path) -> None:
    result = train(recordings / "normal", "--anomalies", folder, "--models", folder / "models.json")
    assert result.exit_code == 3
    assert "5 of 38 recordings cannot be used" in result.stderr
    assert not (folder / "models.json").exists()


def test_a_low_sample_rate_is_counted_for_a_detector_and_a_classifier(tmp_path: Path) -> None:
    for seed in range(4):
        soundfile.write(tmp_path / f"{seed}.wav", sound(seed)[::2], RATE // 2)
    found = unlabelled(tmp_path, "normal")
    for extractor in ("machine", "default"):
        checked = checks.check(found, RATE, extractor)
        assert len(checked.faults["missing high frequencies"]) == 4
        assert checked.bandwidths_hz == [4000] * 4
        (note,) = checks.notes(checked, checks.Checked([], [], {}, []))
        assert "missing high frequencies in 4 (0.wav, 1.wav, 2.wav and 1 more)" in note


def test_a_file_that_cannot_be_opened_is_listed(tmp_path: Path) -> None:
    missing = Labelled(tmp_path / "gone.wav", "normal", "1")
    ((_, reason),) = checks.check([missing], RATE, "machine").bad
    assert reason == "No such file or directory"


def not_utf8(folder: Path) -> Path:
    """Give a recording a name that is not UTF-8, as old recorders do; skips if not possible."""
    path = folder / os.fsdecode(b"L\xfcfter.wav")
    try:
        return (folder / "6.wav").rename(path)
    except OSError:
        pytest.skip("this file system only allows UTF-8")


def test_a_name_that_is_not_utf8_is_printable(tmp_path: Path) -> None:
    assert printable(Path(os.fsdecode(b"a/L\xfcfter.wav"))) == r"a/L\xfcfter.wav"
    assert printable(Path("a/Lüfter.wav")) == "a/Lüfter.wav"


def test_an_error_about_a_folder_that_is_not_utf8_is_valid_json(tmp_path: Path) -> None:
    missing = tmp_path / os.fsdecode(b"L\xfcfter")
    result = run("train", missing, "--name", "x", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["detail"] == f"{missing} is not a folder"


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_a_name_that_is_not_utf8_does_not_stop_training_or_prediction(folder: Path) -> None:
    path = not_utf8(folder)
    result = train(folder, "--skip-bad", "--anomalies", folder)
    assert result.exit_code == 0, result.output
    (details,) = folder.parent.rglob("training.json")
    assert r"L\xfcfter.wav" in json.loads(details.read_text())["recordings"]
    page = (details.parent / "report.html").read_text(encoding="utf-8")
    assert "L%FCfter.wav" in page or r"L\xfcfter.wav" not in page
    models = folder.parent / "models" / "models.json"
    table = run("predict", path, "--model", "fan", "--models", models)
    assert table.exit_code == 0
    assert re.search(r"xfcfter|L\\", table.stdout)
    (found,) = json.loads(run("predict", path, "--models", models, "--json").stdout)
    assert found["file"].endswith(r"L\xfcfter.wav")
