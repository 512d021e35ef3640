"""Finds the events of a recording, which may be delivered in blocks of any size."""

import numpy as np

from oddsound.descriptors import Array
from oddsound.events.candidates import Candidate, candidates
from oddsound.events.frames import (
    DROPOUT,
    IMPACT,
    LEVEL,
    MAX_SINGLE_CHUNK,
    MODULATION,
    TIMBRE,
    TONE,
    FrameAnalyser,
)
from oddsound.events.reference import EventReference
from oddsound.events.wording import sentence
from oddsound.schemas import Event

MAX_EVENTS = 100
"""Most events of a recording; the strongest are kept."""

MAX_CANDIDATES = 400
JOINED_S = 0.1
"""Events of one kind that are closer are one event, except knocks and drop-outs."""

EXPLAINED = {
    MODULATION: {DROPOUT, LEVEL, IMPACT, TIMBRE},
    TONE: {LEVEL, IMPACT, TIMBRE},
    DROPOUT: {LEVEL, TIMBRE, IMPACT},
    LEVEL: {IMPACT, TIMBRE},
    TIMBRE: {IMPACT},
}
"""Kinds that a kind explains, if it happens at the same time: a tone, for example, raises the level
and begins suddenly."""

MIN_OVERLAP = 0.5
"""Share of an event that has to be inside another one that explains it."""

BEGINS_S = 0.1
"""A knock this close to the start of a change is the start of the change."""

SHORT_S = 0.7
"""A change of level or timbre that is shorter, and contains a knock, is the knock."""

SINGLE_S = 1.3
"""A modulation that is shorter, and contains only one drop-out, is the drop-out."""


