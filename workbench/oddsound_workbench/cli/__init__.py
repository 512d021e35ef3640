"""`oddsound`: predict, models, train, evaluate, serve, worker, push."""

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from oddsound.errors import AudioAnomalyError, ModelsConfigError, StorageError
from oddsound.schemas import BandEvidence, ErrorBody, Explanation, FeatureEvidence, Prediction
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import PROJECT

if TYPE_CHECKING:
    from oddsound_workbench.local.cloud import LocalCloud

app = typer.Typer(
    help="Does this machine sound normal, and if not, what is it?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 a recording could not be scored, 2 wrong usage,"
    " 3 the models or folders are at fault, 10 an anomaly (with --fail-on-anomaly).",
)

SOME_FAILED, AT_FAULT, ANOMALY_FOUND = 1, 3, 10

out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Models = Annotated[
    Path | None,
    typer.Option(help="models.json. [default: MODELS_CONFIG_PATH, or this project's]"),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result, bit for bit.")]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression on the file's name: recordings that agree in its first group"
        " (takes of one machine, say) never stand on both sides of a split."
    ),
]
FoldPattern = Annotated[
    str | None,
    typer.Option(help="Regular expression on the file's name that gives its fold: '^(\\d)-'."),
]
Anomalies = Annotated[
    Path | None,
    typer.Option(help="Anomalous recordings; they only evaluate a detector, never train it."),
]
FixedGain = Annotated[
    bool,
    typer.Option(
        "--fixed-gain",
        help="Loudness counts too. Only where every recording, now and later, comes from one"
        " microphone at one place and gain.",
    ),
]
Copies = Annotated[
    int,
    typer.Option(min=0, max=50, help="Augmented copies of each recording, for a classifier."),
]
SampleRate = Annotated[
    int, typer.Option(min=2000, max=384000, help="Hz at which the model listens.")
]
WindowS = Annotated[
    float | None,
    typer.Option(min=0.1, help="Seconds that are judged at a time. [default: the median]"),
]
Threshold = Annotated[
    float,
    typer.Option(min=0, max=1, help="Anomaly score from which a detector calls an anomaly."),
]
Links = Annotated[
    bool,
    typer.Option(
        "--links/--no-links",
        help="The page leads to the recordings, to listen to them; or names them alone, where it"
        " is passed on without them.",
    ),
]


