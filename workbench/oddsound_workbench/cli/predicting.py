"""`oddsound predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddsound.errors import AudioAnomalyError
from oddsound.machines.naming import check_machine_id
from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench import parallel
from oddsound_workbench.cli.console import (
    ANOMALY_FOUND,
    SOME_FAILED,
    Json,
    Models,
    configure,
    err,
    print_json,
    progress_bars,
    reported_errors,
)
from oddsound_workbench.cli.machines import History, open_history
from oddsound_workbench.cli.outputs import Html, Labels, LabelsDir, Outputs, Overwrite, Plot
from oddsound_workbench.cli.predictions import (
    print_label_files,
    print_predictions,
    print_warnings,
)
from oddsound_workbench.cli.scoring import failure, scored
from oddsound_workbench.cli.tables import print_sentence
from oddsound_workbench.files import decoded
from oddsound_workbench.history import remember

if TYPE_CHECKING:
    from oddsound.machines.ledger import Ledger


def predict(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [default: DEFAULT_MODEL_NAME]")
    ] = None,
    models: Models = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show the features and bands that led to each verdict."),
    ] = False,
    plot: Plot = None,
    html: Html = None,
    labels: Labels = None,
    labels_dir: LabelsDir = None,
    overwrite: Overwrite = False,
    machine: Annotated[
        str | None,
        typer.Option(
            help="Machine that the recordings are of, such as hall-3/pump-07; its model is used,"
            " and they are added to the history."
        ),
    ] = None,
    history: History = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that score. [default: one for each core]"),
    ] = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 10 if there is an anomaly.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score recordings, or every recording below a folder."""
    from oddsound import runtime
    from oddsound_workbench.learn.left_out import sentences

    with reported_errors(as_json):
        files = _files(recordings)
        outputs = Outputs.checked(files, plot, html, labels, labels_dir, overwrite=overwrite)
        configure(models)
        ledger = open_history(history) if machine or history else None
        of_machine = ledger.model_of(check_machine_id(machine)) if ledger and machine else None
        loaded = runtime.registry().get(model or of_machine)
        outputs.check_model(loaded)
        results: list[tuple[Path, Prediction | ErrorBody]] = []
        with progress_bars(show=len(files) > 1 and not as_json) as progress:
            advance = progress("Scoring", len(files))
            paths = [file for file, _ in files]
            predictions = scored(paths, loaded, explain=explain, jobs=jobs or parallel.cores())
            for file, found in zip(paths, predictions, strict=True):
                result = _remembered(found, file, ledger, machine)
                outputs.write_labels(file, result)
                results.append((file, result))
                advance()
            failure = outputs.write_pictures(results, loaded, progress)
    for sentence in sentences(recordings, known=outputs.label_files):
        print_sentence(err, sentence, searched=True)
    if as_json:
        print_json([{"file": decoded(file), **result.model_dump()} for file, result in results])
    else:
        print_predictions(results)
        print_warnings(results)
        print_label_files(outputs.label_files)
    if failure is not None:
        with reported_errors(as_json=False):
            raise failure
    if any(isinstance(result, ErrorBody) for _, result in results):
        raise typer.Exit(SOME_FAILED)
    if fail_on_anomaly and any(isinstance(r, Prediction) and r.is_anomaly for _, r in results):
        raise typer.Exit(ANOMALY_FOUND)


def _files(recordings: list[Path]) -> list[tuple[Path, Path]]:
    """Every recording, each with the folder that it was found in.

    Raises FolderError if a folder contains no recordings. A file that does not exist is an
    error of that recording only.
    """
    from oddsound_workbench.learn.recordings import expand

    return [
        (file, path if path.is_dir() else path.parent)
        for path in recordings
        for file in (expand([path]) if path.exists() else [path])
    ]


def _remembered(
    found: Prediction | ErrorBody, file: Path, ledger: "Ledger | None", machine: str | None
) -> Prediction | ErrorBody:
    """A prediction with its machine, whose row is stored if there is a history."""
    if ledger is None or isinstance(found, ErrorBody):
        return found
    try:
        return remember(ledger, found, file, machine)
    except (AudioAnomalyError, OSError) as error:
        return failure(error)
