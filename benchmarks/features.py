"""Measures the processor time to extract features from 10 s of audio at 16 kHz, on one thread.

    make bench-features [RECORDING=recording.wav]
    python benchmarks/features.py [recording.wav] [--json]

Each row is a median over rounds. Every round runs all candidates, so that other load on the machine
affects them equally. Other extractors are measured if `make build/peers` installed them. The first
call is the first one of a new process, after the extractor is created.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

for _library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import librosa
import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.reference_naive import features as tutorial
from oddsound import pipeline
from oddsound.descriptors import Array
from oddsound.features import extractor
from oddsound.formats import AudioLimits
from oddsound.fourier import rfft
from oddsound.runtime import registry
from oddsound_workbench.synthesis import fan

RATE = 16000
ROUNDS = 31
LIMITS = AudioLimits(10**8, 3600)
ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers"
FIRST_CALLS = 7
FIRST_CALL = f"""
import time, numpy
from oddsound.features import extractor
y = numpy.random.default_rng(0).standard_normal({10 * RATE}).astype("float32")
extract = extractor("default", {RATE})
times = []
for _ in range(16):
    started = time.process_time()
    extract(y)
    times.append(time.process_time() - started)
print(times[0] / numpy.median(times[1:]))
"""


def main() -> None:
    """Print the table, or the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recording", nargs="?", type=Path, help="default: a synthetic fan")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    if arguments.recording:
        y = librosa.load(arguments.recording, sr=RATE, duration=10)[0]
    else:
        y = fan(1, faulty=True, duration_s=10)
    file = io.BytesIO()
    soundfile.write(file, y, RATE, "PCM_16", format="WAV")
    os.environ["MODELS_CONFIG_PATH"] = str(ROOT / "models" / "models.json")
    models = {name: registry().get(name) for name in ("fan", "esc10")}
    extract, of_machines = extractor("default", RATE), extractor("machine", RATE)
    candidates: dict[str, Callable[[], Any]] = {
        "one librosa.stft": lambda: librosa.stft(y, n_fft=1024, hop_length=512),
        "the float32 FFT of its frames": partial(spectra, y),
        "our 240 features": lambda: extract(y),
        "our 288 features of detectors": lambda: of_machines(y),
        "a tutorial's features": lambda: tutorial(y, RATE),
        **peers(y),
        **{
            f"decode, features, model {name}": partial(
                pipeline.predict, file.getvalue(), model, LIMITS
            )
            for name, model in models.items()
        },
    }
    medians = _medians(candidates)
    stft, ours = medians["one librosa.stft"], medians["our 240 features"]
    figures: dict[str, Any] = {
        "ms": {name: round(value, 3) for name, value in medians.items()},
        "features / stft": round(ours / stft, 2),
        **{
            f"features of detectors / {name}": round(
                medians["our 288 features of detectors"] / medians[base], 2
            )
            for name, base in (
                ("stft", "one librosa.stft"),
                ("FFT", "the float32 FFT of its frames"),
            )
        },
        "tutorial / features": round(medians["a tutorial's features"] / ours, 1),
        "first / warm": round(first_by_warm(), 2),
        **{f"{name} / features": round(medians[name] / ours, 1) for name in medians if ":" in name},
        **{
            f"prediction {name} / features": round(
                medians[f"decode, features, model {name}"] / ours, 2
            )
            for name in models
        },
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in medians.items():
        print(f"{name:34} {value:8.2f} ms {value / stft:7.1f} x stft")
    for name, value in figures.items():
        if name != "ms":
            print(f"{name:34} {value:8.2f}")


def spectra(y: Array) -> list[Array]:
    """What no extractor can do without: the spectra of the windowed frames, in float32."""
    window = np.hanning(1025)[:-1].astype(np.float32)
    frames = sliding_window_view(y, 1024)[::512]
    return [rfft(frames[i : i + 128] * window) for i in range(0, len(frames), 128)]


def peers(y: Array) -> dict[str, Callable[[], Any]]:
    """The other extractors, if they are installed."""
    # At the end of the path, so that all extractors use the NumPy of this environment.
    sys.path.append(str(PEERS))
    found: dict[str, Callable[[], Any]] = {}
    try:
        import kaldi_native_fbank
        import opensmile
    except ImportError:
        print(
            "The other extractors are not installed; run `make build/peers` to install them.",
            file=sys.stderr,
        )
        return found
    functionals = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals
    )
    found["opensmile: 88 eGeMAPS functionals"] = lambda: functionals.process_signal(y, RATE)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 64, 32
    options.mel_opts.num_bins = 40

    def log_mel() -> Array:
        bank = kaldi_native_fbank.OnlineFbank(options)
        bank.accept_waveform(RATE, y)
        bank.input_finished()
        return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])

    found["kaldi-native-fbank: log-mel alone"] = log_mel
    return found


def first_by_warm() -> float:
    """Time of the first call of a new process relative to later calls; a median over processes."""
    command = [sys.executable, "-c", FIRST_CALL]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(FIRST_CALLS)]
    return statistics.median(float(run.stdout) for run in runs)


def _ms(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)


def _medians(candidates: dict[str, Callable[[], Any]]) -> dict[str, float]:
    for call in candidates.values():
        call()
    rounds = [{name: _ms(call) for name, call in candidates.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(r[name] for r in rounds) for name in candidates}


if __name__ == "__main__":
    main()