@app.command()
def predict(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [default: DEFAULT_MODEL_NAME]")
    ] = None,
    models: Models = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which features and bands carried each verdict.")
    ] = False,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 10 where there is an anomaly.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score recordings, or every recording below a folder."""
    from oddsound import pipeline, runtime
    from oddsound_workbench.learn.recordings import expand

    with _faults(as_json):
        files = [
            file for path in recordings for file in (expand([path]) if path.exists() else [path])
        ]
        _configure(models)
        loaded = runtime.registry().get(model)
        limits = runtime.limits()
    results: list[tuple[Path, Prediction | ErrorBody]] = []
    with _bars(show=len(files) > 1 and not as_json) as progress:
        advance = progress("Listening", len(files))
        for file in files:
            try:
                found = pipeline.predict(file, loaded, limits, explain=explain)
                results.append((file, found))
            except (AudioAnomalyError, OSError) as error:
                detail = error.strerror if isinstance(error, OSError) else None
                body = ErrorBody(error=type(error).__name__, detail=detail or str(error))
                results.append((file, body))
            advance()
    if as_json:
        _print_json([{"file": str(file), **result.model_dump()} for file, result in results])
    else:
        _print_predictions(results)
        _print_slow_recorders(results, loaded.name, loaded.sample_rate)
    if any(isinstance(result, ErrorBody) for _, result in results):
        raise typer.Exit(SOME_FAILED)
    if fail_on_anomaly and any(isinstance(r, Prediction) and r.is_anomaly for _, r in results):
        raise typer.Exit(ANOMALY_FOUND)


@app.command("models")
def list_models(models: Models = None, as_json: Json = False) -> None:
    """List the models."""
    from oddsound import runtime

    with _faults(as_json):
        _configure(models)
        found = runtime.registry().describe()
    if as_json:
        return _print_json(found.model_dump())
    table = Table("model", "version", "classes", "Hz", "threshold", "measured", "description")
    for info in found.models:
        default = " (default)" if info.name == found.default else ""
        classes = ", ".join(info.classes) if info.classes else "known once it is loaded"
        measured = "\n".join(
            f"{key} {value:g}" for key, value in info.metrics.items() if isinstance(value, float)
        )
        threshold = "" if info.threshold is None else f"{info.threshold:g}"
        table.add_row(
            *map(escape, (info.name + default, info.version, classes)),
            *(str(info.sample_rate), threshold, measured),
            escape(info.description),
        )
    out.print(table)
    return None


@app.command()
def train(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A subfolder per class trains a classifier; normal recordings alone, a detector.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the model.", show_default=False)],
    anomalies: Anomalies = None,
    models: Annotated[Path, typer.Option(help="models.json to add to.")] = Path(
        "models/models.json"
    ),
    group_pattern: GroupPattern = None,
    fold_pattern: FoldPattern = None,
    sample_rate: SampleRate = 16000,
    window_s: WindowS = None,
    copies: Copies = 8,
    threshold: Threshold = 0.9,
    fixed_gain: FixedGain = False,
    seed: Seed = 0,
    description: Annotated[str, typer.Option(help="One line for people.")] = "",
    version: Annotated[str | None, typer.Option(help="[default: today]")] = None,
    links: Links = True,
    as_json: Json = False,
) -> None:
    """Train a model: its artifacts, its entry in models.json and a report."""
    with _faults(as_json), _bars(show=not as_json) as progress:
        from oddsound_workbench import training

        plan = training.Plan(
            folder=folder,
            name=name,
            models=models,
            anomalies=anomalies,
            group_pattern=group_pattern,
            fold_pattern=fold_pattern,
            sample_rate=sample_rate,
            window_s=window_s,
            copies=copies,
            threshold=threshold,
            fixed_gain=fixed_gain,
            seed=seed,
            description=description,
            version=version,
            links=links,
        )
        trained = training.train(plan, progress)
    if as_json:
        entry = trained.entry.model_dump(mode="json", exclude_none=True)
        return _print_json({"name": name, "entry": entry, "metrics": trained.result.metrics()})
    out.print(trained.report, highlight=False, soft_wrap=True, markup=False)
    out.print(
        f"The model is in {trained.folder}, its entry in {models}.\n"
        f"The report, with plots and recordings to listen to: {trained.folder / 'report.html'}\n"
        f"Try it: oddsound predict FILE --model {name} --models {models}",
        highlight=False,
        soft_wrap=True,
    )
    return None


@app.command()
def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A subfolder per class, or normal recordings alone.", show_default=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Judge this model as it is, on recordings that are new to it."),
    ] = None,
    anomalies: Anomalies = None,
    each_class_as_normal: Annotated[
        bool,
        typer.Option("--each-class-as-normal", help="A detector for each class in turn."),
    ] = False,
    models: Models = None,
    group_pattern: GroupPattern = None,
    fold_pattern: FoldPattern = None,
    sample_rate: SampleRate = 16000,
    window_s: WindowS = None,
    copies: Copies = 8,
    threshold: Threshold = 0.9,
    fixed_gain: FixedGain = False,
    seed: Seed = 0,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Test again with the recordings altered: gain, noise, low-pass, MP3, rates.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the report, with its plots, to this page too."),
    ] = None,
    links: Links = True,
    as_json: Json = False,
) -> None:
    """Measure the training recipe by cross-validation, or a finished model with --model."""
    with _faults(as_json), _bars(show=not as_json) as progress:
        from oddsound_workbench import assessment, training
        from oddsound_workbench.learn.robustness import CONDITIONS
        from oddsound_workbench.report import page

        plan = training.Plan(
            folder=folder,
            name=model or "recipe",
            models=_configure(models) if model else Path("models/models.json"),
            anomalies=anomalies,
            group_pattern=group_pattern,
            fold_pattern=fold_pattern,
            sample_rate=sample_rate,
            window_s=window_s,
            copies=copies,
            threshold=threshold,
            fixed_gain=fixed_gain,
            seed=seed,
            links=links,
        )
        conditions = tuple(CONDITIONS) if robustness else ()
        if model is not None:
            found = assessment.of_model(plan, progress, conditions)
        elif each_class_as_normal:
            found = assessment.of_each_class(plan, progress, conditions)
        else:
            found = assessment.of_recipe(plan, progress, conditions)
    if as_json:
        _print_json(found.metrics)
    else:
        for warning in found.report.warnings:
            err.print(f"[yellow]Beware:[/yellow] {warning}")
        out.print(found.text, highlight=False, soft_wrap=True, markup=False)
    if html is not None:
        with _faults(as_json=False):
            page.write(found.report, html, links=links)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    http_only: Annotated[
        bool, typer.Option("--http-only", help="The HTTP service alone, without S3 and SQS.")
    ] = False,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Run the whole stack on this machine, until Ctrl-C: HTTP, S3 uploads, SQS messages."""
    with _faults(as_json):
        chosen = _configure(models)
    if http_only:
        return _serve_http(host, port, as_json)
    from oddsound_workbench.local import cloud as local_cloud

    with _faults(as_json), _stopped_by_signals() as stopped:
        if not chosen.is_file():
            raise ModelsConfigError(
                f"there is no {chosen}; the stack serves a models.json file: give one with"
                " --models, or serve what MODELS_CONFIG_JSON or MODEL_PATH hold with --http-only"
            )
        try:
            with local_cloud.running(
                PROJECT / "template.yaml",
                chosen,
                host,
                port,
                default_model=os.environ.get("DEFAULT_MODEL_NAME"),
            ) as cloud:
                _print_banner(cloud, as_json)
                stopped.wait()
                if not as_json:
                    out.print("Stopping: what has begun comes to its end.")
        except OSError as error:
            _refuse_port(host, port, error)
    return None


