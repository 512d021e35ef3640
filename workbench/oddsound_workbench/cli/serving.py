"""`oddsound serve` and `oddsound worker`."""

import dataclasses
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from oddsound.errors import AudioAnomalyError, ModelsConfigError
from oddsound_workbench.cli.console import (
    INVALID_SETUP,
    Json,
    Models,
    aws_errors,
    configure,
    err,
    models_file,
    out,
    print_json,
    reported_errors,
    stopped_by_signals,
)
from oddsound_workbench.cli.machines import DEFAULT_HISTORY, use_by_default
from oddsound_workbench.files import TEMPLATE
from oddsound_workbench.parallel import cores

CHECK_EVERY_S = 60

MAX_WORKERS = 8
"""Processes that are started unless more are wanted: they score a thousand recordings a second."""

if TYPE_CHECKING:
    from oddsound_workbench.local.cloud import LocalCloud


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free one.")
    ] = 8000,
    http_only: Annotated[
        bool, typer.Option("--http-only", help="Only the HTTP service, without S3 and SQS.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes of --http-only; one uses little more than a core. [default: one for"
            f" each core, at most {MAX_WORKERS}]",
            show_default=False,
        ),
    ] = None,
    models: Models = None,
    env_vars: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write the functions' environment to this file, for"
            " `sam local invoke --env-vars`. Needs a Docker engine.",
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for recordings, results and the history.")
    ] = DEFAULT_HISTORY.parent,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Keep nothing after the end, instead of --data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C: HTTP, S3 uploads, SQS messages.

    Recordings, results and the history of machines are kept in a folder for the next start.
    """
    kept = None if in_memory else data
    if http_only:
        return _serve_http(host, port, workers or default_workers(), models, kept, as_json)
    if workers is not None and workers > 1:
        raise typer.BadParameter("it needs --http-only", param_hint="--workers")
    from oddsound import runtime
    from oddsound_workbench.local import cloud as local_cloud

    with reported_errors(as_json), stopped_by_signals() as stopped:
        chosen = models_file(models)
        if chosen is None:
            raise ModelsConfigError(
                "`oddsound serve` needs a models.json file: name one with --models, or use"
                " --http-only for the models of MODELS_CONFIG_JSON, MODEL_PATH or S3"
            )
        default_model = runtime.registry().catalogue.default_name()
        try:
            with local_cloud.running(
                TEMPLATE,
                chosen,
                host,
                port,
                default_model=default_model,
                env_vars_path=env_vars,
                data=kept,
            ) as cloud:
                _print_banner(cloud, as_json)
                stopped.wait()
                if not as_json:
                    out.print("Stopping after the current recordings.")
        except OSError as error:
            _port_error(host, port, error)
    return None


def worker(
    queue_url: Annotated[str, typer.Option(help="URL of the jobs queue.", show_default=False)],
    batch_size: Annotated[
        int,
        typer.Option(
            min=1, max=10, help="Messages fetched at once; those that wait count as received."
        ),
    ] = 1,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Score the messages of an SQS queue on this machine, instead of on Lambda, until Ctrl-C.

    Logs are JSON, one line per event.
    """
    import boto3

    from oddsound_workbench.local.worker import work

    with reported_errors(as_json), stopped_by_signals() as stopped, aws_errors(queue_url):
        configure(models)
        err.print(f"Waiting for messages of {queue_url}. Stop with Ctrl-C.", soft_wrap=True)
        work(boto3.client("sqs"), queue_url, batch_size, stopped)


def _serve_http(
    host: str, port: int, workers: int, models: Path | None, data: Path | None, as_json: bool
) -> None:
    from oddsound import logs, runtime

    with reported_errors(as_json):
        configure(models)
        if data is not None:
            use_by_default(data / DEFAULT_HISTORY.name)
        logs.write_to_stderr(runtime.settings().log_level)
    run = _one_process if workers == 1 else partial(_several_processes, workers)
    with _listening(host, port) as listener:
        url = f"http://{host}:{listener.getsockname()[1]}"
        if as_json:
            print_json({"url": url}, indent=None)
        else:
            out.print(f"Open {url}/ui in a browser; API documentation at {url}/docs.")
            out.print(f"Try:  curl -F file=@recording.wav {url}/predict-anomaly", highlight=False)
            out.print("Stop with Ctrl-C.")
        # Uvicorn shuts down on Ctrl-C and then raises the signal again.
        with suppress(KeyboardInterrupt), _checking_machines():
            run(listener)


def _one_process(listener: socket.socket) -> None:
    from oddsound.http.app import create_app
    from oddsound.http.server import create_server

    create_server(create_app()).run(sockets=[listener])


def _several_processes(count: int, listener: socket.socket) -> None:
    from oddsound.http.workers import Workers

    if find_spec("fastapi") is None:  # this process does not import it; the others would fail
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
    with tempfile.TemporaryDirectory(prefix="oddsound-metrics-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)  # they count together
        Workers(count, listener).run()


def default_workers() -> int:
    """One process for each core that may be used, but not too many."""
    return min(cores(), MAX_WORKERS)


@contextmanager
def _checking_machines() -> Iterator[None]:
    """Check all machines every minute, if there is a history."""
    from oddsound import runtime

    stopped = threading.Event()

    def check() -> None:
        ledger = runtime.history()
        while ledger and not stopped.wait(CHECK_EVERY_S):
            try:
                ledger.check()
            # A disk that is full for a moment must not end all later checks.
            except AudioAnomalyError as error:
                err.print(f"The machines were not checked: {error}", markup=False)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(timeout=10)


def _print_banner(cloud: "LocalCloud", as_json: bool) -> None:
    from oddsound_workbench.local.cloud import ways_in

    if as_json:
        print_json({"url": cloud.api_url, **dataclasses.asdict(cloud)}, indent=None)
        return
    out.print(f"[bold]{cloud.api_url}/ui[/bold], API documentation at {cloud.api_url}/docs")
    out.print(f"input bucket    {cloud.input_bucket}", highlight=False)
    out.print(f"results bucket  {cloud.results_bucket}", highlight=False)
    out.print(f"jobs queue      {cloud.jobs_queue_url}", highlight=False, soft_wrap=True)
    out.print("\nHow to send recordings, to score those that are there, and to read a result:\n")
    for line in ways_in(cloud).values():
        out.print(line + "\n", highlight=False, markup=False, soft_wrap=True)
    out.print("Stop with Ctrl-C.")


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        _port_error(host, port, error)
    with listener:
        yield listener


def _port_error(host: str, port: int, error: OSError) -> NoReturn:
    reason = f"{error.strerror or error}; --port 0 selects a free port"
    err.print(f"[red]Cannot listen on {host}:{port}:[/red] {reason}", soft_wrap=True)
    raise typer.Exit(INVALID_SETUP) from None
