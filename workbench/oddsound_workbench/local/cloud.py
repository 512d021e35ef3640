"""The whole stack on this machine: moto's server, the template's resources, the real handlers.

Nothing leaves the machine and no AWS account is needed. Differences from AWS: retries come after
seconds instead of minutes, and each function handles one event at a time. Recordings, results and
history are kept in a folder, or nothing is kept after the end.
"""

import json
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
from urllib.parse import urlsplit

from oddsound import runtime
from oddsound_workbench.deploy import events, template
from oddsound_workbench.deploy.push import push
from oddsound_workbench.deploy.template import Function
from oddsound_workbench.local import containers, env_vars, handlers, invocations, unscored
from oddsound_workbench.local.aws import CREDENTIALS, STACK, aws_client, moto_servers
from oddsound_workbench.local.function_process import FunctionProcess, sigint_blocked
from oddsound_workbench.local.poller import CheckPoller, NotificationPoller, QueuePoller

API_MODULE = "functions.api.app"
NOTIFICATIONS_QUEUE = "local-s3-notifications"
VISIBILITY_TIMEOUT_S = 10
"""Replaces the minutes of the template, so that a failed message is retried within seconds."""

START_TIMEOUT_S = 60

OBJECTS, HISTORY = "objects.sqlite", "history.sqlite"
"""Files of a data folder: recordings with their results, and machines with their history."""

type Poller = QueuePoller | NotificationPoller | CheckPoller


@dataclass(frozen=True)
class LocalCloud:
    """A running local stack, and how to reach it.

    names : physical name (for a queue, its URL) of every resource of the template
    """

    api_url: str
    endpoint_url: str
    input_bucket: str
    results_bucket: str
    jobs_queue_url: str
    names: dict[str, str]

    def client(self, service: str) -> Any:
        """A boto3 client for this local AWS."""
        return aws_client(service, self.endpoint_url)


@contextmanager
def running(
    template_path: Path,
    models: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    visibility_timeout_s: int = VISIBILITY_TIMEOUT_S,
    default_model: str | None = None,
    env_vars_path: Path | None = None,
    data: Path | None = None,
) -> Iterator[LocalCloud]:
    """Start the stack; stop all of it at the end, also after an error.

    port : of the HTTP API; 0 selects a free one
    default_model : replaces the template's
    env_vars_path : if given, the stack is prepared for `sam local invoke --env-vars`, and the
    file for this option is written there
    data : folder in which recordings, results and the history are kept; None for in memory, with
    the history in the template's table

    Raises OSError if the port is in use; ContainerError if `env_vars_path` is given and no
    Docker engine answers.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port)))
        hosts = ["127.0.0.1"]
        if env_vars_path is not None:
            hosts.append(containers.host_address())
        kept = data and data.resolve() / OBJECTS
        invoked = stack.enter_context(invocations.serving())
        servers = moto_servers(hosts, kept, invoked.url)
        endpoint, *for_containers = stack.enter_context(servers)
        functions, names = template.create(
            template_path, aws_client("cloudformation", endpoint), STACK
        )
        for function in functions:
            if default_model is not None:
                function.environment["DEFAULT_MODEL_NAME"] = default_model
        s3, sqs = aws_client("s3", endpoint), aws_client("sqs", endpoint)
        target = next(f.environment["MODELS_CONFIG_PATH"].rpartition("/")[0] for f in functions)
        push(models, target, s3, replace=True)
        if env_vars_path is not None:
            _prepare_sam_local_invoke(functions, s3, for_containers[0], env_vars_path)
        if data is not None:
            for function in functions:  # not in containers, which cannot see this file
                function.environment["HISTORY"] = str(data.resolve() / HISTORY)
        api_url = f"http://{host}:{listener.getsockname()[1]}"
        for function in functions:
            function.environment.update({"PUBLIC_URL": api_url} | _notice_settings())
        environment = CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}
        pollers: list[Poller] = []
        for function in functions:
            if function.module == API_MODULE:
                stack.enter_context(_api_process(function, environment, listener))
            else:
                process = stack.enter_context(_function_process(function, environment))
                invoked.functions[function.name] = process.invoke
                pollers += _pollers(function, process, s3, sqs, visibility_timeout_s)
        jobs = next(_queue_url(sqs, q.queue_arn) for f in functions for q in f.queues)
        pollers.append(CheckPoller(sqs, jobs))
        stack.enter_context(_polling(pollers))
        input_bucket = next(b.bucket for f in functions for b in f.buckets)
        results_bucket = next(f.environment["RESULTS_BUCKET"] for f in functions)
        if kept is not None:
            unscored.resume(kept, input_bucket, results_bucket, sqs, jobs)
        yield LocalCloud(
            api_url=api_url,
            endpoint_url=endpoint,
            input_bucket=input_bucket,
            results_bucket=results_bucket,
            jobs_queue_url=jobs,
            names=names,
        )


def _notice_settings() -> dict[str, str]:
    """Settings of this environment that say who else hears of changes of machines' states."""
    found = runtime.settings()
    secret = found.webhook_secret
    values = {
        "PUBLIC_URL": found.public_url,
        "WEBHOOK_URL": found.webhook_url,
        "WEBHOOK_SECRET": secret and secret.get_secret_value(),
        "MQTT_URL": found.mqtt_url,
        "RECORDED_AT_PATTERN": found.recorded_at_pattern,
        "RECORDED_AT_ZONE": found.recorded_at_zone,
    }
    return {name: value for name, value in values.items() if value}


