"""The images, where a Docker engine has them; `make images` builds them."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import oddsound
from oddsound_workbench.files import EVENTS, MODELS, PROJECT
from tests.workbench.command import run

IMAGE, LAMBDA_IMAGE = "oddsound", "oddsound-lambda"
READ_ONLY = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
HARDENED = [*READ_ONLY, "--security-opt", "no-new-privileges:true"]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Any:
    if shutil.which("docker") is None:
        pytest.skip("there is no command docker")
    found = subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        pytest.skip("no Docker engine has the image oddsound; `make images` builds it")
    inside = docker("run", "--rm", *HARDENED, IMAGE, "models", "--json")
    if json.loads(inside) != json.loads(run("models", "--json").stdout):
        pytest.skip("the image oddsound was built with other models; `make images` builds it again")
    return json.loads(found.stdout)[0]


@pytest.fixture(scope="module")
def service(image: Any) -> Iterator[tuple[str, str]]:
    """A running container and the URL of its service."""
    container = docker("run", "--detach", *HARDENED, "--publish", "127.0.0.1::8000", IMAGE)
    try:
        yield container, f"http://{docker('port', container, '8000').splitlines()[0]}"
    finally:
        docker("rm", "--force", "--volumes", container)


def test_a_recording_is_scored(service: tuple[str, str], wavs: dict[str, Path]) -> None:
    container, url = service
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = httpx2.post(
                f"{url}/predict-anomaly",
                files={"file": wavs["anomaly"].read_bytes()},
                data={"machine": "hall-3/pump-07"},
                timeout=60,
            )
            break
        except httpx2.TransportError:
            assert time.monotonic() < deadline, docker("logs", container)
            time.sleep(0.2)
    expected = oddsound.predict(wavs["anomaly"], oddsound.load_model(models=MODELS))
    assert answer.json()["anomaly_score"] == pytest.approx(expected.anomaly_score, abs=1e-6)
    machines = httpx2.get(f"{url}/machines", timeout=60).json()["machines"]
    assert [machine["id"] for machine in machines] == ["hall-3/pump-07"]
    assert httpx2.get(f"{url}/ui", timeout=60).status_code == 200


def test_the_process_is_not_root_and_writes_to_its_volume_only(service: tuple[str, str]) -> None:
    container, _ = service
    assert docker("exec", container, "id", "--user") == "10001"
    script = (
        "for f in /x /app/x /opt/x /models; do touch $f 2>/dev/null && echo $f; done; touch /data/x"
    )
    assert docker("exec", container, "sh", "-c", script) == ""
    tools = "for tool in gcc cc make g++; do command -v $tool; done; true"
    assert docker("exec", container, "sh", "-c", tools) == ""


def test_the_image_is_configured_as_the_file_says(image: Any) -> None:
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert "serve" in config["Cmd"]
    assert (PROJECT / "Dockerfile").exists()


RIE = "/usr/local/bin/aws-lambda-rie"
"""Lambda's emulator, which AWS's base image has."""


@pytest.fixture(scope="module")
def lambda_url() -> Iterator[str]:
    """Where the emulator in a container of the image for Lambda takes events."""
    inspected = ["docker", "image", "inspect", LAMBDA_IMAGE]
    if (
        shutil.which("docker") is None
        or subprocess.run(inspected, capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker engine has the image oddsound-lambda; `make images` builds it")
    options = ["--volume", f"{MODELS.parent}:/models:ro", "--read-only", "--tmpfs", "/tmp"]
    options += ["--env", "MODELS_CONFIG_PATH=/models/models.json"]
    listed = ["docker", "run", "--rm", "--entrypoint", "ls", LAMBDA_IMAGE, RIE]
    if subprocess.run(listed, capture_output=True, check=False).returncode:
        # A stand-in for AWS's image has none; sam's is the same.
        found = list(PROJECT.glob(".venv-sam/lib/*/site-packages/samcli/**/aws-lambda-rie-x86_64"))
        if not found:
            pytest.skip("the base image has no emulator of Lambda, and there is no .venv-sam")
        options += ["--volume", f"{found[0]}:{RIE}:ro"]
    container = docker("run", "--detach", *options, "--publish", "127.0.0.1::8080", LAMBDA_IMAGE)
    try:
        port = docker("port", container, "8080").splitlines()[0].rpartition(":")[2]
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    finally:
        docker("rm", "--force", container)


def test_the_image_for_lambda_answers_an_event_of_api_gateway(lambda_url: str) -> None:
    event = (EVENTS / "api_predict.json").read_bytes()
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = httpx2.post(lambda_url, content=event, timeout=60).json()
            break
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["model_name"] == "fan"
