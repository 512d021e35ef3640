"""The scores of a machine over time: few numbers of each row, and their summary for a chart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Self

from pydantic import Field

from oddsound.fields import Schema

MAX_POINTS = 100_000
"""Recordings that one answer summarises: the newest ones."""

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Point:
    """What a chart needs of a row. position : of the row, begins with its time

    reviewed_at : text that sorts by time; "" if nobody has reviewed it
    """

    position: str
    score: float | None
    threshold: float | None
    is_anomaly: bool | None
    review: str | None = None
    reviewed_at: str = ""

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.position.partition("_")[0])

    def as_text(self) -> str:
        """In few characters, without a space in its parts."""
        values = [self.score, self.threshold, self.is_anomaly, self.review, self.reviewed_at]
        texts = [NOTHING if value in (None, "") else str(value) for value in values]
        return " ".join([self.position, *texts])

    @classmethod
    def of_text(cls, text: str) -> Self:
        """The inverse of `as_text`."""
        position, score, threshold, anomaly, review, reviewed_at = text.split(" ")
        return cls(
            position,
            None if score == NOTHING else float(score),
            None if threshold == NOTHING else float(threshold),
            None if anomaly == NOTHING else anomaly == "True",
            None if review == NOTHING else review,
            "" if reviewed_at == NOTHING else reviewed_at,
        )


def newest_of_each(points: Iterable[Point]) -> list[Point]:
    """Each recording once, by time, as it was reviewed last."""
    found: dict[str, Point] = {}
    for point in points:
        known = found.get(point.position)
        if known is None or known.reviewed_at < point.reviewed_at:
            found[point.position] = point
    return [found[position] for position in sorted(found)]


class TrendSlice(Schema):
    """The recordings of a stretch of time; stretches without recordings are left out."""

    start: datetime
    count: int
    lowest: float | None = Field(description="score; null if no recording has one")
    mean: float | None
    highest: float | None
    threshold: float | None = Field(description="of the newest recording")
    anomalies: int
    reviewed_normal: int
    reviewed_fault: int
    unusable: int


class Trend(Schema):
    """The response of GET /machines/{id}/trend."""

    machine: str
    start: datetime | None = Field(description="of the first slice; null if there is no recording")
    end: datetime | None = Field(description="of the last slice")
    slice_s: float = Field(description="length of a slice in seconds")
    count: int = Field(description="recordings in all slices")
    complete: bool = Field(description=f"false if only the newest {MAX_POINTS:,} are summarised")
    slices: list[TrendSlice] = Field(description="oldest first")


def summarised(
    machine: str,
    points: Sequence[Point],
    slices: int,
    after: datetime | None = None,
    before: datetime | None = None,
    *,
    complete: bool = True,
) -> Trend:
    """The points in at most `slices` stretches of the same length.

    points : by time
    after, before : bounds of the time; by default, from the first recording to the last one
    """
    if not points:
        return Trend(
            machine=machine, start=after, end=before, slice_s=0, count=0, complete=True, slices=[]
        )
    times = [point.at for point in points]
    start = (after or times[0]).astimezone(UTC)
    end = max(before or times[-1], times[-1], start + timedelta(seconds=1)).astimezone(UTC)
    length_s = (end - start).total_seconds() / slices
    found: dict[int, list[Point]] = {}
    for at, point in zip(times, points, strict=True):
        number = min(int((at - start).total_seconds() / length_s), slices - 1)
        found.setdefault(number, []).append(point)
    return Trend(
        machine=machine,
        start=start,
        end=end,
        slice_s=length_s,
        count=len(points),
        complete=complete,
        slices=[
            _slice(start + timedelta(seconds=number * length_s), of)
            for number, of in sorted(found.items())
        ],
    )


def _slice(start: datetime, points: Sequence[Point]) -> TrendSlice:
    scores = [point.score for point in points if point.score is not None]
    reviews = [point.review for point in points]
    return TrendSlice(
        start=start,
        count=len(points),
        lowest=min(scores, default=None),
        mean=round(fmean(scores), 6) if scores else None,
        highest=max(scores, default=None),
        threshold=points[-1].threshold,
        anomalies=sum(bool(point.is_anomaly) for point in points),
        reviewed_normal=reviews.count("normal"),
        reviewed_fault=reviews.count("fault"),
        unusable=reviews.count("unusable"),
    )
