"""models.json: its entries, the default model, and looking at it again when it may have changed."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from oddsound import signatures, strict_json
from oddsound.artifacts import Artifacts
from oddsound.errors import (
    AudioAnomalyError,
    ModelArtifactError,
    ModelsConfigError,
    UnknownModelError,
)
from oddsound.schemas import JOBLIB_ARTIFACTS, ModelEntry
from oddsound.settings import MODELS_CONFIG_PATH, Settings, shipped_models
from oddsound.signatures import Verify

logger = logging.getLogger(__name__)

MAX_SHOWN = 100
"""Characters of an invalid value that an error shows."""

SINGLE_MODEL_NAME = "default"
"""Name of the model that MODEL_PATH gives, unless DEFAULT_MODEL_NAME names it."""


class Catalogue:
    """The entries of models.json, read again at most every MODELS_REFRESH_S seconds.

    A new models.json that cannot be used leaves the previous one in place; `error` says why.
    Safe to share between threads.

    location : path or URL of models.json; None if its text or a single model is given instead
    check : is given the entries that are new or changed, and raises an error of this library if one
        of them cannot be used. It is not called for the first models.json of a process, before
        which there is none to keep
    verify : of signatures, which models.json must then have; None if it needs none
    """

    def __init__(
        self,
        settings: Settings,
        artifacts: Artifacts,
        check: Callable[[dict[str, ModelEntry]], None] = lambda _changed: None,
        verify: Verify | None = None,
    ) -> None:
        self.location = _location(settings)
        self.error: str | None = None
        self._settings = settings
        self._artifacts = artifacts
        self._check = check
        self._verify = verify
        self._entries: dict[str, ModelEntry] = {}
        self._tag: str | None = None
        self._checked_at: float | None = None
        self._refreshing = threading.Lock()

    def entries(self) -> dict[str, ModelEntry]:
        """Every entry by its name, after looking at models.json if that is due.

        Raises ModelsConfigError or StorageError if no usable models.json was ever read.
        """
        # While one thread looks, the others use the previous entries, if there are any.
        if self._is_due() and self._refreshing.acquire(blocking=self._checked_at is None):
            try:
                # Another thread may have looked while this one waited.
                if self._is_due():
                    self._refresh()
            finally:
                self._refreshing.release()
        return self._entries

    def default_name(self) -> str:
        """Name of the model that is used if none is named.

        DEFAULT_MODEL_NAME if it is set; else `fan`, or the only model that there is.
        Raises ModelsConfigError or StorageError if no usable models.json was ever read.
        """
        return self._default_of(self.entries())

    def current_default_name(self) -> str:
        """`default_name`, by the models.json of this moment if the environment names no model.

        Then a changed models.json may have another default model, and what is scored with the
        previous one stays stored. Raises as `default_name` does.
        """
        if "default_model_name" not in self._settings.model_fields_set:
            self.refresh()
        return self.default_name()

    def entry(self, name: str | None = None) -> tuple[str, ModelEntry]:
        """Name and entry of the model called `name`, or of the default model.

        Raises UnknownModelError, ModelsConfigError or StorageError.
        """
        entries = self.entries()
        name = name or self._default_of(entries)
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise UnknownModelError(f"no model is called {name!r}; known models: {known}")
        return name, entries[name]

    def refresh(self) -> None:
        """Look at models.json now, whether or not that is due."""
        with self._refreshing:
            self._refresh()

    def expire(self) -> None:
        """Make the next call look at models.json, whenever the last look was."""
        self._checked_at = None

    def _default_of(self, entries: dict[str, ModelEntry]) -> str:
        name = self._settings.default_model_name
        if "default_model_name" in self._settings.model_fields_set or name in entries:
            return name
        # A single model is the default, whatever its name is.
        return next(iter(entries)) if len(entries) == 1 else name

    def _is_due(self) -> bool:
        at = self._checked_at
        return at is None or time.monotonic() - at >= self._settings.models_refresh_s

    def _refresh(self) -> None:
        try:
            self._read_again()
            self.error = None
        except AudioAnomalyError as error:
            if not self._entries:
                raise
            self.error = str(error)
            logger.error("the new models.json is not used, the previous one stays: %s", error)
        self._checked_at = time.monotonic()

    def _read_again(self) -> None:
        if self._settings.models_config_json is not None:
            self._entries = self._entries or parse(
                self._settings.models_config_json, "MODELS_CONFIG_JSON"
            )
        elif self.location is None:
            paths = {key: getattr(self._settings, key) for key in JOBLIB_ARTIFACTS}
            named = "default_model_name" in self._settings.model_fields_set
            name = self._settings.default_model_name if named else SINGLE_MODEL_NAME
            self._entries = {name: ModelEntry(**paths)}
        elif changed := self._read_if_changed(self.location):
            text, tag = changed
            if self._verify is not None:
                signatures.check(text, self.location, self._artifacts, self._verify)
            entries = parse(text, self.location)
            if self._entries:
                new = {n: entry for n, entry in entries.items() if self._entries.get(n) != entry}
                self._check(new)
            # Only now: a models.json that was refused is looked at again, because what is wrong
            # may be an artifact.
            self._entries, self._tag = entries, tag

    def _read_if_changed(self, location: str) -> tuple[bytes, str] | None:
        try:
            return self._artifacts.read_if_changed(location, self._tag)
        except ModelArtifactError as error:
            raise ModelsConfigError(
                f"models.json cannot be read: {error}; set MODELS_CONFIG_PATH to a file or an"
                " s3:// URL, MODELS_CONFIG_JSON to its text, or MODEL_PATH to a single model"
            ) from None


def parse(text: str | bytes, origin: str) -> dict[str, ModelEntry]:
    """The entries of a models.json.

    text : JSON; bytes are UTF-8, with or without a byte order mark
    origin : path, URL or variable that it was read from, for the text of errors
    Raises ModelsConfigError naming the invalid key.
    """
    raw = parse_json(text, origin)
    if not isinstance(raw, dict) or not raw:
        raise ModelsConfigError(f"{origin} must be an object with an entry for each model")
    entries = {}
    for name, value in raw.items():
        try:
            entries[name] = ModelEntry.model_validate(value)
        except ValidationError as error:
            raise ModelsConfigError(f"{origin}, {_first_fault(name, error)}") from None
        for key in entries[name].model_extra or {}:
            logger.warning("%s, %s: the key %r is not known and has no effect", origin, name, key)
    return entries


def _first_fault(name: str, error: ValidationError) -> str:
    """Where the first fault of an entry is, and what it is."""
    fault = error.errors()[0]
    where = ".".join(map(str, (name, *fault["loc"])))
    # Our own validators say what they found; pydantic would add the whole entry to their text.
    if own := fault.get("ctx", {}).get("error"):
        return f"{where}: {own}"
    found = repr(fault["input"])
    shown = found if len(found) <= MAX_SHOWN else f"{found[:MAX_SHOWN]}..."
    return f"{where}: {fault['msg']}, found {shown}"


def parse_json(text: str | bytes, origin: str) -> object:
    """The value of a JSON text, which may begin with a byte order mark.

    Raises ModelsConfigError if it is not JSON, has a value that cannot be passed on, or if bytes
    are not UTF-8.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise ModelsConfigError(
            f"{origin} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x};"
            " save it as UTF-8"
        ) from None
    try:
        return strict_json.loads(decoded.removeprefix("\ufeff"))
    except ValueError as error:
        raise ModelsConfigError(f"{origin} is not JSON: {error}") from None


def _location(settings: Settings) -> str | None:
    if settings.models_config_json is not None:
        return None
    if settings.models_config_path is not None:
        return settings.models_config_path
    if settings.model_path is not None:
        return None
    shipped = shipped_models()
    if not Path(MODELS_CONFIG_PATH).exists() and shipped is not None:
        return str(shipped)
    return MODELS_CONFIG_PATH
