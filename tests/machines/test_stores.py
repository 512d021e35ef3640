"""What both stores of machines and history do, SQLite and DynamoDB."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound.errors import StorageError
from oddsound.history.dynamodb import DynamoHistory
from oddsound.history.sqlite import SqliteHistory
from oddsound.history.store import HistoryStore, point, position, sortable
from oddsound.machines.records import HistoryRow, Review, Status
from tests.machines.conftest import MONDAY, TABLE, hour, record, row, table_of_the_template

pytestmark = pytest.mark.slow


def test_a_machine_is_stored_once(store: HistoryStore) -> None:
    assert store.machine("hall-3/pump-07") is None
    assert store.add_machine(record(name="the pump"))
    assert not store.add_machine(record(name="another"))
    found = store.machine("hall-3/pump-07")
    assert found == record(name="the pump")


def test_machines_are_listed_by_id_and_paged(store: HistoryStore) -> None:
    ids = ["Halle 3/Lüfter", "hall-1", "hall-1/a", "hall-1/b", "hall-10", "Ω"]
    for machine_id in reversed(ids):
        store.add_machine(record(machine_id))
    expected = sorted(ids, key=lambda text: text.encode())
    assert [found.machine.id for found in store.machines(100)] == expected
    paged, after = [], ""
    while page := store.machines(2, after):
        assert len(page) <= 2
        paged += [found.machine.id for found in page]
        after = paged[-1]
    assert paged == expected


def test_a_change_needs_the_current_version(store: HistoryStore) -> None:
    store.add_machine(record())
    first = store.machine("hall-3/pump-07")
    assert first is not None
    changed = first.model_copy(update={"status": Status(state="unknown", since=hour(1))})
    assert store.change_machine(changed)
    assert not store.change_machine(first)
    found = store.machine("hall-3/pump-07")
    assert found is not None
    assert found.version == first.version + 1
    assert found.status == changed.status
    assert not store.change_machine(record("nobody"))
    assert store.machine("nobody") is None


def test_one_of_many_concurrent_changes_wins(store: HistoryStore) -> None:
    store.add_machine(record())

    def add_one(_: int) -> None:
        while True:
            found = store.machine("hall-3/pump-07")
            assert found is not None
            count = int(found.machine.name or 0) + 1
            machine = found.machine.model_copy(update={"name": str(count)})
            if store.change_machine(found.model_copy(update={"machine": machine})):
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(12)))
    found = store.machine("hall-3/pump-07")
    assert found is not None
    assert (found.machine.name, found.version) == ("12", 12)


def test_an_arrival_never_goes_back_in_time(store: HistoryStore) -> None:
    store.add_machine(record())
    store.arrived("hall-3/pump-07", hour(5), hour(6))
    store.arrived("hall-3/pump-07", hour(2), hour(7))
    store.arrived("hall-3/pump-07", hour(3), hour(4))
    found = store.machine("hall-3/pump-07")
    assert found is not None
    assert (found.last_recorded_at, found.last_arrived_at) == (hour(5), hour(7))
    assert found.version == 0  # an arrival does not make changes of the machine fail
    store.arrived("nobody", hour(1), hour(1))
    assert store.machine("nobody") is None


def test_a_row_is_stored_once_whatever_its_time(store: HistoryStore) -> None:
    assert store.add_row(row(1))
    assert not store.add_row(row(1))
    assert not store.add_row(row(1, recorded_at=hour(9)))
    assert store.rows("hall-3/pump-07", 10) == [row(1)]
    assert store.row("row-0001") == row(1)
    assert store.row("row-0002") is None


@pytest.mark.parametrize("puts", [0, 1, 2, 3])
def test_a_row_whose_writing_was_interrupted_is_completed(
    puts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB: the function ended after so many of the four writes."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client: Any = boto3.client("dynamodb")
        table_of_the_template(client)
        store = DynamoHistory(lambda: client, TABLE)
        left, put_item = iter(range(puts)), client.put_item

        def interrupted(**arguments: Any) -> Any:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return put_item(**arguments)

        client.put_item = interrupted
        with pytest.raises(KeyboardInterrupt):
            store.add_row(row(1))
        client.put_item = put_item
        assert store.rows("hall-3/pump-07", 10) == []
        assert store.row("row-0001") is None
        again = row(1, recorded_at=hour(2))
        assert store.add_row(again)
        assert not store.add_row(again)
        (found,) = store.rows("hall-3/pump-07", 10)
        assert found.recorded_at == (hour(1) if puts else hour(2))
        assert store.rows_of_key(again.key) == [found]
        assert store.row("row-0001") == found


def test_one_of_many_concurrent_writers_stores_a_row(store: HistoryStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda _: store.add_row(row(1)), range(12)))
    assert stored.count(True) == 1
    assert len(store.rows("hall-3/pump-07", 10)) == 1


def test_rows_are_in_the_order_of_their_recording(store: HistoryStore) -> None:
    for number in (3, 1, 2, 0.5):
        store.add_row(row(number))
    store.add_row(row(2.5, "hall-3/pump-08"))
    store.add_row(row(2.6, None))
    newest = [found.recorded_at for found in store.rows("hall-3/pump-07", 10)]
    assert newest == [hour(3), hour(2), hour(1), hour(0.5)]
    oldest = store.rows("hall-3/pump-07", 2, oldest_first=True)
    assert [found.recorded_at for found in oldest] == [hour(0.5), hour(1)]
    assert [found.id for found in store.rows("", 10)] == ["row-02.6"]


def test_rows_are_paged_without_gap_or_repetition(store: HistoryStore) -> None:
    made = [row(number, recorded_at=hour(number // 2)) for number in range(9)]
    for each in made:
        store.add_row(each)
    found: list[HistoryRow] = []
    before = None
    while page := store.rows("hall-3/pump-07", 2, before=before):
        found += page
        before = position(page[-1])
    assert found == made[::-1]
    between = store.rows("hall-3/pump-07", 9, after=position(made[2]), before=position(made[6]))
    assert between == made[5:2:-1]


def test_rows_of_several_months_and_years_are_one_history(store: HistoryStore) -> None:
    days = [-400, -330, -60, -31, -30, -1, 0, 8, 40]
    made = [row(24 * day) for day in days]
    for each in made:
        store.add_row(each)
    store.add_row(row(0.5, "hall-3/pump-07#2026-11"))
    assert store.rows("hall-3/pump-07", 100, oldest_first=True) == made
    found: list[HistoryRow] = []
    before = None
    while page := store.rows("hall-3/pump-07", 2, before=before):
        found += page
        before = position(page[-1])
    assert found == made[::-1]
    since = sortable(made[2].recorded_at)
    assert store.rows("hall-3/pump-07", 3, after=since, oldest_first=True) == made[2:5]
    assert store.rows("hall-3/pump-07", 3, before=since) == made[1::-1]
    assert store.rows("hall-3/pump-07", 9, after=since, before=position(made[4])) == made[3:1:-1]


def test_a_page_may_be_larger_than_one_answer_of_dynamodb(store: HistoryStore) -> None:
    text = "x" * 100_000  # an answer has at most 1 MB
    for number in range(15):
        store.add_row(row(number, warnings=[text]))
    found = store.rows("hall-3/pump-07", 100)
    assert [each.recorded_at for each in found] == [hour(number) for number in range(14, -1, -1)]


def test_dynamodb_is_not_asked_for_what_it_would_refuse() -> None:
    def no_request() -> Any:
        raise AssertionError

    store = DynamoHistory(no_request, TABLE)
    assert store.rows_of_key("ü" * 1023) == []
    assert store.rows("ü" * 1023, 10) == []
    assert store.machine("ü" * 513) is None
    assert store.machine("") is None
    with pytest.raises(AssertionError):
        store.rows_of_key("ü" * 1022)  # 2,048 bytes with the prefix
    with pytest.raises(AssertionError):
        store.machine("ü" * 512)


def test_a_row_is_found_by_its_key_and_can_be_reviewed(store: HistoryStore) -> None:
    older = row(1, key="a/latest.wav")
    newer = row(2, key="a/latest.wav")
    for each in (newer, older, row(3)):
        store.add_row(each)
    assert store.rows_of_key("a/latest.wav") == [newer, older]
    assert store.rows_of_key("a/other.wav") == []
    review = Review(label="normal", note="the door", person="Ada", at=hour(4))
    store.replace_row(newer.model_copy(update={"review": review}))
    found = store.row(newer.id)
    assert found is not None
    assert found.review == review
    assert [each.review for each in store.rows("hall-3/pump-07", 2, before=position(row(3)))] == [
        review,
        None,
    ]


def test_times_are_in_utc_wherever_they_come_from(store: HistoryStore) -> None:
    store.add_row(row(0, recorded_at=MONDAY.isoformat().replace("+00:00", "+02:00")))
    (found,) = store.rows("hall-3/pump-07", 1)
    assert found.recorded_at == MONDAY - timedelta(hours=2)
    assert found.recorded_at.utcoffset() == timedelta(0)


def test_a_file_survives_and_two_processes_may_use_it(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    one, other = SqliteHistory(path), SqliteHistory(path)
    one.add_row(row(1))
    other.add_row(row(2))
    assert len(one.rows("hall-3/pump-07", 10)) == 2
    one.close()
    other.close()
    with closing(SqliteHistory(path)) as again:
        assert len(again.rows("hall-3/pump-07", 10)) == 2


def broken(path: Path) -> None:
    path.write_bytes(b"this is no database, and longer than the header of one" * 20)


def of_a_newer_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [(broken, "not a database"), (of_a_newer_version, "newer version"), (Path.mkdir, "unable")],
)
def test_a_file_that_is_no_history_is_refused(
    prepare: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.sqlite"
    prepare(path)
    with pytest.raises(StorageError, match=words) as caught:
        SqliteHistory(path).machine("hall-3/pump-07")
    assert str(path) in str(caught.value)


def test_a_missing_table_is_an_error_of_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client: Any = boto3.client("dynamodb")
        store = DynamoHistory(lambda: client, "no-such-table")
        for call in (
            lambda: store.machine("a"),
            lambda: store.rows("a", 1),
            lambda: store.add_row(row(1)),
            lambda: store.add_machine(record()),
        ):
            with pytest.raises(StorageError, match="the table no-such-table"):
                call()


@pytest.mark.parametrize("year", [1, 328, 9999])
def test_times_of_every_year_are_read_as_they_were_stored(store: HistoryStore, year: int) -> None:
    at = datetime(year, 8, 26, 7, 53, tzinfo=UTC)
    assert store.add_machine(record(f"pump-{year}").model_copy(update={"created_at": at}))
    store.arrived(f"pump-{year}", at, at)
    (found,) = store.machines(2)
    assert (found.created_at, found.last_recorded_at) == (at, at)


def test_points_are_those_of_the_rows(store: HistoryStore) -> None:
    """Every minute for two hours: sets of a day and of an hour are full, of both years too."""
    numbers = [n / 60 for n in range(120)] + [24 * 39 + n for n in range(3)]  # until January
    expected = []
    for number in numbers:
        fields: dict[str, Any] = {
            "score": number / 1000,
            "is_anomaly": number > 1,
            "threshold": 0.9,
        }
        each = row(number, id=f"row-{number:.4f}", key=f"{number}.wav", **fields)
        for _ in range(2):
            store.add_row(each)
        expected.append(point(each))
    store.add_row(row(2.5, machine="another"))
    assert store.points("hall-3/pump-07", 1000) == expected
    assert store.points("hall-3/pump-07", 5) == expected[-5:]
    after, before = expected[10].position, expected[-2].position
    assert store.points("hall-3/pump-07", 1000, after=after, before=before) == expected[11:-2]
    times = {"after": sortable(hour(1.001)), "before": sortable(hour(25))}
    assert store.points("hall-3/pump-07", 1000, **times) == expected[61:120]
    assert store.points("nobody", 1000) == []


def test_a_point_has_the_last_review_of_its_row(store: HistoryStore) -> None:
    first = row(1, score=None, threshold=None, is_anomaly=None)
    store.add_row(first)
    assert store.points("hall-3/pump-07", 9) == [point(first)]
    for label, at in (("fault", hour(2)), ("normal", hour(3))):
        reviewed = first.model_copy(update={"review": Review(label=label, at=at)})
        store.replace_row(reviewed)
    (found,) = store.points("hall-3/pump-07", 9)
    assert (found.review, found.score, found.is_anomaly, found.at) == (
        "normal",
        None,
        None,
        hour(1),
    )
