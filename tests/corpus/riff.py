"""Harmful WAV, RF64, W64, AIFF, AU and CAF files: by what their headers claim."""

import struct
from collections.abc import Iterator

import numpy as np

from tests.media import FAN, written

MAX32, MAX64 = 2**32 - 1, 2**64 - 1
SOUND = (FAN * 32767).astype("<i2").tobytes()
WAV = written("WAV")


def form(
    tag: int = 1,
    channels: int = 1,
    rate: int = 16000,
    align: int = 2,
    bits: int = 16,
    more: bytes = b"",
) -> bytes:
    """The content of a chunk `fmt `."""
    header = struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits)
    return header + more


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """size : what the header claims; default: the truth"""
    return name + struct.pack("<I", len(content) if size is None else size) + content


def wav(
    description: bytes | None = None,
    sound: bytes = SOUND,
    before: bytes = b"",
    size: int | None = None,
) -> bytes:
    """before : chunks between `fmt ` and `data`; size : what `data` claims"""
    described = form() if description is None else description
    body = b"WAVE" + chunk(b"fmt ", described) + before + chunk(b"data", sound, size)
    return chunk(b"RIFF", body)


def harmful() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file."""
    yield from sizes()
    yield from formats()
    yield from many_chunks()
    yield from samples()
    yield from others()


def sizes() -> Iterator[tuple[str, bytes]]:
    for size in (0, 1, 2**31 - 1, 2**31, MAX32 - 1, MAX32):
        yield f"data-size-{size}.wav", wav(size=size)
        yield f"riff-size-{size}.wav", WAV[:4] + struct.pack("<I", size) + WAV[8:]
        yield f"fmt-size-{size}.wav", WAV[:16] + struct.pack("<I", size) + WAV[20:]
        yield f"list-size-{size}.wav", wav(before=chunk(b"LIST", b"INFO", size))
        for name in (b"bext", b"cue ", b"smpl", b"PEAK", b"fact", b"id3 ", b"cart", b"acid"):
            claimed = chunk(name, struct.pack("<4I", size, size, size, size))
            yield f"{name.decode().strip()}-count-{size}.wav", wav(before=claimed)


def formats() -> Iterator[tuple[str, bytes]]:
    for channels in (0, 2, 64, 65, 255, 1024, 1025, 65535):
        yield f"channels-{channels}.wav", wav(form(channels=channels, align=2 * channels % 65536))
        yield f"channels-{channels}-align-2.wav", wav(form(channels=channels))
    for rate in (0, 1, 1999, 2000, 384_000, 384_001, 2**31, MAX32):
        yield f"rate-{rate}.wav", wav(form(rate=rate))
    for bits in (0, 1, 7, 8, 12, 20, 24, 33, 64, 65535):
        yield f"bits-{bits}.wav", wav(form(bits=bits))
    for align in (0, 1, 3, 65535):
        yield f"align-{align}.wav", wav(form(align=align))
    for tag in (0, 2, 17, 49, 80, 85, 0x0161, 0xFFFE, 0xFFFF):
        for more in (b"", bytes(2), struct.pack("<H", 65535), struct.pack("<HH", 2, 65535)):
            for align in (1, 256):
                description = form(tag=tag, bits=4, align=align, more=more)
                yield f"tag-{tag}-{more.hex()}-{align}.wav", wav(description)
    coefficients = struct.pack("<HHH", 32, 65535, 65535)
    yield "adpcm-coefficients.wav", wav(form(2, bits=4, align=256, more=coefficients))


def many_chunks() -> Iterator[tuple[str, bytes]]:
    yield "chunks-100000-empty.wav", wav(before=chunk(b"JUNK", b"") * 100_000)
    yield "chunks-1000000-empty.wav", wav(before=chunk(b"junk", b"") * 1_000_000)
    yield "chunks-100000-unknown.wav", wav(before=chunk(b"xyzw", b"ab") * 100_000)
    yield "chunks-50000-fmt.wav", wav(before=chunk(b"fmt ", form()) * 50_000)
    yield "chunks-1000-data.wav", wav(before=chunk(b"data", SOUND[:64]) * 1000)
    yield (
        "chunks-20000-list.wav",
        wav(before=chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x\0")) * 20_000),
    )
    inner = chunk(b"INAM", b"x" * 20) * 100_000
    yield "list-100000-entries.wav", wav(before=chunk(b"LIST", b"INFO" + inner))
    nested = b"x\0"
    for _ in range(2000):
        nested = chunk(b"LIST", b"adtl" + nested)
    yield "list-2000-deep.wav", wav(before=nested)
    yield "bext-5mb.wav", wav(before=chunk(b"bext", b"x" * 5_000_000))
    yield "after-the-sound-5mb.wav", WAV + chunk(b"LIST", b"\xff" * 5_000_000)
    yield "null-names.wav", wav(before=chunk(b"\0\0\0\0", b"") * 10_000)


def samples() -> Iterator[tuple[str, bytes]]:
    loud = FAN.copy()
    for name, value in {
        "nan": np.nan,
        "inf": np.inf,
        "minus-inf": -np.inf,
        "max": float(np.finfo(np.float32).max),
        "denormal": float(np.finfo(np.float32).smallest_subnormal),
    }.items():
        loud[:] = FAN
        loud[100:200] = value
        yield f"float-{name}.wav", wav(form(3, align=4, bits=32), loud.tobytes())
        loud[:] = value
        yield f"float-all-{name}.wav", wav(form(3, align=4, bits=32), loud.tobytes())
    double = FAN.astype(np.float64)
    double[50] = 1e308
    yield "double-1e308.wav", wav(form(3, align=8, bits=64), double.tobytes())
    yield "silence.wav", wav(sound=bytes(64_000))
    yield "full-scale.wav", wav(sound=b"\xff\x7f" * 32_000)
    yield "constant.wav", wav(sound=b"\x10\x27" * 32_000)
    yield "one-sample.wav", wav(sound=b"\1\0")
    yield "half-a-sample.wav", wav(sound=b"\1")


def others() -> Iterator[tuple[str, bytes]]:
    rf64 = written("RF64")
    at = rf64.index(b"ds64") + 8
    for size in (0, 2**63 - 1, 2**63, MAX64):
        packed = struct.pack("<Q", size)
        yield f"ds64-size-{size}.rf64", rf64[: at + 8] + packed + rf64[at + 16 :]
        yield f"ds64-frames-{size}.rf64", rf64[: at + 16] + packed + rf64[at + 24 :]
    w64, caf, aiff, au = (written(kind) for kind in ("W64", "CAF", "AIFF", "AU"))
    for size in (0, 1, 23, 2**63 - 1, 2**63, MAX64):
        packed = struct.pack("<Q", size)
        at = w64.index(b"data") + 16
        yield f"data-size-{size}.w64", w64[:at] + packed + w64[at + 8 :]
        at = w64.index(b"fmt ") + 16
        yield f"fmt-size-{size}.w64", w64[:at] + packed + w64[at + 8 :]
        for name in (b"desc", b"data"):
            at = caf.index(name) + 4
            yield f"{name.decode()}-size-{size}.caf", caf[:at] + packed[::-1] + caf[at + 8 :]
    for size in (0, 1, 2**31, MAX32):
        packed = struct.pack(">I", size)
        for name in (b"COMM", b"SSND"):
            at = aiff.index(name) + 4
            yield f"{name.decode()}-size-{size}.aiff", aiff[:at] + packed + aiff[at + 4 :]
        at = aiff.index(b"COMM") + 10
        yield f"frames-{size}.aiff", aiff[:at] + packed + aiff[at + 4 :]
        fields = {"offset": 4, "size": 8, "codec": 12, "rate": 16, "channels": 20}
        for field, at in fields.items():
            yield f"{field}-{size}.au", au[:at] + packed + au[at + 4 :]
    at = aiff.index(b"COMM") + 16
    for rate in (bytes(10), b"\xff" * 10, b"\x7f\xff" + bytes(8), b"\xc0\x0c" + b"\xfa" * 8):
        yield f"rate-{rate.hex()[:6]}.aiff", aiff[:at] + rate + aiff[at + 10 :]
    yield "chunks-100000.aiff", aiff[:12] + (b"ANNO" + bytes(4)) * 100_000 + aiff[12:]
    yield "chunks-100000.caf", caf[:8] + (b"free" + bytes(8)) * 100_000 + caf[8:]
