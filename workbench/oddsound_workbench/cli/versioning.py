"""`oddsound compile`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from oddsound.errors import AudioAnomalyError, ModelsConfigError
from oddsound_workbench.cli.console import (
    INVALID_SETUP,
    Json,
    Models,
    err,
    models_file,
    out,
    print_json,
    reported_errors,
)
from oddsound_workbench.errors import WorkbenchError


def compile_models(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Names of the models.", show_default=False),
    ],
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Add a compiled file to models: numbers without pickles, compared with scikit-learn.

    A service loads it without scikit-learn, in half the time, and without running code. `train`
    writes it already; this command is for models made by hand or by an earlier version.
    """
    from oddsound import runtime
    from oddsound_workbench.compiled_entries import compile_entry

    with reported_errors(as_json):
        chosen = models_file(models)
        if chosen is None:
            raise ModelsConfigError(
                "`oddsound compile` needs a models.json file: name it with --models, then push it"
            )
        registry, sample_rate = runtime.registry(), runtime.settings().sample_rate
    results: list[dict[str, Any]] = []
    for name in names:
        try:
            path = compile_entry(chosen, registry, name, sample_rate)
            results.append({"name": name, "compiled": str(path), "bytes": path.stat().st_size})
        except (AudioAnomalyError, WorkbenchError) as error:
            results.append({"name": name, "error": type(error).__name__, "detail": str(error)})
    if as_json:
        print_json(results)
    else:
        _print_compiled(results, chosen)
    if any("error" in result for result in results):
        raise typer.Exit(INVALID_SETUP)


def _print_compiled(results: list[dict[str, Any]], models: Path) -> None:
    for result in results:
        name = escape(result["name"])
        if "error" in result:
            detail = escape(result["detail"])
            err.print(f"[red]{name} was not compiled:[/red] {detail}", soft_wrap=True)
        else:
            out.print(
                f"{name}: {escape(result['compiled'])} ({result['bytes']:,} bytes), named in"
                f" {escape(str(models))}",
                highlight=False,
                soft_wrap=True,
            )
