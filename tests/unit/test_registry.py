"""models.json and its models: lazy loading, caching, refreshing and checksums."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oddsound import runtime
from oddsound.artifacts import digest
from oddsound.errors import ModelArtifactError, ModelsConfigError, UnknownModelError
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.settings import Settings
from oddsound_workbench.synthesis import fan
from tests.making import (
    Watched,
    bayes,
    classifier,
    configured,
    dumped,
    encoded,
    probabilities,
    saved,
    saved_classifier,
)
from tests.unit.test_schemas import MINIMAL

FAULTY = fan(51, faulty=True, duration_s=1)


def registry_of(config: Path | str, store: Watched | None = None, **settings: Any) -> Registry:
    """A registry that checks models.json at every call, unless `settings` change that."""
    settings = {"models_refresh_s": 0, "models_config_path": str(config), **settings}
    return Registry(Settings(**settings), store or Watched())


def verdict(model: Model) -> str:
    [row] = probabilities(model, [FAULTY])
    return model.predictor.classes[int(row.argmax())]


def loaded(registry: Registry) -> list[str]:
    return [info.name for info in registry.describe().models if info.loaded]


class TestOriginal:
    """The files and variables of the original service."""

    @pytest.fixture
    def original(self, tmp_path: Path) -> Path:
        scaler, model, encoder = encoded()
        saved(
            tmp_path, "fan", model=model, scaler=scaler, label_encoder=encoder, dropped_features=[]
        )
        return configured(tmp_path, fan=MINIMAL)

    def test_models_json_of_the_original_works_unchanged(self, original: Path) -> None:
        model = registry_of(original, allow_unverified_models=True).get()
        assert (model.name, model.version, model.window_s) == ("fan", "unversioned", None)
        assert model.sample_rate == 16000
        assert verdict(model) == "faulty"

    def test_files_without_a_checksum_are_rejected_unless_allowed(self, original: Path) -> None:
        store = Watched()
        with pytest.raises(ModelArtifactError) as caught:
            registry_of(original, store).get()
        assert "fan/model.joblib has no sha256 in models.json; add it, or set" in str(caught.value)
        assert "ALLOW_UNVERIFIED_MODELS=true" in str(caught.value)
        assert store.fetched == []

    def test_a_single_artifact_without_sha256_is_rejected(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        del entry["sha256"]["scaler_path"]
        config = configured(tmp_path, fan=entry)
        with pytest.raises(ModelArtifactError, match=r"fan/scaler\.joblib has no sha256"):
            registry_of(config).get()
        assert verdict(registry_of(config, allow_unverified_models=True).get()) == "faulty"

    def test_the_sample_rate_setting_applies_to_entries_without_a_rate(
        self, tmp_path: Path
    ) -> None:
        entry = saved_classifier(tmp_path, "fan")
        config = configured(tmp_path, fan=entry, pump={**entry, "sample_rate": 16000})
        registry = registry_of(config, sample_rate=22050)
        assert [info.sample_rate for info in registry.describe().models] == [22050, 16000]
        assert registry.get("fan").sample_rate == 22050
        assert registry.get("pump").sample_rate == 16000

    def test_default_model_name(self, tmp_path: Path) -> None:
        config = configured(tmp_path, pump=saved_classifier(tmp_path, "pump"))
        registry = registry_of(config, default_model_name="pump")
        assert registry.get().name == registry.get("").name == "pump"
        assert registry.describe().default == "pump"

    def test_the_only_model_is_the_default(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "pump")
        assert registry_of(configured(tmp_path, pump=entry)).get().name == "pump"
        two = configured(tmp_path, pump=entry, press=entry)
        with pytest.raises(UnknownModelError, match="called 'fan'; known models: press, pump"):
            registry_of(two).get()

    def test_the_single_model_of_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scaler, model, encoder = encoded()
        saved(tmp_path, "old", model=model, scaler=scaler, label_encoder=encoder)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MODEL_PATH", "old/model.joblib")
        monkeypatch.setenv("SCALER_PATH", str(tmp_path / "old/scaler.joblib"))
        monkeypatch.setenv("LABEL_ENCODER_PATH", "old/label_encoder.joblib")
        with pytest.raises(ModelArtifactError, match="has no sha256"):
            runtime.registry().get()
        monkeypatch.setenv("ALLOW_UNVERIFIED_MODELS", "true")
        runtime.clear()
        assert runtime.registry().get().name == "default"
        assert verdict(runtime.registry().get()) == "faulty"
        monkeypatch.setenv("DEFAULT_MODEL_NAME", "pump")
        runtime.clear()
        assert runtime.registry().get().name == "pump"

    def test_models_json_takes_precedence_over_the_single_model(self, tmp_path: Path) -> None:
        config = configured(tmp_path, fan=saved_classifier(tmp_path, "fan"))
        assert registry_of(config, model_path="nowhere.joblib").get().name == "fan"

    def test_inline_json_takes_precedence_over_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = saved_classifier(tmp_path, "fan")
        monkeypatch.chdir(tmp_path)
        store = Watched()
        registry = registry_of("nowhere.json", store, models_config_json=json.dumps({"fan": entry}))
        assert verdict(registry.get()) == "faulty"
        assert store.looks == 0

    def test_an_error_in_inline_json_names_the_variable(self) -> None:
        with pytest.raises(ModelsConfigError, match=r"^MODELS_CONFIG_JSON is not JSON"):
            registry_of("-", models_config_json="{").get()

    def test_dotenv_configures_the_service(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = configured(tmp_path, pump=saved_classifier(tmp_path, "pump"))
        (tmp_path / ".env").write_text(f"MODELS_CONFIG_PATH={config}\nDEFAULT_MODEL_NAME=pump\n")
        monkeypatch.chdir(tmp_path)
        assert verdict(runtime.registry().get()) == "faulty"

    def test_the_error_for_a_missing_models_json_names_the_settings(self, tmp_path: Path) -> None:
        with pytest.raises(ModelsConfigError) as caught:
            registry_of(tmp_path / "gone.json").get()
        for word in ("gone.json: No such file", "MODELS_CONFIG_PATH", "MODEL_PATH"):
            assert word in str(caught.value)


class TestVerified:
    """Nothing is unpickled before its checksum is verified."""

    class Bomb:
        """Runs code when it is unpickled: it creates a file."""

        def __init__(self, path: Path) -> None:
            self.path = path

        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (self.path,)

    def test_a_file_with_a_wrong_checksum_is_never_unpickled(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        bomb = dumped(self.Bomb(ran))
        entry = saved(tmp_path, "fan", model=bomb)
        right = entry["sha256"]["model_path"]
        entry["sha256"]["model_path"] = digest(dumped(bayes()))
        config = configured(tmp_path, fan=entry)
        with pytest.raises(ModelArtifactError, match=f"its sha256 is {right}, expected"):
            registry_of(config, allow_unverified_models=True).get()
        assert not ran.exists()
        # With the right checksum the code runs, so only the checksum prevented it.
        entry["sha256"]["model_path"] = right
        with pytest.raises(ModelArtifactError, match="NoneType"):
            registry_of(configured(tmp_path, fan=entry)).get()
        assert ran.exists()

    def test_the_last_artifact_is_verified_too(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        scaler, model = classifier()
        entry = saved(tmp_path, "fan", model=model, scaler=scaler, dropped_features=[])
        (tmp_path / "fan/dropped_features.joblib").write_bytes(dumped(self.Bomb(ran)))
        with pytest.raises(ModelArtifactError, match=r"model 'fan': .*dropped_features\.joblib is"):
            registry_of(configured(tmp_path, fan=entry)).get()
        assert not ran.exists()

    def test_a_missing_artifact(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        (tmp_path / "fan/scaler.joblib").unlink()
        with pytest.raises(
            ModelArtifactError, match=r"model 'fan': .*scaler\.joblib: No such file"
        ):
            registry_of(configured(tmp_path, fan=entry)).get()

    def test_a_damaged_pickle_with_the_right_checksum(self, tmp_path: Path) -> None:
        entry = saved(tmp_path, "fan", model=dumped(bayes())[:-100])
        with pytest.raises(ModelArtifactError, match=r"fan/model\.joblib cannot be loaded: "):
            registry_of(configured(tmp_path, fan=entry)).get()

    def test_a_repaired_artifact_is_loaded_without_a_restart(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        path = tmp_path / "fan/model.joblib"
        right = path.read_bytes()
        path.write_bytes(right[:-1])
        registry = registry_of(configured(tmp_path, fan=entry))
        with pytest.raises(ModelArtifactError, match="its sha256 is"):
            registry.get()
        path.write_bytes(right)
        assert verdict(registry.get()) == "faulty"


class TestLoading:
    """Models are loaded lazily and once, and MODEL_CACHE_MB limits their memory."""

    def test_a_model_is_loaded_at_its_first_use(self, tmp_path: Path) -> None:
        entries = {name: saved_classifier(tmp_path, name) for name in ("fan", "pump")}
        store = Watched()
        registry = registry_of(configured(tmp_path, **entries), store)
        assert loaded(registry) == store.fetched == []
        first = registry.get("pump")
        assert registry.get("pump") is first
        assert [Path(path).parent.name for path in store.fetched] == ["pump", "pump"]
        assert loaded(registry) == ["pump"]

    def test_classes_and_threshold_are_known_once_loaded(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan", normal_label="normal")
        registry = registry_of(configured(tmp_path, fan=entry))
        [before] = registry.describe().models
        assert (before.classes, before.threshold) == (None, None)
        registry.get()
        [after] = registry.describe().models
        assert (after.classes, after.threshold) == (["faulty", "normal"], 0.5)

    def test_an_unknown_model_lists_the_known_models(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        registry = registry_of(configured(tmp_path, pump=entry, fan=entry))
        with pytest.raises(
            UnknownModelError, match="no model is called 'x'; known models: fan, pump"
        ):
            registry.get("x")

    def test_sixteen_threads_load_each_model_once(self, tmp_path: Path) -> None:
        names = [f"fan{number}" for number in range(4)]
        entries = {name: saved_classifier(tmp_path, name) for name in names}
        store = Watched()
        registry = registry_of(configured(tmp_path, **entries), store, models_refresh_s=60)
        together = threading.Barrier(16)

        def get(number: int) -> Model:
            together.wait()
            return registry.get(names[number % 4])

        with ThreadPoolExecutor(16) as pool:
            models = list(pool.map(get, range(16)))
        assert sorted({Path(path).parent.name for path in store.fetched}) == names
        assert len(store.fetched) == 2 * 4
        assert len({id(model) for model in models}) == 4
        assert store.looks == 1

    def test_the_least_recently_used_model_is_evicted_first(self, tmp_path: Path) -> None:
        names = ("a", "b", "c")
        config = configured(tmp_path, **{name: saved_classifier(tmp_path, name) for name in names})
        one_mb = registry_of(config).get("a").size_bytes / 1e6
        store = Watched()
        registry = registry_of(config, store, model_cache_mb=2.5 * one_mb)
        for name in ("a", "b", "a", "c"):
            registry.get(name)
        assert loaded(registry) == ["a", "c"]
        assert len(store.fetched) == 2 * 3
        registry.get("b")
        assert loaded(registry) == ["b", "c"]
        assert len(store.fetched) == 2 * 4

    def test_a_model_over_the_cache_limit_is_the_only_loaded_one(self, tmp_path: Path) -> None:
        names = ("a", "b")
        config = configured(tmp_path, **{name: saved_classifier(tmp_path, name) for name in names})
        registry = registry_of(config, model_cache_mb=1e-6)
        assert verdict(registry.get("a")) == verdict(registry.get("b")) == "faulty"
        assert loaded(registry) == ["b"]
        assert registry.get("b") is registry.get("b")
