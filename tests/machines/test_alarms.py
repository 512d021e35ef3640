"""Alarms from the recording to those who are told, in both stores; and a simulated fleet."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.fleet import Fleet
from oddsound.errors import (
    InvalidStateError,
    NotificationError,
    ResultNotFoundError,
    UnknownMachineError,
)
from oddsound.history.store import HistoryStore
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.notices import LEASE, Notice
from oddsound.machines.records import AlarmRule, Machine, MachineRecord
from tests.machines.conftest import hour
from tests.machines.hearing import PUMP, Clock, hear, prediction

pytestmark = pytest.mark.slow


class Told:
    """A channel that remembers, and refuses while it is told to."""

    def __init__(self, name: str = "told") -> None:
        self.name = name
        self.refuses = False
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> None:
        if self.refuses:
            raise NotificationError("the network is down")
        self.notices.append(notice)

    def states(self) -> list[str]:
        return [notice.event.state for notice in self.notices]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ledger(store: HistoryStore, told: Told, clock: Clock) -> Ledger:
    made = Ledger(store, [told], "https://plant.example/dev/", clock)
    made.register(Machine(id=PUMP, name="Coolant pump", model_name="fan", expected_every_s=3600))
    return made


def test_one_fault_is_one_notice_with_all_that_is_needed(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    hear(ledger, clock, "NNAAAAA")
    (notice,) = told.notices
    event = notice.event
    assert (notice.machine, notice.name, event.state) == (PUMP, "Coolant pump", "active")
    assert (event.at, event.key) == (hour(3), f"{PUMP}/1300.wav")
    assert event.event is not None
    assert event.event.start_s == 3.2
    assert event.why == (
        "2 of the last 3 recordings are anomalous; in the newest of them, at 3.2 s: a knock, 14 dB"
        " over usual."
    )
    row = next(row for row in ledger.history(PUMP, 10).rows if row.key == event.key)
    page = "https://plant.example/dev/ui/machine"
    assert notice.link == f"{page}?id=hall-3/pump-07&row={row.id}"
    machine = ledger.machine(PUMP)
    assert (machine.state, machine.current_alarm and machine.current_alarm.started_at) == (
        "active",
        hour(2),
    )
    clock.now = hour(48)
    ledger.check()
    assert told.notices[-1].link == f"{page}?id=hall-3/pump-07"  # silence has no recording


def test_a_person_acknowledges_and_snoozes_and_it_is_stored(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    with pytest.raises(InvalidStateError, match="state normal: there is no alarm"):
        ledger.acknowledge(PUMP, "Ada")
    hear(ledger, clock, "AA")
    assert (
        ledger.acknowledge(PUMP, "Ada", "the bearing; spare part ordered").state == "acknowledged"
    )
    assert ledger.acknowledge(PUMP, "Ada").state == "acknowledged"
    assert ledger.snooze(PUMP, hour(48), "Bob").state == "snoozed"
    assert told.states() == ["active", "acknowledged", "snoozed"]
    newest, middle, oldest = ledger.events(PUMP, 10).events
    assert (newest.person, middle.person, middle.note) == (
        *("Bob", "Ada"),
        "the bearing; spare part ordered",
    )
    assert [newest.number, middle.number, oldest.number] == [3, 2, 1]
    assert (oldest.before, oldest.state, newest.before) == ("normal", "active", "acknowledged")
    with pytest.raises(UnknownMachineError):
        ledger.acknowledge("nobody", "Ada")


def test_events_are_paged(ledger: Ledger, clock: Clock) -> None:
    hear(ledger, clock, "AA")
    ledger.acknowledge(PUMP, "Ada")
    ledger.snooze(PUMP, hour(48), "Ada")
    first = ledger.events(PUMP, 2)
    assert [event.number for event in first.events] == [3, 2]
    last = ledger.events(PUMP, 2, first.next)
    assert ([event.number for event in last.events], last.next) == ([1], None)
    with pytest.raises(UnknownMachineError):
        ledger.events("nobody", 2)


def test_repeated_recordings_tell_nobody_and_are_no_sign_of_life(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    hear(ledger, clock, "NAA")
    clock.now = hour(10)
    assert [info.state for info in ledger.check().changed] == ["silent"]
    hear(ledger, clock, "NAA")
    assert ledger.machine(PUMP).state == "silent"
    assert told.states() == ["active", "silent"]
    assert ledger.check().changed == []
    hear(ledger, clock, "A", 10)
    assert told.states() == ["active", "silent", "active"]


def test_a_machine_without_a_model_has_no_alarm(ledger: Ledger, clock: Clock, told: Told) -> None:
    ledger.register(Machine(id=PUMP))
    hear(ledger, clock, "AAAA")
    assert (ledger.machine(PUMP).state, told.notices) == ("unknown", [])
    ledger.register(Machine(id=PUMP, model_name="fan"))
    assert ledger.machine(PUMP).state == "normal"
    hear(ledger, clock, "A", 4)
    assert told.states() == ["active"]


def test_recordings_of_other_models_do_not_count(ledger: Ledger, clock: Clock, told: Told) -> None:
    hear(ledger, clock, "AAAA", model_name="other")
    hear(ledger, clock, "AA", 4, is_anomaly=None)
    assert told.notices == []


def test_what_was_not_sent_is_sent_later_to_those_who_lack_it(
    store: HistoryStore, clock: Clock
) -> None:
    works, fails = Told("works"), Told("fails")
    ledger = Ledger(store, [works, fails], None, clock)
    ledger.register(Machine(id=PUMP, model_name="fan"))
    fails.refuses = True
    hear(ledger, clock, "AANN")
    assert (works.states(), fails.states()) == (["active", "returned"], [])
    fails.refuses = False
    ledger.check()
    ledger.check()
    assert works.states() == fails.states() == ["active", "returned"]
    assert [event.state for event in ledger.events(PUMP, 9).events] == ["returned", "active"]


def test_a_process_that_ended_while_it_was_sending_is_replaced_after_a_minute(
    store: HistoryStore, clock: Clock
) -> None:
    class Killed(Told):
        def send(self, notice: Notice) -> None:
            raise KeyboardInterrupt

    first = Ledger(store, [Killed()], None, clock)
    first.register(Machine(id=PUMP, model_name="fan"))
    with pytest.raises(KeyboardInterrupt):
        hear(first, clock, "AA")
    told = Told()
    second = Ledger(store, [told], None, clock)
    second.check()
    assert told.states() == []  # the first may still be at it
    clock.now += LEASE
    second.check()
    assert told.states() == ["active"]


def test_many_functions_at_once_raise_and_send_one_alarm(
    store: HistoryStore, ledger: Ledger, clock: Clock, told: Told
) -> None:
    clock.now = hour(9)

    def record(number: int) -> None:
        at = hour(number % 6)
        origin = Origin(PUMP, at, "s3", f"{number % 6}.wav", at.isoformat(), "in")
        ledger.record(prediction(anomalous=True), origin)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(record, range(18)))
    ledger.check()
    assert told.states() == ["active"]
    assert len(ledger.history(PUMP, 100).rows) == 6
    record_stored = store.machine(PUMP)
    assert record_stored is not None
    assert record_stored.status.pending == []


def test_a_state_that_others_keep_changing_is_an_error_that_can_be_retried(
    ledger: Ledger, store: HistoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(record: MachineRecord) -> bool:
        return False

    hear(ledger, clock, "A")
    with monkeypatch.context() as patch:
        patch.setattr(store, "change_machine", lost)
        with pytest.raises(Exception, match="changed by others during 20 attempts"):
            hear(ledger, clock, "A", 1)
    hear(ledger, clock, "A", 1)
    assert ledger.machine(PUMP).state == "active"


def test_late_recordings_of_a_past_fault_are_told_as_such(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    hear(ledger, clock, "NNN", 20)
    hear(ledger, clock, "AAANN", 0)
    assert told.states() == ["returned"]
    assert told.notices[0].event.why.startswith(
        "2 of 3 recordings that arrived late are anomalous;"
    )
    assert ledger.machine(PUMP).state == "returned"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simulated_fleet_misses_and_doubles_nothing(seed: int) -> None:
    found = Fleet(machines=4, days=10, rule=AlarmRule(), false_alarms=0.01, seed=seed).run()
    assert found.recordings > 800
    assert min(found.late, found.repeated, len(found.faults), len(found.silences)) > 3
    assert (found.missed, found.doubled, found.sent_twice) == (0, 0, 0)
    assert (found.silences_missed, found.false_silences) == (0, 0)


def test_a_review_counts_instead_of_the_score(ledger: Ledger, clock: Clock, told: Told) -> None:
    hear(ledger, clock, "NAN")
    ledger.review(f"{PUMP}/1200.wav", "fault", "Ada", "it knocked")
    assert told.states() == ["active"]
    (newest, *_) = ledger.history(PUMP, 10).rows
    assert newest.review is not None
    assert (newest.review.label, newest.review.person, newest.review.note) == (
        *("fault", "Ada"),
        "it knocked",
    )
    assert newest.is_anomaly is False


def test_a_false_alarm_that_was_reviewed_in_time_is_none(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    hear(ledger, clock, "NA")
    ledger.review(f"{PUMP}/1100.wav", "normal")
    hear(ledger, clock, "A", 2)
    assert told.states() == []
    ledger.review(f"{PUMP}/1200.wav", "unusable")
    hear(ledger, clock, "A", 3)
    assert told.states() == []
    hear(ledger, clock, "A", 4)
    assert told.states() == ["active"]


def test_the_newest_recording_of_a_key_is_reviewed_unless_a_time_is_named(
    ledger: Ledger, clock: Clock
) -> None:
    for number in (0, 2, 1):
        clock.now = hour(number + 1)
        origin = Origin(PUMP, hour(number), "s3", "latest.wav", f"{number}")
        for model in ("fan", "other"):
            ledger.record(prediction(anomalous=False, model_name=model), origin)
    assert ledger.review("latest.wav", "fault").recorded_at == hour(2)
    assert ledger.review("latest.wav", "normal", at=hour(1)).recorded_at == hour(1)
    labels = [row.review and row.review.label for row in ledger.history(PUMP, 10).rows]
    assert labels == ["fault", "fault", "normal", "normal", None, None]
    with pytest.raises(ResultNotFoundError, match=r"has no recording 'gone\.wav'"):
        ledger.review("gone.wav", "normal")
    with pytest.raises(ResultNotFoundError, match="of 2026-11-23T19:00:00"):
        ledger.review("latest.wav", "normal", at=hour(9))


def test_a_person_ends_an_alarm_and_a_relapse_is_told_again(
    ledger: Ledger, clock: Clock, told: Told
) -> None:
    with pytest.raises(InvalidStateError, match="no alarm is open"):
        ledger.clear(PUMP, "Ada")
    hear(ledger, clock, "AA")
    found = ledger.clear(PUMP, "Ada", "bearing replaced")
    assert (found.state, found.current_alarm) == ("normal", None)
    assert found.why == "A person has ended the alarm."
    event = ledger.events(PUMP, 1).events[0]
    assert (event.cause, event.person, event.note) == ("cleared", "Ada", "bearing replaced")
    hear(ledger, clock, "NN", 2)
    assert ledger.machine(PUMP).state == "normal"
    hear(ledger, clock, "AA", 4)
    found = ledger.machine(PUMP)
    assert (found.state, found.current_alarm and found.current_alarm.number) == ("active", 1)
    assert told.states() == ["active", "normal", "active"]
