"""Tables and sentences at widths from 20 to 200 cells, with names that make it hard."""

import io
import os
import re
import unicodedata
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench.cli import predictions
from oddsound_workbench.cli.console import HarmlessConsole
from oddsound_workbench.cli.tables import (
    Cell,
    Column,
    print_facts,
    print_rows,
    print_sentence,
    shortened,
    wrapped,
)
from oddsound_workbench.synthesis import write_fan
from tests.workbench.command import read, run

WIDTHS = [40, 60, 80, 120]
NAMES = [
    "a.wav",
    "hall-3/" + "2026-11-28_" * 12 + "end.flac",
    "録音_ポンプ七号機_工場三番_二〇二六年十一月二十八日_午前十時_最終.wav",
    "e\u0301" * 90 + ".wav",
    "👩‍🔧" * 40 + ".wav",
    "\x1b]0;title\x07\x1b[31m\r\nred\x9b5m\u202etxt.wav",
]
COLUMNS = [Column("recording"), Column("verdict"), Column("when"), Column("score", number=True)]


def terminal(width: int) -> Console:
    """A terminal without colours, whose output can be read back."""
    return HarmlessConsole(
        file=io.StringIO(), force_terminal=True, color_system=None, width=width, emoji=False
    )


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def controls(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) == "Cc" or c in "\u202e\u2028"} - {"\n"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", range(1, 50, 3))
def test_a_shortened_name_keeps_its_ends_and_whole_characters(name: str, width: int) -> None:
    found = shortened(name, width)
    assert cell_len(found) <= width
    if found != name:
        head, tail = found.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert not any(map(unicodedata.combining, tail[:1]))
        # A character of two cells, and rounding, may leave cells empty.
        assert cell_len(found) >= min(width - 1, cell_len(name))


def test_a_name_that_fits_is_not_shortened() -> None:
    assert shortened("pump-07.wav", 11) == "pump-07.wav"
    assert shortened("pump-07.wav", 10) == "pum…07.wav"
    assert shortened("pump-07.wav", None) == "pump-07.wav"


@pytest.mark.parametrize("width", [20, *WIDTHS])
@pytest.mark.parametrize("name", NAMES)
def test_rows_fit_and_no_value_breaks(name: str, width: int) -> None:
    console = terminal(width)
    values = ["fire_crackling", "12:40 to 12:52", "0.987"]
    print_rows(console, COLUMNS, [[Cell(name), *map(Cell, values)]])
    lines = shown(console)
    assert max(map(cell_len, lines)) <= width
    assert all(any(value in line for line in lines) for value in values if len(value) <= width - 11)
    assert controls("".join(lines)) == set()


def test_a_table_becomes_blocks_where_it_is_too_wide() -> None:
    row = [Cell("recordings/pump-07/long-name.wav"), Cell("anomaly"), Cell(""), Cell("0.987")]
    console = terminal(30)
    print_rows(console, COLUMNS, [row])
    assert shown(console) == [
        "recording…ump-07/long-name.wav",
        "  verdict  anomaly",
        "  score    0.987",
    ]
    console = terminal(45)
    print_rows(console, COLUMNS, [row])
    assert shown(console) == [
        "recording                      verdict  score",
        "─" * 45,
        "recording…mp-07/long-name.wav  anomaly  0.987",
    ]


@pytest.mark.parametrize("width", [30, *WIDTHS])
def test_sentences_and_facts_break_between_words(width: int) -> None:
    text = "  the sound drops out for 48 ms: the samples do not change\nand: 猫猫 after 12 s"
    console = terminal(width)
    print_sentence(console, text, head="Warning: ", style="red", indent="    ")
    print_facts(console, [("version", Cell("2026-11-28-5b4e5d"))])
    print_facts(console, [("", Cell(" ".join(text.split())))])
    lines = shown(console)
    assert max(map(cell_len, lines)) <= width
    words = ["Warning:", *text.split(), "version", "2026-11-28-5b4e5d", *text.split()]
    assert " ".join(" ".join(lines).split()) == " ".join(words)


def test_a_word_wider_than_the_line_stays_whole() -> None:
    path = "/srv/recordings/pump-07/2026-11-28.wav"
    assert wrapped(f"the file {path} is empty", 20, "  ") == f"the file\n  {path}\n  is empty"


@pytest.mark.parametrize("width", WIDTHS)
def test_predictions_fit_the_terminal(
    width: int, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fan(tmp_path / "faulty.wav", 601, faulty=True, duration_s=2)
    (found,) = read(run("predict", tmp_path / "faulty.wav", "--explain", "--json"))
    prediction = Prediction.model_validate({k: v for k, v in found.items() if k != "file"})
    broken = ErrorBody(error="UnsupportedAudioError", detail="MP4 files are not supported; WAV is")
    console = terminal(width)
    monkeypatch.setattr(predictions, "out", console)
    monkeypatch.setattr(predictions, "err", console)
    results = [(Path(name), result) for name in NAMES for result in (prediction, broken)]
    predictions.print_predictions(results)
    predictions.print_warnings(results)
    lines = shown(console)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert len(re.findall(r"\banomaly\b", text)) >= len(NAMES)
    assert text.count("(UnsupportedAudioError)") == len(NAMES)
    assert text.count("throughout") == len(NAMES)
    assert controls(text) == set()


def test_without_a_terminal_names_are_complete(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "2026-11-28_" * 12 + "end.wav"
    write_fan(tmp_path / name, 600, faulty=False, duration_s=2)
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = run("predict", tmp_path).stdout.splitlines()
    assert f"{tmp_path / name}  normal" in lines[2]
    monkeypatch.setenv("COLUMNS", "60")
    assert "_end.wav  normal" in run("predict", tmp_path).stdout


def test_no_control_character_of_a_name_reaches_the_terminal(
    configured: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "\x1b[31m\x9b\r"
    write_fan(tmp_path / "ok.wav", 601, faulty=True, duration_s=2)
    folder.mkdir()
    os.rename(tmp_path / "ok.wav", folder / "\x07[b].wav")  # noqa: PTH104
    (folder / "broken.wav").write_bytes(b"RIFF")
    (found, broken) = read(run("predict", folder, "--json"), code=1)
    assert found["file"] == str(folder / "\x07[b].wav")
    assert broken["file"] == str(folder / "broken.wav")
    damaged = tmp_path / "damaged" / "\x1b[31m\n"
    damaged.mkdir(parents=True)
    for number in range(4):
        (damaged / f"{number}.wav").write_bytes(b"RIFF%d" % number)
    for arguments in (
        ["predict", folder, "--explain"],
        ["predict", folder / "missing"],
        ["predict", folder, "--model", "\x1b[31m"],
        ["predict", folder, "--models", folder / "missing"],
        ["train", folder / "missing", "--name", "x"],
        ["train", damaged, "--name", "x", "--models", tmp_path / "models.json"],
    ):
        printed = run(*arguments)
        assert controls(printed.output) == set(), arguments
        assert r"\x1b[31m" in printed.output, arguments


def test_a_table_without_rows_is_nothing() -> None:
    console = terminal(80)
    print_rows(console, COLUMNS, [])
    assert shown(console) == []
