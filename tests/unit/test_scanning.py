"""A recording that is read as a stream, compared with the same recording as a whole."""

import io
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound import audio, pipeline, runtime, scanning
from oddsound.decoding import Decoder, open_decoder
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.events.finder import find_events
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.predictors import Floats
from oddsound.windows import split
from oddsound_workbench.synthesis import fan
from tests.conftest import noise
from tests.unit.test_audio import WAV, encoded, without_length

RATE = 16000
LIMITS = AudioLimits(max_bytes=10**8, max_duration_s=3600)


def sound(seconds: float, rate: int = RATE) -> Array:
    """A fan that becomes faulty, with a knock."""
    parts = [fan(500 + i, faulty=i % 3 == 2, duration_s=5) for i in range(int(seconds / 5) + 1)]
    joined = np.concatenate(parts)[: round(seconds * RATE)]
    joined[RATE : RATE + 200] += noise(1)[:200]
    if rate == RATE:
        return joined
    return np.interp(
        np.arange(round(seconds * rate)) / rate, np.arange(len(joined)) / RATE, joined
    ).astype(np.float32)


@pytest.fixture(params=["fan", "bearing"])
def model(request: pytest.FixtureRequest, configured: Path) -> Model:
    return runtime.registry().get(request.param)


@pytest.mark.parametrize("block", [1 << 18, pytest.param(4567, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_stream_gives_the_features_and_events_of_the_whole_recording(
    model: Model, rate: int, kind: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(sound(7.3, rate), kind, rate=rate)
    waveform = audio.load(data, RATE, LIMITS).waveform
    starts, size = split(len(waveform), model.window_s, RATE, model.extractor)
    expected = model.features([waveform[start : start + size] for start in starts])
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", block)
    found = scanning.scan(data, model, LIMITS, keep_rows=True)
    assert (found.starts, found.size) == (starts, size)
    assert len(found.probabilities) == 0
    assert found.info.duration_s == pytest.approx(7.3, abs=1e-9)
    np.testing.assert_allclose(found.rows, expected, rtol=1e-3, atol=1e-3)
    scored = scanning.scan(data, model, LIMITS)
    assert len(scored.rows) == 0
    one_by_one = [model.probabilities(row[None], size / RATE)[0] for row in found.rows]
    np.testing.assert_allclose(scored.probabilities, one_by_one, rtol=1e-9, atol=1e-12)
    if model.events_reference:
        assert found.events == find_events(waveform, *model.events_reference)


def test_features_of_many_windows_are_not_kept(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(sound(20))
    expected = pipeline.predict(data, model, LIMITS).windows
    calls: list[int] = []
    probabilities = Model.probabilities

    def counted(self: Model, rows: Array, length_s: float) -> Floats:
        calls.append(len(rows))
        return probabilities(self, rows, length_s)

    monkeypatch.setattr(Model, "probabilities", counted)
    monkeypatch.setattr(scanning, "ROWS_PER_CALL", 3)
    monkeypatch.setattr(scanning, "PART_SAMPLES", 1 << 14)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 1 << 15)
    found = pipeline.predict(data, model, LIMITS).windows
    assert calls == [3, 3, 3, 1]
    assert found
    assert expected
    for one, other in zip(found, expected, strict=True):
        assert one.model_dump() == pytest.approx(other.model_dump(), abs=1e-4)


def test_a_wrong_or_missing_length_in_the_header_changes_nothing(model: Model) -> None:
    whole = encoded(sound(7.3), "FLAC")
    expected = pipeline.predict(whole, model, LIMITS)
    assert expected.windows
    found = pipeline.predict(without_length(whole), model, LIMITS)
    assert found.model_dump(exclude={"latency_ms"}) == expected.model_dump(exclude={"latency_ms"})


def test_a_length_that_is_too_long_is_found_by_counting(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(sound(7.3))
    expected = pipeline.predict(data, model, LIMITS)
    right = audio.RecordingStream.expected_samples
    monkeypatch.setattr(
        audio.RecordingStream, "expected_samples", lambda *of: (right(*of) or 0) + 5 * RATE
    )
    found = pipeline.predict(data, model, LIMITS)
    assert found.model_dump(exclude={"latency_ms"}) == expected.model_dump(exclude={"latency_ms"})


def test_a_file_that_grows_while_it_is_read_is_refused(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.raw"
    lengths = iter([2, 3])

    def open_and_grow(source: Path) -> AbstractContextManager[Decoder]:
        path.write_bytes(without_length(encoded(sound(next(lengths)), "FLAC")))
        return open_decoder(source)

    path.write_bytes(WAV)
    monkeypatch.setattr("oddsound.audio.open_decoder", open_and_grow)
    with pytest.raises(InvalidAudioError, match="the file changed while it was read"):
        scanning.scan(path, model, LIMITS)


def test_the_model_for_the_sample_rate_is_chosen_from_the_header(configured: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, sound(3, 8000), 8000, "PCM_16", format="WAV")
    model = runtime.registry().get("fan")
    found = scanning.scan(file.getvalue(), model, LIMITS)
    assert found.model is model.for_rate(8000)
    assert found.info.sample_rate == 8000
