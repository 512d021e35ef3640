"""`oddsound compile`, `push`, `versions`, `rollback`, `keygen` and `sign`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

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
)
from oddsound_workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from oddsound_workbench.signing import Signer

Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
ModelsLocation = Annotated[
    str | None,
    typer.Option(
        "--models",
        help="models.json, a path or an s3:// URL. [default: MODELS_CONFIG_PATH,"
        " models/models.json, or the models that were installed with oddsound]",
    ),
]

SignWith = Annotated[
    str | None,
    typer.Option(
        help="Sign models.json: ARN or alias of a key in AWS KMS, or a file of `oddsound keygen`."
    ),
]

PUSHED = {
    "new": "new",
    "replaced": "replaces the version before it, which is kept",
    "updated": "the same version, with other paths or another description",
    "unchanged": "unchanged",
    "older": "stays, because it has replaced the local version; see `oddsound rollback`",
}
"""What a push did to a model."""


def models_location(models: str | None) -> str:
    """The path or URL of models.json that a command changes or reads.

    Raises ModelsConfigError if the environment gives models without one.
    """
    from oddsound import runtime

    configure(None)
    location = models or runtime.registry().catalogue.location
    if location is None:
        raise ModelsConfigError(
            "this command needs a models.json: name a path or an s3:// URL with --models"
        )
    return location


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


def push(
    target: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]", show_default=False)],
    models: Models = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="Endpoint of an S3 service other than AWS's.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Make the target the same as the local models.json: remove models that only the"
            " target has, and write local versions even if the target has newer ones.",
        ),
    ] = False,
    sign_with: SignWith = None,
    as_json: Json = False,
) -> None:
    """Upload models to S3; a running service uses them without a deployment.

    Artifacts are stored under their checksum, and models.json is merged into the one that is there:
    models of colleagues stay, and replaced versions are kept for `oddsound rollback`.
    """
    import boto3

    from oddsound import runtime
    from oddsound_workbench.deploy.push import push as push_models

    with reported_errors(as_json), aws_errors(target):
        chosen = models_file(models)
        if chosen is None:
            raise ModelsConfigError("there is no models.json file to upload; name it with --models")
        settings = runtime.settings()
        pushed = push_models(
            chosen,
            target,
            boto3.client("s3", endpoint_url=endpoint_url),
            replace=replace,
            sample_rate=settings.sample_rate,
            allow_pickle=settings.allow_pickle,
            signer=_signer(sign_with),
        )
    if as_json:
        return print_json({"target": target, **dataclasses.asdict(pushed)})
    for name, state in pushed.states.items():
        text = f"{name} {pushed.served[name]}: {PUSHED[state]}"
        out.print(text, highlight=False, markup=False, soft_wrap=True)
    for name in pushed.removed:
        out.print(f"{name}: removed", highlight=False, markup=False)
    out.print(f"{len(pushed.uploaded)} objects uploaded to {target}", highlight=False, markup=False)
    return None


def list_versions(name: Name, models: ModelsLocation = None, as_json: Json = False) -> None:
    """List the versions of a model: the one that is served, and those that it replaced."""
    from oddsound_workbench.model_versions import Versions

    with reported_errors(as_json):
        location = models_location(models)
        found = Versions(location).of(name)
    if as_json:
        return print_json(
            {"name": name, "versions": [dataclasses.asdict(version) for version in found]}
        )
    for version in found:
        auc = version.metrics.get("auc", version.metrics.get("accuracy"))
        figure = f"  {'AUC' if 'auc' in version.metrics else 'accuracy'} {auc}" if auc else ""
        served = "  served" if version.current else ""
        text = f"{version.version}  {version.checksum}{figure}{served}  {version.description}"
        out.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)
    return None


def rollback(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(
            help="Its name, or the start of its checksum. [default: the version before this one]",
            show_default=False,
        ),
    ] = None,
    models: ModelsLocation = None,
    sign_with: SignWith = None,
    as_json: Json = False,
) -> None:
    """Serve an earlier version of a model again; running services use it without a deployment.

    The version is loaded first. The one that is replaced is kept as an earlier version.
    """
    from oddsound import runtime
    from oddsound_workbench.model_versions import Versions

    with reported_errors(as_json):
        location = models_location(models)
        before, now = Versions(location).roll_back(name, version, _signer(sign_with))
        refresh_s = runtime.settings().models_refresh_s
    if as_json:
        return print_json({"name": name, "models": location, "before": before, "now": now})
    out.print(
        f"{name}: {now} is served instead of {before}, in {location}. Running services use it"
        f" within MODELS_REFRESH_S ({refresh_s:g} s here).",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return None


def keygen(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Of the private key.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Make an Ed25519 key to sign models.json with; FILE.pub is for MODELS_PUBLIC_KEY."""
    from oddsound_workbench.signing import generate

    with reported_errors(as_json):
        public = generate(path)
    if as_json:
        return print_json({"private": str(path), "public": str(public)})
    out.print(f"{path}: keep it secret, and use it with --sign-with", markup=False, soft_wrap=True)
    out.print(f"{public}: set MODELS_PUBLIC_KEY to it", markup=False, soft_wrap=True)
    return None


def sign(
    key: Annotated[
        str, typer.Option("--key", help="As for `oddsound push --sign-with`.", show_default=False)
    ],
    models: ModelsLocation = None,
    as_json: Json = False,
) -> None:
    """Sign the models.json that is there, with all models in it: look at them first."""
    from oddsound import runtime
    from oddsound_workbench import models_files
    from oddsound_workbench.signing import sign_models, signer

    with reported_errors(as_json), aws_errors(key):
        location = models_location(models)
        file = models_files.open_models(location, runtime.s3_client)
        path = sign_models(file, signer(key, runtime.kms_client))
    if as_json:
        return print_json({"models": location, "signature": path})
    out.print(f"{location} is signed by {path}", markup=False, highlight=False, soft_wrap=True)
    return None


def _signer(key: str | None) -> "Signer | None":
    from oddsound import runtime
    from oddsound_workbench.signing import signer

    return None if key is None else signer(key, runtime.kms_client)
