"""Reads a recording once, as a stream: its features by window, its events, and its quality."""

from dataclasses import dataclass

import numpy as np

from oddsound import audio, deadline
from oddsound.decoding import Source
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.features import FeatureExtractor
from oddsound.formats import AudioLimits
from oddsound.machines.profile import Profile
from oddsound.model import ROWS_PER_CALL, Model
from oddsound.predictors import Floats
from oddsound.profiling import Profiler
from oddsound.schemas import Event
from oddsound.windows import WindowCutter, split

DEFAULT_WINDOW_S = 60.0
"""Window length if the model has no window_s: what is anomalous for a second is small in an hour.
"""


LENGTH_TOLERANCE = 0.95
"""Recorders cut a second a little short."""

PART_SAMPLES = 1 << 18
"""Samples of a block that are passed on together."""


@dataclass(frozen=True)
class Scan:
    """What a model needs to know about a recording.

    model : the one for the sample rate and the bandwidth of the recording, see Model.for_rate
        and Model.for_bandwidth
    info : what the recorder did to the recording, and its duration
    starts, size : of the windows, in samples at the model's rate
    probabilities : of each window, float64 [shape=(windows, classes)]; empty if `rows` are kept
    rows : features of each window, float32 [shape=(windows, features that the model uses)]; empty
        if they are not kept
    events : what is unusual and when; see Model.event_finder
    profile : how it differs from the training recordings
    """

    model: Model
    info: audio.RecordingInfo
    starts: list[int]
    size: int
    probabilities: Floats
    rows: Array
    events: list[Event] | None
    profile: Profile | None


def scan(source: Source, model: Model, limits: AudioLimits, *, keep_rows: bool = False) -> Scan:
    """Decode a recording block by block; memory does not grow with its length.

    Windows are placed by the length in the header. A recording whose header has no length, or a
    wrong one, is read again, and so is one without the high frequencies that the model compares.
    keep_rows : whether to return the features of the windows, and not their probabilities
    Raises InvalidAudioError (also if the recording never changes, or is too short to judge),
    UnsupportedAudioError or AudioTooLargeError.
    """
    reader, info = _read(source, model, limits, None, keep_rows=keep_rows)
    fitting = reader.model.for_bandwidth(info.quality.bandwidth_hz)
    if fitting is not reader.model:
        reader, info = _read(source, fitting, limits, None, keep_rows=keep_rows)
    if reader.samples != reader.planned:
        reader, info = _read(source, reader.model, limits, reader.samples, keep_rows=keep_rows)
    model = reader.model
    check_length(reader.samples, model.extractor, model.sample_rate)
    info.check_sound()
    _check_duration(info.duration_s, model)
    if reader.samples != reader.planned:
        raise InvalidAudioError("the file changed while it was read")
    probabilities = reader.probabilities()
    return Scan(
        model,
        info,
        reader.starts,
        reader.size,
        probabilities,
        reader.rows(),
        reader.events(),
        reader.profiler.profile(),
    )


def _read(
    source: Source, model: Model, limits: AudioLimits, samples: int | None, *, keep_rows: bool
) -> tuple["_Reader", audio.RecordingInfo]:
    """Read a recording once.

    samples : of the whole recording, at the model's rate; None to take it from the header
    """
    with audio.open_stream(source, limits) as stream:
        model = model.for_rate(stream.sample_rate)
        if samples is None:
            samples = stream.expected_samples(model.sample_rate)
        reader = _Reader(model, samples, keep_rows=keep_rows)
        for block in stream.blocks(model.sample_rate):
            deadline.checkpoint()
            reader.feed(block)
        return reader, stream.info


class _Reader:
    """Collects what a model needs while the blocks of a recording arrive.

    planned : number of samples of the recording; None if not known
    keep_rows : whether to keep the features of the windows; otherwise only their probabilities
    samples : number of samples that have arrived
    """

    def __init__(self, model: Model, planned: int | None, *, keep_rows: bool) -> None:
        self.model = model
        self.planned = planned
        self.samples = 0
        window_s = model.window_s or DEFAULT_WINDOW_S
        self.starts, self.size = split(planned or 0, window_s, model.sample_rate, model.extractor)
        self._keep_rows = keep_rows
        self._rows: list[Array] = []
        self._scored: list[Floats] = []
        self._cutter = WindowCutter(model.extractor, self.starts, self.size)
        self._finder = model.event_finder()
        self.profiler = Profiler(model)

    def feed(self, block: Array) -> None:
        self.samples += len(block)
        # Without a known length there are no windows to cut; this only counts the samples.
        if self.planned is None:
            return
        # In parts, which need less memory than what is computed from a whole block.
        for first in range(0, len(block), PART_SAMPLES):
            deadline.checkpoint()
            part = block[first : first + PART_SAMPLES]
            rows = self._cutter.feed(part)
            self.profiler.feed(rows)
            self._rows += [row[self.model.kept] for row in rows]
            if self._finder:
                self._finder.feed(part)
        if len(self._rows) >= ROWS_PER_CALL:
            self._score()

    def _score(self) -> None:
        if self._keep_rows or not self._rows:
            return
        length_s = self.size / self.model.sample_rate
        self._scored.append(self.model.probabilities(self.rows(), length_s))
        self._rows.clear()

    def probabilities(self) -> Floats:
        """Of the windows [shape=(windows, classes)]; empty if their features are kept."""
        self._score()
        empty = np.empty((0, len(self.model.predictor.classes)))
        return np.concatenate([empty, *self._scored])

    def rows(self) -> Array:
        """Features of the windows that are not scored yet [shape=(windows, features)]."""
        empty = np.empty((0, len(self.model.kept)), np.float32)
        return np.stack(self._rows) if self._rows else empty

    def events(self) -> list[Event] | None:
        if self.model.predictor.normal_label is None:
            return None
        return self._finder.finish() if self._finder else []


def load(
    source: Source, extractor: FeatureExtractor, sample_rate: int, limits: AudioLimits
) -> audio.Recording:
    """Decode a whole recording, and check that features can be computed from it.

    sample_rate : of the extractor, in Hz
    Raises the errors of `scan`.
    """
    recording = audio.load(source, sample_rate, limits)
    check_length(len(recording.waveform), extractor, sample_rate)
    recording.check_sound()
    return recording


def check_length(samples: int, extractor: FeatureExtractor, sample_rate: int) -> None:
    """Raises InvalidAudioError if a recording is shorter than one analysis frame."""
    if samples < extractor.min_samples:
        raise InvalidAudioError(
            f"the recording lasts {samples / sample_rate:.3f} s; at least one analysis frame"
            f" ({extractor.min_samples / sample_rate:.3f} s) is required"
        )


def _check_duration(duration_s: float, model: Model) -> None:
    """Raises InvalidAudioError if the recording is too short for a verdict of the model."""
    min_length_s = model.predictor.min_length_s
    if duration_s < LENGTH_TOLERANCE * min_length_s:
        raise InvalidAudioError(
            f"the recording lasts {duration_s:.3f} s, which is too short to judge; the"
            f" model {model.name} needs at least {min_length_s:g} s"
        )
