"""SnapStart: what is ready in the snapshot of a version, and what must not be in it.

Lambda takes one snapshot of an initialised process and starts every container from it. Loaded
models and libraries are for all of them; connections, credentials and random states are not.
"""

import io
import logging
import random

from oddsound import runtime

logger = logging.getLogger(__name__)

SNAP_START = "snap-start"
SAMPLE_RATE_HZ = 44_100
"""Of the noise that is scored before the snapshot; no model's own, so that it is resampled."""


def register() -> None:
    """Have Lambda prepare its snapshot, where this process is to be one; else do nothing."""
    if runtime.settings().aws_lambda_initialization_type != SNAP_START:
        return
    try:
        # Part of Lambda's runtime, and of no other place.
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ModuleNotFoundError as error:
        logger.warning("the snapshot is taken as it is: %s", error)
        return
    register_before_snapshot(before_snapshot)
    register_after_restore(after_restore)


def before_snapshot() -> None:
    """Load the default model, score half a second of noise with it, and close all connections."""
    from oddsound import pipeline

    try:
        model = runtime.registry().get()
        pipeline.predict(_noise(), model, runtime.limits())
    # A version must come into being before its models do: the first call says what is wrong.
    except Exception as error:
        logger.warning("no model is in the snapshot: %s: %s", type(error).__name__, error)
    finally:
        runtime.disconnect()


def after_restore() -> None:
    """Make this process differ from all others that began as the same snapshot."""
    random.seed()  # botocore waits by it between two tries
    runtime.disconnect()
    runtime.registry().look_again()


def _noise() -> bytes:
    """Half a second of white noise as a WAV file."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2)
    soundfile.write(file, noise, SAMPLE_RATE_HZ, "PCM_16", format="WAV")
    return file.getvalue()