def _prepare_sam_local_invoke(
    functions: list[Function], s3: Any, endpoint: str, path: Path
) -> None:
    """Store the sample recording, and write the file for `sam local invoke --env-vars`.

    The recording is stored before uploads trigger a function, so that its first result is that
    of `sam local invoke`.
    """
    s3.put_object(Bucket=events.INPUT_BUCKET, Key=events.KEY, Body=events.recording())
    env_vars.write(path, functions, containers.endpoint_url(urlsplit(endpoint).port))


@contextmanager
def _function_process(function: Function, environment: dict[str, str]) -> Iterator[FunctionProcess]:
    process = FunctionProcess(function, environment)
    try:
        process.start()
        yield process
    finally:
        process.close()


def _pollers(
    function: Function, process: FunctionProcess, s3: Any, sqs: Any, visibility_timeout_s: int
) -> Iterator[Poller]:
    for event in function.queues:
        url = _queue_url(sqs, event.queue_arn)
        attributes = {"VisibilityTimeout": str(visibility_timeout_s)}
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        yield QueuePoller(
            sqs, url, event.queue_arn, process.invoke, event.batch_size, min(event.window_s, 1)
        )
    for bucket_event in function.buckets:
        url = sqs.create_queue(QueueName=NOTIFICATIONS_QUEUE)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        notification = {"QueueArn": arn, "Events": bucket_event.events}
        if bucket_event.filter:
            notification["Filter"] = bucket_event.filter
        s3.put_bucket_notification_configuration(
            Bucket=bucket_event.bucket,
            NotificationConfiguration={"QueueConfigurations": [notification]},
        )
        failure = function.failure_queue_arn
        yield NotificationPoller(
            sqs, url, arn, process.invoke, function.retries, failure and _queue_url(sqs, failure)
        )


@contextmanager
def _polling(pollers: list[Poller]) -> Iterator[None]:
    """Run each poller in a thread; at the end, let each complete what it has started."""
    stopped = threading.Event()
    threads = [
        threading.Thread(target=poller.run, args=(stopped,), daemon=True) for poller in pollers
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join(timeout=30)


@contextmanager
def _api_process(
    function: Function, environment: dict[str, str], listener: socket.socket
) -> Iterator[None]:
    """Run the API function's app in uvicorn, with the function's own environment."""
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    arguments = (environment | function.environment, listener, started)
    process = context.Process(target=_serve_api, args=arguments, daemon=True)
    with sigint_blocked():
        process.start()
    try:
        if not started.wait(START_TIMEOUT_S) or not process.is_alive():
            raise RuntimeError("the HTTP API did not start; the reason is printed above")
        yield
    finally:
        process.terminate()
        process.join(timeout=10)


def _serve_api(environment: dict[str, str], listener: socket.socket, started: Any) -> None:
    from oddsound.http.server import create_server

    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.environ.update(environment)
    app = handlers.load(API_MODULE).app
    started.set()
    server = create_server(app)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    server.run(sockets=[listener])


def _queue_url(sqs: Any, arn: str) -> str:
    return str(sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])


def ways_in(cloud: LocalCloud) -> dict[str, str]:
    """A command line to copy for each way in, and for the result."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    assignments = " ".join(f"{name}={CREDENTIALS[name]}" for name in names)
    aws = f"{assignments} aws --endpoint-url {cloud.endpoint_url}"
    message = json.dumps({"bucket": cloud.input_bucket, "key": "fan.wav"})
    return {
        "HTTP": f"curl -F file=@fan.wav {cloud.api_url}/predict-anomaly",
        "upload": f"{aws} s3 cp fan.wav s3://{cloud.input_bucket}/fan.wav",
        "message": f"{aws} sqs send-message --queue-url {cloud.jobs_queue_url}"
        f" --message-body '{message}'",
        "archive": f"{assignments} AWS_ENDPOINT_URL={cloud.endpoint_url}"
        " oddsound backfill --prefix fan",
        "result": f"curl {cloud.api_url}/results/fan.wav",
    }