@app.command()
def worker(
    queue_url: Annotated[str, typer.Option(help="URL of the jobs queue.", show_default=False)],
    batch_size: Annotated[int, typer.Option(min=1, max=10, help="Messages at a time.")] = 10,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Score what a queue on AWS asks for, on this machine instead of Lambda, until Ctrl-C.

    Its log is JSON, a line for each event.
    """
    import boto3

    from oddsound_workbench.local.worker import work

    with _faults(as_json), _stopped_by_signals() as stopped, _aws_faults(queue_url):
        _configure(models)
        err.print(f"Waiting for messages of {queue_url}. Stop with Ctrl-C.", soft_wrap=True)
        work(boto3.client("sqs"), queue_url, batch_size, stopped)


@app.command()
def push(
    target: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]", show_default=False)],
    models: Models = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Of another S3 than AWS's.")] = None,
    as_json: Json = False,
) -> None:
    """Upload models to S3, models.json last; a running service uses them without a redeploy."""
    import boto3

    from oddsound_workbench.deploy.push import push as push_models

    with _faults(as_json), _aws_faults(target):
        chosen = _configure(models)
        uploaded = push_models(chosen, target, boto3.client("s3", endpoint_url=endpoint_url))
    if as_json:
        return _print_json({"target": target, "uploaded": uploaded})
    out.print(f"Uploaded to {target}: {', '.join(uploaded)}", highlight=False, soft_wrap=True)
    return None


def _print_banner(cloud: "LocalCloud", as_json: bool) -> None:
    from oddsound_workbench.local.cloud import ways_in

    if as_json:
        _print_json({"url": cloud.api_url, **dataclasses.asdict(cloud)}, indent=None)
        return
    out.print(f"[bold]{cloud.api_url}[/bold], described at {cloud.api_url}/docs")
    out.print(f"input bucket    {cloud.input_bucket}", highlight=False)
    out.print(f"results bucket  {cloud.results_bucket}", highlight=False)
    out.print(f"jobs queue      {cloud.jobs_queue_url}", highlight=False, soft_wrap=True)
    out.print("\nThree ways in, and the result of the last two:\n")
    for line in ways_in(cloud).values():
        out.print(line + "\n", highlight=False, markup=False, soft_wrap=True)
    out.print("Stop with Ctrl-C.")


def _serve_http(host: str, port: int, as_json: bool) -> None:
    import uvicorn

    with _faults(as_json):
        from functions.api.app import app as service

    server = uvicorn.Server(uvicorn.Config(service, log_level="warning", lifespan="off"))
    with _listening(host, port) as socket:
        url = f"http://{host}:{socket.getsockname()[1]}"
        if as_json:
            _print_json({"url": url}, indent=None)
        else:
            out.print(f"Listening at {url}, described at {url}/docs. Stop with Ctrl-C.")
            out.print(f"Try:  curl -F file=@recording.wav {url}/predict-anomaly", highlight=False)
        # Uvicorn has shut down in order by then, and passes Ctrl-C on.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[socket])


@contextmanager
def _stopped_by_signals() -> Iterator["threading.Event"]:
    """An event that Ctrl-C or a SIGTERM sets, so that all can be stopped in order."""
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _listening(host: str, port: int) -> Iterator[Any]:
    import socket

    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        _refuse_port(host, port, error)
    with listener:
        yield listener


def _refuse_port(host: str, port: int, error: OSError) -> NoReturn:
    reason = f"{error.strerror or error}; --port 0 takes a free one"
    err.print(f"[red]Cannot listen on {host}:{port}:[/red] {reason}", soft_wrap=True)
    raise typer.Exit(AT_FAULT) from None


def _configure(models: Path | None) -> Path:
    """Point the runtime at a models.json: the given one, the environment's, or the project's."""
    from oddsound import runtime
    from oddsound.settings import MODELS_CONFIG_PATH

    if models is not None:
        os.environ.pop("MODELS_CONFIG_JSON", None)
        os.environ["MODELS_CONFIG_PATH"] = str(models)
    else:
        settings = runtime.settings()
        chosen = (settings.models_config_path, settings.models_config_json, settings.model_path)
        if not any(chosen) and not Path(MODELS_CONFIG_PATH).exists():
            project = PROJECT / MODELS_CONFIG_PATH
            os.environ["MODELS_CONFIG_PATH"] = str(project)
    runtime.clear()
    return Path(runtime.settings().models_config_path or MODELS_CONFIG_PATH)


@contextmanager
def _faults(as_json: bool) -> Iterator[None]:
    """What stops a whole command, said in one line."""
    try:
        yield
    except (AudioAnomalyError, FolderError) as error:
        if as_json:
            _print_json(ErrorBody(error=type(error).__name__, detail=str(error)).model_dump())
        else:
            err.print("[red]Error:[/red]", escape(str(error)), highlight=False, soft_wrap=True)
        raise typer.Exit(AT_FAULT) from None


@contextmanager
def _aws_faults(what: str) -> Iterator[None]:
    """Whatever boto3 says of a region, an address, credentials or a permission."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise StorageError(f"{what}: {error}") from error


@contextmanager
def _bars(*, show: bool) -> Iterator[Callable[[str, int], Callable[[], Any]]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not (show and err.is_terminal)) as progress:

        def start(step: str, total: int) -> Callable[[], None]:
            task = progress.add_task(step, total=total)
            return lambda: progress.advance(task)

        yield start


def _print_json(value: Any, indent: int | None = 2) -> None:
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _print_predictions(results: Sequence[tuple[Path, Prediction | ErrorBody]]) -> None:
    table = Table(
        Column("recording", overflow="fold"), Column("verdict", overflow="fold"), "probability"
    )
    for heading in ("anomaly score", "duration", "took"):
        table.add_column(heading, justify="right")
    for file, result in results:
        if isinstance(result, ErrorBody):
            table.add_row(escape(str(file)), f"[red]{result.error}[/red]", "", "", "", "")
            continue
        colour = {None: "cyan", True: "red", False: "green"}[result.is_anomaly]
        score = "" if result.anomaly_score is None else f"{result.anomaly_score:.3f}"
        table.add_row(
            escape(str(file)),
            f"[{colour}]{escape(result.prediction)}[/{colour}]",
            *(f"{result.probability:.3f}", score),
            *(f"{result.duration_s:.1f} s", f"{result.latency_ms:.0f} ms"),
        )
    out.print(table)
    for file, result in results:
        if isinstance(result, Prediction) and result.explanation:
            _print_explanation(file, result.explanation)
    for file, result in results:
        if isinstance(result, ErrorBody):
            err.print(f"{file}: {result.detail}", highlight=False, markup=False, soft_wrap=True)
    scored = [result for _, result in results if isinstance(result, Prediction)]
    if len(results) > 1:
        strange = sum(bool(result.is_anomaly) for result in scored)
        out.print(f"{len(scored)} of {len(results)} scored, {strange} anomalies", highlight=False)


def _print_slow_recorders(
    results: Sequence[tuple[Path, Prediction | ErrorBody]], model: str, sample_rate: int
) -> None:
    """What a slower recorder leaves out is missing from the sound, which looks like a fault."""
    slow = [r.sample_rate for _, r in results if isinstance(r, Prediction)]
    slow = [rate for rate in slow if rate < sample_rate]
    if slow:
        err.print(
            f"{len(slow)} of {len(results)} recorded at less than the {sample_rate} Hz that"
            f" {model} listens at (the slowest at {min(slow)} Hz): nothing is heard above"
            f" {min(slow) // 2} Hz there, which may by itself look like an anomaly",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _print_explanation(file: Path, explanation: Explanation) -> None:
    """One line for each band and feature, with its deviation in standard deviations (sd)."""
    window = explanation.window
    where = f", {window.start_s:.1f} to {window.end_s:.1f} s" if window else ""
    out.print(f"\n[bold]{escape(str(file))}[/bold]{where}", highlight=False, soft_wrap=True)
    evidence: list[BandEvidence | FeatureEvidence] = [*explanation.bands, *explanation.features]
    if not evidence:
        out.print(f"  {explanation.summary}", highlight=False, markup=False, soft_wrap=True)
    for each in evidence:
        line = f"{each.deviation:+7.1f} sd  {each.says}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """The command `oddsound`."""
    app()
