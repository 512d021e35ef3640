"""Label files: what is written is read again, and what other programs write is understood."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound.schemas import Event
from oddsound_workbench.errors import FolderError
from oddsound_workbench.labels.formats import LabelFormat, file_content
from oddsound_workbench.labels.reading import Label, read_labels
from oddsound_workbench.labels.stretches import recording_of
from oddsound_workbench.labels.writing import LabelWriter
from oddsound_workbench.synthesis import fan
from tests.workbench.command import read, run

EVENTS = [
    Event(start_s=0.5, end_s=0.548, kind="dropout", score=48.4, says="the sound drops out"),
    Event(start_s=3.2, end_s=3.2601, kind="impact", score=1.9, says='a "knock", 14 dB; at\t822 Hz'),
]


def labels_of(path: Path, text: str) -> list[Label]:
    path.write_text(text, encoding="utf-8")
    return read_labels(path)


@pytest.mark.parametrize("kind", LabelFormat)
@pytest.mark.parametrize("name", ["pump.wav", 'a "quoted", name;.wav', "録音 é.flac"])
def test_what_is_written_is_read(kind: LabelFormat, name: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(file_content(kind, name, 16000, EVENTS))
    first = 1 if kind is LabelFormat.AUDACITY else 2
    recording = None if kind is LabelFormat.AUDACITY else name
    assert read_labels(path) == [
        Label(0.5, 0.548, "dropout: the sound drops out", recording, first),
        Label(3.2, 3.2601, 'impact: a "knock", 14 dB; at 822 Hz', recording, first + 1),
    ]
    path.write_bytes(file_content(kind, name, 16000, []))
    assert read_labels(path) == []


@pytest.mark.parametrize("name", ["=1+1.wav", "@a.wav", "-12.wav", "+3dB.wav"])
def test_the_name_of_a_recording_is_no_formula_in_a_csv_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(file_content(LabelFormat.CSV, name, 16000, EVENTS[:1]))
    (label,) = read_labels(path)
    assert label.recording == f"./{name}"
    recording = tmp_path / name
    assert recording_of(label, path, [recording, tmp_path / "other.wav"], only=False) == recording


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_label_of_a_folder_belongs_to_no_recording(name: str, tmp_path: Path) -> None:
    (label,) = labels_of(tmp_path / "a.csv", f"start_s,end_s,file\n0,1,{name}\n")
    with pytest.raises(FolderError, match="there is no recording"):
        recording_of(label, tmp_path / "a.csv", [tmp_path / "a.wav"], only=False)


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"a\.csv is not a table: field larger than"):
        labels_of(tmp_path / "a.csv", f"start_s,end_s,text\n0,1,{'x' * 200_000}\n")


def test_an_audacity_file_has_the_form_that_audacity_exports() -> None:
    text = file_content(LabelFormat.AUDACITY, "pump.wav", 16000, EVENTS[:1]).decode()
    assert text == "0.500000\t0.548000\tdropout: the sound drops out\n"


def test_a_raven_table_has_the_columns_that_raven_needs() -> None:
    text = file_content(LabelFormat.RAVEN, "pump.wav", 44100, EVENTS).decode()
    head, first, second = (line.split("\t") for line in text.splitlines())
    assert head[:7] == [
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"),
        *("Low Freq (Hz)", "High Freq (Hz)"),
    ]
    assert first[:7] == ["1", "Spectrogram 1", "1", "0.500000", "0.548000", "0", "22050"]
    assert second[0] == "2"
    assert {len(head), len(first), len(second)} == {12}


def test_a_label_track_of_audacity(tmp_path: Path) -> None:
    text = (
        "\ufeff2.150000\t2.150000\tpoint label\r\n"
        "\\\t-1.000000\t6334.588867\r\n"
        "\r\n"
        "3,400000\t6,100000\tregion  label\r\n"
        "-0.000001\t7.0\r\n"
    )
    assert labels_of(tmp_path / "track.txt", text) == [
        Label(2.15, 2.15, "point label", None, 1),
        Label(3.4, 6.1, "region label", None, 4),
        Label(0.0, 7.0, "", None, 5),
    ]


def test_a_table_of_raven_with_two_views_and_two_files(tmp_path: Path) -> None:
    text = (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
        "\tBegin Path\tFile Offset (s)\tSpecies\n"
        "1\tWaveform 1\t1\t1.5\t4.0\t0\t8000\tC:\\data\\a.wav\t1.5\tnormal\n"
        "1\tSpectrogram 1\t1\t1.5\t4.0\t0\t8000\tC:\\data\\a.wav\t1.5\tnormal\n"
        "2\tSpectrogram 1\t1\t65.0\t66.0\t0\t8000\tC:\\data\\b.wav\t5.0\tfaulty\n"
    )
    assert labels_of(tmp_path / "table.txt", text) == [
        Label(1.5, 4.0, "normal", "C:\\data\\a.wav", 2),
        Label(5.0, 6.0, "faulty", "C:\\data\\b.wav", 4),
    ]


def test_the_text_of_a_label_is_no_heading(tmp_path: Path) -> None:
    text = "1\t2\tstart_s, end_s and Begin Time (s)\n"
    assert labels_of(tmp_path / "a.txt", text)[0].text == "start_s, end_s and Begin Time (s)"


def test_a_csv_file_of_a_person(tmp_path: Path) -> None:
    text = "Start_s;End_s;Label\n0,5;10;normal\n"
    assert labels_of(tmp_path / "a.csv", text) == [Label(0.5, 10.0, "normal", None, 2)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_file_in_another_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("1\t2\tLüfter\n".encode(encoding))
    assert [label.text for label in read_labels(tmp_path / "a.txt")] == ["Lüfter"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "0\t1\tnormal\n5.0\t3.0\tnormal\n",
            "line 2: the label ends at 3 s, before its start at 5",
        ),
        ("0\t1\n\n1 2 normal\n", "line 3: '1 2 normal' is not a label of Audacity"),
        ("0\tnormal\n", "line 1: 'normal' is not a time in seconds"),
        ("nan\t1\n", "line 1: 'nan' is not a time in a recording"),
        ("-3\t1\n", "line 1: '-3' is not a time in a recording"),
        ("\n{}\n", "line 2: '{}' is not a label of Audacity"),
        ("Selection\tBegin Time (s)\n1\t2\n", "line 1: the heading has no column 'End Time (s)'"),
        ("Begin Time (s)\tEnd Time (s)\n1\t2\n3\n", "line 3: the line has 1 values, which do not"),
        ("Begin Time (s)\tEnd Time (s)\n1\tx\n", "line 2: 'x' is not a time in seconds"),
        ("file,start_s\n", "line 1: the heading has no column 'end_s'"),
        ("file,start_s,end_s\na.wav,1,\n", "line 2: '' is not a time in seconds"),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FolderError) as raised:
        labels_of(tmp_path / "a.txt", text)
    assert str(raised.value).startswith(f"{tmp_path / 'a.txt'}, {words}")


def test_a_missing_label_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"a.txt cannot be read: No such file"):
        read_labels(tmp_path / "a.txt")


@pytest.fixture
def dropouts(configured: Path, tmp_path: Path) -> Path:
    """A folder with two recordings: one with drop-outs at 1 and 2 s, and a normal one in `b`."""
    folder = tmp_path / "recordings"
    (folder / "b").mkdir(parents=True)
    sound = fan(600, faulty=False, duration_s=4)
    soundfile.write(folder / "b" / "fan.wav", sound, 16000)
    for start in (16000, 32000):
        sound[start : start + 800] = 0
    soundfile.write(folder / "mute.wav", sound, 16000)
    return folder


@pytest.mark.parametrize(
    ("kind", "suffix"), [("audacity", ".txt"), ("raven", ".selections.txt"), ("csv", ".csv")]
)
def test_predict_writes_events_beside_the_recordings(
    kind: str, suffix: str, dropouts: Path
) -> None:
    printed = run("predict", dropouts, "--labels", kind)
    assert printed.exit_code == 0, printed.output
    assert f"2 label files, such as {dropouts / 'b' / 'fan'}{suffix}" in printed.stdout
    found = read(run("predict", dropouts / "mute.wav", "--json"))[0]["events"]
    assert [(each["start_s"], each["end_s"], each["kind"]) for each in found] == [
        (pytest.approx(start, abs=0.02), pytest.approx(start + 0.05, abs=0.02), "dropout")
        for start in (1, 2)
    ]
    labels = read_labels(dropouts / f"mute{suffix}")
    assert [(each.start_s, each.end_s, each.text) for each in labels] == [
        (each["start_s"], each["end_s"], f"{each['kind']}: {each['says']}") for each in found
    ]


def test_label_files_are_not_overwritten_without_a_word(dropouts: Path, tmp_path: Path) -> None:
    notes = dropouts / "mute.txt"
    notes.write_text("my notes")
    printed = run("predict", dropouts, "--labels", "audacity")
    assert printed.exit_code == 3
    assert f"already exist, such as {notes}; use --overwrite" in printed.stderr
    assert notes.read_text() == "my notes"
    assert not (dropouts / "b" / "fan.txt").exists()
    labels = tmp_path / "labels"
    assert run("predict", dropouts, "--labels", "csv", "--labels-dir", labels).exit_code == 0
    assert sorted(path.relative_to(labels) for path in labels.rglob("*.csv")) == [
        Path("b/fan.csv"),
        Path("mute.csv"),
    ]
    assert run("predict", dropouts, "--labels", "audacity", "--overwrite").exit_code == 0
    assert len(read_labels(notes)) == 2


def test_recordings_that_differ_in_the_suffix_keep_it(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.wav", "A.flac", "b.wav")]
    writer = LabelWriter(LabelFormat.AUDACITY, [(file, tmp_path) for file in files])
    assert [path.name for path in writer.targets.values()] == ["a.wav.txt", "A.flac.txt", "b.txt"]
    folders = [(tmp_path / name / "a.wav", tmp_path / name) for name in "xy"]
    LabelWriter(LabelFormat.CSV, folders)
    with pytest.raises(FolderError, match=r"x/a.wav and .*y/a.wav would have the same name"):
        LabelWriter(LabelFormat.CSV, folders, tmp_path / "labels")


def test_a_folder_that_cannot_be_written_is_one_line(dropouts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "below"
    printed = run("predict", dropouts, "--labels", "csv", "--labels-dir", target)
    assert printed.exit_code == 3
    assert "cannot be written" in printed.stderr


def test_options_that_need_labels_and_a_model_that_finds_no_events(dropouts: Path) -> None:
    assert run("predict", dropouts, "--overwrite").exit_code == 2
    assert run("predict", dropouts, "--labels-dir", dropouts).exit_code == 2
    assert run("predict", dropouts, "--labels", "praat").exit_code == 2
    body = read(run("predict", dropouts, "--labels", "csv", "--model", "bearing", "--json"), code=3)
    assert "the model bearing finds no events" in body["detail"]
    assert np.array_equal(sorted(dropouts.rglob("*.csv")), [])
