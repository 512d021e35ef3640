"""SnapStart: what the snapshot of a version contains, and what it must not contain.

Lambda takes one snapshot of an initialised process and starts every execution environment from
it. They may share loaded models and libraries, but not connections, credentials or random states.
"""

import io
import logging
import random

from oddsound import runtime

logger = logging.getLogger(__name__)

SNAP_START = "snap-start"
SAMPLE_RATE_HZ = 44_100
"""Sample rate of the noise that is scored before the snapshot. It differs from the rate of every
model, so that the resampler is loaded too."""


def register() -> None:
    """Register the hooks around the snapshot, if Lambda is going to take one."""
    if runtime.settings().aws_lambda_initialization_type != SNAP_START:
        return
    try:
        # Part of Lambda's runtime; not available elsewhere.
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ModuleNotFoundError as error:
        logger.warning("the snapshot is taken without preparation: %s", error)
        return
    register_before_snapshot(before_snapshot)
    register_after_restore(after_restore)


def before_snapshot() -> None:
    """Load the default model, score half a second of noise with it, and close all connections."""
    from oddsound import pipeline

    try:
        model = runtime.registry().get()
        pipeline.predict(_noise(), model, runtime.limits())
    # A version can be published before its models are pushed; the first request reports the error.
    except Exception as error:
        logger.warning("the snapshot contains no model: %s: %s", type(error).__name__, error)
    finally:
        runtime.disconnect()


def after_restore() -> None:
    """Make this process differ from all others that start from the same snapshot."""
    random.seed()  # botocore uses it for the waiting time between two tries
    runtime.disconnect()
    runtime.registry().catalogue.expire()


def _noise() -> bytes:
    """Half a second of white noise as a WAV file."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2)
    soundfile.write(file, noise, SAMPLE_RATE_HZ, "PCM_16", format="WAV")
    return file.getvalue()
