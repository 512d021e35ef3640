"""A false alarm of a real machine, corrected and retrained, by the commands that a person types.

    make corrections DATA=recordings/machines/bearing3_1
    python -m benchmarks.retrain.transcript recordings/machines/bearing3_1 [--seed 0]

The folder has a folder `normal` and others with faults. A model of a few random normal recordings
scores the others, dated one an hour; what it gets wrong is reviewed, the rest comes from a label
file. Every command and its output are printed. Exits with 1 if a corrected recording alarms again.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.detection.data import MACHINE, MachineSet
from benchmarks.retrain.measure import case
from oddsound_workbench.learn.recordings import audio_files, class_folders

ID = "rig/machine-1"
FOLDER = Path("recordings", ID)
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
FAULTS_AFTER = timedelta(days=7)
LABELS = "labels.csv"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder of one machine, with a folder `normal`")
    parser.add_argument("--seed", type=int, default=0, help="of the random division")
    options = parser.parse_args()
    data = options.data.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        os.environ.update({"MODELS_CONFIG_PATH": "models/models.json", "COLUMNS": "110"})
        return _told(_prepared(data, options.seed))


def _prepared(data: Path, seed: int) -> dict[str, str]:
    """Copies in `first` and FOLDER. Returns the recordings of the latter, with what they are."""
    normal = audio_files(data / "normal")
    faults = [
        path for each in class_folders(data) if each.name != "normal" for path in audio_files(each)
    ]
    parts = case(MachineSet(data.name, MACHINE, normal, faults), [seed])
    Path("first").mkdir()
    FOLDER.mkdir(parents=True)
    for path in parts.first:
        shutil.copy(path, "first")
    labels = {}
    for label, start, paths in (
        ("normal", START, parts.later),
        ("fault", START + FAULTS_AFTER, parts.faults),
    ):
        for number, path in enumerate(paths):
            name = f"{start + timedelta(hours=number):%Y-%m-%dT%H-%M-%SZ}{path.suffix}"
            shutil.copy(path, FOLDER / name)
            labels[str(FOLDER / name)] = label
    print(
        f"# {data.name}: {len(parts.first)} of {len(normal)} normal recordings, chosen at random,"
        f" train the first model.\n# {len(parts.later)} others are dated from {START:%Y-%m-%d} on,"
        f" {len(parts.faults)} with faults from {START + FAULTS_AFTER:%Y-%m-%d} on."
    )
    return labels


def _told(labels: dict[str, str]) -> int:
    _say("train", "first", "--name", "first", "--models", "models/models.json")
    _say("machines", "add", ID, "--model", "first")
    _say("watch", "recordings", "--once")
    _say("machines", "events", ID)
    anomalies = [_name(row) for row in _json("history", ID)["rows"] if row["is_anomaly"]]
    alarms = [name for name in anomalies if labels[name] == "normal"]
    faults = [name for name, label in labels.items() if label == "fault"]
    print(
        f"\n# False alarms among the {len(labels) - len(faults)} normal recordings: {len(alarms)}."
    )
    for name in alarms:
        _say("review", name, "--label", "normal", "--person", "Ada", "--note", "checked: in order")
    _write_labels({name: label for name, label in labels.items() if name not in alarms})
    print("\n# The others, normal and faulty, are in a list, as Audacity or Raven may write it.")
    _say("review", "recordings", "--labels", LABELS, "--person", "Ada", head=3)
    _say("retrain", ID)
    _say("machines", "list")
    if not alarms:
        print("\n# Without a false alarm, there is none to judge again; try another --seed.")
        return 0
    print("\n# The corrected recordings and the faults, judged by the model in use.")
    _say("predict", *alarms, "--machine", ID)
    _say("predict", *faults, "--machine", ID)
    again = [each for each in _json("predict", *alarms, "--machine", ID) if each["is_anomaly"]]
    print(f"\n# Corrected false alarms that alarm again: {len(again)} of {len(alarms)}.")
    return 1 if again else 0


def _write_labels(labels: dict[str, str]) -> None:
    """A label over the whole of each recording."""
    rows = [[name, 0, soundfile.info(name).duration, label] for name, label in labels.items()]
    with Path(LABELS).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["file", "start_s", "end_s", "label"], *rows])


def _name(row: dict[str, Any]) -> str:
    return str(Path(row["key"]).relative_to(Path.cwd().resolve()))


def _say(*words: str, head: int | None = None) -> None:
    """Print a command and what it prints; of long lists the first lines."""
    print(f"\n$ oddsound {shlex.join(words)}", flush=True)
    done = _run(words)
    lines = (done.stdout + done.stderr).splitlines()
    print("\n".join(lines[:head]))
    if head is not None and len(lines) > head:
        print(f"# ... {len(lines) - head} more lines")
    if done.returncode:
        print(f"# exit code {done.returncode}")


def _json(*words: str) -> Any:
    return json.loads(_run([*words, "--json"]).stdout)


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("oddsound")
    return subprocess.run([program, *words], check=False, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
