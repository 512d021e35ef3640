"""Harmful FLAC, MP3, Ogg and MP4 files: tags of megabytes, junk between frames, chains, bombs."""

import io
import random
import struct
from collections.abc import Iterator

import numpy as np
import soundfile

from oddsound.layouts.ogg import checksum
from tests.media import FAN, encoded, remuxed, written

FLAC, OGG, MP3 = (written(kind) for kind in ("FLAC", "OGG", "MP3"))
OPUS = written("OGG", "OPUS", 48000)
MAX32 = 2**32 - 1


def harmful() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file."""
    yield from flac()
    yield from mp3()
    yield from ogg()
    yield from mp4()
    yield from no_recordings()


def flac() -> Iterator[tuple[str, bytes]]:
    """STREAMINFO is at byte 8: block sizes, frame sizes, then rate, channels, bits and length."""
    for low, high in ((0, 0), (16, 16), (1, 1), (65535, 65535), (0, 65535)):
        yield f"blocks-{low}-{high}.flac", FLAC[:8] + struct.pack(">HH", low, high) + FLAC[12:]
    for rate in (0, 1, 655_350, 2**20 - 1):
        for channels in (1, 8):
            for length in (0, 1, 2**36 - 1):
                packed = rate << 44 | (channels - 1) << 41 | 15 << 36 | length
                data = FLAC[:18] + packed.to_bytes(8) + FLAC[26:]
                yield f"rate-{rate}-channels-{channels}-length-{length}.flac", data
    at = 42  # behind STREAMINFO
    padding = b"\1" + (0).to_bytes(3)
    yield "padding-100000.flac", FLAC[:at] + padding * 100_000 + FLAC[at:]
    large = b"\1" + (2**24 - 1).to_bytes(3)
    yield "padding-claims-16mb.flac", FLAC[:at] + large + FLAC[at:]
    yield (
        "picture-8mb.flac",
        FLAC[:at] + b"\6" + (8_000_000).to_bytes(3) + bytes(8_000_000) + FLAC[at:],
    )
    comment = struct.pack("<II", 0, MAX32)
    yield (
        "comments-claimed.flac",
        FLAC[:at] + b"\4" + len(comment).to_bytes(3) + comment + FLAC[at:],
    )
    yield (
        "seektable-4mb.flac",
        FLAC[:at] + b"\3" + (3_600_000).to_bytes(3) + b"\xff" * 3_600_000 + FLAC[at:],
    )
    yield "silence-8-channels-60-s.flac", bomb(8, 60)
    yield "silence-1-channel-300-s.flac", bomb(1, 300)
    for name, cut in (("half", len(FLAC) // 2), ("streaminfo", 42), ("magic", 4)):
        yield f"cut-{name}.flac", FLAC[:cut]
    yield "twice.flac", FLAC + FLAC
    yield "zeros-after.flac", FLAC + bytes(1_000_000)
    yield "zeros-between.flac", FLAC[:3000] + bytes(1_000_000) + FLAC[3000:]


def bomb(channels: int, duration_s: int) -> bytes:
    """Much silence in few bytes."""
    file = io.BytesIO()
    second = np.zeros((48_000, channels), np.int16)
    with soundfile.SoundFile(file, "w", 48_000, channels, "PCM_16", format="FLAC") as output:
        for _ in range(duration_s):
            output.write(second)
    return file.getvalue()


def id3(size: int, content: bytes = b"") -> bytes:
    """A tag that claims `size` bytes."""
    return b"ID3\4\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + content


def mp3() -> Iterator[tuple[str, bytes]]:
    plain = remuxed(MP3, "mp3", "mp3", write_xing="0", id3v2_version="0")
    for size in (0, 1000, 2**28 - 1):
        yield f"id3-claims-{size}.mp3", id3(size) + plain
    yield "id3-5mb.mp3", id3(5_000_000, bytes(5_000_000)) + plain
    yield "id3-5mb-of-frames.mp3", id3(5_000_000, (plain * 1000)[:5_000_000]) + plain
    yield "id3-100000-tags.mp3", id3(0) * 100_000 + plain
    yield "id3-before-wav.wav", id3(2_000_000, bytes(2_000_000)) + written("WAV")
    yield "apev2-and-id3v1.mp3", plain + b"APETAGEX" + b"\xff" * 24 + b"TAG" + bytes(125)
    yield "zeros-before-1mb.mp3", bytes(1_000_000) + plain
    yield "sync-bytes-1mb.mp3", b"\xff" * 1_000_000 + plain
    yield "headers-only.mp3", plain[:4] * 200_000
    yield (
        "free-format.mp3",
        (bytes([plain[0], plain[1], plain[2] & 0x0F, plain[3]]) + bytes(200)) * 2000,
    )
    frames = [
        plain[a:b] for a, b in zip(starts(plain), [*starts(plain)[1:], len(plain)], strict=True)
    ]
    rng = random.Random(1)
    for length in (1, 100, 5000):
        junk = [
            frame + rng.randbytes(length if number % 10 == 9 else 0)
            for number, frame in enumerate(frames)
        ]
        yield f"junk-{length}.mp3", b"".join(junk)
    yield "frames-missing.mp3", b"".join(f for number, f in enumerate(frames) if number % 7)
    yield "frames-shuffled.mp3", b"".join(rng.sample(frames, len(frames)))
    yield "ten-minutes-of-one-frame.mp3", frames[3] * 16_600
    for offset, name in ((8, "frames"), (12, "bytes")):
        at = MP3.find(b"Info") if b"Info" in MP3 else MP3.find(b"Xing")
        if at > 0:
            claimed = MP3[: at + offset] + struct.pack(">I", MAX32) + MP3[at + offset + 4 :]
            yield f"xing-{name}.mp3", claimed
    other = encoded("mp3", "libmp3lame", np.column_stack([FAN, FAN]), 44100)
    yield "rate-changes.mp3", plain + other
    yield "mp2.mp3", encoded("mp2", "mp2", FAN)
    yield "layers-mixed.mp3", plain + encoded("mp2", "mp2", FAN)


def starts(data: bytes) -> list[int]:
    """Where frames of an MPEG file begin whose header is that of the first one."""
    step, found = data[:2], [0]
    while (at := data.find(step, found[-1] + 4)) > 0:
        found.append(at)
    return found


def page(
    packet: bytes, flags: int = 0, granule: int = 0, serial: int = 1, number: int = 0
) -> bytes:
    """An Ogg page with a right checksum, of a packet of at most 65,025 bytes."""
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])[:255]
    head = b"OggS\0" + bytes([flags]) + struct.pack("<QII", granule, serial, number)
    rest = bytes([len(lacing)]) + lacing + packet
    return head + struct.pack("<I", checksum(head + bytes(4) + rest, b"")) + rest


def pages(data: bytes) -> list[bytes]:
    places = [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"]
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]


def sealed(data: bytes) -> bytes:
    """A page with the right checksum."""
    return data[:22] + struct.pack("<I", checksum(data, b"")) + data[26:]


def with_serial(data: bytes, serial: int) -> bytes:
    return b"".join(sealed(p[:14] + struct.pack("<I", serial) + p[18:]) for p in pages(data))


def ogg() -> Iterator[tuple[str, bytes]]:
    short = written("OGG", waveform=FAN[:1600])
    yield "chain-2.ogg", OGG + with_serial(OGG, 77)
    yield "chain-300.ogg", b"".join(with_serial(short, serial) for serial in range(300))
    yield "chain-same-serial-50.ogg", short * 50
    yield "pages-100000-empty.ogg", pages(OGG)[0] + page(b"", serial=9) * 100_000
    yield (
        "begins-100000.ogg",
        b"".join(page(b"fishead\0", 2, serial=n) for n in range(20_000)) + OGG,
    )
    for kind, data in (("vorbis", OGG), ("opus", OPUS)):
        for granule in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
            parts = pages(data)
            parts[-1] = sealed(parts[-1][:6] + struct.pack("<Q", granule) + parts[-1][14:])
            yield f"{kind}-granule-{granule}.ogg", b"".join(parts)
        for at in range(28, 58):
            parts = pages(data)
            if at < len(parts[0]):
                parts[0] = sealed(parts[0][:at] + b"\xff" + parts[0][at + 1 :])
                yield f"{kind}-head-{at}.ogg", b"".join(parts)
        yield f"{kind}-page-twice.ogg", b"".join(pages(data)[:3] + pages(data)[2:])
        yield f"{kind}-page-missing.ogg", b"".join(pages(data)[:3] + pages(data)[4:])
        yield f"{kind}-head-only.ogg", pages(data)[0]
    unknown = page(b"\x80theora" + bytes(40), 2, serial=5)
    yield "unknown-stream-first.ogg", unknown + OGG
    yield "unknown-codec.ogg", page(b"unknown!" + bytes(40), 2) + page(bytes(100), 4, 100, number=1)
    comment = b"\3vorbis" + struct.pack("<II", 0, MAX32)
    yield "comments-claimed.ogg", pages(OGG)[0] + page(comment, number=1)


def box(kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


def mp4() -> Iterator[tuple[str, bytes]]:
    m4a = encoded("ipod", "aac")
    at = m4a.index(b"moov")
    for size in (0, 1, 7, MAX32):
        yield f"moov-size-{size}.m4a", m4a[: at - 4] + struct.pack(">I", size) + m4a[at:]
        for name in (b"stsz", b"stco", b"stts", b"stsc"):
            place = m4a.index(name) + 8 + (4 if name == b"stsz" else 0)
            claimed = m4a[:place] + struct.pack(">I", size) + m4a[place + 4 :]
            yield f"{name.decode()}-{size}.m4a", claimed
    nested = b""
    for _ in range(3000):
        nested = box(b"moov", nested)
    yield "moov-3000-deep.m4a", m4a[:28] + nested
    yield "free-100000.m4a", m4a[:28] + box(b"free") * 100_000 + m4a[28:]
    webm = remuxed(OPUS, "ogg", "webm")
    for place in (40, 60, 100, 200, 300):
        yield f"ebml-{place}.webm", webm[:place] + b"\1" + b"\xff" * 7 + webm[place + 8 :]


def no_recordings() -> Iterator[tuple[str, bytes]]:
    yield "empty.wav", b""
    yield "one-byte.wav", b"R"
    for length in range(4, 44, 4):
        yield f"first-{length}-bytes.wav", written("WAV")[:length]
    for magic in (
        b"PK\3\4",
        b"\x1f\x8b\x08",
        b"\x89PNG\r\n\x1a\n",
        b"%PDF-1.7\n",
        b"\x7fELF",
        b"MZ",
    ):
        yield f"magic-{magic[:2].hex()}.wav", magic + bytes(1000)
    yield "text.wav", b"a note about the pump\n" * 100
    yield "utf-16.wav", "a note".encode("utf-16") * 100
    yield "html.wav", b"<html><script>alert(1)</script></html>"
    yield "zeros-5mb.wav", bytes(5_000_000)
    yield "random-5mb.wav", random.Random(2).randbytes(5_000_000)
