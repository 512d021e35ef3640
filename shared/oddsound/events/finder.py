"""Finds the events of a recording, which may be delivered in blocks of any size."""

from dataclasses import replace

import numpy as np

from oddsound.descriptors import Array
from oddsound.events.candidates import Candidate, candidates
from oddsound.events.frames import HALF, MAX_SINGLE_CHUNK, FrameAnalyser
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
        self._max_size = int(MAX_SINGLE_CHUNK * self._size)
        self._whole = self._size - self._size % (HALF * analyser.hop)
        """Samples of a chunk up to the last frame of its last half block."""

        self._samples = 0
        self._parts: list[tuple[Array, Array, Array]] = []
        """Numbers of the chunk so far, see `FrameAnalyser.chunk`."""

        self._start = self._position = 0
        """First sample of the chunk, and of the frames that are not in these parts."""

        self._waiting = np.empty(0, np.float32)
        """The samples from this position on."""

        self._candidates: list[Candidate] = []

    def feed(self, samples: Array) -> None:
        """The next samples, float32 [shape=(samples,)], finite, at the model's sample rate."""
        self._samples += len(samples)
        if len(self._waiting):
            samples = np.concatenate([self._waiting, samples])
        while True:
            whole = self._whole - (self._position - self._start)
            if whole > 0 and (taken := self._measured(samples[: whole + self._analyser.hop])):
                samples = samples[taken:]
            elif whole <= 0 and self._samples - self._start > self._max_size:
                # The last frame and tick of a chunk end in the next one.
                rest = self._start + self._size - self._position
                self._analyse(samples[: rest + self._analyser.hop])
                samples = samples[rest:]
                self._start = self._position = self._start + self._size
            else:
                # A copy, because a view would keep the whole block in memory.
                self._waiting = samples.copy()
                return

    def _measured(self, samples: Array) -> int:
        """Measure the whole half blocks of some samples. Returns the number of their samples."""
        analyser = self._analyser
        frames = max(0, len(samples) // analyser.hop - 1) // HALF * HALF
        taken = frames * analyser.hop
        if frames:
            bands, halves = analyser.power(samples[: taken + analyser.hop])
            self._parts.append((bands, halves, analyser.ticks(samples[: taken + 1])))
            self._position += taken
        return taken

    def finish(self) -> list[Event]:
        """The events of the whole recording by start, at most MAX_EVENTS."""
        if self._samples - self._start >= self._analyser.n_fft:
            self._analyse(self._waiting)
        chunks = self._samples / self._size
        limits = {kind: each.limit_of(chunks) for kind, each in self._reference.usual.items()}
        scored = [replace(e, score=e.units / limits[e.kind]) for e in self._candidates]
        strong = [each for each in scored if each.score >= 1]
        kept = [self._event(each) for each in resolved(strong, 1 / self._analyser.tick_s)]
        kept = sorted(kept, key=lambda event: -event.score)[:MAX_EVENTS]
        return sorted(kept, key=lambda event: (event.start_s, event.end_s, event.kind))

    def _analyse(self, rest: Array) -> None:
        """Add the candidates of the chunk, which ends with the samples `rest`."""
        analyser = self._analyser
        self._parts.append((*analyser.power(rest), analyser.ticks(rest)))
        bands, halves, ticks = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        self._parts.clear()
        chunk = analyser.chunk(bands, halves, ticks)
        offset = self._start // analyser.tick
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
