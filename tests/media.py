"""Recordings in other containers and codecs, written by libsndfile and FFmpeg."""

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from oddsound.descriptors import Array
from oddsound_workbench.synthesis import fan

RATE = 16000
FAN = (fan(1, faulty=True, duration_s=2) * 32767).round() / np.float32(32768)
"""Two seconds of a faulty fan, in steps of 16 bits."""


def written(
    kind: str, subtype: str | None = None, rate: int = RATE, waveform: Array = FAN
) -> bytes:
    """A file that libsndfile writes, from samples of 16 bits."""
    file = io.BytesIO()
    samples = (waveform * 32768).clip(-32768, 32767).astype(np.int16)
    soundfile.write(file, samples, rate, subtype, format=kind)
    return file.getvalue()


def encoded(container: str, codec: str, waveform: Array = FAN, rate: int = RATE) -> bytes:
    """A file that FFmpeg encodes, with one channel or two."""
    file = io.BytesIO()
    columns = np.atleast_2d(waveform.T)
    layout = "stereo" if len(columns) == 2 else "mono"
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(columns), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return file.getvalue()


def remuxed(data: bytes, source: str, container: str, **options: str) -> bytes:
    """The same packets in another container."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        with (
            av.open(io.BytesIO(data), "r", format=source) as recorded,
            av.open(path, "w", format=container, options=options) as output,
        ):
            stream = recorded.streams.audio[0]
            copy = output.add_stream_from_template(stream)
            for packet in recorded.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    output.mux(packet)
        return path.read_bytes()
