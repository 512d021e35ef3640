"""The public functions of `import oddsound`."""

import os
from pathlib import Path

from oddsound import pipeline, runtime
from oddsound.artifacts import Artifacts
from oddsound.model import Model
from oddsound.registry import Registry
from oddsound.schemas import Prediction

__all__ = ["load_model", "predict"]


def load_model(name: str | None = None, models: str | os.PathLike[str] | None = None) -> Model:
    """A trained model, verified and ready to predict. It can be used by several threads.

    name : name of the model in models.json; None for the default model
    models : models.json, as a path or an s3://bucket/key URL. None for the one that the
        environment names (MODELS_CONFIG_PATH and others, see the settings), else
        models/models.json, else the models that were installed with the package.

    Raises UnknownModelError if models.json has no such model, ModelsConfigError if models.json
    or the environment is invalid, ModelArtifactError if a file of the model is missing or was
    altered, StorageError if S3 does not answer.
    """
    if models is None:
        return runtime.registry().get(name)
    location = os.fspath(models)
    settings = runtime.settings().model_copy(
        update={"models_config_path": location, "models_config_json": None}
    )
    return Registry(settings, Artifacts(runtime.s3_client, settings.model_cache_dir)).get(name)


def predict(
    recording: bytes | str | os.PathLike[str],
    model: Model | str | None = None,
    *,
    explain: bool = False,
) -> Prediction:
    """What a model says about one recording.

    recording : path of a sound file, or its content as bytes. WAV, FLAC, OGG, MP3 and others, any
        sample rate, up to 64 channels.
    model : a model of `load_model`, or the name of a model; None for the default model
    explain : whether to add the features and frequency bands that led to the verdict

    Raises InvalidAudioError, UnsupportedAudioError or AudioTooLargeError for a recording that
    cannot be scored, OSError for a file that cannot be read, and the errors of `load_model`.
    """
    source = recording if isinstance(recording, bytes) else Path(recording)
    loaded = model if isinstance(model, Model) else load_model(model)
    return pipeline.predict(source, loaded, runtime.limits(), explain=explain)
