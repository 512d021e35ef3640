"""Scores files for `oddsound predict`, with all cores."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oddsound.errors import AudioAnomalyError, ModelsConfigError
from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench import parallel

if TYPE_CHECKING:
    from oddsound.model import Model

_in_process: Any = None
"""In another process: scores a file with its model."""


def scored(
    files: Sequence[Path], model: "Model", *, explain: bool, jobs: int
) -> Iterator[Prediction | ErrorBody]:
    """The prediction for each recording, or the reason that it has none.

    jobs : most processes, this one included
    """
    arguments = (dict(os.environ), Path.cwd(), model.name, model.version, explain)
    preload = ("oddsound.pipeline", "oddsound.registry", __name__)
    processes = parallel.Processes(jobs, _begin, arguments, preload)
    return parallel.in_order(files, partial(score, model, explain), _score, processes)


def score(model: "Model", explain: bool, file: Path) -> Prediction | ErrorBody:
    """The prediction for a recording, or the reason that it has none."""
    from oddsound import pipeline, runtime

    try:
        return pipeline.predict(file, model, runtime.limits(), explain=explain)
    except (AudioAnomalyError, OSError) as error:
        return failure(error)


def failure(error: AudioAnomalyError | OSError) -> ErrorBody:
    """An error as the results of a command contain it."""
    detail = error.strerror if isinstance(error, OSError) else None
    return ErrorBody(error=type(error).__name__, detail=detail or str(error))


def _begin(
    environment: dict[str, str], folder: Path, name: str, version: str, explain: bool
) -> None:
    """Load the model in another process. Its settings are those of the first one."""
    from oddsound import runtime

    global _in_process
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    runtime.clear()
    model = runtime.registry().get(name)
    if model.version != version:
        raise ModelsConfigError(f"model {name} has changed from {version} to {model.version}")
    _in_process = partial(score, model, explain)


def _score(file: Path) -> Prediction | ErrorBody:
    found: Prediction | ErrorBody = _in_process(file)
    return found
