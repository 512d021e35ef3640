"""Machines and history in one DynamoDB table: the store on AWS and in the local cloud.

| pk                   | sk       | what                                                 |
| -------------------- | -------- | ---------------------------------------------------- |
| machines             | id       | a machine, its status and version                    |
| rows#machine#2026-11 | position | a row of its history; "rows##..." for those without  |
| months#machine       | 2026-11  | that the machine has rows of this month              |
| points#machine#2026  | a day    | what a chart needs of its rows, as a set of texts    |
| events#machine       | number   | a change of its state                                |
| id#row id            | -        | partition and time of that row                       |
| key#key              | position | partition of each row of that key                    |

A partition for each month keeps partitions small, whatever the interval between recordings is.

A row is packed into 260 bytes (history/packing.py); older versions stored it as JSON in `body`.

A chart of 10,000 rows would still read 4 MB of them. Their points are texts of 90 bytes in sets of
a day, so it reads 400 items. A set that is full is continued by sets of an hour and a minute: a
write costs as much as the set that it changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from oddsound.errors import StorageError
from oddsound.history.packing import packed, unpacked
from oddsound.history.store import FIRST, LAST, point, position, sortable
from oddsound.machines.records import HistoryRow, MachineRecord, StateEvent
from oddsound.machines.trend import Point, newest_of_each
from oddsound.storage import translating_errors

MACHINES = "machines"
YEAR, MONTH = len("2026"), len("2026-11")
MAX_MONTHS = 1200
MAX_SETS = 1_000_000
LAST_ROOM = 1000

SLOTS = ((len("2026-11-23"), 48), (len("2026-11-23T10"), 48), (len("2026-11-23T10:15"), 1000))
"""Lengths of the time in the key of a set of points, and how many points it takes."""

PACKED, UNPACKED = "packed", "body"
"""Attributes with a row: of this version, and of earlier ones."""

MAX_ROWS_OF_KEY = 100
"""Rows of one key that are read: a key that is overwritten every hour has thousands."""

MAX_PARTITION_BYTES, MAX_SORT_BYTES = 2048, 1024
"""Of the two keys of an item. DynamoDB refuses a request with longer ones."""

type Item = Mapping[str, Mapping[str, Any]]


class DynamoHistory:
    """A HistoryStore in a table with the keys `pk` and `sk`, both text.

    dynamodb_client : creates the client; called when something is first read or written
    """

    def __init__(self, dynamodb_client: Callable[[], Any], table: str) -> None:
        self._client = dynamodb_client
        self._table = table
        self._known_months: set[str] = set()

    def machine(self, machine_id: str) -> MachineRecord | None:
        item = self._item(MACHINES, machine_id)
        return _record(item) if item else None

    def machines(self, limit: int, after: str = "") -> Sequence[MachineRecord]:
        items = self._query(MACHINES, limit, after=after or FIRST)
        return [_record(item) for item in items]

    def add_machine(self, record: MachineRecord) -> bool:
        item = {
            **_key(MACHINES, record.machine.id),
            "version": {"N": str(record.version)},
            "body": {"S": _body(record)},
        }
        return self._put_new(item)

    def change_machine(self, record: MachineRecord) -> bool:
        return self._conditional(
            "update_item",
            Key=_key(MACHINES, record.machine.id),
            UpdateExpression="SET body = :body, version = :next",
            ConditionExpression="version = :version",
            ExpressionAttributeValues={
                ":body": {"S": _body(record)},
                ":version": {"N": str(record.version)},
                ":next": {"N": str(record.version + 1)},
            },
        )

    def arrived(self, machine_id: str, recorded_at: datetime, arrived_at: datetime) -> None:
        for name, at in (("recorded", recorded_at), ("arrived", arrived_at)):
            self._conditional(
                "update_item",
                Key=_key(MACHINES, machine_id),
                UpdateExpression=f"SET {name} = :at",
                ConditionExpression="attribute_exists(pk) AND"
                f" (attribute_not_exists({name}) OR {name} < :at)",
                ExpressionAttributeValues={":at": {"S": sortable(at)}},
            )

    def add_row(self, row: HistoryRow) -> bool:
        # Several writes and no transaction, which would cost twice as much: the first decides where
        # the row is, and the last is the row. A call that ended in between is completed by the
        # next one, which its caller makes because it got no answer.
        place = (_partition(row), position(row))
        claim = {**_key(f"id#{row.id}", "-"), "recorded": {"S": sortable(row.recorded_at)}}
        if not self._put_new({**claim, "place": {"S": place[0]}}):
            found = self._item(f"id#{row.id}", "-") or claim
            row = row.model_copy(update={"recorded_at": _time(found["recorded"])})
            place = (found["place"]["S"], position(row))
        if self._item(*place):
            return False
        self._add_month(row)
        self._put_new({**_key(f"key#{row.key}", place[1]), "place": {"S": place[0]}})
        self._add_point(row)
        return self._put_new({**_key(*place), PACKED: {"B": packed(row)}})

    def row(self, row_id: str) -> HistoryRow | None:
        claim = self._item(f"id#{row_id}", "-")
        if claim is None:
            return None
        item = self._item(claim["place"]["S"], f"{claim['recorded']['S']}_{row_id}")
        return _row(item) if item else None

    def rows_of_key(self, key: str) -> Sequence[HistoryRow]:
        places = self._query(f"key#{key}", MAX_ROWS_OF_KEY, newest_first=True)
        items = (self._item(place["place"]["S"], place["sk"]["S"]) for place in places)
        rows = [_row(item) for item in items if item]
        return sorted(rows, key=lambda row: row.scored_at, reverse=True)

    def rows(
        self,
        machine_id: str,
        limit: int,
        *,
        before: str | None = None,
        after: str | None = None,
        oldest_first: bool = False,
    ) -> Sequence[HistoryRow]:
        after, before = after or FIRST, before or LAST
        months = self._query(
            f"months#{machine_id}",
            MAX_MONTHS,
            # The months of both bounds are included.
            after=after[:6] if after != FIRST else FIRST,
            before=f"{before[:7]}{LAST}" if before != LAST else LAST,
            newest_first=not oldest_first,
        )
        rows: list[HistoryRow] = []
        for month in months:
            if (missing := limit - len(rows)) > 0:
                partition = f"rows#{machine_id}#{month['sk']['S']}"
                # Without their keys, which the rows contain, and which take as long to read.
                items = self._query(
                    partition,
                    missing + 1,
                    after=after,
                    before=before,
                    newest_first=not oldest_first,
                    attributes=(PACKED, UNPACKED),
                )
                found = [_row(item) for item in items]
                rows += [row for row in found if position(row) != before][:missing]
        return rows

    def replace_row(self, row: HistoryRow) -> None:
        self._conditional(
            "update_item",
            Key=_key(_partition(row), position(row)),
            UpdateExpression=f"SET {PACKED} = :packed REMOVE {UNPACKED}",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":packed": {"B": packed(row)}},
        )
        self._add_point(row)

    def points(
        self, machine_id: str, limit: int, *, before: str | None = None, after: str | None = None
    ) -> Sequence[Point]:
        found: list[Point] = []
        for year in self._years(machine_id, after, before):
            items = self._query(
                f"points#{machine_id}#{year}",
                MAX_SETS,
                # The sets that contain the bounds are included.
                after=after[: len("2026-11-2")] if after else FIRST,
                before=f"{before[: len('2026-11-23T10:15')]}{LAST}" if before else LAST,
                newest_first=True,
            )
            for item in items:
                texts: Sequence[str] = item["points"]["SS"]
                found += [Point.of_text(text) for text in texts]
            if len(found) >= limit:
                break
        low, high = after or FIRST, before or LAST
        return [point for point in newest_of_each(found) if low < point.position < high][-limit:]

    def _years(self, machine_id: str, after: str | None, before: str | None) -> list[str]:
        """The years that have rows, newest first."""
        months = self._query(f"months#{machine_id}", MAX_MONTHS)
        years = {month["sk"]["S"][:YEAR] for month in months}
        low, high = (after or FIRST)[:YEAR], (before or LAST)[:YEAR]
        return sorted((year for year in years if low <= year <= high), reverse=True)

    def _add_point(self, row: HistoryRow) -> None:
        """Add the point of a row to the first set that has room. Twice is once: it is a set."""
        if row.machine is None:
            return
        place = position(row)
        text = {"SS": [point(row).as_text()]}
        for length, room in (*SLOTS, (len(place), LAST_ROOM)):
            done = self._conditional(
                "update_item",
                Key=_key(f"points#{row.machine}#{place[:YEAR]}", place[:length]),
                UpdateExpression="ADD points :text",
                ConditionExpression="attribute_not_exists(points) OR size(points) < :room",
                ExpressionAttributeValues={":text": text, ":room": {"N": str(room)}},
            )
            if done:
                return

    def add_event(self, event: StateEvent) -> None:
        place = _key(f"events#{event.machine}", _number(event.number))
        self._put_new({**place, "body": {"S": event.model_dump_json()}})

    def events(
        self, machine_id: str, limit: int, before: int | None = None
    ) -> Sequence[StateEvent]:
        items = self._query(
            f"events#{machine_id}",
            limit,
            before=LAST if before is None else _number(before),
            newest_first=True,
        )
        return [StateEvent.model_validate_json(item["body"]["S"]) for item in items]

    def _add_month(self, row: HistoryRow) -> None:
        month = sortable(row.recorded_at)[:MONTH]
        known = f"months#{row.machine or ''}#{month}"
        if known not in self._known_months:
            self._put_new(_key(f"months#{row.machine or ''}", month))
            self._known_months.add(known)

    def close(self) -> None:
        """Nothing: the client belongs to the caller."""

    def _put_new(self, item: Item) -> bool:
        """Store an item. Returns False, and changes nothing, if its keys are taken."""
        return self._conditional(
            "put_item", Item=item, ConditionExpression="attribute_not_exists(pk)"
        )

    def _item(self, pk: str, sk: str) -> Item | None:
        if not (_fits(pk, MAX_PARTITION_BYTES) and _fits(sk, MAX_SORT_BYTES)):
            return None
        with self._translating():
            answer = self._client().get_item(
                TableName=self._table, Key=_key(pk, sk), ConsistentRead=True
            )
        item: Item | None = answer.get("Item")
        return item

    def _query(
        self,
        pk: str,
        limit: int,
        *,
        after: str = FIRST,
        before: str = LAST,
        newest_first: bool = False,
        attributes: Sequence[str] = (),
    ) -> Sequence[Item]:
        """Items of one partition between two sort keys, exclusive; a page has at most 1 MB.

        attributes : those that are read, if not all; without `sk`, the item at `before` is included
        """
        if not _fits(pk, MAX_PARTITION_BYTES):
            return []
        found: list[Item] = []
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :after AND :before",
            "ExpressionAttributeValues": {
                ":pk": {"S": pk},
                ":after": {"S": f"{after}\x01" if after != FIRST else FIRST},
                ":before": {"S": before},
            },
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if attributes:
            request["ProjectionExpression"] = ", ".join(attributes)
        while len(found) < limit:
            with self._translating():
                # One more than is missing: BETWEEN includes `before`, which is not wanted.
                answer = self._client().query(**request, Limit=limit - len(found) + 1)
            found += [item for item in answer["Items"] if item.get("sk") != {"S": before}]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found[:limit]

    def _conditional(self, operation: str, **request: Any) -> bool:
        """Whether the condition of a write was met."""
        client = self._client()
        with self._translating():
            try:
                getattr(client, operation)(TableName=self._table, **request)
            except client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    @contextmanager
    def _translating(self) -> Iterator[None]:
        from oddsound.storage import ConflictError, MissingError

        try:
            with translating_errors(f"the table {self._table}"):
                yield
        except (MissingError, ConflictError) as error:
            raise StorageError(f"the table {self._table} did not answer as expected") from error


def _fits(key: str, max_bytes: int) -> bool:
    """Whether an item may have this key: a client may ask for any id and any key of S3."""
    return 0 < len(key.encode(errors="surrogatepass")) <= max_bytes


def _key(pk: str, sk: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _partition(row: HistoryRow) -> str:
    return f"rows#{row.machine or ''}#{sortable(row.recorded_at)[:MONTH]}"


def _row(item: Item) -> HistoryRow:
    if PACKED in item:
        return unpacked(item[PACKED]["B"])
    return HistoryRow.model_validate_json(item[UNPACKED]["S"])


def _number(number: int) -> str:
    return f"{number:012}"


def _body(record: MachineRecord) -> str:
    return record.model_dump_json(exclude={"version", "last_recorded_at", "last_arrived_at"})


def _record(item: Item) -> MachineRecord:
    times = {
        name: _time(item[short]) if short in item else None
        for name, short in (("last_recorded_at", "recorded"), ("last_arrived_at", "arrived"))
    }
    return MachineRecord.model_validate_json(item["body"]["S"]).model_copy(
        update={"version": int(item["version"]["N"]), **times}
    )


def _time(value: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(value["S"])
