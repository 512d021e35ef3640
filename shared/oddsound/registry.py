"""Loaded models: each is loaded when it is first used, and kept in a cache of limited size."""

import logging
import threading
import time
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING

from oddsound import memory
from oddsound.artifacts import Artifacts, resolve_path
from oddsound.catalogue import Catalogue
from oddsound.errors import AudioAnomalyError, ModelArtifactError
from oddsound.schemas import ANOMALY, DETECTORS, NORMAL, ModelEntry, ModelInfo, ModelList
from oddsound.settings import Settings
from oddsound.signatures import Verify

if TYPE_CHECKING:
    from oddsound.model import Model
    from oddsound.parts import Fetch

logger = logging.getLogger(__name__)

type _Key = tuple[str, str]
"""Name of a model and its entry as JSON: a changed entry is another key."""


class Registry:
    """The models of a catalogue. Safe to share between threads.

    verify : of signatures of models.json; None if it needs none
    """

    def __init__(
        self, settings: Settings, artifacts: Artifacts, verify: Verify | None = None
    ) -> None:
        self.catalogue = Catalogue(settings, artifacts, self._load_changed, verify)
        self._settings = settings
        self._artifacts = artifacts
        self._loaded: OrderedDict[_Key, Model] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._load_locks: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)

    def get(self, name: str | None = None) -> "Model":
        """The model called `name`, or the default model, verified and ready to predict.

        Raises UnknownModelError, ModelsConfigError, ModelArtifactError or StorageError.
        """
        name, entry = self.catalogue.entry(name)
        key = (name, entry.model_dump_json())
        if (model := self._cached(key)) is None:
            with self._cache_lock:
                lock = self._load_locks[key]
            with lock:
                if (model := self._cached(key)) is None:
                    model = self._load(name, entry)
                    self._keep(key, model)
        return model

    def describe(self) -> ModelList:
        """Every model as GET /models shows it; loads none.

        Raises ModelsConfigError or StorageError if no usable models.json was ever read.
        """
        entries = self.catalogue.entries()
        models = [self._info(name, entry) for name, entry in sorted(entries.items())]
        default = self.catalogue.default_name()
        return ModelList(models=models, default=default, config_error=self.catalogue.error)

    def fetcher(self, entry: ModelEntry) -> "Fetch":
        """A function that returns the verified bytes of the artifacts of an entry.

        It raises ModelArtifactError for a file that is missing, has another checksum, or has none
        although ALLOW_UNVERIFIED_MODELS is not set.
        """

        def fetch(key: str) -> bytes:
            path, sha256 = getattr(entry, key), entry.sha256.get(key)
            if sha256 is None and not self._settings.allow_unverified_models:
                raise ModelArtifactError(
                    f"{path} has no sha256 in models.json; add it, or set"
                    " ALLOW_UNVERIFIED_MODELS=true for files that you made yourself"
                )
            return self._artifacts.fetch(resolve_path(self.catalogue.location or "", path), sha256)

        return fetch

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

    def _cached(self, key: _Key) -> "Model | None":
        with self._cache_lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _keep(self, key: _Key, model: "Model") -> None:
        """Add a model to the cache; outdated and least recently used models make room."""
        budget = self._settings.model_cache_mb * 1e6
        with self._cache_lock:
            for other in [k for k in self._loaded if k[0] == key[0]]:
                del self._loaded[other]
            self._loaded[key] = model
            while len(self._loaded) > 1 and self._size_bytes() > budget:
                (name, _), _ = self._loaded.popitem(last=False)
                logger.info("model %s leaves the cache of %g MB", name, budget / 1e6)
            self._load_locks.pop(key, None)

    def _size_bytes(self) -> int:
        return sum(model.size_bytes for model in self._loaded.values())

    def _load_changed(self, changed: dict[str, ModelEntry]) -> None:
        """Load the models of a new models.json before it replaces the previous one.

        Raises an error of this library if one cannot be loaded; the models in the cache then stay.
        """
        loaded = {}
        for name, entry in changed.items():
            try:
                loaded[name, entry.model_dump_json()] = self._load(name, entry)
            except AudioAnomalyError:
                raise
            # An artifact can raise anything, and no request may fail because of a new one.
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise ModelArtifactError(f"model {name!r} cannot be loaded: {reason}") from error
        with self._cache_lock:
            in_use = {name for name, _ in self._loaded}
        for key, model in loaded.items():
            if key[0] in in_use:
                self._keep(key, model)

    def _load(self, name: str, entry: ModelEntry) -> "Model":
        # This import brings in all that a prediction needs; describing models needs none of it.
        from oddsound.model import Model

        started = time.perf_counter()
        model = Model.load(
            name,
            entry,
            self._settings.sample_rate,
            self.fetcher(entry),
            allow_pickle=self._settings.allow_pickle,
        )
        memory.reserve_for_blas()
        if self._settings.aws_lambda_function_memory_size is not None:
            memory.limit(self._settings.aws_lambda_function_memory_size << 20)
        took_ms = 1000 * (time.perf_counter() - started)
        logger.info("model %s %s loaded in %.0f ms", name, entry.version, took_ms)
        return model


def _classes(entry: ModelEntry) -> list[str] | None:
    """The classes of a model that is not loaded, as far as its entry tells them."""
    return [NORMAL, ANOMALY] if entry.predictor in DETECTORS else entry.classes
