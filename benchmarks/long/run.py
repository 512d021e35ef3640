"""Memory and processor time of a prediction, for recordings of 1, 10 and 60 minutes.

    make bench-long DATA=recordings/machines FAN=recordings/fan
    python -m benchmarks.long.run [recordings/machines] [--fan recordings/fan]

The recordings are a minute of the sound of all machines, repeated; without folders, a synthesised
fan. Every measurement is a new process, and every figure is a median over the rounds. Needs Linux,
and 1.5 GB for the recordings.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.detection.run import progress_bar
from benchmarks.long import material, measure
from benchmarks.long.tables import Row, table
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.recordings import class_folders, machine_folders

RESULTS = Path(__file__).parent / "results.json"
ROUNDS = 5
SOUNDS = ((16_000, 1), (48_000, 2))
"""Sample rate in Hz, channels."""

MINUTES = (1, 10, 60)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, save the figures, and print the table."""
    options = _parser().parse_args(arguments)
    try:
        folders = machine_folders(options.data) if options.data else []
        folders += class_folders(options.fan) if options.fan else []
        with tempfile.TemporaryDirectory() as scratch:
            rows = _write_all(folders, Path(scratch), options.minutes)
            _measure_all(rows, Path(scratch), options.rounds)
    except FolderError as error:
        sys.exit(f"error: {error}")
    figures = {
        "machine": machine(),
        "sound": [folder.name for folder in folders] or ["synthesised fan"],
        "model": measure.MODEL,
        "rounds": options.rounds,
        "rows": rows,
    }
    options.results.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(table(figures))


def _write_all(folders: Sequence[Path], scratch: Path, lengths: Sequence[int]) -> list[Row]:
    """Write every recording. Returns a row for each, without figures."""
    rows: list[Row] = []
    for rate, channels in SOUNDS:
        sound = material.minute(folders, rate)
        for kind, minutes in product(material.SUBTYPES, lengths):
            row = {"format": kind, "sample_rate": rate, "channels": channels, "minutes": minutes}
            material.write(_path(row, scratch), sound, rate, channels, minutes)
            rows.append(row)
    # Of another rate than the models, so that the resampler is loaded too.
    material.write(scratch / measure.WARM_UP, sound[: 3 * rate], rate, channels, 1)
    return rows


def _measure_all(rows: Sequence[Row], scratch: Path, rounds: int) -> None:
    """Add the medians to the rows. A round measures every recording once, so that other load on
    the machine affects all alike."""
    found: list[list[dict[str, Any]]] = [[] for _ in rows]
    with progress_bar() as progress:
        task = progress.add_task("", total=rounds * len(rows))
        for _ in range(rounds):
            for row, runs in zip(rows, found, strict=True):
                path = _path(row, scratch)
                progress.update(task, description=path.name)
                runs.append(
                    measure.in_new_process("memory", path) | measure.in_new_process("time", path)
                )
                progress.advance(task)
    for row, runs in zip(rows, found, strict=True):
        row |= {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}


def _path(row: Row, scratch: Path) -> Path:
    name = f"{row['sample_rate']}-{row['channels']}-{row['minutes']}.{row['format'].lower()}"
    return scratch / name


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="a folder with a subfolder per machine")
    parser.add_argument("--fan", type=Path, help="a folder with a subfolder per class")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--minutes", type=int, nargs="+", default=MINUTES, help="lengths")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
