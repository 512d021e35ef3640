"""Reads a recording once, as a stream: its features by window, its events, and its quality."""

from dataclasses import dataclass

import numpy as np

from oddsound import audio
from oddsound.decoding import Source
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.features import FeatureExtractor
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.schemas import Event
from oddsound.windows import WindowCutter, split

DEFAULT_WINDOW_S = 60.0
"""Window length if the model has no window_s: what is anomalous for a second is small in an hour.
"""


@dataclass(frozen=True)
class Scan:
    """What a model needs to know about a recording.

    model : the one for the sample rate of the recording, see Model.for_rate
    info : what the recorder did to the recording, and its duration
    starts, size : of the windows, in samples at the model's rate
    rows : features of each window, float32 [shape=(windows, features that the model uses)]
    events : what is unusual and when; see Model.event_finder
    """

    model: Model
    info: audio.RecordingInfo
    starts: list[int]
    size: int
    rows: Array
    events: list[Event] | None


def scan(source: Source, model: Model, limits: AudioLimits) -> Scan:
    """Decode a recording block by block; memory does not grow with its length.

    Windows are placed by the length in the header. A recording whose header has no length, or a
    wrong one, is read twice.
    Raises InvalidAudioError (also if the recording never changes, or is shorter than one analysis
    frame), UnsupportedAudioError or AudioTooLargeError.
    """
    reader, info = _read(source, model, limits, None)
    if reader.samples != reader.planned:
        reader, info = _read(source, model, limits, reader.samples)
    check_length(reader.samples, reader.model.extractor, reader.model.sample_rate)
    info.check_sound()
    if reader.samples != reader.planned:
        raise InvalidAudioError("the file changed while it was read")
    rows = np.stack(reader.rows)
    return Scan(reader.model, info, reader.starts, reader.size, rows, reader.events())


def _read(
    source: Source, model: Model, limits: AudioLimits, samples: int | None
) -> tuple["_Reader", audio.RecordingInfo]:
    """Read a recording once.

    samples : of the whole recording, at the model's rate; None to take it from the header
    """
    with audio.open_stream(source, limits) as stream:
        model = model.for_rate(stream.sample_rate)
        if samples is None:
            samples = stream.expected_samples(model.sample_rate)
        reader = _Reader(model, samples)
        for block in stream.blocks(model.sample_rate):
            reader.feed(block)
        return reader, stream.info


class _Reader:
    """Collects features and events while the blocks of a recording arrive.

    planned : number of samples of the recording; None if not known
    samples : number of samples that have arrived
    """

    def __init__(self, model: Model, planned: int | None) -> None:
        self.model = model
        self.planned = planned
        self.samples = 0
        self.rows: list[Array] = []
        window_s = model.window_s or DEFAULT_WINDOW_S
        self.starts, self.size = split(planned or 0, window_s, model.sample_rate, model.extractor)
        self._cutter = WindowCutter(model.extractor, self.starts, self.size)
        self._finder = model.event_finder()

    def feed(self, block: Array) -> None:
        self.samples += len(block)
        # Without a known length there are no windows to cut; this only counts the samples.
        if self.planned is None:
            return
        self.rows += [row[self.model.kept] for row in self._cutter.feed(block)]
        if self._finder:
            self._finder.feed(block)

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
