"""MP3: its frames, counted, without the tags around them."""

from typing import BinaryIO, NoReturn

from oddsound.containers import Container
from oddsound.errors import InvalidAudioError
from oddsound.layouts.layout import Layout
from oddsound.mpeg import FrameHeader, begins_with_frames

MAX_LEAD_BYTES = 1 << 16
"""Bytes before the first frame that may be something else."""

EMPTY_TAG = b"ID3\4\0\0\0\0\0\x7f" + bytes(127)
"""Without a tag, libsndfile takes a file called `._` in the current folder for a part of this."""

BLOCK_BYTES = 1 << 20
MAX_PAIR_BYTES = 8192
"""Bytes in which a frame and the header of the next are."""

END_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
INFO_TAGS = (b"Xing", b"Info")


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes.

    Raises InvalidAudioError if there are no frames, if there is something else between two frames,
    or if the file consists of several recordings.
    """
    frames = Frames(file, _first_frame(file, kind.offset), size)
    sound = frames.count
    # Some encoders count the frame of their header too.
    announced = frames.announced if abs(frames.announced - sound) > 1 else sound
    if frames.first.layer != 3:
        length = sound * frames.first.samples
        sound_only = range(frames.start, frames.end)
        return Layout([EMPTY_TAG, sound_only], length, is_cut=frames.is_cut)
    # libsndfile stops after the number of frames in the header of the encoder. Without one, it
    # estimates the number from the size of the file.
    return Layout(
        [EMPTY_TAG, frames.info(), range(frames.start, frames.end)],
        present=sound,
        announced=max(sound, announced),
        is_cut=frames.is_cut,
    )


class Frames:
    """The frames with sound, from `start` to `end`.

    first : header of the first frame; count : of frames with sound
    announced : the same number according to the encoder's header; 0 if there is none
    is_cut : whether the last frame is not complete; it is left out
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._size = size
        self._block, self._block_start = b"", start
        first = FrameHeader.parse(self._bytes(start, 4))
        if first is None:
            raise InvalidAudioError("the file begins like MP3 but contains no frames")
        self.first = first
        self._head = self._bytes(start, first.size)
        self.announced = 0
        self.start = self.end = start + (first.size if self._has_info() else 0)
        self.count = 0
        self.is_cut = False
        self._walk()

    def info(self) -> bytes:
        """A first frame with the header of an encoder that has the right number of frames."""
        at = self._info_at()
        if self._head[at : at + 4] in INFO_TAGS and self._head[at + 7] & 1:
            frame = bytearray(self._head)
        else:
            # A frame of the same kind with bit rate number 8, which has room for the header.
            first, second, third, fourth = self._head[:4]
            beginning = bytes([first, second | 1, 0x80 | third & 0x0C, fourth])
            header = FrameHeader.parse(beginning)
            frame = bytearray(beginning + bytes(header.size - 4 if header else 0))
            frame[at : at + 8] = b"Info\0\0\0\3"
        frame[at + 8 : at + 12] = self.count.to_bytes(4)
        if frame[at + 7] & 2:
            frame[at + 12 : at + 16] = (len(frame) + self.end - self.start).to_bytes(4)
        return bytes(frame)

    def _walk(self) -> None:
        known: dict[bytes, FrameHeader | None] = {}
        info = self._info_at()
        while self.end < self._size:
            head = self._bytes(self.end, 4)
            if head not in known:
                known[head] = FrameHeader.parse(head)
            frame = known[head]
            if frame is None or frame.size == 0:
                self._check_end()
                return
            if self.end + frame.size > self._size:
                self.is_cut = True
                return
            if not frame.like(self.first):
                self._raise_change(frame)
            if self._bytes(self.end + info, 4) in INFO_TAGS:
                self._raise_several()
            self.count += 1
            self.end += frame.size

    def _check_end(self) -> None:
        """Raises InvalidAudioError if more frames follow what is no frame."""
        rest = self._bytes(self.end, MAX_LEAD_BYTES)
        if not self._has_frames(self.end):
            return
        if rest.startswith(END_TAGS):
            self._raise_several()
        raise InvalidAudioError(
            f"the file is damaged: there is no MP3 frame at byte {self.end:,} ({self._seconds})"
        )

    def _has_frames(self, at: int) -> bool:
        """Whether frames of the same kind begin at byte `at` or later."""
        for start in range(at, self._size, BLOCK_BYTES - MAX_PAIR_BYTES):
            if _find_frames(self._bytes(start, BLOCK_BYTES), self.first) is not None:
                return True
        return False

    def _raise_several(self) -> NoReturn:
        raise InvalidAudioError(
            "the file contains several recordings, one behind the other; the second begins at"
            f" byte {self.end:,} ({self._seconds}): split it into files"
        )

    def _raise_change(self, frame: FrameHeader) -> NoReturn:
        raise InvalidAudioError(
            f"after {self._seconds}, the recording changes from {self.first} to {frame}"
        )

    @property
    def _seconds(self) -> str:
        return f"{self.count * self.first.samples / self.first.sample_rate:.1f} s"

    def _info_at(self) -> int:
        """Position in a frame of the header that encoders write, behind the side information."""
        mpeg_1 = self.first.samples == 1152
        mono, stereo = (17, 32) if mpeg_1 else (9, 17)
        return 4 + (mono if self.first.channels == 1 else stereo)

    def _has_info(self) -> bool:
        """Whether the first frame holds no sound but the header of an encoder; read it."""
        at = self._info_at()
        if self._head[at : at + 4] in INFO_TAGS and self.first.layer == 3:
            if self._head[at + 7] & 1:
                self.announced = int.from_bytes(self._head[at + 8 : at + 12])
            return True
        if self._head[36:40] == b"VBRI":
            self.announced = int.from_bytes(self._head[50:54])
            return True
        return False

    def _bytes(self, at: int, size: int) -> bytes:
        """Bytes of the file, which is read in blocks."""
        offset = at - self._block_start
        if not 0 <= offset <= len(self._block) - size:
            self._file.seek(at)
            self._block, self._block_start, offset = self._file.read(BLOCK_BYTES), at, 0
        return self._block[offset : offset + size]


def _first_frame(file: BinaryIO, offset: int) -> int:
    """The position of the first frame. Raises InvalidAudioError if there is none."""
    file.seek(offset)
    head = file.read(2 * MAX_LEAD_BYTES)
    found = _find_frames(head, None)
    if found is None:
        raise InvalidAudioError("the file begins like MP3 but contains no frames")
    return offset + found


def _find_frames(data: bytes, like: FrameHeader | None) -> int | None:
    """The position of the first frame that another one follows."""
    at = data.find(b"\xff")
    while at >= 0:
        header = FrameHeader.parse(data[at : at + 4])
        fits = header is not None and (like is None or header.like(like))
        if fits and begins_with_frames(data[at : at + MAX_PAIR_BYTES]):
            return at
        at = data.find(b"\xff", at + 1)
    return None
