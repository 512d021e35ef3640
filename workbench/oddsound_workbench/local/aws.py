"""AWS in memory (moto's server): its account, and clients for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from oddsound_workbench.deploy.events import REGION

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
    """Start moto's server on a free port of `host`; yields its URL and stops it at the end.

    All servers of one process share their buckets, queues and topics. Raises OSError if `host`
    is not an address of this machine.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs every request
    server = ThreadedMotoServer(host, port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


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
