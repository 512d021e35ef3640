"""What the commands share: the console, exit codes, progress bars, errors, the models option."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from oddsound import strict_json
from oddsound.errors import AudioAnomalyError, ModelsConfigError, StorageError
from oddsound.schemas import ErrorBody
from oddsound_workbench.cli.tables import print_sentence
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import harmless

SOME_FAILED, INVALID_SETUP, ANOMALY_FOUND = 1, 3, 10
"""Exit codes."""

EXTRA_OF = {
    "watch": "watch",
    "retrain": "train",
    "train": "train",
    "evaluate": "train",
    "worker": "aws",
    "push": "aws",
    "backfill": "aws",
    "compare": "train",
}
"""Command -> the optional dependencies that it needs; `serve` needs `serve` or `local`, and
`predict` needs `train` for pictures."""

app = typer.Typer(
    help="Does this machine sound normal, and if not, what is it?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 success, 1 a recording could not be scored, 2 wrong usage,"
    " 3 a problem with the models, folders or settings,"
    " 10 an anomaly was found (with --fail-on-anomaly), 11 the old model stays in use (retrain).",
)


class HarmlessConsole(Console):
    """A console that passes no control character of a file name or message to the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)


# Without emoji, so that a file called :x:.wav keeps its name.
out = HarmlessConsole(emoji=False)
err = HarmlessConsole(emoji=False, stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Models = Annotated[
    Path | None,
    typer.Option(
        help="models.json. [default: MODELS_CONFIG_PATH, models/models.json, or the models that"
        " were installed with oddsound]"
    ),
]


def configure(models: Path | None) -> None:
    """Make the runtime use this models.json; None leaves the choice to the environment."""
    from oddsound import runtime, threads

    if models is not None:
        os.environ.pop("MODELS_CONFIG_JSON", None)
        os.environ["MODELS_CONFIG_PATH"] = str(models)
    runtime.clear()
    threads.limit(runtime.settings().blas_threads)


def models_file(models: Path | None) -> Path | None:
    """`configure`, and the models.json file that is used; None if it is not a file.

    Raises ModelsConfigError if a file is named that does not exist.
    """
    from oddsound import runtime

    configure(models)
    location = runtime.registry().catalogue.location
    if location is None or location.startswith("s3://"):
        return None
    if not (path := Path(location)).is_file():
        raise ModelsConfigError(f"{path}: No such file")
    return path


@contextmanager
def reported_errors(as_json: bool) -> Iterator[None]:
    """Prints an error that stops the whole command in one line, and exits with 3."""
    try:
        yield
    except (AudioAnomalyError, WorkbenchError) as error:
        if as_json:
            print_json(ErrorBody(error=type(error).__name__, detail=str(error)).model_dump())
        else:
            print_sentence(err, f" {error}", head="Error:", style="red", searched=True)
        raise typer.Exit(INVALID_SETUP) from None


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Translates what boto3 reports about regions, addresses, credentials and permissions."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise StorageError(f"{what}: {error}") from error


def bar(*, show: bool) -> Progress:
    """A progress bar on stderr; nothing is shown where that is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, disable=not (show and err.is_terminal))


@contextmanager
def progress_bars(*, show: bool) -> Iterator[Callable[[str, int], Callable[[], Any]]]:
    """Gives a function (step, total) that starts a bar and returns a function to advance it."""
    with bar(show=show) as progress:

        def start(step: str, total: int) -> Callable[[], None]:
            task = progress.add_task(step, total=total)
            return lambda: progress.advance(task)

        yield start


def print_json(value: Any, indent: int | None = 2) -> None:
    """Write a JSON value to the standard output."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # the name of a file or folder is not UTF-8
        text = json.dumps(value, indent=indent)
    sys.stdout.write(strict_json.printable(text.encode()).decode() + "\n")
    sys.stdout.flush()


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that everything can stop in order."""
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


def missing_package(error: ModuleNotFoundError, arguments: Sequence[str]) -> int:
    """Say which optional dependencies to install; returns the exit code.

    A module that belongs to no optional dependency is a defect: the error is raised again.
    """
    command = arguments[0] if arguments else ""
    if command == "serve":
        extra = "serve" if "--http-only" in arguments else "local"
    elif command == "predict" and _draws(arguments):
        extra = "train"
    elif command in EXTRA_OF:
        extra = EXTRA_OF[command]
    else:
        raise error
    err.print(
        f"[red]Error:[/red] `oddsound {command}` needs the package {escape(str(error.name))}."
        f" Install it with: pip install 'oddsound\\[{extra}]'",
        highlight=False,
        soft_wrap=True,
    )
    return INVALID_SETUP


def _draws(arguments: Sequence[str]) -> bool:
    """Whether there is an option that needs matplotlib."""
    return any(argument.partition("=")[0] in {"--plot", "--html"} for argument in arguments)
