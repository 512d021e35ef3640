"""Counts the recorder warnings for the recordings below folders, to find false ones.

    python benchmarks/recorder_warnings.py FOLDER... [--list KIND] [--top-hz 7200]

Each row is a folder with recordings. `--list clipping` also prints the recordings with that kind of
warning. `--inject` also prints the share of recordings in which a known fault is found.
"""

import argparse
import io
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError
from oddsound.formats import AudioLimits
from oddsound.quality import warnings
from oddsound.quality.meter import SignalQuality
from oddsound_workbench.learn.recordings import audio_files

LIMITS = AudioLimits(10**9, 24 * 3600)
CLIPPED_SHARES = (0.001, 0.01, 0.1)
DROPOUT_S = 0.03


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--list", metavar="KIND", default="")
    parser.add_argument("--top-hz", type=float, default=7200, help="of the model")
    parser.add_argument("--inject", action="store_true")
    arguments = parser.parse_args()
    folders: dict[Path, list[Path]] = {}
    for path in (path for folder in arguments.folders for path in audio_files(folder)):
        folders.setdefault(path.parent, []).append(path)
    for folder, paths in folders.items():
        counts: Counter[str] = Counter()
        readable = []
        for path in paths:
            try:
                quality = audio.load(path, 16000, LIMITS).quality
            except AudioAnomalyError as error:
                print(f"  {path}: {error}")
                continue
            readable.append(path)
            for fault in warnings.faults(quality, arguments.top_hz):
                counts[fault.kind] += 1
                if fault.kind == arguments.list:
                    print(f"  {path}: {fault.text}")
        listed = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        print(f"{folder}: {len(paths)} recordings; {listed or 'no warning'}", flush=True)
        if arguments.inject:
            print(f"  found: {injected(readable)}", flush=True)


def injected(paths: list[Path]) -> str:
    """Shares of recordings in which a clipped share and drop-outs are found as they are."""
    found: dict[str, list[bool]] = {}
    for path in paths:
        with path.open("rb") as file:
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        mono = samples[:, 0] / max(float(np.abs(samples[:, 0]).max()), 1e-9)
        for share in CLIPPED_SHARES:
            limit = float(np.quantile(np.abs(mono), 1 - share))
            measured = quality_of(mono.clip(-limit, limit), rate).clipped_share
            true_share = float(np.mean(np.abs(mono) >= limit))
            found.setdefault(f"clipped {share:.1%}", []).append(
                abs(measured - true_share) <= 0.2 * true_share
            )
        start, length = len(mono) // 2, round(DROPOUT_S * rate)
        mono[start : start + length] = 0
        times = np.array(quality_of(mono, rate).dropouts) - start / rate
        found.setdefault("drop-out", []).append(
            len(times) == 1 and bool(np.abs(times[0] - (0, DROPOUT_S)).max() < 0.005)
        )
    return ", ".join(f"{name} {np.mean(each):.0%}" for name, each in found.items())


def quality_of(samples: Array, rate: int) -> SignalQuality:
    """The quality of samples as a 16-bit file."""
    file = io.BytesIO()
    soundfile.write(file, samples * np.float32(0.9), rate, "PCM_16", format="WAV")
    return audio.load(file.getvalue(), 16000, LIMITS).quality


if __name__ == "__main__":
    main()
