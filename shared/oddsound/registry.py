"""models.json -> models: lazily loaded, cached, refreshed."""

import json
import logging
import threading
import time
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING

from pydantic import ValidationError

from oddsound import artifacts
from oddsound.artifacts import Artifacts
from oddsound.errors import (
    AudioAnomalyError,
    ModelArtifactError,
    ModelsConfigError,
    UnknownModelError,
)
from oddsound.schemas import ANOMALY, ARTIFACTS, NORMAL, ModelEntry, ModelInfo, ModelList
from oddsound.settings import MODELS_CONFIG_PATH, Settings

if TYPE_CHECKING:
    from oddsound.model import Model

logger = logging.getLogger(__name__)

LEGACY_NAME = "default"


class Registry:
    """All models that models.json names; each is loaded when it is first asked for.

    Safe to share between threads. Changes of models.json are seen at most every
    MODELS_REFRESH_S seconds; one that cannot be used leaves the one before it in place.
    """

    def __init__(self, settings: Settings, store: Artifacts) -> None:
        self._settings = settings
        self._store = store
        self._location = _location(settings)
        self._entries: dict[str, ModelEntry] = {}
        self._tag: str | None = None
        self._config_error: str | None = None
        self._checked_at: float | None = None
        self._refreshing = threading.Lock()
        self._loaded: OrderedDict[tuple[str, str], Model] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._load_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    @property
    def default_name(self) -> str:
        """The model that is used where none is named."""
        name = self._settings.default_model_name
        if "default_model_name" in self._settings.model_fields_set or name in self._entries:
            return name
        if self._location is None and self._settings.models_config_json is None:
            return LEGACY_NAME
        # A lone model need not be called `fan` to be meant.
        return next(iter(self._entries)) if len(self._entries) == 1 else name

    def get(self, name: str | None = None) -> "Model":
        """The model called `name`, or the default one, verified and ready to predict.

        Raises UnknownModelError, ModelsConfigError, ModelArtifactError or StorageError.
        """
        name, entry = self._entry(name)
        key = (name, entry.model_dump_json())
        if (model := self._cached(key)) is None:
            with self._cache_lock:
                lock = self._load_locks[key]
            with lock:
                if (model := self._cached(key)) is None:
                    model = self._load(name, entry)
                    self._keep(key, model)
        return model

    def named(self, name: str | None = None) -> str:
        """`name`, or the default one, where there is such a model; loads none.

        Raises UnknownModelError, ModelsConfigError or StorageError.
        """
        return self._entry(name)[0]

    def refresh(self) -> None:
        """Look at models.json now, whether or not that is due."""
        with self._refreshing:
            self._refresh()

    def look_again(self) -> None:
        """Have the next call look at models.json, whenever the last look was."""
        self._checked_at = None

    def describe(self) -> ModelList:
        """Every model as GET /models shows it; loads none.

        Raises ModelsConfigError or StorageError where no models.json was ever usable.
        """
        entries = self._refreshed()
        models = [self._info(name, entry) for name, entry in sorted(entries.items())]
        return ModelList(models=models, default=self.default_name, config_error=self._config_error)

    def _entry(self, name: str | None) -> tuple[str, ModelEntry]:
        entries = self._refreshed()
        name = name or self.default_name
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise UnknownModelError(f"no model is called {name!r}; known are: {known}")
        return name, entries[name]

    def _info(self, name: str, entry: ModelEntry) -> ModelInfo:
        with self._cache_lock:
            model = self._loaded.get((name, entry.model_dump_json()))
        return ModelInfo(
            name=name,
            version=entry.version,
            classes=list(model.predictor.classes) if model else _classes(entry),
            sample_rate=entry.sample_rate or self._settings.sample_rate,
            threshold=model.predictor.threshold if model else entry.threshold,
            metrics=entry.metrics,
            description=entry.description,
            loaded=model is not None,
        )

    def _cached(self, key: tuple[str, str]) -> "Model | None":
        with self._cache_lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _keep(self, key: tuple[str, str], model: "Model") -> None:
        """Add to the cache; what is stale or least recently used makes room."""
        budget = self._settings.model_cache_mb * 1e6
        with self._cache_lock:
            for other in [k for k in self._loaded if k[0] == key[0]]:
                del self._loaded[other]
            self._loaded[key] = model
            while len(self._loaded) > 1 and self._size() > budget:
                (name, _), _ = self._loaded.popitem(last=False)
                logger.info("model %s leaves the cache of %g MB", name, budget / 1e6)
            self._load_locks.pop(key, None)

    def _size(self) -> int:
        return sum(model.size_bytes for model in self._loaded.values())

    def _load(self, name: str, entry: ModelEntry) -> "Model":
        # Imported with all that a prediction needs; to describe models takes none of it.
        from oddsound.model import Model

        def fetch(key: str) -> bytes:
            path, sha256 = getattr(entry, key), entry.sha256.get(key)
            if sha256 is None and not self._settings.allow_unverified_models:
                raise ModelArtifactError(
                    f"{path} has no sha256 in models.json; add it, or set"
                    " ALLOW_UNVERIFIED_MODELS=true for files that you made yourself"
                )
            return self._store.fetch(artifacts.beside(self._location or "", path), sha256)

        started = time.perf_counter()
        model = Model.load(name, entry, self._settings.sample_rate, fetch)
        took_ms = 1000 * (time.perf_counter() - started)
        logger.info("model %s %s loaded in %.0f ms", name, entry.version, took_ms)
        return model

    def _refreshed(self) -> dict[str, ModelEntry]:
        """The entries, after a look at models.json if one is due."""
        # While one thread looks, the others go on with what there is, if there is something.
        if self._due() and self._refreshing.acquire(blocking=self._checked_at is None):
            try:
                # Another thread may have looked while this one waited.
                if self._due():
                    self._refresh()
            finally:
                self._refreshing.release()
        return self._entries

    def _due(self) -> bool:
        at = self._checked_at
        return at is None or time.monotonic() - at >= self._settings.models_refresh_s

    def _refresh(self) -> None:
        try:
            self._reread()
            self._config_error = None
        except AudioAnomalyError as error:
            if not self._entries:
                raise
            self._config_error = str(error)
            logger.error("the new models.json is not used, the one before it serves: %s", error)
        self._checked_at = time.monotonic()

    def _reread(self) -> None:
        if self._settings.models_config_json is not None:
            self._entries = self._entries or parse(
                self._settings.models_config_json, "MODELS_CONFIG_JSON"
            )
        elif self._location is None:
            paths = {key: getattr(self._settings, key) for key in ARTIFACTS}
            self._entries = {self.default_name: ModelEntry(**paths)}
        elif changed := self._read_config(self._location):
            text, tag = changed
            self._entries = parse(text, self._location)
            self._tag = tag

    def _read_config(self, location: str) -> tuple[bytes, str] | None:
        try:
            return self._store.read_if_changed(location, self._tag)
        except ModelArtifactError as error:
            raise ModelsConfigError(
                f"models.json cannot be read: {error}; set MODELS_CONFIG_PATH to a file or an"
                " s3:// URL, MODELS_CONFIG_JSON to its text, or MODEL_PATH to a single model"
            ) from None


def _classes(entry: ModelEntry) -> list[str] | None:
    """What is known of a model that is not loaded."""
    return [NORMAL, ANOMALY] if entry.predictor == "sklearn_outlier" else entry.classes


def parse(text: str | bytes, origin: str) -> dict[str, ModelEntry]:
    """The entries of a models.json. Raises ModelsConfigError naming the faulty key."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelsConfigError(f"{origin} is not JSON: {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise ModelsConfigError(f"{origin} must be an object with an entry for each model")
    entries = {}
    for name, value in raw.items():
        try:
            entries[name] = ModelEntry.model_validate(value)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, (name, *fault["loc"])))
            raise ModelsConfigError(
                f"{origin}, {where}: {fault['msg']}, found {fault['input']!r}"
            ) from None
        for key in entries[name].model_extra or {}:
            logger.warning("%s, %s: the key %r is not known and has no effect", origin, name, key)
    return entries


def _location(settings: Settings) -> str | None:
    """Path or URL of models.json; None where its text or a single model is given instead."""
    if settings.models_config_json is not None:
        return None
    if settings.models_config_path is not None:
        return settings.models_config_path
    return None if settings.model_path is not None else MODELS_CONFIG_PATH
