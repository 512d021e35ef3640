"""The command `oddsound`: predict, models, machines, history, watch, listen, review, retrain,
train, evaluate, compile, serve, worker, backfill, push, versions, rollback, keygen, sign,
compare."""

import io
import sys

from oddsound_workbench.cli import (
    backfilling,
    comparing,
    history,
    learning,
    listening,
    listing,
    machines,
    predicting,
    retraining,
    reviewing,
    serving,
    versioning,
    watching,
)
from oddsound_workbench.cli.console import app, missing_package

__all__ = ["app", "main"]

app.command("predict")(predicting.predict)
app.command("models")(listing.list_models)
app.add_typer(machines.machines, name="machines")
app.command("history")(history.show_history)
app.command("watch")(watching.watch)
app.command("listen")(listening.listen)
app.command("review")(reviewing.review)
app.command("retrain")(retraining.retrain)
app.command("train")(learning.train)
app.command("evaluate")(learning.evaluate)
app.command("compile")(versioning.compile_models)
app.command("serve")(serving.serve)
app.command("worker")(serving.worker)
app.command("backfill")(backfilling.backfill)
app.command("push")(versioning.push)
app.command("versions")(versioning.list_versions)
app.command("rollback")(versioning.rollback)
app.command("keygen")(versioning.keygen)
app.command("sign")(versioning.sign)
app.command("compare")(comparing.compare)


def main() -> None:
    """Entry point of the command `oddsound`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding does not have is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ModuleNotFoundError as error:
        sys.exit(missing_package(error, sys.argv[1:]))
