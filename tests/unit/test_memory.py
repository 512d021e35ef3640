"""Memory that runs out in one recording is the reason of its refusal; the next one is scored."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound import memory
from oddsound.errors import AudioTooLargeError
from tests.conftest import noise

SCORE = """
import resource, sys
from oddsound import memory, pipeline, runtime
from oddsound.errors import AudioTooLargeError
from pathlib import Path

model = runtime.registry().get()
print(resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY)
used = memory._bytes(memory.STATUS.read_text(), "RssAnon")
memory.limit(used + memory.RESERVE_BYTES + 20_000_000)
for name in sys.argv[1:]:
    try:
        print(pipeline.predict(Path(name), model, runtime.limits()).prediction)
    except AudioTooLargeError as error:
        print(error)
"""
"""The first prediction of the process is already that of the recording that needs too much."""


def test_what_was_allocated_is_freed_when_memory_runs_out() -> None:
    freed: list[str] = []

    class Large:
        def __del__(self) -> None:
            freed.append("large")

    @memory.refusing_when_exhausted()
    def fill() -> None:
        large = Large()
        np.zeros(1 << 62, np.uint8)
        assert large

    with pytest.raises(AudioTooLargeError, match="too little memory"):
        fill()
    assert freed == ["large"]


@pytest.mark.slow
@pytest.mark.skipif(not memory.STATUS.exists(), reason="needs Linux's /proc")
def test_a_process_with_the_memory_of_a_function_survives_a_recording_that_needs_more(
    tmp_path: Path, configured: Path
) -> None:
    # A block of 64 channels needs 40 MB; the length of a recording does not matter.
    wide, short = tmp_path / "wide.wav", tmp_path / "short.wav"
    soundfile.write(wide, np.tile(noise(1, 6)[:, None], 64), 16000)
    soundfile.write(short, noise(2, 3), 16000)
    environment = {
        "MODELS_CONFIG_PATH": str(configured),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCORE, wide, short, wide, short],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    limited, first, second, third, fourth = done.stdout.splitlines()
    assert limited == "True"
    assert "too little memory" in first
    assert third == first
    assert (second, fourth) == ("anomaly", "anomaly")
