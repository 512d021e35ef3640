"""Where the sound of a file is, as far as a decoder would not find it by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from oddsound.errors import InvalidAudioError
from oddsound.spliced import Piece

MIN_MISSING_S = 0.01
"""Less is not worth mentioning."""


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
    behind : bytes after the sound that are nothing known: the header may announce too little
    problem : why libsndfile does not open the file, if it does not; empty if that is not known
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
    behind: int = 0
    problem: str = ""
    pcm: Pcm | None = None
    is_cut: bool = False
    check: Callable[[], None] = lambda: None

    def notes(self, found_s: float) -> list[str]:
        """Sentences about sound that is not there, or not read, where found_s seconds are."""
        per_byte_s = found_s / max(1, self.present)
        if (self.announced - self.present) * per_byte_s >= MIN_MISSING_S:
            whole_s = self.announced * per_byte_s
            return [f"the file is cut off: it contains {found_s:.1f} s of {whole_s:.1f} s"]
        if self.behind * per_byte_s >= MIN_MISSING_S:
            return [
                f"the file does not end after the {found_s:.1f} s that its header announces:"
                f" {self.behind:,} more bytes were not read"
            ]
        if self.is_cut:
            return [f"the file is cut off after {found_s:.1f} s: its end is missing"]
        return []


def several_recordings(second: int) -> InvalidAudioError:
    """The error for a file in which a second recording begins at this byte."""
    return InvalidAudioError(
        "the file contains several recordings, one behind the other; the second begins"
        f" at byte {second:,}: split it into files"
    )
