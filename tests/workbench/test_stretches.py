"""Stretches of long recordings that label files name, as material for training."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from oddsound_workbench import assessment, training
from oddsound_workbench.errors import FolderError
from oddsound_workbench.labels.cutting import cut, duration_s
from oddsound_workbench.labels.stretches import Choice, Piece, Stretch, divide, read_stretches
from oddsound_workbench.learn import left_out
from oddsound_workbench.learn.labelled import with_pieces
from oddsound_workbench.learn.plan import Plan, no_progress
from oddsound_workbench.synthesis import fan
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow

RATE = 16000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of 20 s in which a bearing is faulty from 12 to 16 s."""
    parts = [fan(number, faulty=False, duration_s=2) for number in range(6)]
    parts += [fan(100 + number, faulty=True, duration_s=2) for number in range(2)]
    parts += [fan(200 + number, faulty=False, duration_s=2) for number in range(2)]
    place = tmp_path / "recordings"
    place.mkdir()
    soundfile.write(place / "pump.flac", np.concatenate(parts), RATE, "PCM_16")
    return place


def labels(path: Path, *lines: str) -> Path:
    path.write_text("".join(line.replace(" ", "\t", 2) + "\n" for line in lines))
    return path


DEFAULT = Choice()


def stretches(
    folder: Path, *lines: str, choice: Choice = DEFAULT
) -> list[tuple[float, float, bool]]:
    file = labels(folder / "pump.txt", *lines)
    found, _ = read_stretches([file], sorted(folder.glob("*.flac")), duration_s, choice)
    return [(each.start_s, each.end_s, each.faulty) for each in found]


def test_labels_become_stretches_by_time(folder: Path) -> None:
    found = stretches(folder, "16 20.05 OK", "12 16 Faulty", "0 8 ", "6 12 normal", "1 2 talk")
    assert found == [(0, 12, False), (12, 16, True), (16, 20, False)]


def test_the_texts_that_count_can_be_chosen(folder: Path) -> None:
    choice = Choice(["runs  well"], ["impact"])
    lines = ("0 4 Runs well", "4 5 impact: a knock", "5 8 normal", "8 9 impacts", "9 10 ")
    assert stretches(folder, *lines, choice=choice) == [(0, 4, False), (4, 5, True)]
    with pytest.raises(FolderError, match="'ok' cannot be both normal and faulty"):
        Choice(["ok"], ["OK"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "19 20.2 normal",
            "the stretch from 19 to 20.2 s is not in pump.flac, which lasts 20.00 s",
        ),
        ("30 31 faulty", "the stretch from 30 to 31 s is not in pump.flac"),
        ("5 5 normal", "the label marks one moment, 5 s, and not a stretch"),
        ("5 5.2 normal", "the stretch lasts 0.200 s; it must last 0.25 s or longer"),
        ("1 3 faulty", "the stretch overlaps with that of"),
    ],
)
def test_a_label_that_cannot_be_used_is_named_with_its_line(
    line: str, words: str, folder: Path
) -> None:
    with pytest.raises(FolderError) as raised:
        stretches(folder, "0 2 normal", line)
    where = f"{folder / 'pump.txt'}, line 2"
    assert f"1 label(s) cannot be used:\n  {where}: {words}" in str(raised.value)


def test_all_labels_that_cannot_be_used_are_listed(folder: Path) -> None:
    with pytest.raises(FolderError, match=r"30 label\(s\) cannot be used") as raised:
        stretches(folder, *["30 31 normal"] * 30)
    assert str(raised.value).count("is not in pump.flac") == 20
    assert str(raised.value).endswith("and 10 more")


def found_recording(name: str, content: str, *recordings: str, folder: Path) -> Path:
    paths = [folder / each for each in recordings]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    found, _ = read_stretches([folder / name], paths, lambda _: 60.0, Choice())
    return found[0].recording.relative_to(folder)


RAVEN = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin Path\n1\t1\t2\t{}\n"


@pytest.mark.parametrize(
    ("name", "content", "recordings", "expected"),
    [
        ("a.txt", "1\t2\n", ["a.wav", "b.wav"], "a.wav"),
        ("a.wav.txt", "1\t2\n", ["a.wav", "a.flac"], "a.wav"),
        ("a.b.Table.1.selections.txt", "1\t2\n", ["a.wav", "a.b.wav"], "a.b.wav"),
        ("Lu\u0308fter.txt", "1\t2\n", ["L\u00fcfter.wav", "b.wav"], "L\u00fcfter.wav"),
        ("x/a.txt", "1\t2\n", ["a.wav", "x/a.wav"], "x/a.wav"),
        ("Label Track.txt", "1\t2\n", ["a.wav"], "a.wav"),
        ("t.txt", RAVEN.format("C:\\data\\x\\a.wav"), ["a.wav", "x/a.wav"], "x/a.wav"),
        ("t.txt", RAVEN.format("/data/b.wav"), ["a.wav", "b.wav"], "b.wav"),
        ("t.csv", "file,start_s,end_s\nb c.wav,1,2\n", ["a.wav", "b\tc.wav"], "b\tc.wav"),
    ],
)
def test_a_label_finds_its_recording(
    name: str, content: str, recordings: list[str], expected: str, tmp_path: Path
) -> None:
    assert found_recording(name, content, *recordings, folder=tmp_path) == Path(expected)


