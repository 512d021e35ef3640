"""`oddsound compare`: two versions judge the same recordings."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from oddsound_workbench import comparing
from oddsound_workbench.comparing import Judged, Row
from oddsound_workbench.errors import FolderError
from oddsound_workbench.synthesis import write_fan
from tests.workbench.command import read, run


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """`fan`, and before it the same model with a threshold that everything reaches."""
    entries = json.loads(trained.read_text())
    fan = entries["fan"]
    for entry in entries.values():
        for key in [key for key in entry if key.endswith("_path") and entry[key]]:
            entry[key] = str(trained.parent / entry[key])
    strict = {**fan, "version": "strict", "threshold": 0.0}
    path = tmp_path / "models.json"
    path.write_text(json.dumps({**entries, "fan": {**fan, "previous": [strict]}}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, faulty in (("a-normal", False), ("b-faulty", True)):
        write_fan(tmp_path / "new" / f"{name}.wav", 600, faulty=faulty, duration_s=2)
    return tmp_path / "new"


def test_recordings_that_change_sides_are_named(models: Path, folder: Path) -> None:
    found = read(run("compare", "fan@strict", "fan", folder, "--models", models, "--json"))
    assert found["first"] == "fan strict"
    rows = found["recordings"]
    assert [Path(row["file"]).stem for row in rows] == ["a-normal", "b-faulty"]
    assert [row["changed"] for row in rows] == [True, False]
    assert [row["first"]["is_anomaly"] for row in rows] == [True, True]
    assert [row["second"]["is_anomaly"] for row in rows] == [False, True]
    for row in rows:
        assert row["first"]["anomaly_score"] == row["second"]["anomaly_score"]


def test_the_table_for_people(
    models: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oddsound_workbench.cli.comparing.out", Console(width=200))
    plot = tmp_path / "scores.png"
    arguments = ["fan", "fan@previous", folder, "--models", models, "--plot", plot]
    result = run("compare", *arguments)
    assert result.exit_code == 0
    assert "2 of 2 recordings scored, 1 changed sides: 1 from normal to anomaly" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if "a-normal" in line]
    assert "yes" in line
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_recording_that_cannot_be_scored_does_not_stop_the_others(
    models: Path, folder: Path
) -> None:
    (folder / "c-broken.wav").write_bytes(b"RIFF")
    found = read(run("compare", "fan", "fan", folder, "--models", models, "--json"), code=1)
    assert [row["first"] is None for row in found["recordings"]] == [False, False, True]
    assert found["recordings"][2]["error"]


def test_two_models_of_different_kinds_are_compared_by_what_they_say(
    models: Path, folder: Path
) -> None:
    found = read(run("compare", "bearing", "fan", folder, "--models", models, "--json"))
    assert [row["first"]["prediction"] for row in found["recordings"]] == ["normal", "faulty"]


@pytest.mark.parametrize("text", ["", "@1", "fan@"])
def test_a_name_that_names_nothing(text: str) -> None:
    with pytest.raises(FolderError, match="names no model; use NAME, NAME@VERSION or"):
        comparing.parse(text)


def test_an_unknown_version_lists_those_that_there_are(models: Path, folder: Path) -> None:
    result = run("compare", "fan@9", "fan", folder, "--models", models)
    assert result.exit_code == 3
    assert "has no version '9'; it has" in " ".join(result.output.split())


def test_the_summary_counts_each_direction() -> None:
    def row(first: str, second: str) -> Row:
        one, other = (Judged(name, 1.0, None, None) for name in (first, second))
        return Row(Path("x.wav"), one, other)

    rows = [row("a", "b"), row("a", "b"), row("b", "a"), row("a", "a")]
    assert comparing.summary(rows) == (
        "4 of 4 recordings scored, 3 changed sides: 2 from a to b, 1 from b to a"
    )
    with pytest.raises(FolderError, match="there are no anomaly scores to plot"):
        comparing.plot(rows, "a", "b", [None, None])
