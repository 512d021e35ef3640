"""Folders of recordings: the files, their classes, groups and folds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oddsound.formats import SUFFIXES, named_as_recording
from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256


@dataclass(frozen=True)
class Labelled:
    """One recording of a data set.

    label : name of its class
    group : recordings of one group are never in both the training and the test part of a split
    fold : name of its fold, or None if the data set defines no folds
    """

    path: Path
    label: str
    group: str
    fold: str | None = None


def audio_files(folder: Path) -> list[Path]:
    """Every file below `folder` that is named as a recording, sorted; no hidden files.

    Also those that may not be readable here, so that they are reported and not left out.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if named_as_recording(path.name) and path.is_file() and not is_hidden(path, folder)
    )


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a part of the path below `folder` begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def expand(paths: Iterable[Path]) -> list[Path]:
    """The given files, and all recordings below the given folders.

    Raises FolderError if a path does not exist, or if a folder contains no recordings.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = audio_files(path)
            if not inside:
                raise FolderError(f"{path} contains no recordings ({', '.join(SUFFIXES)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FolderError(f"{path} does not exist")
    return found


def class_folders(folder: Path) -> list[Path]:
    """Subfolders with recordings, one for each class; empty if the folder has none."""
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in subfolders if not path.name.startswith(".") and audio_files(path)]


def machine_folders(folder: Path) -> list[Path]:
    """Subfolders that each contain a folder called `normal`, the layout of MIMII and DCASE."""
    return [path for path in class_folders(folder) if (path / NORMAL).is_dir()]


def labelled(
    folder: Path, group_pattern: str | None = None, fold_pattern: str | None = None
) -> list[Labelled]:
    """The recordings of a folder with one subfolder per class.

    group_pattern, fold_pattern : regular expressions that are searched in the file's name; the
        first group of the match, or the whole match, is the name of the recording's group or
        fold. Without a group_pattern, only files with the same content are a group.
    Raises FolderError if the folder or a pattern does not fit.
    """
    folders = class_folders(folder)
    if len(folders) < 2:
        raise FolderError(
            f"{folder} contains {len(folders)} folder(s) with recordings; a classifier needs two"
            " or more. To train a detector, pass the folder that contains the recordings"
        )
    if outside := [path.name for path in folder.iterdir() if named_as_recording(path.name)]:
        raise FolderError(
            f"{folder} contains both class folders and recordings, such as {outside[0]}; move the"
            " recordings into the folder of their class"
        )
    return [
        _labelled(path, sub.name, group_pattern, fold_pattern)
        for sub in folders
        for path in audio_files(sub)
    ]


def unlabelled(folder: Path, label: str, group_pattern: str | None = None) -> list[Labelled]:
    """All recordings below a folder, with the same label. Raises FolderError if there are none."""
    return [_labelled(path, label, group_pattern, None) for path in expand([folder])]


def _labelled(
    path: Path, label: str, group_pattern: str | None, fold_pattern: str | None
) -> Labelled:
    group = match(group_pattern, path) or _content_group(path)
    return Labelled(path, label, group, match(fold_pattern, path))


def _content_group(path: Path) -> str:
    """The group of a file without a pattern: its content, or its path if it cannot be read."""
    try:
        return content_sha256(path)
    except OSError:
        return str(path)


def match(pattern: str | None, path: Path) -> str | None:
    """What a pattern finds in the name of a file: its first group, or all; None without one.

    Raises FolderError if it finds nothing.
    """
    if pattern is None:
        return None
    try:
        found = re.search(pattern, path.name)
    except re.error as error:
        raise FolderError(
            f"the pattern {pattern!r} is not a valid regular expression: {error}"
        ) from None
    if found is None:
        raise FolderError(f"the pattern {pattern!r} does not match the file name {path.name!r}")
    return found[1] if found.re.groups else found[0]
