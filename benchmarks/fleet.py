"""A simulated fleet: are faults missed, are alarms doubled, are silent machines found?

    make bench-fleet
    python -m benchmarks.fleet [--machines 50] [--days 30] [--seed 0]

Recordings arrive once an hour, with gaps, duplicates, delays of hours and whole days in reverse
order; channels fail now and then, and people acknowledge alarms. Everything but the detector is the
real code: the ledger, the states, the notifier, and SQLite in memory. The detector is a coin, with
the given rate of false alarms for each recording and 95 % detection.
"""

import argparse
import heapq
import logging
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from oddsound.errors import InvalidStateError, NotificationError
from oddsound.history.sqlite import SqliteHistory
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.notices import Notice
from oddsound.machines.records import AlarmRule, Machine, StateEvent
from oddsound.schemas import Prediction

START = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
DETECTION_RATE = 0.95
CHANNEL_FAILS = 0.05
CHECK_EVERY = timedelta(minutes=15)
ALARMS = ("anomalies", "relapse", "came and went", "normal again")
BEGUN = ("anomalies", "came and went", "relapse")
HEADS = (
    *("Rule", "False anomalies per recording", "Faults", "Missed", "Doubled"),
    *("Told again after an acknowledgement", "False alarms per machine and month"),
    *("Silences", "Missed", "False"),
)
AFTERWARDS = 3 * HOUR
"""An alarm so soon after a fault is of this fault."""


@dataclass
class Period:
    """A fault, or a time in which a machine sends nothing."""

    machine: str
    start: datetime
    end: datetime
    told: int = 0
    told_again: int = 0


@dataclass
class Result:
    """What happened in a simulation, and what was told about it."""

    recordings: int = 0
    repeated: int = 0
    late: int = 0
    faults: list[Period] = field(default_factory=list)
    silences: list[Period] = field(default_factory=list)
    false_alarms: int = 0
    false_silences: int = 0
    sent_twice: int = 0

    @property
    def missed(self) -> int:
        return sum(fault.told == 0 for fault in self.faults)

    @property
    def doubled(self) -> int:
        return sum(fault.told > 1 for fault in self.faults)

    @property
    def silences_missed(self) -> int:
        return sum(silence.told == 0 for silence in self.silences)


class Listener:
    """A channel that fails now and then, and remembers what it took."""

    name = "listener"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> None:
        if self._rng.random() < CHANNEL_FAILS:
            raise NotificationError("the network is down")
        self.notices.append(notice)


