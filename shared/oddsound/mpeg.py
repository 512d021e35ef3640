"""MPEG audio: the headers of its frames, and ID3v2 tags."""

from dataclasses import dataclass

_LAYERS = {3: 1, 2: 2, 1: 3}
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Bits of the version -> sample rates. 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5."""

_KBPS = {
    (3, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bits of the version (2 also for MPEG-2.5) and layer (2 also for 3) -> kbit/s by index. 0 is any
constant bit rate, which the header does not contain."""


@dataclass(frozen=True)
class FrameHeader:
    """The header of a frame.

    samples : of each channel
    size : bytes of the frame with its header; 0 if the bit rate is not in the header
    """

    layer: int
    sample_rate: int
    channels: int
    samples: int
    size: int

    @classmethod
    def parse(cls, data: bytes) -> "FrameHeader | None":
        """The header in the first four bytes, or None if they are not a header."""
        if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
            return None
        version, layer_bits = data[1] >> 3 & 3, data[1] >> 1 & 3
        bitrate_index, rate_index = data[2] >> 4, data[2] >> 2 & 3
        if version == 1 or layer_bits == 0 or bitrate_index == 15 or rate_index == 3:
            return None
        layer, old = _LAYERS[layer_bits], version == 3
        kbps = _KBPS[3 if old else 2, layer if old else min(layer, 2)][bitrate_index]
        rate = _RATES_HZ[version][rate_index]
        samples = {1: 384, 2: 1152, 3: 1152 if old else 576}[layer]
        slot = 4 if layer == 1 else 1
        size = (samples // 8 * 1000 * kbps // rate // slot + (data[2] >> 1 & 1)) * slot
        channels = 1 if data[3] >> 6 == 3 else 2
        return cls(layer, rate, channels, samples, size if kbps else 0)

    def like(self, other: "FrameHeader") -> bool:
        """Whether both can be frames of one recording."""
        return str(self) == str(other)

    def __str__(self) -> str:
        return f"layer {self.layer}, {self.sample_rate:,} Hz, {self.channels} channel(s)"


def begins_with_frames(data: bytes) -> bool:
    """Whether data are MPEG frames: the header of one, and at its end the next, or nothing more.

    One header alone says little: a text in UTF-16 begins like one.
    """
    first = FrameHeader.parse(data)
    if first is None or first.size == 0:
        return False
    if len(data) == first.size:
        return True
    second = FrameHeader.parse(data[first.size : first.size + 4])
    return second is not None and first.like(second)


def tag_size(data: bytes) -> int:
    """Bytes of the ID3v2 tag that data begin with, 0 if there is none. Needs ten bytes."""
    if len(data) < 10 or data[:3] != b"ID3" or 0xFF in data[3:5] or max(data[6:10]) > 0x7F:
        return 0
    size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
    footer = 10 if data[5] & 0x10 else 0
    return 10 + size + footer
