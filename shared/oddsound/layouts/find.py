"""Finds the layout of a file by its container."""

import io
from collections.abc import Callable
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.layouts import flac, mp3, ogg, others, rare, wav
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
    "IFF/SVX": others.layout,
    "VOC": rare.voc_layout,
    "AVR": rare.avr_layout,
    "True Audio": rare.tta_layout,
    **dict.fromkeys(("3GP", "QuickTime", "MP4/M4A"), rare.mp4_layout),
}
"""For each container whose header says how long it is, or in which libsndfile needs help."""

WITH_PICTURES = {"Theora video", "several streams"}
"""Codecs of OGG files whose first stream is not the sound."""


def layout(file: BinaryIO, kind: Container) -> Layout:
    """How a file has to be read, see Layout.

    Raises InvalidAudioError if it is damaged, or contains several recordings.
    """
    find = LAYOUTS.get(kind.name)
    if find is None or kind.codec in WITH_PICTURES:
        return Layout()
    return find(file, kind, file.seek(0, io.SEEK_END))
