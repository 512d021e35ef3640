"""The methods that are compared, in the order in which they are run and shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.detection import baselines, ours
from benchmarks.detection.protocol import Detector, Fit, with_threshold


@dataclass(frozen=True)
class Method:
    """packages : that it needs beside those of the project"""

    title: str
    fit: Callable[[Sequence[Path]], Detector]
    packages: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        return baselines.installed(*self.packages)


def _baseline(title: str, fit: Fit, *packages: str) -> Method:
    return Method(title, partial(with_threshold, fit), packages)


METHODS = {
    "oddsound": Method("oddsound", ours.fit),
    "mahalanobis": _baseline("Mahalanobis (Ledoit-Wolf)", baselines.mahalanobis),
    "nearest": _baseline("nearest neighbour", baselines.nearest),
    "lof": _baseline("local outlier factor", baselines.local_outlier_factor),
    "isolation_forest": _baseline("isolation forest", baselines.isolation_forest),
    "gmm": _baseline("GMM on frames", baselines.gmm),
    "autoencoder": _baseline("DCASE autoencoder", baselines.autoencoder),
    "pyod_embedding": _baseline("PyOD EmbeddingOD.for_audio", baselines.pyod_embedding, "pyod"),
    "pyod_autoencoder": _baseline("PyOD AudioAE", baselines.pyod_autoencoder, "pyod", "torch"),
}
"""The cheapest first, so that an interrupted run has most of the table."""
