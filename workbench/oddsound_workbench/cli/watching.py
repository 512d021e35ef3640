"""`oddsound watch`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddsound.schemas import ErrorBody
from oddsound_workbench.cli.console import (
    Json,
    Models,
    configure,
    err,
    out,
    print_json,
    reported_errors,
    stopped_by_signals,
)
from oddsound_workbench.cli.machines import History, open_history
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import decoded, harmless

if TYPE_CHECKING:
    from oddsound.machines.ledger import Ledger
    from oddsound_workbench.watching import Scored


def watch(
    folder: Annotated[Path, typer.Argument(show_default=False)],
    machine: Annotated[
        str | None,
        typer.Option(
            help="Machine that all recordings are of. [default: the one that the subfolder names]"
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [default: the machine's]")
    ] = None,
    settle: Annotated[
        float,
        typer.Option(min=0, help="Seconds without a change after which a file is complete."),
    ] = 2,
    once: Annotated[bool, typer.Option("--once", help="Score what is new, and stop.")] = False,
    models: Models = None,
    history: History = None,
    as_json: Json = False,
) -> None:
    """Score the recordings of a folder, and new ones as they appear, until Ctrl-C.

    They are added to the history, and machines change their states. A subfolder such as
    hall-3/pump-07 names the machine. Files that are still being written wait.
    """
    from oddsound.machines.naming import check_machine_id
    from oddsound_workbench.watching import Watch

    with reported_errors(as_json), stopped_by_signals() as stopped:
        configure(models)
        if not folder.is_dir():
            raise WorkbenchError(f"{folder} is not a folder")
        ledger = open_history(history)
        if machine is not None:
            check_machine_id(machine)
        watching = Watch(folder, ledger, machine, model, settle)
        if not as_json and not once:
            err.print(f"Watching {harmless(str(folder))}. Stop with Ctrl-C.", markup=False)

        for scored in watching.catch_up() if once else watching.run(stopped):
            show(scored, ledger, as_json)


def show(scored: "Scored", ledger: "Ledger", as_json: bool) -> None:
    """Print a scored recording, and the state that its machine has now."""
    state = ledger.machine(scored.machine).state if scored.machine else None
    if as_json:
        result = scored.result.model_dump(mode="json")
        named = {"file": decoded(scored.file), "machine": scored.machine, "state": state}
        return print_json({**result, **named}, indent=None)
    if isinstance(scored.result, ErrorBody):
        text = f"failed: {scored.result.detail}"
    else:
        score = scored.result.anomaly_score
        text = scored.result.prediction + ("" if score is None else f" {score:.3f}")
    line = f"{scored.machine or 'no machine'}  {scored.file.name}  {text}  {state or ''}"
    out.print(harmless(line.rstrip()), markup=False, highlight=False, soft_wrap=True)
    return None
