"""A service whose AWS is moto's server behind a proxy that breaks requests."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from botocore.retries.standard import ExponentialBackoff
from moto.server import ThreadedMotoServer

from oddsound import runtime
from oddsound.schemas import Job, JobResult
from oddsound_workbench.local.aws import CREDENTIALS
from tests.cloud import ENVIRONMENT, REGION, Cloud, set_up
from tests.faults import proxy as proxies
from tests.faults.proxy import Proxy


@dataclass
class Broken:
    """The service behind the proxy. cloud : what really is on S3, SQS and SNS."""

    proxy: Proxy
    cloud: Cloud

    def process(self, job: Job) -> JobResult:
        return runtime.jobs().process(job)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The URL of moto's server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)


@pytest.fixture
def broken(
    moto: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Broken]:
    """A service that nothing is wrong with yet. After each test, /tmp must be empty."""
    requests.post(f"{moto}/moto-api/reset", timeout=30)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp))
    environment = ENVIRONMENT | CREDENTIALS | {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")  # as in a deployed function
    cloud = set_up(trained, endpoint_url=moto)
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", cloud.topic_arn)
    with proxies.running(moto) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        runtime.clear()
        yield Broken(proxy, cloud)
        runtime.disconnect()
    runtime.clear()
    assert list(tmp.iterdir()) == []
