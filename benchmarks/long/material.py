"""Recordings of any length: one minute of the sound of several machines, repeated."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from oddsound.descriptors import Array
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.recordings import audio_files
from oddsound_workbench.synthesis import fan

MINUTE_S = 60
SUBTYPES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS"}
WRITTEN_FRAMES = 1 << 16
SECOND_GAIN, SECOND_DELAY = 0.8, 37
"""The second channel is quieter than the first, and so many samples later."""


def minute(folders: Sequence[Path], sample_rate: int) -> Array:
    """A minute of sound, float32 [shape=(samples,)]: as much of each folder.

    folders : with recordings, also in subfolders; none for a synthesised fan, half of it faulty
    Raises FolderError if a folder contains no recording.
    """
    if not folders:
        parts = [fan(seed, faulty=seed >= 3, duration_s=10) for seed in range(6)]
        return _resampled(np.concatenate(parts), 16_000, sample_rate)
    share = MINUTE_S * sample_rate // len(folders)
    return np.concatenate([_sound(folder, sample_rate, share) for folder in folders])


def _sound(folder: Path, sample_rate: int, samples: int) -> Array:
    """The recordings of a folder one behind the other, repeated if they are too short."""
    paths = audio_files(folder)
    if not paths:
        raise FolderError(f"{folder} contains no recordings")
    parts: list[Array] = []
    while sum(map(len, parts)) < samples:
        path = paths[len(parts) % len(paths)]
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        parts.append(_resampled(sound.mean(axis=1), rate, sample_rate))
    return np.concatenate(parts)[:samples]


def _resampled(sound: Array, rate: int, sample_rate: int) -> Array:
    resampled: Array = sound if rate == sample_rate else soxr.resample(sound, rate, sample_rate)
    return resampled


def write(path: Path, sound: Array, sample_rate: int, channels: int, minutes: int) -> None:
    """Write a recording of so many minutes, in the format of the suffix."""
    planes = [SECOND_GAIN**k * np.roll(sound, k * SECOND_DELAY) for k in range(channels)]
    frames = np.clip(np.column_stack(planes), -1, 1 - 2**-15)
    kind = path.suffix[1:].upper()
    with soundfile.SoundFile(path, "w", sample_rate, channels, SUBTYPES[kind]) as file:
        for _ in range(minutes):
            # In parts: libsndfile's encoder for OGG overflows its stack with a large one.
            for first in range(0, len(frames), WRITTEN_FRAMES):
                file.write(frames[first : first + WRITTEN_FRAMES])
