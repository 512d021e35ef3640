"""The versions of a model in models.json, on disk or on S3: list, load, and go back to one."""

from dataclasses import dataclass
from typing import Any

from oddsound import runtime
from oddsound.artifacts import Artifacts
from oddsound.errors import ModelsConfigError, UnknownModelError
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.schemas import ModelEntry
from oddsound_workbench import models_files
from oddsound_workbench.entries import Entry, chosen, identity, joined, label, versions
from oddsound_workbench.errors import FolderError
from oddsound_workbench.models_files import Entries, Signer

PREVIOUS = "previous"
"""Names the version before the current one, as in fan@previous."""


@dataclass(frozen=True)
class Version:
    """One version of a model.

    checksum : of what predictions depend on, short; it can be given instead of the name
    """

    version: str
    checksum: str
    current: bool
    description: str
    metrics: dict[str, Any]


class Versions:
    """The models of one models.json. location : path or s3:// URL"""

    def __init__(self, location: str) -> None:
        self.file = models_files.open_models(location, runtime.s3_client)
        settings = runtime.settings().model_copy(
            update={"models_config_path": location, "models_config_json": None}
        )
        self._settings = settings
        artifacts = Artifacts(runtime.s3_client, settings.model_cache_dir)
        self._registry = Registry(settings, artifacts)

    def of(self, name: str) -> list[Version]:
        """The versions of a model, the current one first. Raises UnknownModelError."""
        found = versions(self._entry(models_files.entries_of(self.file), name))
        return [_described(each, current=not number) for number, each in enumerate(found)]

    def load(self, name: str, version: str | None = None) -> Model:
        """A version of a model, loaded as a service would; None for the current one.

        Raises the errors of loading a model, and FolderError if there is no such version.
        """
        entry = self._entry(models_files.entries_of(self.file), name)
        return self._load(name, _selected(name, entry, version))

    def roll_back(
        self, name: str, version: str | None = None, signer: Signer | None = None
    ) -> tuple[str, str]:
        """Make an earlier version the current one, and keep the current one as an earlier one.

        version : its name, or the start of its checksum; None for the one before the current one
        signer : signs models.json, which must have its signature
        Returns labels of the version before and of the version now. Raises FolderError if there is
        no such version or it is the current one, and the errors of loading a model: models.json
        then stays as it is.
        """
        labels = "", ""

        def change(entries: Entries) -> Entries:
            nonlocal labels
            entry = self._entry(entries, name)
            current, target = versions(entry)[0], chosen(name, entry, version)
            if identity(target) == identity(current):
                raise FolderError(f"model {name!r} has {label(target)} as its current version")
            self._load(name, target)
            labels = label(current), label(target)
            return {**entries, name: joined([target, *versions(entry)])}

        if self.file.read() is None:
            raise ModelsConfigError(f"{self.file.location}: there is no such file")
        models_files.update(self.file, change, signer=signer)
        return labels

    def _load(self, name: str, version: Entry) -> Model:
        entry = ModelEntry.model_validate(version)
        return Model.load(
            name,
            entry,
            self._settings.sample_rate,
            self._registry.fetcher(entry),
            allow_pickle=self._settings.allow_pickle,
        )

    def _entry(self, entries: Entries, name: str) -> Entry:
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise UnknownModelError(f"no model is called {name!r}; known models: {known}")
        return entries[name]


def _selected(name: str, entry: Entry, version: str | None) -> Entry:
    if version is None:
        return versions(entry)[0]
    return chosen(name, entry, None if version == PREVIOUS else version)


def _described(version: Entry, *, current: bool) -> Version:
    entry = ModelEntry.model_validate(version)
    checksum = label(version).rpartition("(")[2].rstrip(")")
    return Version(entry.version, checksum, current, entry.description, entry.metrics)
