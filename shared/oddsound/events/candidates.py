"""Times at which a measure is above its limit, joined to candidates for events."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.events.frames import (
    BANDS,
    DROPOUT,
    GRIDS,
    HALF,
    IMPACT,
    LEVEL,
    MODULATION,
    TICKS,
    TIMBRE,
    TONE,
    Chunk,
    FrameAnalyser,
)
from oddsound.events.reference import EventReference, in_order

CONTINUES = 0.5
"""An event lasts as long as its measure is above this share of the limit."""

MAX_GAP = {IMPACT: 2, DROPOUT: 5, TONE: 2, LEVEL: 1, MODULATION: 1, TIMBRE: 2}
"""Times below that share which do not end an event."""

BAND_WITHIN_DB = 6.0
"""Neighbouring bands belong to a knock if their level is within this of the largest."""


@dataclass(frozen=True)
class Candidate:
    """A possible event.

    first, last : ticks of the recording, `last` is not part of it
    units : largest value, see Usual.units
    amount_db : change of level; in the best frame of a knock, else the largest
    usual_db : amount that normal recordings rarely exceed
    low_hz, high_hz : frequencies that change; both NaN if all do
    rate_hz : of a modulation, else 0
    score : in multiples of the limit, which is known when the recording ends
    """

    kind: str
    first: int
    last: int
    units: float
    amount_db: float
    usual_db: float = 0.0
    low_hz: float = float("nan")
    high_hz: float = float("nan")
    rate_hz: float = 0.0
    score: float = 0.0


def candidates(
    chunk: Chunk, reference: EventReference, analyser: FrameAnalyser, offset: int
) -> list[Candidate]:
    """The candidates of a chunk, above the limits of a recording as long as those of the training.

    offset : ticks before the chunk
    """
    found = []
    measures = reference.distances(chunk.measures)
    for kind in in_order(measures):
        usual = reference.usual.get(kind)
        if usual is None:
            continue
        units = usual.units(measures[kind])
        if units.max() < usual.limit:
            continue
        largest = units.max(axis=1)
        for first, last in _runs(largest, usual.limit, MAX_GAP[kind]):
            if kind == IMPACT:
                # A knock is sudden: what is before it is not part of it.
                first += int((largest[first:last] >= usual.limit).argmax())
            peak = first + int(largest[first:last].argmax())
            place = _Place(kind, first, last, peak, int(units[peak].argmax()))
            found.append(_candidate(place, float(largest[peak]), chunk, reference, analyser))
    return [_moved(each, offset) for each in found]


@dataclass(frozen=True)
class _Place:
    """Times of a measure from first to before last, the time and column of the largest value."""

    kind: str
    first: int
    last: int
    peak: int
    column: int


def _runs(largest: Array, limit: float, max_gap: int) -> list[tuple[int, int]]:
    """First time, and time after the last one, of everything that exceeds the limit."""
    continues = np.flatnonzero(largest >= CONTINUES * limit)
    breaks = np.flatnonzero(np.diff(continues) > max_gap + 1) + 1
    return [
        (int(run[0]), int(run[-1]) + 1)
        for run in np.split(continues, breaks)
        if largest[run].max() >= limit
    ]


def _candidate(
    place: _Place,
    units: float,
    chunk: Chunk,
    reference: EventReference,
    analyser: FrameAnalyser,
) -> Candidate:
    kind, peak, column = place.kind, place.peak, place.column
    first, last = _ticks(place, len(chunk.measures[kind]), len(chunk.ticks))
    measure = chunk.measures[kind][peak]
    usual = reference.usual[kind]
    if kind == TIMBRE:
        change = measure - reference.timbre_mean
        band = int(np.abs(change / reference.timbre_deviation).argmax())
        low, high = analyser.edges_hz[band : band + 2].tolist()
        deviation = float(reference.timbre_deviation[band])
        return Candidate(kind, first, last, units, float(change[band]), deviation, low, high)
    column = min(column, len(measure) - 1)
    amount, usual_db = float(measure[column]), float(usual.quantile[column])
    if kind == IMPACT:
        first = _start_of_impact(chunk, place)
        last = max(last - TICKS, first + 1)
        if column >= BANDS:
            # The mean of the bands, or the distance from the machine's knocks.
            column = int(measure[:BANDS].argmax())
            amount, usual_db = float(measure[column]), float(usual.quantile[column])
        low, high = _band_of_impact(measure, column, analyser.edges_hz)
        return Candidate(kind, first, last, units, amount, usual_db, low, high)
    if kind == TONE:
        hz = _frequency(measure, column, analyser.hz)
        return Candidate(kind, first, last, units, amount, usual_db, hz, hz)
    if kind == LEVEL:
        return Candidate(kind, first, last, units, amount if column == 0 else -amount, usual_db)
    if kind == MODULATION:
        rate = _rate(chunk.levels[first // TICKS : last // TICKS], analyser.tick_s * TICKS)
        return Candidate(kind, first, last, units, amount, usual_db, rate_hz=rate)
    return Candidate(kind, first, last, units, amount, usual_db)


def _moved(candidate: Candidate, offset: int) -> Candidate:
    """The candidate with times in ticks of the recording."""
    return replace(candidate, first=candidate.first + offset, last=candidate.last + offset)


def _ticks(place: _Place, times: int, ticks: int) -> tuple[int, int]:
    """First and last tick of a run. At the edges of the chunk, nothing is trimmed."""
    grid = GRIDS[place.kind]
    first = place.first * grid.step + (grid.trim if place.first else 0)
    last = (place.last - 1) * grid.step + grid.width - (grid.trim if place.last < times else 0)
    if place.last == times and place.kind != DROPOUT:
        last = ticks
    return first, max(min(last, ticks), first + 1)


def _start_of_impact(chunk: Chunk, place: _Place) -> int:
    """The tick with the steepest rise in the first frame."""
    frame = place.first
    start, stop = frame * TICKS, min((frame + 2) * TICKS, len(chunk.ticks))
    before = max(start - TICKS, 0)
    levels = chunk.ticks[before:stop]
    rises = [
        levels[i] - levels[max(i - 3, 0) : i].mean() if i else -np.inf
        for i in range(start - before, len(levels))
    ]
    return start + int(np.argmax(rises))


def _band_of_impact(
    measure: Array, column: int, edges_hz: NDArray[np.float64]
) -> tuple[float, float]:
    """Lowest and highest frequency of a knock, from the band with the largest change."""
    bands = measure[:BANDS]
    low = high = column
    limit = bands[low] - BAND_WITHIN_DB
    while low > 0 and bands[low - 1] >= limit:
        low -= 1
    while high < BANDS - 1 and bands[high + 1] >= limit:
        high += 1
    return float(edges_hz[low]), float(edges_hz[high + 1])


def _frequency(measure: Array, column: int, hz: NDArray[np.float64]) -> float:
    """The maximum of the parabola through a bin and its neighbours."""
    if not 0 < column < len(hz) - 1:
        return float(hz[column])
    left, middle, right = measure[column - 1 : column + 2].astype(float)
    bend = left - 2 * middle + right
    shift = 0.0 if bend >= 0 else 0.5 * (left - right) / bend
    return float(hz[column] + np.clip(shift, -0.5, 0.5) * (hz[1] - hz[0]))


def _rate(levels: Array, frame_s: float) -> float:
    """The frequency in Hz with the largest share in the changes of a level."""
    centred = (levels - levels.mean()) * np.hanning(len(levels))
    size = 4 * HALF * HALF
    spectrum = np.abs(np.fft.rfft(centred, max(size, len(levels))))
    hz = np.fft.rfftfreq(max(size, len(levels)), frame_s)
    chosen = (hz >= 1) & (hz <= 20)
    return float(hz[chosen][spectrum[chosen].argmax()])
