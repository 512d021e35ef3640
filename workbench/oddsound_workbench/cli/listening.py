"""`oddsound listen`."""

from pathlib import Path
from typing import Annotated

import typer

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
from oddsound_workbench.cli.watching import show
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import harmless


def listen(
    machine: Annotated[
        str | None,
        typer.Argument(metavar="MACHINE", help="Such as hall-3/pump-07.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Number or name of the microphone. [default: the system's]"),
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List the microphones, and stop.")
    ] = False,
    window: Annotated[float, typer.Option(min=1, help="Seconds of a recording.")] = 10,
    every: Annotated[
        float, typer.Option(min=1, help="Seconds from one recording to the next.")
    ] = 60,
    sample_rate: Annotated[
        int | None, typer.Option(min=2000, help="In Hz. [default: the microphone's]")
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="The recordings are kept here, below the id of the machine.")
    ] = Path("recordings"),
    keep_normal: Annotated[
        bool, typer.Option(help="Whether recordings stay that are no anomaly.")
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [default: the machine's]")
    ] = None,
    models: Models = None,
    history: History = None,
    as_json: Json = False,
) -> None:
    """Record a machine with a microphone, and score each recording, until Ctrl-C.

    They are added to the history, and the machine changes its state.
    """
    from oddsound.machines.naming import check_machine_id
    from oddsound_workbench.listening import Listening, Microphone, Plan, devices, sounddevice

    with reported_errors(as_json), stopped_by_signals() as stopped:
        if list_devices:
            return _print_devices(devices(), as_json)
        if machine is None:
            raise WorkbenchError("name the machine that the microphone hears: oddsound listen ID")
        if every < window:
            raise WorkbenchError(
                f"--every is {every:g} s; at least --window, which is {window:g} s, is possible"
            )
        check_machine_id(machine)
        sounddevice()
        configure(models)
        ledger = open_history(history)
        plan = Plan(machine, folder, window, every, keep_normal)
        number = int(device) if device is not None and device.isdecimal() else device
        listening = Listening(
            plan,
            Microphone(number, sample_rate),
            ledger,
            model,
            lost=lambda text: err.print(harmless(text), markup=False, highlight=False),
        )
        if not as_json:
            err.print(f"Listening to {harmless(machine)}. Stop with Ctrl-C.", markup=False)
        for scored in listening.run(stopped):
            show(scored, ledger, as_json)
    return None


def _print_devices(found: list[str], as_json: bool) -> None:
    if as_json:
        return print_json({"devices": found})
    for device in found:
        out.print(harmless(device), markup=False, highlight=False, soft_wrap=True)
    return None
