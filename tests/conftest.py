"""Fixtures for recordings and models; every test starts with an empty runtime."""

import fcntl
import io
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import numpy as np
import pytest
from botocore.config import Config
from moto import mock_aws

from oddsound import runtime
from oddsound.descriptors import Array
from oddsound.settings import Settings
from oddsound_workbench.local.isolation import isolation_refused
from oddsound_workbench.synthesis import write_fan
from tests.cloud import cloud, lines  # noqa: F401

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_report_header() -> str:
    """Whether the tests in Lambda's runtime can use Lambda's paths on this machine."""
    refused = isolation_refused()
    if refused is None:
        return "emulator: functions have their own root, with Lambda's paths"
    return f"emulator: functions run without isolation; namespaces are not allowed: {refused}"


_cold_starts = itertools.count()


@pytest.fixture(autouse=True)
def cold_start(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Remove the developer's settings and the state of the previous test."""
    if "cloud" not in request.fixturenames:
        # The triggers' logger, once imported, would write to the output that other tests read.
        for handler in logging.getLogger("oddsound").handlers:
            monkeypatch.setattr(handler, "stream", io.StringIO(), raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    # A folder that only the tests that load models make: to make one takes a fifth of a small test.
    cache = tmp_path_factory.getbasetemp() / f"model-cache-{next(_cold_starts)}"
    monkeypatch.setenv("MODEL_CACHE_DIR", str(cache))
    runtime.clear()
    yield
    runtime.clear()
    for name in Settings.model_fields:
        # Set by a command that ran in this process; the fixture of a module would inherit it.
        os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The ESC-10 and MIMII recordings; skips the test if they are not on this machine."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real recordings are not on this machine")
    return REAL_DATA


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary cache of features instead of the developer's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def botocore_data() -> Iterator[None]:
    """Parse botocore's data files once: each test has its own session, which would parse them."""
    loader, get_session = botocore.loaders.create_loader(), botocore.session.get_session

    def with_loader(*args: Any, **kwargs: Any) -> botocore.session.Session:
        session = get_session(*args, **kwargs)
        session.register_component("data_loader", loader)
        return session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "get_session", with_loader)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder of this test run, filled by `make` in the first of its processes that asks."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with (base.parent / "made-once.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 recordings of a normal fan in `normal`, 8 with a bearing fault in `faulty`."""

    def make(folder: Path) -> None:
        for seed in range(24):
            write_fan(folder / "normal" / f"{seed:02}.wav", seed, faulty=False, duration_s=2)
        for seed in range(8):
            write_fan(folder / "faulty" / f"{seed:02}.wav", 100 + seed, faulty=True, duration_s=2)

    return made_once(tmp_path_factory, "recordings", make)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    """A models.json with a trained detector `fan` and a trained classifier `bearing`."""
    # The first process of a run, which only distributes the tests, need not wait for scikit-learn.
    from oddsound_workbench import training

    normal, faulty = recordings / "normal", recordings / "faulty"

    def make(folder: Path) -> None:
        models = folder / "models.json"
        training.train(training.Plan(normal, "fan", models, anomalies=faulty, description="A fan."))
        training.train(training.Plan(recordings, "bearing", models, copies=0))

    return made_once(tmp_path_factory, "models", make) / "models.json"


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing, for tests of trainings that do not look at the report."""
    from oddsound_workbench.report import plots

    monkeypatch.setattr(plots, "png", lambda *_: b"")
    monkeypatch.setattr(plots, "svg", lambda *_: "<svg/>")


@pytest.fixture
def configured(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a service with the two trained models."""
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(trained))
    return trained


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of moto's S3 without retries; there is a bucket `models`."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.Session().client("s3", config=Config(retries={"total_max_attempts": 1}))
        client.create_bucket(Bucket="models")
        yield client


def sine(hz: float, seconds: float = 1.0, rate: int = 16000) -> Array:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def noise(seed: int, seconds: float = 1.0, rate: int = 16000) -> Array:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def click(seconds: float = 1.0, rate: int = 16000) -> Array:
    waveform = np.zeros(round(seconds * rate), dtype=np.float32)
    waveform[len(waveform) // 2] = 1
    return waveform
