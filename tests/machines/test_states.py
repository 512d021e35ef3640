"""The state machine of a machine: alarms, one for each fault, whatever the order of recordings."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from oddsound.machines import states
from oddsound.machines.records import AlarmRule, Machine, Status
from oddsound.machines.states import Change, Heard
from tests.machines.conftest import MONDAY, hour

PUMP = Machine(id="hall-3/pump-07", model_name="fan", expected_every_s=3600)


class Plant:
    """A machine whose recordings arrive one by one: "A" is an anomaly, "N" is normal."""

    def __init__(self, machine: Machine = PUMP) -> None:
        self.machine = machine
        self.status = Status(state="normal", since=MONDAY)
        self.heard: dict[datetime, Heard] = {}
        self.changes: list[Change] = []
        self.now = MONDAY

    def hear(self, letters: str, start: float = 0) -> "Plant":
        """Recordings of consecutive hours."""
        for number, letter in enumerate(letters):
            if letter in "AN":
                self.one(start + number, letter)
        return self

    def one(self, number: float, letter: str) -> None:
        at = hour(number)
        self.now = max(self.now, at + timedelta(minutes=1))
        self.heard[at] = Heard(at, f"row-{number:g}", letter == "A")
        times = sorted(self.heard)
        first = max(0, times.index(at) - self.machine.alarm.of + 1)
        around = [self.heard[time] for time in times[first:]]
        self.take(states.follow(self.status, self.machine, around, self.now, self.now))

    def take(self, step: tuple[Status, list[Change]]) -> list[Change]:
        self.status, changes = step
        self.changes += changes
        return changes

    def told(self) -> list[str]:
        """What others were told, in order."""
        return [f"{change.cause}: {change.state}" for change in self.changes if change.announced]

    def spans(self) -> list[tuple[datetime, datetime | None]]:
        return [(alarm.started_at, alarm.cleared_at) for alarm in self.status.alarms]


RAISED, CLEARED = "anomalies: active", "normal again: returned"


@pytest.mark.parametrize(
    ("letters", "told"),
    [
        ("NNNNN", []),
        ("NANNA", []),
        ("NAA", [RAISED]),
        ("NANA", [RAISED]),
        ("AA", [RAISED]),
        ("NAAAAAAA", [RAISED]),
        ("NAAANA", [RAISED]),
        ("NAAANN", [RAISED, CLEARED]),
        ("NAAANAN", [RAISED, CLEARED]),
        ("AANNNNNNNNN", [RAISED, CLEARED]),
    ],
)
def test_an_alarm_begins_with_two_of_three_and_ends_the_same_way(
    letters: str, told: list[str]
) -> None:
    assert Plant().hear(letters).told() == told


@pytest.mark.parametrize(
    ("n", "of", "letters", "raised"),
    [(1, 1, "NA", 1), (3, 3, "AANAA", 0), (3, 3, "AAA", 2), (3, 5, "ANANA", 4), (1, 3, "NNA", 2)],
)
def test_a_machine_has_its_own_rule(n: int, of: int, letters: str, raised: int) -> None:
    plant = Plant(PUMP.model_copy(update={"alarm": AlarmRule(n=n, of=of)})).hear(letters)
    assert [change.at for change in plant.changes] == ([hour(raised)] if raised else [])


def test_a_relapse_of_an_alarm_that_nobody_saw_is_the_same_alarm() -> None:
    plant = Plant().hear("NAANNNAANN")
    assert plant.told() == [RAISED, CLEARED, CLEARED]
    assert plant.spans() == [(hour(1), hour(9))]
    assert [change.cause for change in plant.changes][2] == "relapse"


def test_a_relapse_after_a_person_has_seen_it_is_told() -> None:
    plant = Plant().hear("NAA")
    plant.take(states.acknowledge(plant.status, PUMP, hour(2.5)))
    assert plant.status.state == "acknowledged"
    plant.hear("NNAA", 3)
    assert plant.told()[2:] == ["normal again: normal", "relapse: active"]
    assert len(plant.status.alarms) == 1


def test_an_alarm_after_a_longer_pause_is_another_one() -> None:
    plant = Plant().hear("AANN" + 12 * "N" + "AA")
    assert plant.told() == [RAISED, CLEARED, RAISED]
    assert [alarm.number for alarm in plant.status.alarms] == [1, 2]
    short = PUMP.model_copy(update={"same_alarm_within_s": 0.0})
    assert Plant(short).hear("AANNAA").told() == [RAISED, CLEARED, RAISED]


def test_repeated_recordings_change_nothing() -> None:
    plant = Plant().hear("NAANNNNAAN")
    before, told = plant.status, plant.told()
    for _ in range(3):
        plant.hear("NAANNNNAAN")
    assert (plant.status, plant.told()) == (before, told)


@pytest.mark.parametrize(
    ("letters", "order", "told"),
    [
        ("NNAAAA", [0, 1, 3, 5, 4, 2], [RAISED]),
        (
            "ANNA",
            [0, 3, 1, 2],
            [RAISED],
        ),  # at hour 3 it looked like an alarm, and nobody knew better
        ("AAAAANN", [0, 1, 5, 6, 2, 3, 4], [RAISED, CLEARED]),
        ("AAAAANN", [6, 5, 4, 3, 2, 1, 0], ["came and went: returned"]),
        ("NAAANNNN", [0, 4, 5, 6, 7, 1, 2, 3], ["came and went: returned"]),
        ("NAAANAA", [0, 4, 6, 5, 3, 2, 1], [RAISED]),
    ],
)
def test_late_recordings_neither_double_nor_miss_an_alarm(
    letters: str, order: list[int], told: list[str]
) -> None:
    plant = Plant()
    for number in order:
        plant.one(number, letters[number])
    assert plant.told() == told


def shuffled(letters: str, seed: int, delay: int) -> Sequence[int]:
    rng = random.Random(seed)
    return sorted(range(len(letters)), key=lambda number: number + rng.uniform(0, delay))


@pytest.mark.parametrize("delay", [3, 10, 50])
@pytest.mark.parametrize("seed", range(8))
def test_any_order_gives_one_alarm_for_each_fault(seed: int, delay: int) -> None:
    letters = 20 * "N" + 8 * "A" + 30 * "N" + 5 * "A" + 30 * "N" + 4 * "A"
    plant = Plant()
    for number in shuffled(letters, seed, delay):
        plant.one(number, letters[number])
        plant.one(number, letters[number])
    begun = [change for change in plant.changes if change.cause in ("anomalies", "came and went")]
    assert len(plant.status.alarms) == 3
    assert len({change.alarm for change in begun if change.announced}) == 3
    assert [start for start, _ in plant.spans()] == [hour(20), hour(58), hour(93)]
    assert [end is None for _, end in plant.spans()] == [False, False, True]
    assert plant.status.state == "active"


def test_only_the_newest_alarms_are_remembered() -> None:
    plant = Plant().hear(25 * ("AANN" + 12 * "N"))
    assert len(plant.status.alarms) == 20
    assert plant.status.forgotten_until == hour(4 * 16 + 3)
    told = plant.told()
    plant.hear("AAAA", 4 * 16 - 2.5)  # of a time that is forgotten
    assert plant.told() == told


@pytest.mark.parametrize(
    ("letters", "state"),
    [("NNAA", "acknowledged"), ("NNAANN", "normal"), ("AANNNNAA", "acknowledged")],
)
def test_a_person_acknowledges(letters: str, state: str) -> None:
    plant = Plant().hear(letters)
    plant.take(states.acknowledge(plant.status, PUMP, plant.now))
    assert plant.status.state == state
    assert plant.take(states.acknowledge(plant.status, PUMP, plant.now)) == []


def test_a_person_has_nothing_to_acknowledge_on_a_normal_machine() -> None:
    plant = Plant().hear("NNN")
    assert plant.take(states.acknowledge(plant.status, PUMP, plant.now)) == []


def check(plant: Plant, number: float) -> list[Change]:
    last = max(plant.heard, default=MONDAY)
    return plant.take(states.check(plant.status, plant.machine, last, hour(number)))


def test_a_snooze_is_silent_until_it_is_over() -> None:
    plant = Plant().hear("NN")
    plant.take(states.snooze(plant.status, PUMP, hour(6), hour(1.5)))
    plant.hear("AAA", 2)
    assert (plant.status.state, plant.told()) == ("snoozed", ["snoozed: snoozed"])
    assert check(plant, 5) == []
    check(plant, 6)
    assert (plant.status.state, plant.told()[1:]) == ("active", ["snooze ended: active"])


def test_a_snooze_over_a_normal_machine_ends_without_a_word() -> None:
    plant = Plant().hear("NN")
    plant.take(states.snooze(plant.status, PUMP, hour(3), hour(1.5)))
    plant.take(states.snooze(plant.status, PUMP, hour(3), hour(1.6)))
    check(plant, 3.5)
    assert (plant.status.state, plant.told()) == ("normal", ["snoozed: snoozed"])


def test_a_person_ends_a_snooze() -> None:
    plant = Plant().hear("AA")
    plant.take(states.snooze(plant.status, PUMP, hour(99), hour(2)))
    plant.take(states.snooze(plant.status, PUMP, hour(2), hour(2.1)))
    assert plant.status.state == "active"


def test_silence_is_found_once_after_three_intervals_and_ends_with_a_recording() -> None:
    plant = Plant().hear("NNN")
    assert check(plant, 5) == []
    for number in (5.1, 6, 7):
        check(plant, number)
    assert plant.told() == ["silence: silent"]
    plant.one(9, "N")
    assert (plant.status.state, plant.told()[1:]) == ("normal", ["heard again: normal"])


def test_an_alarm_survives_silence() -> None:
    plant = Plant().hear("NAA")
    check(plant, 9)
    assert plant.status.state == "silent"
    plant.one(10, "A")
    assert plant.told() == [RAISED, "silence: silent", "heard again: active"]


def test_a_machine_that_never_sent_anything_becomes_silent() -> None:
    plant = Plant()
    check(plant, 3.1)
    assert plant.status.state == "silent"


def test_a_machine_without_an_interval_is_never_silent() -> None:
    plant = Plant(PUMP.model_copy(update={"expected_every_s": None})).hear("NN")
    assert check(plant, 10_000) == []


@pytest.mark.parametrize(("model", "state"), [(None, "unknown"), ("fan", "normal")])
def test_the_state_follows_the_model(model: str | None, state: Any) -> None:
    machine = PUMP.model_copy(update={"model_name": model})
    status = Status(state="normal" if model is None else "unknown", since=MONDAY)
    changed, changes = states.check(status, machine, hour(1), hour(1))
    assert changed.state == state
    assert [(change.cause, change.announced) for change in changes] == [("model", False)]