class Fleet:
    """Machines, their faults and gaps, and the order in which their recordings arrive."""

    def __init__(self, machines: int, days: int, rule: AlarmRule, false_alarms: float, seed: int):
        self._rng = random.Random(seed)  # noqa: S311
        self._hours, self._false_alarms = 24 * days, false_alarms
        self.ids = [f"hall-{n // 10}/machine-{n:02}" for n in range(machines)]
        self.result = Result()
        self._arrived: dict[str, list[datetime]] = {machine_id: [] for machine_id in self.ids}
        self.now = START
        self.listener = Listener(self._rng)
        store = SqliteHistory(Path(":memory:"))
        self.ledger = Ledger(store, [self.listener], now=lambda: self.now)
        for machine_id in self.ids:
            self.ledger.register(
                Machine(id=machine_id, model_name="m", expected_every_s=3600, alarm=rule)
            )

    def run(self) -> Result:
        """Let all recordings arrive, check every quarter of an hour, and count."""
        arrivals = [arrival for machine in self.ids for arrival in self._arrivals(machine)]
        heapq.heapify(arrivals)
        checked = START
        while arrivals:
            at, machine, recorded_at, anomalous = heapq.heappop(arrivals)
            while checked + CHECK_EVERY < at:
                checked += CHECK_EVERY
                self.now = checked
                self.ledger.check()
                self._acknowledge()
            self.now = at
            self.ledger.record(
                _prediction(anomalous),
                Origin(machine, recorded_at, "s3", f"{machine}/{recorded_at}", content=""),
            )
        self.ledger.check()
        self._count()
        self.ledger.close()
        return self.result

    def _arrivals(self, machine: str) -> Iterator[tuple[datetime, str, datetime, bool]]:
        """When each recording of a machine arrives: late, more than once, or never."""
        faults = self._periods(machine, self._rng.randint(1, 3), (8, 72))
        silences = self._periods(machine, self._rng.randint(0, 2), (6, 30), avoid=faults)
        buffered = self._periods(machine, 1, (4, 24), avoid=silences)
        self.result.faults += faults
        self.result.silences += [*silences, *buffered]  # nothing arrives during either
        for number in range(self._hours):
            at = START + number * HOUR
            if any(_in(at, silence) for silence in silences) or self._rng.random() < 0.01:
                continue
            faulty = any(_in(at, fault) for fault in faults)
            rate = DETECTION_RATE if faulty else self._false_alarms
            anomalous = self._rng.random() < rate
            arrival = at + timedelta(minutes=self._rng.uniform(0, 5))
            if buffer := next((b for b in buffered if _in(at, b)), None):
                # The network was down: the recordings arrive afterwards, the newest first.
                arrival = buffer.end + (buffer.end - at) / 60
                self.result.late += 1
            elif self._rng.random() < 0.05:
                arrival += timedelta(hours=self._rng.expovariate(1 / 6))
                self.result.late += 1
            self.result.recordings += 1
            self._arrived[machine].append(arrival)
            yield arrival, machine, at, anomalous
            while self._rng.random() < 0.1:
                self.result.repeated += 1
                yield (
                    arrival + timedelta(hours=self._rng.expovariate(1 / 12)),
                    machine,
                    at,
                    anomalous,
                )

    def _periods(
        self, machine: str, count: int, hours: tuple[int, int], avoid: list[Period] | None = None
    ) -> list[Period]:
        """Periods that are two days apart from each other, and from others, and from the end."""
        found: list[Period] = []
        for _ in range(50 * count):
            length = self._rng.randint(*hours)
            first = self._rng.randint(24, max(25, self._hours - length - 48))
            start = START + first * HOUR
            period = Period(machine, start, start + length * HOUR)
            near = timedelta(hours=48)
            others = [*found, *(avoid or [])]
            if all(period.start > o.end + near or period.end < o.start - near for o in others):
                found.append(period)
            if len(found) == count:
                break
        return found

    def _acknowledge(self) -> None:
        """People look at an alarm after half a day on average."""
        for machine in self.ledger.machines(1000).machines:
            if machine.state in ("active", "returned") and self._rng.random() < 1 / 48:
                try:
                    self.ledger.acknowledge(machine.id, "Ada")
                except InvalidStateError:
                    continue

    def _count(self) -> None:
        seen = Counter(notice.id for notice in self.listener.notices)
        self.result.sent_twice = sum(count > 1 for count in seen.values())
        told = {notice.id for notice in self.listener.notices}
        end = START + self._hours * HOUR
        for machine in self.ids:
            events = self.ledger.events(machine, 10_000).events[::-1]
            begun = [event for event in events if event.cause in BEGUN]
            faults = [fault for fault in self.result.faults if fault.machine == machine]
            for fault in faults:
                during = [e for e in begun if fault.start <= e.at <= fault.end + AFTERWARDS]
                # If a false alarm went before, it may be its alarm that continues.
                numbers = {event.alarm for event in during}
                earlier = [e for e in events if e.cause in ALARMS and e.at < fault.start]
                if earlier and earlier[-1].cause in ("anomalies", "relapse"):
                    numbers.add(earlier[-1].alarm)
                fault.told = len({e.alarm for e in begun if e.alarm in numbers and _id(e) in told})
                again = [e for e in during if e.cause == "relapse" and _id(e) in told]
                fault.told_again = len(again)
            self.result.false_alarms += sum(
                _id(event) in told and _of(faults, event, AFTERWARDS) is None for event in begun
            )
            silences = [each for each in self.result.silences if each.machine == machine]
            for silence in silences:
                if not self._is_silent(silence):  # late recordings arrived in between
                    self.result.silences.remove(silence)
            for event in events:
                if event.cause == "silence" and event.at < end:
                    since = event.at - 3 * HOUR
                    arrived = any(since <= at <= event.at for at in self._arrived[machine])
                    self.result.false_silences += arrived
                    if (found := _of(silences, event, 2 * HOUR)) is not None:
                        found.told += 1

    def _is_silent(self, period: Period) -> bool:
        """Whether nothing arrived for more than three hours and the time between two checks."""
        inside = [at for at in self._arrived[period.machine] if _in(at, period)]
        times = sorted([period.start, *inside, period.end])
        longest = max(later - earlier for earlier, later in pairwise(times))
        return longest > 3 * HOUR + 2 * CHECK_EVERY


def _id(event: StateEvent) -> str:
    return f"{event.machine}#{event.number}"


def _in(at: datetime, period: Period) -> bool:
    return period.start <= at < period.end


def _of(periods: list[Period], event: StateEvent, after: timedelta) -> Period | None:
    return next((p for p in periods if p.start <= event.at <= p.end + after), None)


def _prediction(anomalous: bool) -> Prediction:
    score = 0.99 if anomalous else 0.3
    return Prediction(
        prediction="anomaly" if anomalous else "normal",
        probability=max(score, 1 - score),
        all_probabilities={"normal": 1 - score, "anomaly": score},
        latency_ms=1,
        model_name="m",
        model_version="1",
        is_anomaly=anomalous,
        anomaly_score=score,
        threshold=0.9,
        duration_s=10,
        sample_rate=16000,
    )


def main() -> None:
    """Run the simulation for several rules and rates, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()
    print(f"| {' | '.join(HEADS)} |\n| --- |{' ---: |' * (len(HEADS) - 1)}")
    for rule, rate in (((2, 3), 0.0), ((2, 3), 0.02), ((2, 3), 0.1), ((3, 4), 0.1)):
        fleet = Fleet(
            options.machines, options.days, AlarmRule(n=rule[0], of=rule[1]), rate, options.seed
        )
        found = fleet.run()
        months = options.machines * options.days / 30
        cells = (
            *(f"{rule[0]} of {rule[1]}", f"{100 * rate:.0f} %", f"{len(found.faults)}"),
            *(f"{found.missed}", f"{found.doubled}"),
            f"{sum(fault.told_again for fault in found.faults)}",
            *(f"{found.false_alarms / months:.2f}", f"{len(found.silences)}"),
            *(f"{found.silences_missed}", f"{found.false_silences}"),
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    print(
        f"{found.recordings:,} recordings, {found.late:,} of them late, {found.repeated:,} sent"
        f" again; {len(fleet.listener.notices)} notices of the last rule, {found.sent_twice} sent"
        " twice"
    )


if __name__ == "__main__":
    main()
