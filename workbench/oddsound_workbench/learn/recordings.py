"""Folders of recordings: which files, which class, which of them belong together."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oddsound.formats import SUFFIXES
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256


@dataclass(frozen=True)
class Labelled:
    """One recording of a data set.

    label : name of its class
    group : recordings of one group never stand on both sides of a split
    fold : name of its fold, or None where the data set has none
    """

    path: Path
    label: str
    group: str
    fold: str | None = None


def audio_files(folder: Path) -> list[Path]:
    """Every recording below `folder`, by suffix, in a fixed order; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def expand(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the recordings below them. Raises FolderError for neither."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = audio_files(path)
            if not inside:
                raise FolderError(f"{path} holds no recordings ({', '.join(SUFFIXES)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FolderError(f"{path} does not exist")
    return found


def class_folders(folder: Path) -> list[Path]:
    """Subfolders that hold recordings: one for each class. Empty where the folder is flat."""
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in subfolders if not path.name.startswith(".") and audio_files(path)]


def labelled(
    folder: Path, group_pattern: str | None = None, fold_pattern: str | None = None
) -> list[Labelled]:
    """The recordings of a folder per class.

    group_pattern, fold_pattern : regular expressions searched in the file's name; group 1,
        or the whole match, names its group or fold. Without a group_pattern, only files of
        the same content belong together.
    """
    folders = class_folders(folder)
    if len(folders) < 2:
        raise FolderError(
            f"{folder} holds {len(folders)} folder(s) with recordings; a classifier needs two or"
            " more, and a detector is trained on the innermost folder, with recordings alone"
        )
    if strays := [path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]:
        raise FolderError(
            f"{folder} holds folders, one for each class, and recordings beside them, such as"
            f" {strays[0]}; put these into a folder of their class"
        )
    return [
        _labelled(path, sub.name, group_pattern, fold_pattern)
        for sub in folders
        for path in audio_files(sub)
    ]


def unlabelled(folder: Path, label: str, group_pattern: str | None = None) -> list[Labelled]:
    """The recordings of a folder of one kind."""
    return [_labelled(path, label, group_pattern, None) for path in expand([folder])]


def _labelled(
    path: Path, label: str, group_pattern: str | None, fold_pattern: str | None
) -> Labelled:
    group = _match(group_pattern, path) or content_sha256(path)
    return Labelled(path, label, group, _match(fold_pattern, path))


def _match(pattern: str | None, path: Path) -> str | None:
    if pattern is None:
        return None
    try:
        found = re.search(pattern, path.name)
    except re.error as error:
        raise FolderError(f"the pattern {pattern!r} is no regular expression: {error}") from None
    if found is None:
        raise FolderError(f"the pattern {pattern!r} is not found in the name {path.name!r}")
    return found[1] if found.re.groups else found[0]
