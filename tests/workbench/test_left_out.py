"""What is left out of a folder is counted and named."""

import json
from pathlib import Path

import pytest

from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import left_out
from oddsound_workbench.learn.recordings import audio_files, labelled
from oddsound_workbench.synthesis import write_fan
from tests.workbench.command import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, and files of all kinds that are not taken."""
    folder = tmp_path / "hall 3"
    write_fan(folder / "a.wav", 1, faulty=False, duration_s=2)
    write_fan(folder / "deep" / "b.wav", 2, faulty=False, duration_s=2)
    recording = (folder / "a.wav").read_bytes()
    (folder / "notes.txt").write_text("pump 7")
    (folder / "take7").write_bytes(recording)
    (folder / "._a.wav").write_bytes(b"from a Mac")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "c.wav").write_bytes(recording)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "gone.wav").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder)
    (folder / "linked.wav").symlink_to(folder / "a.wav")
    return folder


def test_every_file_is_taken_or_left_out_apart_from_hidden_ones(folder: Path) -> None:
    names = [path.relative_to(folder).as_posix() for path in audio_files(folder)]
    assert names == ["a.wav", "deep/b.wav", "linked.wav"]
    others = [path.relative_to(folder).as_posix() for path in left_out.left_out(folder)]
    assert others == ["._a.wav", ".cache/c.wav", "gone.wav", "loop", "notes.txt", "take7"]


def test_the_sentence_counts_all_and_names_three(folder: Path) -> None:
    (sentence,) = left_out.sentences([folder, folder / "a.wav", folder / "deep"])
    assert sentence == (
        f"Left out 6 files that are no recordings by name in {folder}: ._a.wav (hidden),"
        " .cache/c.wav (hidden), gone.wav (a link to nothing) and 3 more."
    )
    for name in ("._a.wav", "gone.wav", "notes.txt", ".cache/c.wav"):
        (folder / name).unlink()
    assert left_out.sentences([folder], full_paths=False) == [
        "Left out 2 files that are no recordings by name in hall 3: loop (a link to a folder),"
        " take7 (its content is a WAV file: rename it)."
    ]


def test_predict_says_on_stderr_what_is_left_out(folder: Path, configured: Path) -> None:
    for options in ([], ["--json"]):
        result = run("predict", folder, *options)
        assert result.exit_code == 0, result.output
        assert f"Left out 6 files that are no recordings by name in {folder}" in result.stderr
    assert [Path(each["file"]).name for each in json.loads(result.stdout)] == [
        "a.wav",
        "b.wav",
        "linked.wav",
    ]
    assert "Left out" not in run("predict", folder / "deep").stderr


def test_a_recording_that_cannot_be_read_is_not_left_out(folder: Path, configured: Path) -> None:
    (folder / "phone.m4a").write_bytes(b"#!AMR\n")
    result = run("predict", folder)
    assert result.exit_code == 1
    assert "phone.m4a: the file contains no audio (0 frames)" in " ".join(result.stderr.split())


def test_a_recording_beside_class_folders_is_reported_whatever_its_format(folder: Path) -> None:
    for name in ("one", "two"):
        write_fan(folder / "classes" / name / "a.wav", 1, faulty=False, duration_s=1)
    (folder / "classes" / "phone.m4a").write_bytes(b"x")
    with pytest.raises(FolderError, match=r"such as phone\.m4a"):
        labelled(folder / "classes")
