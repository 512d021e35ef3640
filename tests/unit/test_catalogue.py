"""models.json while the service runs: changed, invalid, on S3."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oddsound import runtime
from oddsound.errors import ModelArtifactError, ModelsConfigError, StorageError, UnknownModelError
from oddsound.registry import Registry
from oddsound.settings import Settings
from tests.making import (
    Watched,
    classifier,
    configured,
    saved,
    saved_classifier,
)
from tests.unit.test_artifacts import slow_down
from tests.unit.test_registry import loaded, registry_of, verdict


def swap(entry: dict[str, Any], one: str, other: str, within: str | None = None) -> None:
    """Exchange two paths; with `within`, also the values of these keys there."""
    entry[one], entry[other] = entry[other], entry[one]
    if within is not None:
        entry[within][one], entry[within][other] = entry[within][other], entry[within][one]


class TestRefresh:
    """A new models.json is used without a restart; an invalid one is ignored."""

    def test_a_new_model_is_available(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        registry = registry_of(configured(tmp_path, fan=entry))
        kept = registry.get("fan")
        configured(tmp_path, fan=entry, pump=saved_classifier(tmp_path, "pump"))
        assert registry.get("pump").name == "pump"
        assert registry.get("fan") is kept
        configured(tmp_path, pump=entry)
        with pytest.raises(UnknownModelError, match="known models: pump"):
            registry.get("fan")

    def test_a_changed_entry_replaces_the_loaded_model(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan", version="1")
        registry = registry_of(configured(tmp_path, fan=entry))
        first = registry.get()
        scaler, model = classifier(labels=["sound"] * 6 + ["pitted"] * 6)
        entry = {**saved(tmp_path, "fan", model=model, scaler=scaler), "version": "2"}
        configured(tmp_path, fan=entry)
        # It is loaded before models.json is taken.
        assert loaded(registry) == ["fan"]
        second = registry.get()
        assert (verdict(first), verdict(second)) == ("faulty", "pitted")
        assert second.version == "2"
        assert loaded(registry) == ["fan"]

    def test_models_json_is_checked_only_after_models_refresh_s(self, tmp_path: Path) -> None:
        entry = saved_classifier(tmp_path, "fan")
        store = Watched()
        registry = registry_of(configured(tmp_path, fan=entry), store, models_refresh_s=3600)
        for _ in range(5):
            registry.get()
        configured(tmp_path, pump=entry)
        assert [info.name for info in registry.describe().models] == ["fan"]
        assert store.looks == 1

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "is not JSON"),
            ('{"fan": {"model_path": 1}}', "fan.model_path: Input should be a valid string"),
            (None, "models.json cannot be read"),
        ],
        ids=["not JSON", "faulty entry", "gone"],
    )
    def test_the_previous_models_json_is_used_if_the_new_one_is_invalid(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None, words: str
    ) -> None:
        entry = saved_classifier(tmp_path, "fan")
        config = configured(tmp_path, fan=entry)
        registry = registry_of(config)
        kept = registry.get()
        config.unlink()
        if text is not None:
            config.write_text(text)
        assert registry.get() is kept
        found = registry.describe()
        assert [info.name for info in found.models] == ["fan"]
        assert words in (found.config_error or "")
        assert "the new models.json is not used, the previous one stays" in caplog.text
        configured(tmp_path, fan=entry, pump=entry)
        found = registry.describe()
        assert [info.name for info in found.models] == ["fan", "pump"]
        assert found.config_error is None

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda e, f: e["sha256"].update(model_path="0" * 64), "its sha256 is"),
            (lambda e, f: e["sha256"].pop("model_path"), "has no sha256 in models.json"),
            (lambda e, f: e["sha256"].update(model_path="x"), "String should match pattern"),
            (lambda e, f: e.update(model_path="new/model.jobl1b"), "No such file"),
            (lambda e, f: e.update(scaler_path=None), "the entry has no such path"),
            (lambda e, f: swap(e, "model_path", "scaler_path"), "its sha256 is"),
            (lambda e, f: swap(e, "model_path", "scaler_path", "sha256"), "cannot scale 240 feat"),
            (lambda e, f: (f / "new/scaler.joblib").unlink(), "No such file"),
            (lambda e, f: (f / "new/model.joblib").write_bytes(b"half"), "its sha256 is"),
            (lambda e, f: e.update(predictor="sklearn_probab"), "no predictor is called"),
            (lambda e, f: e.update(feature_extractor="defualt"), "no feature_extractor is called"),
            (lambda e, f: e.update(sample_rate=8000), "was trained on 240 features"),
            (lambda e, f: e.update(window_s=0.01), "at least one analysis frame"),
            (lambda e, f: e.update(normal_label="ok"), "normal_label 'ok' is not a class"),
            (lambda e, f: e.update(predictor="sklearn_outlier"), "requires `calibration`"),
            (lambda e, f: e.update(compiled_path="new/model.joblib"), "has no sha256"),
            (lambda e, f: e.update(calibration={"shpe": 1}), "unknown keys shpe"),
        ],
    )
    def test_a_models_json_is_taken_only_if_its_changed_models_load(
        self, tmp_path: Path, change: Any, words: str
    ) -> None:
        old = saved_classifier(tmp_path, "fan", version="1")
        registry = registry_of(configured(tmp_path, fan=old))
        kept = registry.get()
        new = saved_classifier(tmp_path, "new", version="2")
        right = json.loads(json.dumps(new))
        change(new, tmp_path)
        configured(tmp_path, fan=new, pump=old)
        assert registry.get() is kept
        found = registry.describe()
        assert [info.name for info in found.models] == ["fan"]
        assert words in (found.config_error or "")
        # The artifacts are repaired: the same models.json, or a corrected one, is taken.
        saved_classifier(tmp_path, "new")
        configured(tmp_path, fan=right, pump=old)
        assert registry.get().version == "2"
        assert registry.get("pump").version == "1"
        assert registry.describe().config_error is None

    def test_the_same_models_json_is_taken_when_its_artifact_arrives(self, tmp_path: Path) -> None:
        registry = registry_of(configured(tmp_path, fan=saved_classifier(tmp_path, "fan")))
        kept = registry.get()
        new = saved_classifier(tmp_path, "new", version="2")
        late = (tmp_path / "new/model.joblib").rename(tmp_path / "late")
        configured(tmp_path, fan=new)
        assert registry.get() is kept
        late.rename(tmp_path / "new/model.joblib")
        assert registry.get().version == "2"

    def test_a_model_that_nobody_uses_is_checked_but_not_kept_in_memory(
        self, tmp_path: Path
    ) -> None:
        entry = saved_classifier(tmp_path, "fan")
        registry = registry_of(configured(tmp_path, fan=entry))
        registry.get("fan")
        configured(tmp_path, fan=entry, pump=saved_classifier(tmp_path, "pump"))
        assert loaded(registry) == ["fan"]

    def test_a_service_that_starts_with_an_invalid_models_json_recovers(
        self, tmp_path: Path
    ) -> None:
        config = configured(tmp_path)
        registry = registry_of(config, models_refresh_s=3600)
        for call in (registry.get, registry.describe):
            with pytest.raises(ModelsConfigError, match="must be an object with an entry"):
                call()
        configured(tmp_path, fan=saved_classifier(tmp_path, "fan"))
        assert verdict(registry.get()) == "faulty"

    def test_a_slow_check_does_not_block_other_calls(self, tmp_path: Path) -> None:
        checking, proceed = threading.Event(), threading.Event()

        class Slow(Watched):
            def read_if_changed(self, location: str, tag: str | None) -> Any:
                if tag is not None:
                    checking.set()
                    assert proceed.wait(10)
                return super().read_if_changed(location, tag)

        registry = registry_of(configured(tmp_path, fan=saved_classifier(tmp_path, "fan")), Slow())
        model = registry.get()
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(registry.get)
            assert checking.wait(10)
            assert registry.get() is model
            assert not slow.done()
            proceed.set()
            assert slow.result(10) is model


class TestS3:
    """models.json and its artifacts in a bucket."""

    @pytest.fixture
    def store(self, s3: Any, tmp_path: Path) -> Watched:
        return Watched(s3, tmp_path / "cache")

    @pytest.fixture
    def local(self, tmp_path: Path) -> Path:
        return tmp_path / "local"

    def push(self, s3: Any, local: Path, **entries: dict[str, Any]) -> None:
        configured(local, **entries)
        for path in local.rglob("*.*"):
            key = f"live/{path.relative_to(local)}"
            s3.put_object(Bucket="models", Key=key, Body=path.read_bytes())

    URL = "s3://models/live/models.json"

    def test_models_from_a_bucket(self, s3: Any, local: Path, store: Watched) -> None:
        self.push(s3, local, fan=saved_classifier(local, "fan"))
        registry = registry_of(self.URL, store)
        assert verdict(registry.get()) == "faulty"
        assert store.fetched[0] == "s3://models/live/fan/model.joblib"
        # The next process needs only models.json.
        s3.delete_object(Bucket="models", Key="live/fan/model.joblib")
        assert verdict(registry_of(self.URL, store).get()) == "faulty"

    def test_the_runtime_reads_from_s3(
        self, s3: Any, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.push(s3, local, fan=saved_classifier(local, "fan"))
        monkeypatch.setenv("MODELS_CONFIG_PATH", self.URL)
        assert verdict(runtime.registry().get()) == "faulty"
        kept = {path.name for path in runtime.settings().model_cache_dir.iterdir()}
        assert len(kept) == 2

    def test_a_new_model_is_available(self, s3: Any, local: Path, store: Watched) -> None:
        entry = saved_classifier(local, "fan")
        self.push(s3, local, fan=entry)
        registry = registry_of(self.URL, store)
        first = registry.get()
        assert registry.get() is first
        self.push(s3, local, fan=entry, pump=saved_classifier(local, "pump"))
        assert registry.get("pump").name == "pump"
        assert registry.get() is first

    def test_bytes_with_a_wrong_checksum_are_rejected(
        self, s3: Any, local: Path, store: Watched
    ) -> None:
        self.push(s3, local, fan=saved_classifier(local, "fan"))
        s3.put_object(Bucket="models", Key="live/fan/scaler.joblib", Body=b"another")
        with pytest.raises(ModelArtifactError, match=r"s3://models/live/fan/scaler\.joblib is not"):
            registry_of(self.URL, store).get()

    def test_a_missing_bucket_or_models_json(self, store: Watched) -> None:
        missing = {"s3://models/gone.json": "object", "s3://no-such-bucket/models.json": "bucket"}
        for url, what in missing.items():
            with pytest.raises(ModelsConfigError, match=f"cannot be read: {url}: no such {what}"):
                registry_of(url, store).get()

    def test_the_loaded_models_are_used_while_s3_throttles(
        self, s3: Any, local: Path, store: Watched
    ) -> None:
        self.push(s3, local, fan=saved_classifier(local, "fan"))
        registry = registry_of(self.URL, store)
        s3.meta.events.register_first("before-send.s3.GetObject", slow_down)
        with pytest.raises(StorageError, match="SlowDown"):
            registry.get()
        s3.meta.events.unregister("before-send.s3.GetObject", slow_down)
        model = registry.get()
        s3.meta.events.register_first("before-send.s3.GetObject", slow_down)
        assert registry.get() is model
        assert "SlowDown" in (registry.describe().config_error or "")
        s3.meta.events.unregister("before-send.s3.GetObject", slow_down)
        assert registry.describe().config_error is None

    def test_the_single_model_can_be_on_s3(self, s3: Any, local: Path, store: Watched) -> None:
        self.push(s3, local, fan=saved_classifier(local, "fan"))
        settings = Settings(
            model_path="s3://models/live/fan/model.joblib",
            scaler_path="s3://models/live/fan/scaler.joblib",
            allow_unverified_models=True,
        )
        assert verdict(Registry(settings, store).get()) == "faulty"
