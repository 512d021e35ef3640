"""Finds the events of a recording, which may be delivered in blocks of any size."""

from dataclasses import replace

import numpy as np

from oddsound.descriptors import Array
from oddsound.events.candidates import Candidate, candidates
from oddsound.events.frames import MAX_SINGLE_CHUNK, FrameAnalyser
from oddsound.events.reference import EventReference
from oddsound.events.resolving import resolved
from oddsound.events.wording import sentence
from oddsound.schemas import Event

MAX_EVENTS = 100
"""Most events of a recording; the strongest are kept."""

MAX_CANDIDATES = 400


class EventFinder:
    """Collects the events of one recording; memory does not grow with its length.

    analyser, reference : of the model
    """

    def __init__(self, analyser: FrameAnalyser, reference: EventReference) -> None:
        self._analyser = analyser
        self._reference = reference
        self._size = analyser.chunk_samples(reference.chunk_s)
        self._max_waiting = int(MAX_SINGLE_CHUNK * self._size)
        # One array, in which the samples move: arrays for each block would fragment the memory.
        self._buffer = np.empty(self._max_waiting + 1, np.float32)
        self._waiting = 0
        self._samples = 0
        self._candidates: list[Candidate] = []

    def feed(self, samples: Array) -> None:
        """The next samples, float32 [shape=(samples,)], finite, at the model's sample rate."""
        while len(samples):
            taken = samples[: len(self._buffer) - self._waiting]
            samples = samples[len(taken) :]
            self._buffer[self._waiting : self._waiting + len(taken)] = taken
            self._waiting += len(taken)
            self._samples += len(taken)
            if self._waiting > self._max_waiting:
                # The last frame and tick of a chunk end in the next one.
                self._analyse(self._size + self._analyser.hop)
                self._waiting -= self._size
                self._buffer[: self._waiting] = self._buffer[self._size :][: self._waiting]

    def finish(self) -> list[Event]:
        """The events of the whole recording by start, at most MAX_EVENTS."""
        if self._waiting >= self._analyser.n_fft:
            self._analyse(self._waiting)
        chunks = self._samples / self._size
        limits = {kind: each.limit_of(chunks) for kind, each in self._reference.usual.items()}
        scored = [replace(e, score=e.units / limits[e.kind]) for e in self._candidates]
        strong = [each for each in scored if each.score >= 1]
        kept = [self._event(each) for each in resolved(strong, 1 / self._analyser.tick_s)]
        kept = sorted(kept, key=lambda event: -event.score)[:MAX_EVENTS]
        return sorted(kept, key=lambda event: (event.start_s, event.end_s, event.kind))

    def _analyse(self, size: int) -> None:
        """Add the candidates of the first `size` samples of what waits."""
        done = self._samples - self._waiting
        chunk = self._analyser(self._buffer[:size])
        offset = done // self._analyser.tick
        self._candidates += candidates(chunk, self._reference, self._analyser, offset)
        if len(self._candidates) > MAX_CANDIDATES:
            usual = self._reference.usual
            ranked = sorted(self._candidates, key=lambda each: -each.units / usual[each.kind].limit)
            self._candidates = sorted(ranked[: MAX_CANDIDATES // 2], key=lambda each: each.first)

    def _event(self, candidate: Candidate) -> Event:
        tick_s, duration_s = self._analyser.tick_s, self._samples / self._analyser.sample_rate
        start_s, end_s = candidate.first * tick_s, min(candidate.last * tick_s, duration_s)
        return Event(
            start_s=round(start_s, 3),
            end_s=round(max(end_s, start_s), 3),
            kind=candidate.kind,
            score=round(candidate.score, 2),
            says=sentence(candidate, end_s - start_s),
        )


def find_events(waveform: Array, analyser: FrameAnalyser, reference: EventReference) -> list[Event]:
    """The events of a waveform, float32 [shape=(samples,)] at the model's sample rate."""
    finder = EventFinder(analyser, reference)
    finder.feed(waveform)
    return finder.finish()
