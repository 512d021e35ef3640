"""Where the sound of a file is, as far as a decoder would not find it by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from oddsound.spliced import Piece


@dataclass(frozen=True)
class Pcm:
    """Uncompressed samples of 16 bits, little-endian.

    sample_rate : in Hz
    sound : where they are in the file
    """

    sample_rate: int
    channels: int
    sound: range


@dataclass(frozen=True)
class Layout:
    """How a file has to be read.

    pieces : what libsndfile reads instead of the file; None if it reads the file itself
    frames : number of frames (samples of each channel); None to take it from libsndfile
    has_length : whether libsndfile's number of frames is right, and not an estimate
    present, announced : bytes of sound in the file, and according to its header
    pcm : where the samples are, if they can be read without libsndfile
    is_cut : whether the end is missing, if that cannot be said in bytes
    check : called where decoding ends or fails; raises InvalidAudioError if the file has a fault
        that explains it better, or that libsndfile does not notice
    """

    pieces: list[Piece] | None = None
    frames: int | None = None
    has_length: bool = True
    present: int = 0
    announced: int = 0
    pcm: Pcm | None = None
    is_cut: bool = False
    check: Callable[[], None] = lambda: None
