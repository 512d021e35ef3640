"""The sets of the benchmark: normal and anomalous recordings of one machine each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256
from oddsound_workbench.learn.augmentation import rms
from oddsound_workbench.learn.recordings import audio_files, class_folders, machine_folders

LEVEL_RMS = 0.05
"""Root mean square of every level-normalised recording; full scale is 1."""

MACHINE, FAN, ESC10 = "machine", "fan", "esc10"
"""Kinds of sets. Means over machines include only the first."""


@dataclass(frozen=True)
class MachineSet:
    """Recordings of one machine, sorted by path.

    kind : MACHINE, FAN or ESC10
    """

    name: str
    kind: str
    normal: Sequence[Path]
    anomalous: Sequence[Path]

    def checksum(self) -> str:
        """Checksum of the content of all recordings in their order, wherever they are stored."""
        paths = [*self.normal, *self.anomalous]
        text = " ".join([str(len(self.normal)), *(content_sha256(path) for path in paths)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def machine_sets(folder: Path) -> list[MachineSet]:
    """One set for each subfolder that contains a folder `normal`, beside folders of anomalies.

    Raises FolderError if there are none, or if one has no anomalies.
    """
    machines = machine_folders(folder)
    if not machines:
        raise FolderError(
            f"{folder} has no machines: each is a subfolder that contains a folder `{NORMAL}` and"
            " one or more folders of anomalous recordings"
        )
    return [_machine_set(machine, machine.name, MACHINE) for machine in machines]


def fan_set(folder: Path, scratch: Path) -> MachineSet:
    """The folder of one fan, with `normal` and anomalies, level-normalised.

    scratch : an existing folder for the level-normalised copies
    Raises FolderError if the folder has no normal or no anomalous recordings.
    """
    fan = _machine_set(folder, "fan", FAN)
    normal = _level_normalised(fan.normal, scratch / "fan" / NORMAL)
    return MachineSet("fan", FAN, normal, _level_normalised(fan.anomalous, scratch / "fan" / "a"))


def esc10_sets(folder: Path, scratch: Path) -> Iterator[MachineSet]:
    """Each class in turn as the normal sound, all other classes as anomalies, level-normalised.

    scratch : an existing folder for the level-normalised copies
    Raises FolderError if the folder has fewer than two classes.
    """
    classes = class_folders(folder)
    if len(classes) < 2:
        raise FolderError(f"{folder} has {len(classes)} class(es) of recordings; two are needed")
    copies = {
        path.name: _level_normalised(audio_files(path), scratch / "esc10" / path.name)
        for path in classes
    }
    for name, normal in copies.items():
        others = [path for other, paths in copies.items() if other != name for path in paths]
        yield MachineSet(f"esc10_{name}", ESC10, normal, others)


def _machine_set(folder: Path, name: str, kind: str) -> MachineSet:
    normal: list[Path] = []
    anomalous: list[Path] = []
    for sub in class_folders(folder):
        (normal if sub.name == NORMAL else anomalous).extend(audio_files(sub))
    if len(normal) < 2 or not anomalous:
        raise FolderError(
            f"{folder} has {len(normal)} normal and {len(anomalous)} anomalous recordings; two"
            " normal recordings and one anomalous recording are needed"
        )
    return MachineSet(name, kind, normal, anomalous)


def _level_normalised(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of recordings with the same RMS.

    32-bit floats, because a peak may exceed full scale. AU files, because a WAV file of floats
    contains the time at which it was written, which would change the checksum of the set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number, path in enumerate(paths):
        waveform, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        gain = LEVEL_RMS / max(rms(waveform), float(np.finfo(np.float32).tiny))
        copy = folder / f"{number:04}.au"
        soundfile.write(copy, waveform * np.float32(gain), sample_rate, "FLOAT", format="AU")
        copies.append(copy)
    return copies