@pytest.mark.parametrize(
    ("name", "content", "recordings", "words"),
    [
        (
            "c.txt",
            "1\t2\n",
            ["a.wav", "b.wav"],
            "no recording fits the name of the label file",
        ),
        ("a.txt", "1\t2\n", ["x/a.wav", "y/a.wav"], "a.txt may mean"),
        ("t.txt", RAVEN.format("c.wav"), ["a.wav"], "there is no recording c.wav"),
    ],
)
def test_a_label_without_one_recording_is_refused(
    name: str, content: str, recordings: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(FolderError, match=words):
        found_recording(name, content, *recordings, folder=tmp_path)


def pieces(piece_s: float, *spans: Any) -> list[Piece]:
    return divide(
        [Stretch(Path(name), start, end, faulty, "") for name, start, end, faulty in spans], piece_s
    )


def test_stretches_are_divided_into_pieces_of_about_a_window() -> None:
    found = pieces(10, ("a", 0, 14, False), ("a", 20, 36, False), ("a", 40, 44, False))
    assert [(each.start_s, each.end_s) for each in found] == [(0, 14), (20, 28), (28, 36), (40, 44)]


@pytest.mark.parametrize(("minutes", "groups"), [(1, 6), (10, 10), (60, 10)])
def test_groups_of_one_recording_are_blocks_of_time(minutes: int, groups: int) -> None:
    found = pieces(10, ("a", 0, 30 * minutes, False), ("a", 30 * minutes, 60 * minutes, False))
    names = [each.group for each in found]
    assert len(names) == 6 * minutes
    assert len(set(names)) == groups
    # Each group is one block: its pieces follow each other.
    assert sum(a != b for a, b in pairwise(names)) == groups - 1
    sizes = [names.count(name) for name in set(names)]
    assert max(sizes) - min(sizes) <= 1


def test_four_recordings_are_groups_of_their_own() -> None:
    found = pieces(10, *((name, 0, 100, False) for name in "abcd"), ("e", 0, 10, True))
    assert len({each.group for each in found if not each.faulty}) == 4
    three = pieces(10, *((name, 0, 100, False) for name in "abc"), ("d", 0, 10, True))
    assert len({each.group for each in three if not each.faulty}) == 30


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("wav", "PCM_U8"), ("flac", "PCM_24"), ("wav", "FLOAT"), ("au", "PCM_16")],
)
def test_a_piece_has_the_samples_of_its_recording(
    suffix: str, subtype: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"noise.{suffix}"
    soundfile.write(path, rng.uniform(-1, 1, (12 * RATE, 2)), RATE, subtype)
    (tmp_path / "x").mkdir()
    whole, _ = soundfile.read(path, dtype="float64")
    spans = [(0.0, 1.0), (1.0, 4.5), (4.75, 5.25), (9.9, 12.0)]
    parts = [Piece(path, start, end, False, "") for start, end in spans]
    files = cut(parts, tmp_path / "x")
    for (start, end), file in zip(spans, files, strict=True):
        found, rate = soundfile.read(file, dtype="float64")
        assert rate == RATE
        assert np.array_equal(found, whole[round(start * RATE) : round(end * RATE)])
    if subtype.startswith("PCM") and subtype != "PCM_24":
        assert soundfile.info(files[0]).subtype == subtype
    (tmp_path / "y").mkdir()
    assert [file.read_bytes() for file in cut(parts, tmp_path / "y")] == [
        file.read_bytes() for file in files
    ]


def test_a_recording_that_ends_before_its_piece_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    piece = Piece(folder / "pump.flac", 18, 22, False, "")
    with pytest.raises(FolderError, match=r"pump.flac ends before 22 s, the end of a stretch"):
        cut([piece], tmp_path / "x")


def test_a_plan_with_labels_has_pieces_and_leaves_nothing_behind(folder: Path) -> None:
    file = labels(folder / "pump.txt", "0 12 normal", "12 16 faulty", "16 20 ok", "3 4 a door")
    plan = Plan(folder, "pump", folder / "models.json", window_s=2, label_files=(file,))
    with with_pieces(plan, no_progress) as found:
        assert found.pieces is not None
        place = found.pieces.folder
        normal, faulty = found.normal_recordings(), found.anomalous_recordings()
        assert [duration_s(each.path) for each in (*normal, *faulty)] == [2.0] * 10
        assert len({each.group for each in normal}) == 8
        assert str(found.name_of(normal[1].path)) == "pump.flac/2.00 to 4.00 s.wav"
        origin = found.origins[faulty[0].path]
        assert (origin.recording, origin.start_s, origin.end_s) == (folder / "pump.flac", 12, 14)
        assert "2 normal stretches (16 s), 1 faulty stretch (4 s)" in found.notes[0]
        assert "'a door' (1)" in found.notes[1]
    assert not place.exists()


@pytest.mark.usefixtures("no_plots")
def test_train_and_evaluate_with_labels(folder: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "Label Track.txt", "0 12 normal", "12 16 faulty", "16 20 ok")
    models = tmp_path / "models" / "models.json"
    plan = Plan(folder / "pump.flac", "pump", models, window_s=2, label_files=(file,))
    trained = training.train(plan)
    assert trained.result.metrics()["detection_rate"] == 1
    assert "Labels of 1 recording: 2 normal stretches (16 s)" in trained.report
    details = json.loads((trained.folder / "training.json").read_text())
    assert len(details["recordings"]) == 8
    html = (trained.folder / "report.html").read_text()
    assert "oddsound-" not in html
    assert "Label Track.txt" in html
    (found,) = read(run("predict", folder, "--models", models, "--model", "pump", "--json"))
    assert found["is_anomaly"] is True
    anomalous = [w["start_s"] for w in found["windows"] if w["anomaly_score"] >= 0.9]
    assert {12.0, 14.0} <= set(anomalous)
    evaluated = run(
        *("evaluate", folder, "--labels", file, "--model", "pump", "--models", models, "--json")
    )
    metrics = read(evaluated)
    assert metrics["trained_on_recordings"] == 8
    assert metrics["detection_rate"] == 1


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (["0 12 fine"], [], "there is no normal stretch; texts that count as normal: '', 'normal'"),
        (["0 12 fine"], ["--normal-label", "fine"], "the normal stretches give 1 piece(s)"),
        (["0 12 x y"], [], "labels in pump.txt: 'x y'"),
        (["12 0 normal"], [], "pump.txt, line 1: the label ends at 0 s"),
    ],
)
def test_labels_that_cannot_train_are_one_error(
    lines: list[str], options: list[str], words: str, folder: Path
) -> None:
    file = labels(folder / "pump.txt", *lines)
    command = ["train", folder, "--name", "x", "--models", folder / "models.json"]
    body = read(run(*command, "--labels", file, *options, "--json"), code=3)
    assert words in body["detail"]


