"""Writes the events of recordings as label files, beside the recordings or into a folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from oddsound.schemas import Prediction
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import decoded, printable, replace_file
from oddsound_workbench.labels.formats import SUFFIXES, LabelFormat, file_content


class LabelWriter:
    """Writes one label file for each recording.

    targets : recording -> its label file
    written : the files so far
    """

    def __init__(
        self,
        kind: LabelFormat,
        recordings: Sequence[tuple[Path, Path]],
        folder: Path | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Chooses the names of all files before the first is written.

        recordings : each with the folder that it was found in
        folder : where label files go, in the same subfolders; None for beside each recording
        Raises FolderError if one exists, unless `overwrite`, or if two have the same place.
        """
        self.kind = kind
        self.written: list[Path] = []
        self.targets = _targets(kind, recordings, folder)
        existing = [path for path in self.targets.values() if path.exists()]
        if existing and not overwrite:
            raise FolderError(
                f"{len(existing)} label file(s) already exist, such as {printable(existing[0])};"
                " use --overwrite to replace them, or --labels-dir to write into another folder"
            )

    def write(self, recording: Path, prediction: Prediction) -> None:
        """Write the events of one recording. Raises FolderError if the file cannot be written."""
        path = self.targets[recording]
        content = file_content(
            self.kind,
            decoded(Path(recording.name)),
            prediction.sample_rate,
            prediction.events or [],
        )
        try:
            replace_file(path, content)
        except OSError as error:
            raise FolderError(f"{printable(path)} cannot be written: {error.strerror}") from None
        self.written.append(path)


def _targets(
    kind: LabelFormat, recordings: Sequence[tuple[Path, Path]], folder: Path | None
) -> dict[Path, Path]:
    """The label file of each recording; of those that only differ in the suffix, it has both."""
    suffix = SUFFIXES[kind]
    places = {
        path: path.parent if folder is None else folder / path.parent.relative_to(root)
        for path, root in recordings
    }
    # Some file systems do not distinguish upper and lower case.
    stems = Counter((place, path.stem.casefold()) for path, place in places.items())
    targets = {
        path: place / (path.stem if stems[place, path.stem.casefold()] == 1 else path.name)
        for path, place in places.items()
    }
    targets = {path: target.with_name(target.name + suffix) for path, target in targets.items()}
    counts = Counter(str(target).casefold() for target in targets.values())
    if same := [path for path, target in targets.items() if counts[str(target).casefold()] > 1]:
        raise FolderError(
            f"the label files of {printable(same[0])} and {printable(same[1])} would have the same"
            f" name, {printable(targets[same[0]])}; score them in two calls"
        )
    return targets
