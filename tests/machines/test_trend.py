"""The scores of a machine over time, summarised for a chart."""

from datetime import timedelta

import pytest

from oddsound.history.store import HistoryStore, point
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import HistoryRow, Machine, Review
from oddsound.machines.trend import Point, summarised
from tests.machines.conftest import hour, row

PUMP = "hall-3/pump-07"


def points(*rows: HistoryRow) -> list[Point]:
    return [point(each) for each in rows]


def test_a_point_survives_as_text() -> None:
    for each in (
        row(1),
        row(2, score=None, threshold=None, is_anomaly=None),
        row(3, score=1e-300, is_anomaly=True, review=Review(label="fault", at=hour(9))),
    ):
        assert Point.of_text(point(each).as_text()) == point(each)


def test_slices_have_the_same_length_and_count_what_they_contain() -> None:
    found = summarised(
        PUMP,
        points(
            row(0, score=0.2),
            row(1, score=0.6, is_anomaly=True, review=Review(label="normal", at=hour(2))),
            row(8, score=None, review=Review(label="unusable", at=hour(9))),
            row(10, score=0.95, is_anomaly=True, threshold=0.8),
        ),
        5,
    )
    assert (found.start, found.end, found.slice_s) == (hour(0), hour(10), 2 * 3600)
    assert [each.start for each in found.slices] == [hour(0), hour(8)]
    first, last = found.slices
    assert (first.count, first.lowest, first.mean, first.highest) == (2, 0.2, 0.4, 0.6)
    assert (first.anomalies, first.reviewed_normal, first.reviewed_fault) == (1, 1, 0)
    assert (last.count, last.lowest, last.highest, last.threshold) == (2, 0.95, 0.95, 0.8)
    assert last.unusable == 1


def test_bounds_are_those_of_the_request() -> None:
    found = summarised(PUMP, points(row(3)), 10, hour(0), hour(10))
    assert (found.start, found.end, found.slice_s) == (hour(0), hour(10), 3600)
    assert [each.start for each in found.slices] == [hour(3)]
    (only,) = summarised(PUMP, points(row(3)), 10).slices
    assert only.start == hour(3)
    assert summarised(PUMP, [], 10, hour(0), hour(10)).slices == []


@pytest.mark.slow
def test_a_machine_has_a_trend(store: HistoryStore) -> None:
    ledger = Ledger(store)
    ledger.register(Machine(id=PUMP))
    for number in range(48):
        store.add_row(row(number, score=number / 48))
    found = ledger.trend(PUMP, 10, after=hour(24) - timedelta(seconds=1))
    assert (found.count, found.complete) == (24, True)
    assert sum(each.count for each in found.slices) == 24
    assert found.slices[-1].highest == 47 / 48
