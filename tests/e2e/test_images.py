"""The image for servers, where a Docker engine has it; `make images` builds it."""

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
from oddsound_workbench.files import MODELS, PROJECT
from tests.workbench.command import run

IMAGE = "oddsound"
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
