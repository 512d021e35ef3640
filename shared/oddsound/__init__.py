"""Detects anomalies in the sound of machines.

    model = oddsound.load_model("fan")
    prediction = oddsound.predict("recording.wav", model)
    print(prediction.prediction, prediction.anomaly_score)

`import oddsound` itself loads nothing: each name is imported when it is first used, because the
Lambda functions must start fast.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from oddsound.api import load_model, predict
    from oddsound.errors import (
        AudioAnomalyError,
        AudioTooLargeError,
        InvalidAudioError,
        ModelArtifactError,
        ModelsConfigError,
        StorageError,
        UnknownModelError,
        UnsupportedAudioError,
    )
    from oddsound.model import Model
    from oddsound.schemas import Prediction

__all__ = [
    "AudioAnomalyError",
    "AudioTooLargeError",
    "InvalidAudioError",
    "Model",
    "ModelArtifactError",
    "ModelsConfigError",
    "Prediction",
    "StorageError",
    "UnknownModelError",
    "UnsupportedAudioError",
    "__version__",
    "load_model",
    "predict",
]

_MODULE_OF = {"load_model": "api", "predict": "api", "Model": "model", "Prediction": "schemas"}
"""Public name -> the module that defines it; all others are errors."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name.startswith("__") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_MODULE_OF.get(name, 'errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
