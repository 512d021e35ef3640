"""The benchmark of long recordings: its material, its measurements, and the table in the docs."""

import json
from pathlib import Path

import soundfile

from benchmarks.long import material, run
from benchmarks.long.tables import cost_ms, over_idle_mb, table, times_real_time

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "benchmarks/long/results.json").read_text(encoding="utf-8"))


def test_the_documentation_has_the_table_of_the_figures() -> None:
    assert table(FIGURES) in (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_the_targets_that_the_documentation_says_are_met() -> None:
    assert all(over_idle_mb(row) < 120 for row in FIGURES["rows"])
    hours = [row for row in FIGURES["rows"] if row["minutes"] == 60]
    assert all(times_real_time(row) > 1000 for row in hours if row["sample_rate"] == 16000)
    lengths = {row["minutes"] for row in FIGURES["rows"]}
    assert lengths == set(run.MINUTES)


def test_a_recording_has_the_length_and_the_format_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    material.write(path, material.minute([], 16000)[:16000], 16000, channels=2, minutes=3)
    found = soundfile.info(path)
    assert (found.frames, found.channels, found.format) == (3 * 16000, 2, "FLAC")


def test_figures_are_relative_to_the_sound() -> None:
    row = {"minutes": 10, "cpu_s": 0.5, "idle_mb": 100.0, "peak_mb": 108.5}
    assert times_real_time(row) == 1200
    assert round(cost_ms(row), 4) == 0.8333
    assert over_idle_mb(row) == 8.5
