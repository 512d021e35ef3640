"""SnapStart's hooks, called as on Lambda: before the snapshot and after each restore."""

import json
import logging
import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from oddsound import pipeline, runtime, snapshot
from oddsound.errors import UnknownModelError
from tests.cloud import MODELS, NORMAL, Cloud

pytestmark = pytest.mark.slow

type Hooks = dict[str, list[Callable[[], None]]]


@pytest.fixture
def hooks(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """The hooks that a process registers with Lambda's runtime before its snapshot."""
    found: Hooks = {"before": [], "after": []}
    of_lambda = SimpleNamespace(
        register_before_snapshot=found["before"].append,
        register_after_restore=found["after"].append,
    )
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", of_lambda)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    runtime.settings.cache_clear()
    snapshot.register()
    return found


def run(hooks: list[Callable[[], None]]) -> None:
    for hook in hooks:
        hook()


def loaded() -> list[str]:
    return [info.name for info in runtime.registry().describe().models if info.loaded]


def clients() -> int:
    """The number of AWS clients and sessions, and of objects that hold a client."""
    made = (
        *(runtime.s3_client, runtime.sns_client, runtime.session),
        *(runtime.results, runtime.jobs),
    )
    return sum(function.cache_info().currsize for function in made)


def test_the_snapshot_has_the_default_model_and_no_client(hooks: Hooks) -> None:
    runtime.jobs()
    runtime.sns_client()
    assert clients() == 5
    run(hooks["before"])
    assert clients() == 0
    assert loaded() == ["fan"]


def test_a_restored_process_predicts_with_the_model_of_the_snapshot(hooks: Hooks) -> None:
    run(hooks["before"])
    run(hooks["after"])
    read: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        read.append(params["url_path"])

    runtime.s3_client().meta.events.register("before-call.s3.GetObject", note)
    model = runtime.registry().get()
    assert pipeline.predict(NORMAL, model, runtime.limits()).prediction == "normal"
    assert read == ["/models.json"]


def test_a_restored_process_checks_models_json_immediately(hooks: Hooks, cloud: Cloud) -> None:
    run(hooks["before"])
    assert runtime.settings().models_refresh_s == 30
    stored = cloud.s3.get_object(Bucket=MODELS, Key="models.json")["Body"].read()
    other = {"other": json.loads(stored)["bearing"]}
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=json.dumps(other).encode())
    assert runtime.registry().catalogue.entry("fan")[0] == "fan"  # the next check is not due yet
    run(hooks["after"])
    with pytest.raises(UnknownModelError, match="known models: other"):
        runtime.registry().get("fan")


def test_a_restored_process_keeps_its_model_if_models_json_was_deleted(
    hooks: Hooks, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    run(hooks["before"])
    cloud.s3.delete_object(Bucket=MODELS, Key="models.json")
    run(hooks["after"])
    assert runtime.registry().get().name == "fan"
    assert "the previous one stays" in caplog.text


def test_two_restores_of_one_snapshot_draw_different_random_numbers(hooks: Hooks) -> None:
    run(hooks["before"])
    image = random.getstate()
    drawn = []
    for _ in range(2):
        random.setstate(image)
        run(hooks["after"])
        drawn.append(random.random())
    assert drawn[0] != drawn[1]


def test_a_version_can_be_published_before_its_models_exist(
    hooks: Hooks, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    for stored in cloud.s3.list_objects_v2(Bucket=MODELS)["Contents"]:
        cloud.s3.delete_object(Bucket=MODELS, Key=stored["Key"])
    run(hooks["before"])
    assert clients() == 0
    assert "the snapshot contains no model: ModelsConfigError: models.json cannot be" in caplog.text
    run(hooks["after"])


@pytest.mark.parametrize("kind", ["on-demand", "provisioned-concurrency", ""])
def test_without_snapstart_no_hooks_are_registered(
    hooks: Hooks, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    runtime.settings.cache_clear()
    snapshot.register()
    assert [len(found) for found in hooks.values()] == [1, 1]  # those of the fixture


def test_without_the_package_of_lambdas_runtime_there_is_a_warning(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    with caplog.at_level(logging.WARNING):
        snapshot.register()
    assert "the snapshot is taken without preparation" in caplog.text