def test_a_silent_piece_is_named_by_its_recording(folder: Path) -> None:
    sound = np.concatenate([np.zeros(4 * RATE), fan(1, faulty=False, duration_s=8)])
    soundfile.write(folder / "pump.flac", sound, RATE, "PCM_16")
    file = labels(folder / "pump.txt", "0 12 normal")
    plan = Plan(folder, "x", folder / "models.json", window_s=2, label_files=(file,))
    with pytest.raises(FolderError) as raised:
        assessment.of_recipe(plan, no_progress)
    assert "\n  pump.flac/0.00 to 2.00 s.wav: the recording is digital silence" in str(raised.value)


def test_label_texts_need_labels(folder: Path) -> None:
    assert run("train", folder, "--name", "x", "--normal-label", "ok").exit_code == 2
    assert run("evaluate", folder, "--faulty-label", "ok").exit_code == 2
    both = ("--labels", folder, "--each-class-as-normal")
    assert run("evaluate", folder, *both).exit_code == 2
    (folder / "empty").mkdir()
    command = ("train", folder, "--name", "x", "--models", folder / "models.json")
    body = read(run(*command, "--labels", folder / "empty", "--json"), code=3)
    assert "contains no label files (.txt, .csv, .tsv)" in body["detail"]


def test_label_files_are_not_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = labels(folder / "pump.txt", "0 12 normal")
    (folder / "notes.txt").write_text("")
    plan = Plan(folder, "x", folder / "models.json", window_s=2, label_files=(file,))
    monkeypatch.chdir(folder)
    with with_pieces(replace(plan, label_files=(Path("pump.txt"),)), no_progress) as found:
        (sentence,) = left_out.sentences(found.folders, known=found.used_label_files)
    assert sentence.startswith("Left out 1 file that is no recording by name")
    assert sentence.endswith(": notes.txt.")
