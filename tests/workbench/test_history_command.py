"""`oddsound history`: a machine's rows as a table, CSV and JSON, read in pages."""

import csv
import io
from pathlib import Path

import pytest

from oddsound.history.sqlite import SqliteHistory
from oddsound.machines import ledger as ledgers
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import HistoryRow, Machine, Review
from oddsound.schemas import Event
from tests.machines.conftest import hour, row
from tests.workbench.command import read, run

PUMP = "hall-3/pump-07"
KNOCK = Event(start_s=1.25, end_s=1.4, kind="impact", score=2, says='a knock, "14 dB"')
REVIEW = Review(label="fault", note="Lager, links", person="Ada", at=hour(9))
WARNINGS = ["clipped", "a drop-out"]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[HistoryRow]:
    """Six rows, newest first, which are read in pages of three; the newest has everything."""
    monkeypatch.setattr(ledgers, "PAGE", 3)
    monkeypatch.setenv("HISTORY", str(tmp_path / "history.sqlite"))
    made = [row(number) for number in range(5)]
    made.append(row(5, events=[KNOCK], review=REVIEW, warnings=WARNINGS, prediction="anomaly"))
    store = SqliteHistory(tmp_path / "history.sqlite")
    Ledger(store).register(Machine(id=PUMP))
    Ledger(store).register(Machine(id="new"))
    for each in made:
        store.add_row(each)
    store.close()
    return made[::-1]


def test_json_has_every_row_as_it_is_stored(rows: list[HistoryRow]) -> None:
    found = read(run("history", PUMP, "--json"))
    assert found["machine"] == PUMP
    assert [HistoryRow.model_validate(each) for each in found["rows"]] == rows
    assert read(run("history", "new", "--json")) == {"machine": "new", "rows": []}


def test_csv_has_a_line_for_every_row(rows: list[HistoryRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(run("history", PUMP, "--csv").stdout)))
    assert [line["id"] for line in lines] == [each.id for each in rows]
    first = lines[0]
    assert (first["recorded_at"], first["score"]) == ("2026-11-23T15:00:00Z", "0.25")
    assert (first["review"], first["review_note"]) == ("fault", "Lager, links")
    assert (first["event_start_s"], first["event"]) == ("1.25", 'a knock, "14 dB"')
    assert first["warnings"] == "clipped; a drop-out"
    assert (lines[1]["review"], lines[1]["event"]) == ("", "")


def test_nothing_that_a_stranger_wrote_is_a_formula(tmp_path: Path) -> None:
    """Notes come from a web page, keys from whoever uploads, and CSV is for spreadsheets."""
    store = SqliteHistory(tmp_path / "history.sqlite")
    Ledger(store).register(Machine(id=PUMP))
    review = Review(label="fault", note="@SUM(1)", person="-2+3", at=hour(9))
    store.add_row(row(0, key="=HYPERLINK(1)", review=review, score=None, level=-2.5))
    store.close()
    printed = run("history", PUMP, "--csv", "--history", tmp_path / "history.sqlite").stdout
    (line,) = csv.DictReader(io.StringIO(printed))
    assert (line["key"], line["review_note"]) == ("'=HYPERLINK(1)", "'@SUM(1)")
    assert (line["review_person"], line["level"]) == ("'-2+3", "-2.5")


def test_the_table_shows_the_newest(rows: list[HistoryRow]) -> None:
    shown = run("history", PUMP, "--limit", 2).stdout
    assert "2026-11-23 15:00 UTC" in shown
    assert "fault" in shown
    assert rows[1].key in shown
    assert rows[2].key not in shown


def test_times_bound_what_is_listed(rows: list[HistoryRow]) -> None:
    times = ("--after", "2026-11-23T11:30:00", "--before", "2026-11-23T14:00:00")
    found = read(run("history", PUMP, *times, "--json"))["rows"]
    assert [each["id"] for each in found] == [each.id for each in rows[2:4]]
    assert len(read(run("history", PUMP, *times, "--limit", 1, "--json"))["rows"]) == 1


def test_an_unknown_machine_is_an_error(rows: list[HistoryRow]) -> None:
    assert read(run("history", "nobody", "--json"), code=3)["error"] == "UnknownMachineError"
    assert run("history", "nobody", "--csv").stdout == ""
    assert run("history", PUMP, "--csv", "--json").exit_code == 2
