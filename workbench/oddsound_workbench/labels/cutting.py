"""Copies pieces of long recordings into files of their own, sample for sample."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from oddsound.decoding import Decoder, open_decoder
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.labels.stretches import MAX_PAST_END_S, Piece

BLOCK_S = 5
"""Seconds that are decoded at a time."""

PCM = {1 / 32768: "PCM_16", 1 / 128: "PCM_U8"}
"""Smallest difference of two samples in a recording -> subtype of libsndfile that keeps it."""


def duration_s(path: Path) -> float | None:
    """Duration of a recording; None if its header does not say.

    Raises FolderError if it cannot be read.
    """
    with _open(path) as decoder:
        return None if decoder.frames is None else decoder.frames / decoder.sample_rate


def cut(
    pieces: Sequence[Piece], folder: Path, advance: Callable[[], Any] = lambda: None
) -> list[Path]:
    """Write each piece as a file below `folder`; returns their paths.

    pieces : of one recording after the other, by time and without overlaps
    advance : called after each recording
    Raises FolderError if a recording cannot be read, or ends before its last piece.
    """
    paths: list[Path] = []
    names: Counter[str] = Counter()
    for recording, group in groupby(pieces, key=lambda each: each.recording):
        names[recording.name] += 1
        number = names[recording.name]
        place = folder / (recording.name if number == 1 else f"{recording.name} ({number})")
        place.mkdir()
        of_recording = list(group)
        with _open(recording) as decoder:
            for piece, samples in zip(of_recording, _samples(decoder, of_recording), strict=True):
                paths.append(_write(place, piece, samples, decoder))
        advance()
    return paths


@contextmanager
def _open(path: Path) -> Iterator[Decoder]:
    try:
        with open_decoder(path) as decoder:
            yield decoder
    except AudioAnomalyError as error:
        raise FolderError(f"{printable(path)}: {error}") from None
    except OSError as error:
        raise FolderError(f"{printable(path)} cannot be read: {error.strerror}") from None


def _samples(decoder: Decoder, pieces: Sequence[Piece]) -> Iterator[Array]:
    """The samples of each piece [shape=(frames, channels)], in one pass over the recording."""
    rate = decoder.sample_rate
    block, block_start = decoder.read(BLOCK_S * rate), 0
    for piece in pieces:
        start, end = round(piece.start_s * rate), round(piece.end_s * rate)
        parts = []
        while len(block):
            block_end = block_start + len(block)
            parts.append(block[max(0, start - block_start) : max(0, end - block_start)])
            if block_end >= end:
                break
            block, block_start = decoder.read(BLOCK_S * rate), block_end
        found = np.concatenate(parts) if parts else block
        if end - start - len(found) > MAX_PAST_END_S * rate:
            raise FolderError(
                f"{printable(piece.recording)} ends before {piece.end_s:g} s, the end of a stretch"
            )
        yield found


def _write(folder: Path, piece: Piece, samples: Array, decoder: Decoder) -> Path:
    """A file with the steps of the recording, or floats. The same samples give the same bytes."""
    # A WAV file of floats would contain the time at which it was written.
    subtype = PCM.get(decoder.step, "FLOAT")
    kind = "AU" if subtype == "FLOAT" else "WAV"
    name = f"{piece.start_s:.2f} to {piece.end_s:.2f} s.{kind.lower()}"
    # libsndfile scales floats by 32767, which would change the samples.
    data = samples if subtype == "FLOAT" else (samples * 32768).astype(np.int16)
    path = folder / name
    try:
        with path.open("wb") as file:
            soundfile.write(file, data, decoder.sample_rate, subtype, format=kind)
    except (OSError, soundfile.SoundFileError) as error:
        raise FolderError(f"{path} cannot be written: {error}") from None
    return path
