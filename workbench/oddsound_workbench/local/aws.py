"""AWS in memory (moto's server): its account, and clients for it."""

import logging
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from oddsound_workbench.deploy.events import INPUT_BUCKET, REGION, RESULTS_BUCKET
from oddsound_workbench.local import partitions, step_functions
from oddsound_workbench.local.function_process import sigint_blocked
from oddsound_workbench.local.kept_objects import KeptObjects

START_TIMEOUT_S = 60
_spawn = multiprocessing.get_context("spawn")

STACK = "audio-anomaly-dev"
"""Name of the stack. With `REGION`, it gives the resources the names in the sample events."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
"""Environment variables for clients of moto's server, which accepts any key."""


@contextmanager
def moto_server(host: str = "127.0.0.1") -> Iterator[str]:
    """Run moto's server on a free port of `host`; yields its URL."""
    with moto_servers([host]) as (url,):
        yield url


@contextmanager
def moto_servers(
    hosts: list[str], kept: Path | None = None, invocations_url: str | None = None
) -> Iterator[list[str]]:
    """Run one AWS in memory that listens on a free port of each host; yields the URLs.

    kept : file in which recordings and results are kept; None to keep nothing after the end
    invocations_url : of the server that runs functions, for state machines; None to execute none

    It runs in a separate process, because moto keeps its state once per process: two stacks in
    one process would share buckets of the same name.

    Raises RuntimeError if the server does not start.
    """
    ours, theirs = _spawn.Pipe()
    arguments = (hosts, theirs, kept, invocations_url)
    process = _spawn.Process(target=_serve_moto, args=arguments, daemon=True)
    with sigint_blocked():
        process.start()
    theirs.close()
    try:
        if not ours.poll(START_TIMEOUT_S):
            raise RuntimeError(f"moto's server did not start within {START_TIMEOUT_S} s")
        try:
            urls = ours.recv()
        except EOFError:
            raise RuntimeError("moto's server did not start; the reason is printed above") from None
        yield urls
    finally:
        ours.close()
        process.terminate()
        process.join(timeout=10)


def _serve_moto(
    hosts: list[str], pipe: Connection, kept: Path | None, invocations_url: str | None
) -> None:
    """Runs in the server's process until the other end of the pipe closes."""
    from moto.server import ThreadedMotoServer

    partitions.attach()
    if kept is not None:
        KeptObjects(kept, {INPUT_BUCKET, RESULTS_BUCKET}).attach()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs every request
    servers = [ThreadedMotoServer(host, port=0, verbose=False) for host in hosts]
    for server in servers:
        server.start()
    if invocations_url is not None:
        step_functions.attach(servers[0].get_host_and_port()[1], invocations_url)
    pipe.send(
        [f"http://{h}:{s.get_host_and_port()[1]}" for h, s in zip(hosts, servers, strict=True)]
    )
    with suppress(EOFError):
        pipe.recv()


def aws_client(service: str, endpoint_url: str) -> Any:
    """A boto3 client for the AWS at `endpoint_url`."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 3}, max_pool_connections=32),
    )
