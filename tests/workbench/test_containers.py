"""The address that containers reach, found with a fake `docker` command."""

import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oddsound_workbench.files import SAMCONFIG
from oddsound_workbench.local import containers, invoke
from oddsound_workbench.local.containers import ContainerError, host_address
from tests.fake_docker import install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only 127.0.0.1")
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ([{"Subnet": "127.30.0.0/16", "Gateway": "127.30.0.7"}], "127.30.0.7"),
        ([{"Subnet": "127.30.0.0/16", "Gateway": "127.30.0.7/16"}], "127.30.0.7"),
        ([{"Subnet": "127.30.0.0/16", "Gateway": ""}], "127.30.0.1"),
        ([{"Subnet": "127.30.0.0/16"}], "127.30.0.1"),
        ([{"Subnet": "fd00:30::/64"}, {"Subnet": "127.30.0.0/16"}], "127.30.0.1"),
        ([{"Gateway": ""}], "127.0.0.1"),
        ([], "127.0.0.1"),
        (None, "127.0.0.1"),
    ],
    ids=[
        "gateway",
        "gateway with prefix",
        "empty gateway",
        "only a subnet",
        "IPv6 first",
        "nothing usable",
        "no configuration",
        "null",
    ],
)
def test_the_address_of_the_bridge(folder: Path, config: Any, expected: str) -> None:
    install(folder, config)
    assert host_address() == expected
    with socket.create_server((host_address(), 0)) as server:
        assert server.getsockname()[0] == expected


def test_a_bridge_inside_a_virtual_machine_is_reached_through_127_0_0_1(folder: Path) -> None:
    """203.0.113.0/24 is reserved for documentation, so it is no address of this machine."""
    install(folder, [{"Subnet": "203.0.113.0/24", "Gateway": "203.0.113.1"}])
    assert host_address() == "127.0.0.1"


def test_the_bridge_is_inspected(folder: Path) -> None:
    install(folder, [{"Gateway": "127.30.0.7"}])
    host_address()
    arguments = (folder / "arguments").read_text().split()
    assert arguments[:3] == ["network", "inspect", "bridge"]


def test_without_docker_the_error_is_one_sentence(folder: Path) -> None:
    with pytest.raises(ContainerError) as caught:
        host_address()
    assert str(caught.value) == (
        "the command docker cannot be run (No such file or directory); install Docker and start"
        " its engine"
    )


def test_without_an_engine_the_error_contains_its_reason(folder: Path) -> None:
    install(folder, None, error="Cannot connect to the Docker daemon.\nIs it running?")
    with pytest.raises(
        ContainerError,
        match=r"^no Docker engine answers: Cannot connect to the Docker daemon\. Is it running\?$",
    ):
        host_address()


def test_make_invoke_ends_with_the_sentence(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"^the command docker cannot be run"):
        invoke.invoke_all("x86_64")


def test_the_url_names_the_host_that_sam_adds() -> None:
    assert containers.endpoint_url(4566) == "http://host.docker.internal:4566"
    assert containers.ADD_HOST == "host.docker.internal:host-gateway"
    samconfig = tomllib.loads(SAMCONFIG.read_text())
    assert samconfig["default"]["local_invoke"]["parameters"]["add_host"] == containers.ADD_HOST
