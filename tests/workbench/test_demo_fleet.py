"""The fleet of `make demo`: real history and alarms, in simulated time."""

from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

import oddsound
from oddsound_workbench import demo_fleet
from oddsound_workbench.demo_fleet import FAILING, MACHINES, SILENT, START


@pytest.mark.slow
def test_one_machine_fails_and_one_falls_silent(configured: Path, tmp_path: Path) -> None:
    course = demo_fleet.simulate(oddsound.load_model("fan", configured), tmp_path, 1)
    assert list(course.states) == list(MACHINES)
    assert course.recordings < 4 * 28
    assert course.states[FAILING][:2] == ["normal", "normal"]
    assert course.states[FAILING][3] == "acknowledged"
    assert course.states[SILENT] == ["normal", "normal", "normal", "silent"]
    for machine in set(MACHINES) - {FAILING, SILENT}:
        assert course.states[machine] == ["normal"] * 4
    alarm = course.alarm()
    assert alarm is not None
    assert alarm.at - START >= timedelta(days=demo_fleet.FAILS_ON_DAY)
    console = Console(record=True, width=120)
    demo_fleet.show(course, console)
    assert f"{FAILING} is active: 3 of the last 4 recordings are anomalous" in console.export_text()
