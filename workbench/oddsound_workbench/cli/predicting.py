"""`oddsound predict`."""

from pathlib import Path
from typing import Annotated

import typer

from oddsound.errors import AudioAnomalyError
from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench.cli.console import (
    ANOMALY_FOUND,
    SOME_FAILED,
    Json,
    Models,
    configure,
    print_json,
    progress_bars,
    reported_errors,
)
from oddsound_workbench.cli.predictions import print_predictions, print_warnings
from oddsound_workbench.files import decoded


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
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 10 if there is an anomaly.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score recordings, or every recording below a folder."""
    from oddsound import pipeline, runtime
    from oddsound_workbench.learn.recordings import expand

    with reported_errors(as_json):
        files = [
            file for path in recordings for file in (expand([path]) if path.exists() else [path])
        ]
        configure(models)
        loaded = runtime.registry().get(model)
        limits = runtime.limits()
    results: list[tuple[Path, Prediction | ErrorBody]] = []
    with progress_bars(show=len(files) > 1 and not as_json) as progress:
        advance = progress("Scoring", len(files))
        for file in files:
            try:
                prediction = pipeline.predict(file, loaded, limits, explain=explain)
                results.append((file, prediction))
            except (AudioAnomalyError, OSError) as error:
                detail = error.strerror if isinstance(error, OSError) else None
                body = ErrorBody(error=type(error).__name__, detail=detail or str(error))
                results.append((file, body))
            advance()
    if as_json:
        print_json([{"file": decoded(file), **result.model_dump()} for file, result in results])
    else:
        print_predictions(results)
        print_warnings(results)
    if any(isinstance(result, ErrorBody) for _, result in results):
        raise typer.Exit(SOME_FAILED)
    if fail_on_anomaly and any(isinstance(r, Prediction) and r.is_anomaly for _, r in results):
        raise typer.Exit(ANOMALY_FOUND)
