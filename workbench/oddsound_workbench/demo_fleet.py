"""A fleet of synthesised machines over four weeks: one fails in the third, one falls silent.

Time is simulated; everything else is what a service does: recordings in files, a model, the history
in SQLite, states and alarms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oddsound import pipeline, runtime
from oddsound.history.sqlite import SqliteHistory
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import AlarmRule, Machine, StateEvent
from oddsound.model import Model
from oddsound_workbench.history import remember
from oddsound_workbench.synthesis import write_fan

START = datetime(2026, 11, 2, tzinfo=UTC)
WEEKS, DAYS = 4, 7
FAILING, SILENT = "hall-1/fan-03", "hall-2/fan-02"
MACHINES = ("hall-1/fan-01", FAILING, "hall-2/fan-01", SILENT)
FAILS_ON_DAY, SILENT_FROM_DAY = 16, 23
SEEN_AFTER = timedelta(days=6)
INCIPIENT, GROWTH_PER_DAY = 0.3, 0.15
"""Amplitude of the fault on its first day, and how much it grows; 1 is clearly audible."""

DURATION_S = 2.0
EVENTS = 100
COLOURS = {"normal": "green", "acknowledged": "yellow"}


@dataclass(frozen=True)
class Course:
    """How it went. states : of each machine at the end of each week; events : oldest first"""

    states: dict[str, list[str]]
    events: Sequence[StateEvent]
    recordings: int

    def alarm(self) -> StateEvent | None:
        """The first alarm of the machine that fails."""
        alarms = [event for event in self.events if event.machine == FAILING]
        return next((event for event in alarms if event.state == "active"), None)


def simulate(
    model: Model, folder: Path, recordings_per_day: int = 2, start: datetime = START
) -> Course:
    """Let the fleet run. folder : for its recordings and its history; must exist"""
    interval = timedelta(days=1) / recordings_per_day
    now = start
    ledger = Ledger(SqliteHistory(folder / "history.sqlite"), now=lambda: now)
    for machine in MACHINES:
        fields = {"model_name": model.name, "expected_every_s": interval.total_seconds()}
        ledger.register(Machine(id=machine, alarm=AlarmRule(n=3, of=4), **fields))
    states: dict[str, list[str]] = {machine: [] for machine in MACHINES}
    count = 0
    for number in range(WEEKS * DAYS * recordings_per_day):
        now = start + (number + 1) * interval
        for place, machine in enumerate(MACHINES):
            day = (now - start) / timedelta(days=1)
            if machine != SILENT or day < SILENT_FROM_DAY:
                _record(model, ledger, folder, machine, now, day, 1000 * place + number)
                count += 1
        _people(ledger, now)
        ledger.check()
        if (number + 1) % (DAYS * recordings_per_day) == 0:
            for machine in MACHINES:
                states[machine].append(ledger.machine(machine).state)
    events = [event for machine in MACHINES for event in ledger.events(machine, EVENTS).events]
    ledger.close()
    return Course(states, sorted(events, key=lambda event: event.at), count)


def _record(
    model: Model, ledger: Ledger, folder: Path, machine: str, at: datetime, day: float, seed: int
) -> None:
    """Synthesise the recording of a machine on a day, score it, add it to the history."""
    days = day - FAILS_ON_DAY
    severity = INCIPIENT + GROWTH_PER_DAY * days if machine == FAILING and days >= 0 else 0.0
    path = folder / machine / f"{at:%Y-%m-%dT%H-%M-%SZ}.wav"
    write_fan(
        *(path, seed), faulty=severity > 0, duration_s=DURATION_S, severity=min(severity, 1.0)
    )
    remember(ledger, pipeline.predict(path, model, runtime.limits()), path, machine)


def _people(ledger: Ledger, now: datetime) -> None:
    """Somebody sees an alarm after some days."""
    found = ledger.machine(FAILING)
    if found.state == "active" and now - found.since >= SEEN_AFTER:
        ledger.acknowledge(FAILING, "Ada", "bearing ordered")


def show(course: Course, console: Console) -> None:
    """Print the states by week, and the sentence of the alarm."""
    table = Table("machine", *(f"week {week}" for week in range(1, WEEKS + 1)))
    for machine, states in course.states.items():
        cells = [f"[{COLOURS.get(state, 'red')}]{state}[/]" for state in states]
        table.add_row(machine, *cells)
    console.print(table)
    alarm = course.alarm()
    if alarm is not None:
        console.print(f"{alarm.at:%Y-%m-%d %H:%M}  {alarm.machine} is {alarm.state}: {alarm.why}")
