"""Finds the layout of a file by its container."""

import io
from collections.abc import Callable
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.layouts import flac, mp3, ogg, others, wav
from oddsound.layouts.layout import Layout

LAYOUTS: dict[str, Callable[[BinaryIO, Container, int], Layout]] = {
    "WAV": wav.layout,
    "RF64": wav.layout,
    "BW64": wav.layout,
    "AIFF": others.layout,
    "CAF": others.layout,
    "W64": others.layout,
    "AU": others.au_layout,
    "FLAC": flac.layout,
    "OGG": ogg.layout,
    "MP3": mp3.layout,
}
"""For each container that libsndfile reads."""


def layout(file: BinaryIO, kind: Container) -> Layout:
    """How a file has to be read, see Layout.

    Raises InvalidAudioError if it is damaged, or contains several recordings.
    """
    return LAYOUTS[kind.name](file, kind, file.seek(0, io.SEEK_END))
