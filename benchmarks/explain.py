"""Measures how much time an explanation adds to a prediction.

    python benchmarks/explain.py [recording.wav] [--json]

Each figure is a median over rounds on one thread. Every round runs both candidates, so that other
load on the machine affects them equally.
"""

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import soundfile

from oddsound import pipeline
from oddsound.formats import AudioLimits
from oddsound.runtime import registry
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

MODELS = ("fan", "esc10")
ROUNDS = 101
LIMITS = AudioLimits(10**8, 3600)
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print the table, or the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recording", nargs="?", type=Path, help="default: a synthetic fan")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    recording = arguments.recording.read_bytes() if arguments.recording else _fan()
    os.environ["MODELS_CONFIG_PATH"] = str(ROOT / "models" / "models.json")
    figures = {name: _figures(registry().get(name), recording) for name in MODELS}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print("model    prediction  with explanation   added")
    for name, (plain_ms, explained_ms, added) in figures.items():
        print(f"{name:8} {plain_ms:7.2f} ms {explained_ms:14.2f} ms {added:7.1%}")


def _fan() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, fan(1, faulty=True, duration_s=10), SAMPLE_RATE, "PCM_16", format="WAV")
    return file.getvalue()


def _figures(model: Any, recording: bytes) -> tuple[float, float, float]:
    """Milliseconds without and with an explanation, and the median relative increase."""

    def predict(*, explain: bool) -> Callable[[], Any]:
        return lambda: pipeline.predict(recording, model, LIMITS, explain=explain)

    plain, explained = predict(explain=False), predict(explain=True)
    for candidate in (plain, explained):
        candidate()
    pairs = [(_ms(plain), _ms(explained)) for _ in range(ROUNDS)]
    medians = [round(statistics.median(column), 3) for column in zip(*pairs, strict=True)]
    added = statistics.median(after / before - 1 for before, after in pairs)
    return medians[0], medians[1], round(added, 3)


def _ms(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
