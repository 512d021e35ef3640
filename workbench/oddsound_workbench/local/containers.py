"""How a Docker container reaches a server that runs on this machine."""

import ipaddress
import json
import socket
import subprocess
from typing import Any

from oddsound_workbench.errors import WorkbenchError

HOST_NAME = "host.docker.internal"
"""Name of this machine inside a container that was started with `--add-host ADD_HOST`."""

ADD_HOST = f"{HOST_NAME}:host-gateway"

INSPECT_BRIDGE = ("docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}")


class ContainerError(WorkbenchError):
    """There is no Docker engine that answers; the text says what is wrong."""


def host_address() -> str:
    """The address to listen on, so that containers reach a server through `host-gateway`.

    This is the address of the engine's default bridge, which only containers can reach. If the
    engine runs in a virtual machine (Docker Desktop), the bridge is not on this machine and
    `host-gateway` leads to 127.0.0.1.

    Raises ContainerError if Docker is not installed or its engine does not answer.
    """
    try:
        done = subprocess.run(INSPECT_BRIDGE, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ContainerError(
            f"the command docker cannot be run ({error.strerror}); install Docker and start its"
            " engine"
        ) from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"docker exited with {done.returncode}"
        raise ContainerError(f"no Docker engine answers: {reason}")
    found = _bridge_addresses(json.loads(done.stdout or "null") or [])
    return next(filter(_is_local, found), "127.0.0.1")


def endpoint_url(port: int | None) -> str:
    """The URL of a server on this machine, as containers reach it."""
    return f"http://{HOST_NAME}:{port}"


def _bridge_addresses(config: list[dict[str, Any]]) -> list[str]:
    """IPv4 addresses that the bridge may have on this machine, the most likely first.

    An engine that has just created its bridge reports the subnet without a gateway, or with an
    empty one, until it is restarted. The bridge then has the first address of the subnet.
    """
    subnets = [part["Subnet"] for part in config if part.get("Subnet")]
    networks = [ipaddress.ip_network(subnet, strict=False) for subnet in subnets]
    gateways = [part["Gateway"].partition("/")[0] for part in config if part.get("Gateway")]
    first = [str(network.network_address + 1) for network in networks]
    return [address for address in (*gateways, *first) if ":" not in address]


def _is_local(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