class EventFinder:
    """Collects the events of one recording; memory does not grow with its length.

    analyser, reference : of the model
    """

    def __init__(self, analyser: FrameAnalyser, reference: EventReference) -> None:
        self._analyser = analyser
        self._reference = reference
        self._size = analyser.chunk_samples(reference.chunk_s)
        self._waiting = np.empty(0, np.float32)
        self._samples = 0
        self._candidates: list[Candidate] = []

    def feed(self, samples: Array) -> None:
        """The next samples, float32 [shape=(samples,)], finite, at the model's sample rate."""
        self._samples += len(samples)
        waiting = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        while len(waiting) > MAX_SINGLE_CHUNK * self._size:
            # The last frame and tick of a chunk end in the next one.
            self._analyse(waiting, self._size + self._analyser.hop)
            waiting = waiting[self._size :]
        self._waiting = waiting

    def finish(self) -> list[Event]:
        """The events of the whole recording by start, at most MAX_EVENTS."""
        if len(self._waiting) >= self._analyser.n_fft:
            self._analyse(self._waiting, len(self._waiting))
        chunks = self._samples / self._size
        limits = {kind: each.limit_of(chunks) for kind, each in self._reference.usual.items()}
        strong = [each for each in self._candidates if each.units >= limits[each.kind]]
        kept = [self._event(each, limits[each.kind]) for each in self._resolved(strong, limits)]
        kept = sorted(kept, key=lambda event: -event.score)[:MAX_EVENTS]
        return sorted(kept, key=lambda event: (event.start_s, event.end_s, event.kind))

    def _analyse(self, waiting: Array, size: int) -> None:
        """Add the candidates of the first `size` samples of what waits."""
        done = self._samples - len(waiting)
        chunk = self._analyser(waiting[:size])
        offset = done // self._analyser.tick
        self._candidates += candidates(chunk, self._reference, self._analyser, offset)
        if len(self._candidates) > MAX_CANDIDATES:
            usual = self._reference.usual
            ranked = sorted(self._candidates, key=lambda each: -each.units / usual[each.kind].limit)
            self._candidates = sorted(ranked[: MAX_CANDIDATES // 2], key=lambda each: each.first)

    def _resolved(self, found: list[Candidate], limits: dict[str, float]) -> list[Candidate]:
        """Without what another event explains, with parts of one event joined.

        limits : by kind, in units
        """
        per_s = 1 / self._analyser.tick_s
        joined = _joined(found, round(JOINED_S * per_s))
        joined = [each for each in joined if not _is_knock_or_dropout(each, joined, per_s)]
        begins = round(BEGINS_S * per_s)

        def weaker(one: Candidate, other: Candidate) -> bool:
            return one.units / limits[one.kind] < other.units / limits[other.kind]

        return [
            each
            for each in joined
            if not any(
                # A large change of the timbre is more than what a weak event explains.
                _explains(other, each, begins) and not (each.kind == TIMBRE and weaker(other, each))
                for other in joined
            )
        ]

    def _event(self, candidate: Candidate, limit: float) -> Event:
        tick_s, duration_s = self._analyser.tick_s, self._samples / self._analyser.sample_rate
        start_s, end_s = candidate.first * tick_s, min(candidate.last * tick_s, duration_s)
        return Event(
            start_s=round(start_s, 3),
            end_s=round(max(end_s, start_s), 3),
            kind=candidate.kind,
            score=round(candidate.units / limit, 2),
            says=sentence(candidate, end_s - start_s),
        )


def find_events(waveform: Array, analyser: FrameAnalyser, reference: EventReference) -> list[Event]:
    """The events of a waveform, float32 [shape=(samples,)] at the model's sample rate."""
    finder = EventFinder(analyser, reference)
    finder.feed(waveform)
    return finder.finish()


def _joined(found: list[Candidate], max_gap: int) -> list[Candidate]:
    """Join candidates of one kind that touch, or nearly do. The strongest describes them."""
    joined: list[Candidate] = []
    open_ones: dict[tuple[str, bool], int] = {}
    for each in sorted(found, key=lambda candidate: candidate.first):
        # A rise of the level does not continue as a fall.
        key = (each.kind, each.kind == LEVEL and each.amount_db < 0)
        gap = 0 if each.kind in (IMPACT, DROPOUT) else max_gap
        index = open_ones.get(key)
        if (
            index is not None
            and each.first <= joined[index].last + gap
            and _alike(joined[index], each)
        ):
            last = max(joined[index].last, each.last)
            first = joined[index].first
            stronger = max(joined[index], each, key=lambda candidate: candidate.units)
            joined[index] = Candidate(**{**vars(stronger), "first": first, "last": last})
        else:
            open_ones[key] = len(joined)
            joined.append(each)
    return joined


def _alike(one: Candidate, other: Candidate) -> bool:
    """Two tones are one if their frequencies differ by less than 3 %."""
    return one.kind != TONE or abs(one.low_hz - other.low_hz) < 0.03 * one.low_hz


def _is_knock_or_dropout(one: Candidate, found: list[Candidate], per_s: float) -> bool:
    """Whether a candidate only shows a knock or a single drop-out that was found as well.

    per_s : ticks per second
    """
    length = one.last - one.first
    if one.kind == MODULATION and length < SINGLE_S * per_s:
        return sum(o.kind == DROPOUT and _inside(o, one) for o in found) == 1
    if one.kind in (LEVEL, TIMBRE) and length < SHORT_S * per_s:
        return any(o.kind == IMPACT and one.first <= o.first < one.last for o in found)
    return False


def _explains(one: Candidate, other: Candidate, begins: int) -> bool:
    """Whether `other` is part of `one`; begins : ticks in BEGINS_S."""
    if other.kind not in EXPLAINED.get(one.kind, ()):
        return False
    if other.kind == IMPACT and one.kind in (LEVEL, TIMBRE):
        return abs(other.first - one.first) <= begins
    if other.kind == IMPACT:
        return one.first - begins <= other.first < one.last + begins
    return _inside(other, one)


def _inside(one: Candidate, other: Candidate) -> bool:
    overlap = min(one.last, other.last) - max(one.first, other.first)
    return overlap >= MIN_OVERLAP * (one.last - one.first)
