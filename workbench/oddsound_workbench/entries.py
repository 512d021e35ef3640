"""Entries of models.json and their versions, as they are written there.

Entries are dictionaries and not ModelEntry, so that keys which this version does not know survive.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from oddsound.artifacts import digest
from oddsound.schemas import ARTIFACTS, ModelEntry
from oddsound_workbench.errors import FolderError

type Entry = dict[str, Any]
"""One model in models.json, or one of its versions, which has no `previous`."""

type State = Literal["new", "replaced", "updated", "unchanged", "older"]
"""What a push does to a model: another version is served, only other fields of the entry change, or
"older": nothing, because the target has a version that replaced the local one."""

NO_INFLUENCE = {*ARTIFACTS, "version", "description", "metrics", "previous"}
"""Fields of an entry that do not change a prediction; artifacts count by their checksums."""

MAX_PREVIOUS = 20
"""Earlier versions that an entry keeps: every service reads them at each start."""

MIN_CHECKSUM = 4
"""Digits of a checksum that are enough to name a version."""


def content_checksum(entry: ModelEntry) -> str:
    """Checksum of everything in an entry that predictions depend on."""
    unknown = set(entry.model_extra or {})
    influence = entry.model_dump(mode="json", exclude=NO_INFLUENCE | unknown)
    # The compiled file gives the same predictions; adding it does not make another version.
    influence["sha256"].pop("compiled_path", None)
    return digest(json.dumps(influence, sort_keys=True).encode())


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def versions(entry: Entry) -> list[Entry]:
    """The current version and the earlier ones, newest first; none has `previous` itself."""
    current = {key: value for key, value in entry.items() if key != "previous"}
    return [current, *entry.get("previous", [])]


def joined(found: Sequence[Entry]) -> Entry:
    """The entry with these versions, each once; the first is the current one."""
    unique: dict[str, Entry] = {}
    for version in found:
        unique.setdefault(identity(version), version)
    current, *previous = unique.values()
    kept = previous[:MAX_PREVIOUS]
    return {**current, "previous": kept} if kept else current


def identity(version: Entry) -> str:
    """What tells two versions apart: their name and what predictions depend on."""
    parsed = ModelEntry.model_validate(version)
    return f"{parsed.version} {content_checksum(parsed)}"


def merged(local: Entry, remote: Entry | None) -> tuple[Entry, State]:
    """The entry of a model after a push, and what the push does.

    The local version becomes the current one, and that of the target is kept as an earlier one.
    Only if the local version is one that the target has already replaced, and the local models.json
    does not know by what, the target stays as it is: a push from an old copy is not a rollback.
    """
    if remote is None:
        return local, "new"
    ours, theirs = versions(local), versions(remote)
    known, known_there = (list(map(identity, each)) for each in (ours, theirs))
    if known[0] == known_there[0]:
        # The same version: paths and descriptions may be newer here, earlier versions anywhere.
        entry = joined([*ours, *theirs[1:]])
        return entry, "unchanged" if entry == remote else "updated"
    if known[0] in known_there and known_there[0] not in known:
        return remote, "older"
    if known_there[0] in known:
        return joined([*ours, *theirs[1:]]), "replaced"
    return joined([ours[0], *theirs, *ours[1:]]), "replaced"


def chosen(name: str, entry: Entry, version: str | None) -> Entry:
    """The version that a person names: by its name, or by the start of its checksum.

    version : None for the one before the current one
    Raises FolderError if there is none, or more than one.
    """
    found = versions(entry)
    if version is None:
        if len(found) < 2:
            raise FolderError(f"model {name!r} has no earlier version in models.json")
        return found[1]
    by_name = [each for each in found if ModelEntry.model_validate(each).version == version]
    by_checksum = [
        each
        for each in found
        if len(version) >= MIN_CHECKSUM
        and content_checksum(ModelEntry.model_validate(each)).startswith(version)
    ]
    matching = by_name or by_checksum
    if len(matching) != 1:
        known = ", ".join(label(each) for each in found)
        raise FolderError(
            f"model {name!r} has {'no' if not matching else 'more than one'} version"
            f" {version!r}; it has {known}. A checksum can be shortened"
        )
    return matching[0]


def label(version: Entry) -> str:
    """Name and short checksum of a version, for people."""
    parsed = ModelEntry.model_validate(version)
    return f"{parsed.version} ({content_checksum(parsed)[:6]})"
