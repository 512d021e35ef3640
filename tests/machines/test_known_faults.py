"""A fault that is known explains why a part of the sound has shifted: it needs no second line."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddsound.history.sqlite import SqliteHistory
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.profile import BANDS, Profile
from oddsound.machines.records import Machine
from tests.machines.conftest import hour
from tests.machines.hearing import Clock, prediction
from tests.workbench.command import run

pytestmark = pytest.mark.slow

PUMP = "hall-3/pump-07"
FAULT, MICROPHONE = 9.0, -9.0


class Heard:
    """A machine with 20 normal recordings, and more as a test adds them, one an hour."""

    def __init__(self, path: Path) -> None:
        self.clock, self._rng, self._number = Clock(), random.Random(1), 0
        self.ledger = Ledger(SqliteHistory(path), now=self.clock)
        self.ledger.register(Machine(id=PUMP, model_name="fan"))
        self.add(20)

    def add(
        self, count: int, *, anomalous: bool = False, time: float = 0, level: float = 0
    ) -> None:
        for _ in range(count):
            self.clock.now = at = hour(self._number)
            profile = Profile(
                trained_with=30,
                level=self._rng.gauss(level, 1),
                bands=[self._rng.gauss(0, 1) for _ in range(BANDS)],
                time=[self._rng.gauss(time if place < 4 else 0, 1) for place in range(11)],
            )
            found = prediction(anomalous=anomalous, profile=profile)
            key = f"{self._number}.wav"
            self.ledger.record(found, Origin(PUMP, at, "s3", key, key))
            self._number += 1


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    made = Heard(tmp_path / "history.sqlite")
    yield made
    made.ledger.close()


def kind(heard: Heard) -> tuple[str | None, bool]:
    """The kind of drift, and whether an alarm explains it."""
    info = heard.ledger.machine(PUMP)
    return info.drift.kind if info.drift else None, info.drift_explained


def test_an_open_alarm_explains_that_a_part_has_shifted(heard: Heard, tmp_path: Path) -> None:
    heard.add(15, anomalous=True, time=FAULT)
    assert heard.ledger.machine(PUMP).state == "active"
    assert kind(heard) == ("part", True)
    heard.ledger.acknowledge(PUMP, "Ada", "bearing ordered")
    assert kind(heard) == ("part", True)
    listed = run("machines", "list", "--history", tmp_path / "history.sqlite").stdout
    assert "acknowledged" in listed
    assert "part" not in listed


def test_a_fault_that_is_known_and_over_is_compared_no_more(heard: Heard) -> None:
    heard.add(15, anomalous=True, time=FAULT)
    heard.ledger.acknowledge(PUMP, "Ada", "bearing ordered")
    heard.add(2)
    assert heard.ledger.machine(PUMP).state == "normal"
    assert kind(heard) == (None, False)
    # The alarm is over with the second normal recording: the first one is within it.
    assert heard.ledger.drift(PUMP).recordings == 20 + 1


def test_a_fault_that_nobody_has_seen_is_compared(heard: Heard) -> None:
    heard.add(15, anomalous=True, time=FAULT)
    heard.add(2)
    assert heard.ledger.machine(PUMP).state == "returned"
    assert heard.ledger.drift(PUMP).recordings == 30


def test_a_part_that_shifts_without_an_alarm_needs_attention(heard: Heard) -> None:
    heard.add(15, time=FAULT)
    assert kind(heard) == ("part", False)


def test_an_alarm_does_not_explain_another_recorder(heard: Heard) -> None:
    heard.add(15, anomalous=True, level=MICROPHONE)
    assert heard.ledger.machine(PUMP).state == "active"
    assert kind(heard) == ("everything", False)


def test_recordings_that_were_reviewed_as_faults_are_not_compared(heard: Heard) -> None:
    heard.add(15, time=FAULT)
    for number in range(20, 35):
        heard.ledger.review(f"{number}.wav", "fault", "Ada")
    assert heard.ledger.drift(PUMP).kind == "none"
