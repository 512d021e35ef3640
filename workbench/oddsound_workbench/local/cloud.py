"""The whole stack on this machine: moto's server, the template's resources, the real handlers.

Nothing leaves the machine and no account is needed. Differences to AWS: retries come after
seconds instead of minutes, each function runs one event at a time, and nothing is persisted.
"""

import json
import logging
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from oddsound_workbench.deploy import template
from oddsound_workbench.deploy.push import push
from oddsound_workbench.deploy.template import Function
from oddsound_workbench.local.function_process import FunctionProcess, deaf_to_ctrl_c
from oddsound_workbench.local.poller import NotificationPump, QueuePump

REGION = "eu-central-1"
API_MODULE = "functions.api.app"
NOTIFICATIONS_QUEUE = "local-s3-notifications"
VISIBILITY_TIMEOUT_S = 10
"""Instead of the template's minutes, so that a failed message is seen again while one waits."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}

logger = logging.getLogger("oddsound.local_cloud")


@dataclass(frozen=True)
class LocalCloud:
    """What runs, and how to reach it.

    names : physical name (of a queue, the URL) of every resource of the template
    """

    api_url: str
    endpoint_url: str
    input_bucket: str
    results_bucket: str
    jobs_queue_url: str
    names: dict[str, str]

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud."""
        return aws_client(service, self.endpoint_url)


@contextmanager
def running(
    template_path: Path,
    models: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    visibility_timeout_s: int = VISIBILITY_TIMEOUT_S,
    default_model: str | None = None,
) -> Iterator[LocalCloud]:
    """Start everything; stop it all at the end, whatever happened.

    port : of the HTTP API; 0 takes a free one
    default_model : instead of the template's
    Raises OSError where the port is taken.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port)))
        endpoint = stack.enter_context(moto_server())
        common = CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}
        functions, names = template.create(template_path, aws_client("cloudformation", endpoint))
        if default_model is not None:
            for function in functions:
                function.environment["DEFAULT_MODEL_NAME"] = default_model
        s3, sqs = aws_client("s3", endpoint), aws_client("sqs", endpoint)
        target = next(f.environment["MODELS_CONFIG_PATH"].rpartition("/")[0] for f in functions)
        push(models, target, s3)
        stopped = threading.Event()
        threads = []
        for function in functions:
            if function.module == API_MODULE:
                stack.enter_context(_api_process(function, common, listener))
                continue
            process = FunctionProcess(function, common)
            stack.callback(process.close)
            process.start()
            for pump in _pumps(function, process, s3, sqs, visibility_timeout_s):
                thread = threading.Thread(target=pump.run, args=(stopped,), daemon=True)
                thread.start()
                threads.append(thread)
        stack.callback(_join, stopped, threads)
        yield LocalCloud(
            api_url=f"http://{host}:{listener.getsockname()[1]}",
            endpoint_url=endpoint,
            input_bucket=next(b.bucket for f in functions for b in f.buckets),
            results_bucket=next(f.environment["RESULTS_BUCKET"] for f in functions),
            jobs_queue_url=next(_url(sqs, q.queue_arn) for f in functions for q in f.queues),
            names=names,
        )


def _pumps(
    function: Function, process: FunctionProcess, s3: Any, sqs: Any, visibility_timeout_s: int
) -> Iterator[QueuePump | NotificationPump]:
    for event in function.queues:
        url = _url(sqs, event.queue_arn)
        attributes = {"VisibilityTimeout": str(visibility_timeout_s)}
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        yield QueuePump(
            sqs, url, event.queue_arn, process.invoke, event.batch_size, min(event.window_s, 1)
        )
    for bucket_event in function.buckets:
        url = sqs.create_queue(QueueName=NOTIFICATIONS_QUEUE)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        notification = {"QueueArn": arn["QueueArn"], "Events": bucket_event.events}
        if bucket_event.filter:
            notification["Filter"] = bucket_event.filter
        s3.put_bucket_notification_configuration(
            Bucket=bucket_event.bucket,
            NotificationConfiguration={"QueueConfigurations": [notification]},
        )
        failure = function.failure_queue_arn
        yield NotificationPump(
            sqs, url, process.invoke, function.retries, failure and _url(sqs, failure)
        )


@contextmanager
def moto_server() -> Iterator[str]:
    """An AWS in memory, for as long as the context is. Gives its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@contextmanager
def _api_process(
    function: Function, environment: dict[str, str], listener: socket.socket
) -> Iterator[None]:
    """The API function's app under uvicorn, with the function's own environment."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    arguments = (environment | function.environment, listener, started)
    process = context.Process(target=_serve_api, args=arguments, daemon=True)
    with deaf_to_ctrl_c():
        process.start()
    try:
        if not started.wait(timeout=60) or not process.is_alive():
            raise RuntimeError("the HTTP API did not start; its reason stands above")
        yield
    finally:
        process.terminate()
        process.join(timeout=10)


def _serve_api(environment: dict[str, str], listener: socket.socket, started: Any) -> None:
    import uvicorn

    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.environ.update(environment)
    from functions.api.app import app

    started.set()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    server.run(sockets=[listener])


def aws_client(service: str, endpoint: str, region: str = REGION) -> Any:
    """A boto3 client of a local endpoint."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 3}, max_pool_connections=32),
    )


def _url(sqs: Any, arn: str) -> str:
    return str(sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])


def _join(stopped: threading.Event, threads: list[threading.Thread]) -> None:
    """Let what has begun come to its end."""
    stopped.set()
    for thread in threads:
        thread.join(timeout=30)


def ways_in(cloud: LocalCloud) -> dict[str, str]:
    """One line to copy for each way in."""
    aws = (
        f"AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION={REGION}"
        f" aws --endpoint-url {cloud.endpoint_url}"
    )
    message = json.dumps({"bucket": cloud.input_bucket, "key": "fan.wav"})
    return {
        "HTTP": f"curl -F file=@fan.wav {cloud.api_url}/predict-anomaly",
        "upload": f"{aws} s3 cp fan.wav s3://{cloud.input_bucket}/fan.wav",
        "message": f"{aws} sqs send-message --queue-url {cloud.jobs_queue_url}"
        f" --message-body '{message}'",
        "result": f"curl {cloud.api_url}/results/fan.wav",
    }
