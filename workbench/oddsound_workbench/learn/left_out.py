"""Files in a folder of recordings that are left out, for a sentence to the user."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from oddsound import containers
from oddsound.formats import named_as_recording
from oddsound_workbench.files import printable
from oddsound_workbench.learn.recordings import audio_files, is_hidden

MAX_NAMED = 3
"""Files that a sentence names."""


def left_out(folder: Path, known: Iterable[Path] = ()) -> list[Path]:
    """What is below a folder and is not scored, sorted; without the known files.

    Files whose names are not those of recordings; recordings that are hidden; and links to
    folders, which are not followed. Other hidden files are not mentioned.
    """
    taken, used = set(audio_files(folder)), {path.resolve() for path in known}
    return sorted(
        path
        for path in folder.rglob("*")
        if path not in taken
        and path.resolve() not in used
        and (path.is_symlink() or not path.is_dir())
        and (named_as_recording(path.name) or not is_hidden(path, folder))
    )


def sentences(
    folders: Iterable[Path], *, full_paths: bool = True, known: Sequence[Path] = ()
) -> list[str]:
    """For each folder from which something was left out: how many files, and the first names.

    folders : others than folders are ignored
    known : files that have a use, such as label files
    full_paths : whether folders are named as they are given, or by their last part only
    """
    return [
        _sentence(folder, printable(folder if full_paths else Path(folder.resolve().name)), paths)
        for folder in folders
        if folder.is_dir() and (paths := left_out(folder, known))
    ]


def _sentence(folder: Path, name: str, paths: list[Path]) -> str:
    named = ", ".join(
        printable(path.relative_to(folder)) + _reason(path, folder) for path in paths[:MAX_NAMED]
    )
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    noun = "file that is no recording" if len(paths) == 1 else "files that are no recordings"
    return f"Left out {len(paths)} {noun} by name in {name}: {named}{more}."


def _reason(path: Path, folder: Path) -> str:
    """Why a file is left out, where its name does not show it."""
    if is_hidden(path, folder):
        return " (hidden)"
    if path.is_symlink() and path.is_dir():
        return " (a link to a folder)"
    if not path.is_file():
        return " (a link to nothing)" if path.is_symlink() else " (not a file)"
    try:
        with path.open("rb") as file:
            kind = containers.identify(file)
    except OSError:
        return " (cannot be read)"
    return f" (its content is {kind}: rename it)" if kind else ""
