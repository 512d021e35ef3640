"""The figures in a JSON file that is replaced after every split, so that a run can be resumed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.detection.data import MachineSet
from benchmarks.detection.protocol import QUANTILE
from oddsound_workbench.entries import to_json
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import replace_file
from oddsound_workbench.learn.metrics import PAUC_MAX_FALSE_POSITIVE_RATE


@dataclass(frozen=True)
class Results:
    """Figures of each split by set and method.

    content : {"protocol": {...}, "not_installed": [...], "sets": {name: {"kind", "normal",
        "anomalous", "checksum", "methods": {name: [figures of split 0, ...]}}}}
    """

    path: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, path: Path, seed: int) -> "Results":
        """The results of a file, empty if it does not exist.

        Raises FolderError if the file was written with another seed or protocol.
        """
        protocol = {
            "seed": seed,
            "threshold_quantile": QUANTILE,
            "pauc_max_false_alarm_rate": PAUC_MAX_FALSE_POSITIVE_RATE,
        }
        if not path.exists():
            return cls(path, {"protocol": protocol, "not_installed": [], "sets": {}})
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["protocol"] != protocol:
            raise FolderError(
                f"{path} has results of {content['protocol']}, this run is {protocol}; pass"
                " another file to --results"
            )
        return cls(path, content)

    def enter(self, machine: MachineSet) -> None:
        """Add a set. Results of the same name with other recordings are removed."""
        found = {
            "kind": machine.kind,
            "normal": len(machine.normal),
            "anomalous": len(machine.anomalous),
            "checksum": machine.checksum(),
        }
        old = self.content["sets"].get(machine.name, {})
        same = all(old.get(key) == value for key, value in found.items())
        self.content["sets"][machine.name] = {**found, "methods": old["methods"] if same else {}}

    def splits(self, machine: str, method: str) -> list[dict[str, float]]:
        """Figures of the splits that are done; append to it and `save`."""
        found: list[dict[str, float]] = self.content["sets"][machine]["methods"].setdefault(
            method, []
        )
        return found

    def save(self) -> None:
        """Replace the file atomically, with everything in a fixed order."""
        sets = {name: dict(each) for name, each in sorted(self.content["sets"].items())}
        for each in sets.values():
            done = {name: splits for name, splits in each["methods"].items() if splits}
            each["methods"] = dict(sorted(done.items()))
        replace_file(self.path, to_json({**self.content, "sets": sets}))
