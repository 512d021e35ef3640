"""`oddsound retrain`."""

from pathlib import Path
from typing import Annotated

import typer

from oddsound.errors import ModelsConfigError
from oddsound_workbench.cli.console import (
    Json,
    Models,
    models_file,
    out,
    print_json,
    progress_bars,
    reported_errors,
)
from oddsound_workbench.cli.machines import History, MachineArgument, open_history
from oddsound_workbench.files import harmless

NOT_PROMOTED = 11


def retrain(
    machine: MachineArgument,
    normal: Annotated[
        Path | None,
        typer.Option(help="Folder with more normal recordings."),
    ] = None,
    anomalies: Annotated[
        Path | None,
        typer.Option(help="Folder with more recordings of faults."),
    ] = None,
    models: Models = None,
    history: History = None,
    as_json: Json = False,
) -> None:
    """Train a model from a machine's reviewed recordings; use it if it is not worse.

    Both models are compared with recordings that neither was trained with. Exits with 11 if the
    old model stays in use.
    """
    from oddsound_workbench.retraining import Request, retrain

    with reported_errors(as_json), progress_bars(show=not as_json) as progress:
        chosen = models_file(models)
        if chosen is None:
            raise ModelsConfigError("there is no models.json file to write; name it with --models")
        request = Request(machine, chosen, normal, anomalies)
        found = retrain(request, open_history(history), progress)
    if as_json:
        print_json(found.as_json())
    else:
        for sentence in found.reasons:
            out.print(harmless(sentence), markup=False, highlight=False, soft_wrap=True)
    if not found.promoted:
        raise typer.Exit(NOT_PROMOTED)
