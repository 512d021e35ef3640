"""Faults of channels, and that they do not change what is compared."""

import io

import numpy as np
import pytest
import soundfile

from oddsound import audio
from oddsound.audio import Recording
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.quality import warnings
from oddsound_workbench.synthesis import fan
from tests.conftest import noise

RATE = 16000
LIMITS = AudioLimits(max_bytes=50_000_000, max_duration_s=60)
SOUND = (np.round(fan(1, faulty=False, duration_s=4) * 32768) / 32768).astype(np.float32)
"""Without rounding in 16 bits."""


def load(
    *channels: Array, subtype: str = "PCM_16", kind: str = "WAV", rate: int = RATE
) -> Recording:
    file = io.BytesIO()
    soundfile.write(file, np.column_stack(channels), rate, subtype, format=kind)
    return audio.load(file.getvalue(), RATE, LIMITS)


def texts(recording: Recording) -> list[str]:
    return [fault.text for fault in warnings.faults(recording.quality, 7200)]


def array(seed: int = 0, coherence: float = 0.95) -> list[Array]:
    """Eight microphones at one machine: its sound, and noise in each channel."""
    rng = np.random.default_rng(seed)
    own = np.float32(SOUND.std() * np.sqrt(1 / coherence - 1))
    return [
        (SOUND * rng.uniform(0.5, 1.5) + own * rng.standard_normal(len(SOUND))).astype(np.float32)
        for _ in range(8)
    ]


def test_a_mono_file_is_decoded_bit_for_bit() -> None:
    np.testing.assert_array_equal(load(SOUND).waveform, SOUND)


def test_healthy_stereo_is_the_mean_bit_for_bit() -> None:
    left, right = noise(1), noise(2)
    decoded = load(left, right, subtype="FLOAT")
    np.testing.assert_array_equal(decoded.waveform, np.column_stack([left, right]).mean(axis=1))
    assert texts(decoded) == []
    assert decoded.quality.channels_used == [0, 1]


DEAD: dict[str, Array] = {
    "zeros": np.zeros_like(SOUND),
    "constant": np.full_like(SOUND, 0.4),
    "one bit": np.random.default_rng(1)
    .choice([3 / 32768, 4 / 32768], len(SOUND))
    .astype(np.float32),
}


@pytest.mark.parametrize("fault", DEAD)
@pytest.mark.parametrize("dead_first", [False, True])
def test_a_dead_channel_beside_a_good_one_is_left_out(fault: str, dead_first: bool) -> None:
    channels = [DEAD[fault], SOUND] if dead_first else [SOUND, DEAD[fault]]
    found = load(*channels)
    np.testing.assert_array_equal(found.waveform, SOUND)
    assert found.quality.channels_used == [int(dead_first)]
    assert texts(found) == [
        f"channel {1 - int(dead_first)} is silent and left out: check the cable and the microphone"
    ]


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_a_dead_channel_is_found_after_a_lossy_codec(kind: str) -> None:
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}[kind]
    assert list(load(SOUND, 0 * SOUND, subtype=subtype, kind=kind).quality.silent_from_s) == [1]


def test_dead_channels_of_an_array_are_left_out() -> None:
    channels = array()
    good = np.mean([c for i, c in enumerate(channels) if i not in (2, 5)], axis=0)
    channels[2], channels[5] = DEAD["zeros"], DEAD["constant"]
    found = load(*channels, subtype="FLOAT")
    np.testing.assert_allclose(found.waveform, good, rtol=0, atol=1e-6)
    assert found.quality.channels_used == [0, 1, 3, 4, 6, 7]
    assert texts(found)[0].startswith("channels 2 and 5 are silent and left out")


def test_if_all_channels_are_dead_none_is_left_out() -> None:
    found = load(DEAD["one bit"], DEAD["zeros"])
    assert found.quality.channels_used == [0, 1]


def test_dual_mono_is_the_mono_recording() -> None:
    found = load(SOUND, SOUND)
    np.testing.assert_array_equal(found.waveform, SOUND)
    assert texts(found) == []


def test_antiphase_stereo_is_the_mono_recording() -> None:
    found = load(SOUND, -SOUND)
    np.testing.assert_array_equal(found.waveform, SOUND)
    assert found.quality.inverted_channels == [1]
    assert texts(found) == ["channel 1 is inverted, which was corrected: check the wiring"]


@pytest.mark.parametrize("inverted", [0, 3, 7])
def test_an_inverted_channel_of_an_array_is_inverted(inverted: int) -> None:
    channels = array(coherence=0.98)
    expected = np.mean(channels, axis=0)
    channels[inverted] = -channels[inverted]
    found = load(*channels, subtype="FLOAT")
    np.testing.assert_allclose(found.waveform, expected, rtol=0, atol=1e-6)
    assert found.quality.inverted_channels == [inverted]


@pytest.mark.parametrize("coherence", [0.05, 0.3, 0.9])
def test_a_microphone_array_has_no_warning(coherence: float) -> None:
    found = load(*array(coherence=coherence), subtype="FLOAT")
    assert texts(found) == []
    assert found.quality.channels_used == list(range(8))


def test_microphones_at_different_machines_have_no_warning() -> None:
    channels = [fan(20 + seed, faulty=False, duration_s=4) for seed in range(8)]
    assert texts(load(*channels)) == []


def test_a_weak_channel_is_named_and_used() -> None:
    found = load(SOUND, SOUND / np.float32(20), subtype="FLOAT")
    assert texts(found) == ["channel 1 is 26 dB weaker than the others: check its cable and gain"]
    assert found.quality.channels_used == [0, 1]
    assert texts(load(SOUND, SOUND / np.float32(5), subtype="FLOAT")) == []


def test_a_channel_that_becomes_silent_is_left_out_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 2 * RATE)
    right = SOUND.copy()
    right[2 * RATE :] = 0
    found = load(SOUND, right)
    np.testing.assert_array_equal(found.waveform, SOUND)
    assert found.quality.silent_from_s == {1: 2}
    assert texts(found) == [
        "channel 1 became silent before 2 s and is left out from there: check the cable"
    ]


def test_the_sign_of_a_channel_stays_for_the_whole_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the second block, the channels are alike; the mix must not change its sign there."""
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 2 * RATE)
    right = -SOUND
    right[RATE:] = SOUND[RATE:]
    found = load(SOUND, right)
    np.testing.assert_array_equal(found.waveform[:RATE], SOUND[:RATE])
    np.testing.assert_array_equal(found.waveform[RATE:], 0 * SOUND[RATE:])


def test_silence_at_the_start_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 2 * RATE)
    silence = np.zeros(2 * RATE, np.float32)
    left, right = np.concatenate([silence, SOUND]), np.concatenate([silence, -SOUND])
    found = load(left, right)
    np.testing.assert_array_equal(found.waveform, left)
    assert found.quality.inverted_channels == [1]


def test_the_smallest_samples_of_a_float_file_have_a_correlation() -> None:
    quiet = SOUND[:RATE] * np.float32(1e-30)
    recording = load(quiet, -quiet, subtype="FLOAT")
    assert recording.quality.inverted_channels == [1]
    np.testing.assert_allclose(recording.waveform, quiet, rtol=1e-5, atol=0)
