"""What the recorder did to a recording: measured on recordings with known faults."""

import io
import json
import re

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.quality import warnings
from oddsound.quality.meter import SignalQuality
from oddsound.schemas import Signal
from oddsound_workbench.synthesis import fan
from tests.conftest import noise, sine
from tests.pages import blocks, page

RATE = 16000
TOP_HZ = 7200
LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)
SOUND = fan(1, faulty=False, duration_s=10)
"""Peaks near 0.15."""


def measured(
    samples: Array, subtype: str = "PCM_16", rate: int = RATE, kind: str = "WAV"
) -> SignalQuality:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=kind)
    return audio.load(file.getvalue(), RATE, LIMITS).quality


def warned(samples: Array, subtype: str = "PCM_16", rate: int = RATE, kind: str = "WAV") -> Signal:
    return warnings.signal(measured(samples, subtype, rate, kind), TOP_HZ, is_anomaly=None)


def kinds(
    samples: Array, subtype: str = "PCM_16", rate: int = RATE, kind: str = "WAV"
) -> list[str]:
    found = measured(samples, subtype, rate, kind)
    return [fault.kind for fault in warnings.faults(found, TOP_HZ)]


def without_sound(samples: Array, *stretches: tuple[int, int], value: float | None = 0) -> Array:
    """Samples with stretches of zeros, or of the last value before each."""
    found = samples.copy()
    for start, end in stretches:
        found[start:end] = samples[start - 1] if value is None else value
    return found


class TestCleanRecordings:
    """No warning without a fault."""

    @pytest.mark.parametrize(
        ("kind", "subtype"),
        [
            ("WAV", "PCM_16"),
            ("WAV", "PCM_U8"),
            ("WAV", "PCM_24"),
            ("WAV", "FLOAT"),
            ("WAV", "ULAW"),
            ("WAV", "IMA_ADPCM"),
            ("FLAC", "PCM_16"),
            ("OGG", "VORBIS"),
            ("MP3", "MPEG_LAYER_III"),
        ],
    )
    @pytest.mark.parametrize("seed", [1, 2])
    def test_in_every_format(self, kind: str, subtype: str, seed: int) -> None:
        for faulty in (False, True):
            assert kinds(fan(seed, faulty=faulty, duration_s=10), subtype, kind=kind) == []

    @pytest.mark.parametrize(
        "samples",
        [
            sine(50, 10) * np.float32(0.5),
            sine(1000, 10) * np.float32(0.9),
            sine(1, 10) * np.float32(0.03),
            np.sign(sine(50, 10)) * np.float32(0.5),
            np.sign(sine(20, 10)) * np.float32(0.5) + noise(1, 10) / 10,
            np.tanh(5 * sine(50, 10)) * np.float32(0.8),
            noise(1, 10),
            noise(1, 10) / 100,
            np.where(np.arange(160_000) % 8000 < 200, noise(3, 10), noise(2, 10) / 100),
        ],
        ids=["50 Hz", "1 kHz", "1 Hz", "square", "loud", "limited", "noise", "quiet", "knocks"],
    )
    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "FLOAT"])
    def test_of_sounds_with_repeated_peaks_steep_edges_and_pauses(
        self, samples: Array, subtype: str
    ) -> None:
        found = kinds(samples.astype(np.float32), subtype)
        # With 8 bits, the quiet sound has only a few values, which is true.
        assert set(found) <= ({"almost silent"} if subtype == "PCM_U8" else set())

    @pytest.mark.parametrize("order", [2, 4, 8])
    def test_of_a_machine_that_is_quiet_at_high_frequencies(self, order: int) -> None:
        low_pass = butter(order, 1500, fs=RATE, output="sos")
        quality = measured(sosfilt(low_pass, noise(1, 10)).astype(np.float32))
        assert quality.bandwidth_hz == 8000
        assert list(warnings.faults(quality, TOP_HZ)) == []


class TestClipping:
    @pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.4])
    @pytest.mark.parametrize("level", [1.0, 0.891, 0.3, 0.03], ids=["0", "-1", "-10", "-30 dB"])
    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
    def test_the_share_is_found_at_any_level(
        self, share: float, level: float, subtype: str
    ) -> None:
        limit = np.quantile(np.abs(SOUND), 1 - share)
        clipped = (SOUND / limit).clip(-1, 1 - 2**-15) * level
        true_share = np.mean(np.abs(SOUND) >= limit)
        assert measured(clipped, subtype).clipped_share == pytest.approx(true_share, rel=0.2)

    def test_one_side_is_enough(self) -> None:
        limit = np.quantile(SOUND, 0.95)
        found = warned(np.minimum(SOUND, limit))
        assert found.clipped_share == pytest.approx(0.05, rel=0.2)
        assert found.warnings == ["5 % of the samples are clipped: turn the recorder down"]

    def test_a_natural_peak_is_not_clipping(self) -> None:
        samples = SOUND.copy()
        samples[80_000] = 0.5
        assert measured(samples).clipped_share == 0

    def test_noise_that_changes_faster_than_flat_tops(self) -> None:
        samples = noise(1, 2)
        limit = np.quantile(np.abs(samples), 0.97)
        found = measured(samples.clip(-limit, limit)).clipped_share
        assert found == pytest.approx(0.03, rel=0.2)

    def test_a_higher_peak_later_shows_that_the_first_value_was_no_limit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", 8000)
        limit = np.quantile(np.abs(SOUND), 0.95)
        first = SOUND[:80_000].clip(-limit, limit)
        assert measured(np.concatenate([first, 2 * SOUND[80_000:]])).clipped_share == 0


class TestDropOuts:
    @pytest.mark.parametrize("block", [700, 5000, 1 << 18])
    @pytest.mark.parametrize("value", [0, None], ids=["zeros", "last value held"])
    def test_are_found_to_the_millisecond(
        self, block: int, value: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", block)
        stretches = [(16_000, 16_200), (40_000, 40_800), (99_990, 132_005)]
        found = warned(without_sound(SOUND, *stretches, value=value))
        times = [(each.start_s, each.end_s) for each in found.dropouts]
        expected = [(start / RATE, end / RATE) for start, end in stretches]
        np.testing.assert_allclose(times, expected, rtol=0, atol=1e-3)
        assert found.warnings[0].startswith("the recording has 3 drop-outs, the first at 1.00 s:")

    @pytest.mark.parametrize("rate", [8000, 44100, 96000])
    def test_times_do_not_depend_on_the_sample_rate(self, rate: int) -> None:
        sound = noise(1, 4, rate)
        (found,) = measured(without_sound(sound, (rate, rate + rate // 50)), rate=rate).dropouts
        assert found == pytest.approx((1, 1.02), abs=1e-3)

    def test_shorter_pauses_are_none(self) -> None:
        assert measured(without_sound(SOUND, (16_000, 16_140))).dropouts == []

    @pytest.mark.parametrize("block", [5000, 1 << 18])
    def test_silence_at_the_start_or_the_end_is_none(
        self, block: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", block)
        for stretch in ((0, 40_000), (120_000, 160_000)):
            found = warned(without_sound(SOUND, stretch))
            assert found.dropouts == []
            assert found.warnings == [
                "2.5 s of the 10.0 s are digital silence: send only the part with sound"
            ]

    def test_a_sound_that_fades_out_into_silence_is_none(self) -> None:
        fade = np.linspace(1, 0, 8000, dtype=np.float32) ** 3
        samples = without_sound(SOUND, (68_000, 100_000))
        samples[60_000:68_000] *= fade
        found = warned(samples)
        assert found.dropouts == []
        assert found.warnings[0].startswith("2.0 s of the 10.0 s are digital silence")

    def test_those_of_all_channels_are_joined(self) -> None:
        left = without_sound(SOUND, (16_000, 17_000), (50_000, 51_000))
        right = without_sound(SOUND, (16_500, 18_000))
        found = measured(np.column_stack([left, right])).dropouts
        np.testing.assert_allclose(found, [(1, 18 / 16), (3.125, 51 / 16)], rtol=0, atol=1e-3)

    def test_a_hundred_are_listed_and_all_are_counted(self) -> None:
        stretches = [(start, start + 320) for start in range(1000, 159_000, 1000)]
        found = measured(without_sound(SOUND, *stretches))
        assert len(found.dropouts) == 100
        assert found.dropout_count == len(stretches)


class TestOffsetAndLevel:
    @pytest.mark.parametrize("offset", [-0.3, 0.05, 0.3])
    def test_a_dc_offset_is_measured_and_named(self, offset: float) -> None:
        found = warned(SOUND - SOUND.mean() + np.float32(offset))
        assert found.dc_offset == pytest.approx(offset, abs=1e-4)
        assert found.warnings == [
            f"the samples have a DC offset of {offset:+.2f} of full scale: check the recorder's"
            " input"
        ]

    def test_offsets_of_two_channels_do_not_cancel(self) -> None:
        found = measured(np.column_stack([SOUND + 0.1, SOUND - 0.2]))
        assert found.dc_offset == pytest.approx(-0.2, abs=1e-3)

    @pytest.mark.parametrize("gain", [1e-3, 3e-4])
    def test_near_silence_is_named(self, gain: float) -> None:
        samples = SOUND * np.float32(gain)
        level = 20 * np.log10(samples.std())
        (text,) = warned(samples, "PCM_24").warnings
        assert text.startswith(f"the recording is almost silent ({level:.0f} dB of full scale)")

    def test_the_scale_of_a_float_file_is_not_known(self) -> None:
        assert kinds(SOUND * np.float32(1e-6) + np.float32(0), "FLOAT") == []
        assert kinds(SOUND * np.float32(100), "FLOAT") == []

    def test_few_steps_are_named(self) -> None:
        (text,) = warned(SOUND * np.float32(0.1), "PCM_U8").warnings
        assert re.match(r"the samples have only \d different values: turn the recorder up", text)


class TestBandwidth:
    @pytest.mark.parametrize("rate", [8000, 11025])
    def test_a_low_sample_rate_is_named(self, rate: int) -> None:
        quality = measured(soxr.resample(noise(1, 10), RATE, rate), rate=rate)
        assert quality.bandwidth_hz == pytest.approx(rate / 2, rel=0.05)
        (fault,) = warnings.faults(quality, TOP_HZ)
        assert "the model compares up to 7.2 kHz: record at 14.4 kHz or more" in fault.text

    @pytest.mark.parametrize("rate", [14400, 16000, 44100, 96000])
    def test_a_sufficient_sample_rate_is_not(self, rate: int) -> None:
        assert kinds(noise(1, 4, rate), rate=rate) == []

    @pytest.mark.parametrize("rate", [16000, 44100, 48000])
    @pytest.mark.parametrize("sound", [SOUND, noise(1, 10)], ids=["fan", "noise"])
    def test_what_passed_a_telephone_line_is_named(self, sound: Array, rate: int) -> None:
        line = soxr.resample(soxr.resample(sound, RATE, 8000), 8000, rate)
        quality = measured(line, rate=rate)
        assert quality.bandwidth_hz == pytest.approx(3900, abs=150)
        (fault,) = warnings.faults(quality, TOP_HZ)
        assert f"contains nothing above {quality.bandwidth_hz / 1000:.1f} kHz" in fault.text
        assert fault.text.endswith(
            "without a codec or telephone line that removes high frequencies"
        )

    def test_what_is_above_a_cliff_may_exceed_the_quantisation_noise(self) -> None:
        line = soxr.resample(soxr.resample(noise(1, 10), RATE, 8000), 8000, RATE)
        dithered = line + np.float32(1e-3) * line.std() * noise(2, 10)
        assert measured(dithered, "PCM_24").bandwidth_hz == pytest.approx(3900, abs=150)

    def test_a_drop_of_30_db_that_ends_in_sound_is_no_cliff(self) -> None:
        line = soxr.resample(soxr.resample(noise(1, 10), RATE, 8000), 8000, RATE)
        quiet = line + np.float32(0.03) * noise(2, 10)
        assert measured(quiet, "PCM_24").bandwidth_hz == RATE / 2

    def test_the_edge_of_an_mp3_is_measured_and_only_named_if_the_model_needs_more(self) -> None:
        low_pass = butter(20, 16_000, fs=48_000, output="sos")
        samples = sosfilt(low_pass, noise(1, 6, 48_000)).astype(np.float32)
        quality = measured(samples, rate=48_000)
        assert list(warnings.faults(quality, TOP_HZ)) == []


def test_the_last_warning_of_an_anomaly_names_the_faults_of_the_recorder() -> None:
    faulty = without_sound(np.minimum(SOUND, np.quantile(SOUND, 0.95)), (16_000, 17_000))
    quality = measured(faulty)
    texts = warnings.signal(quality, TOP_HZ, is_anomaly=True).warnings
    assert texts[-1] == (
        "the anomaly may come from the recorder, not from the machine: clipping, drop-outs"
    )
    assert warnings.signal(quality, TOP_HZ, is_anomaly=False).warnings == texts[:-1]
    clean = measured(SOUND)
    assert warnings.signal(clean, TOP_HZ, is_anomaly=True).warnings == []


@pytest.mark.parametrize("block", [3000, 5000, 20_000])
def test_one_block_or_many_give_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = np.quantile(np.abs(SOUND), 0.95)
    samples = without_sound(SOUND.clip(-limit, limit), (0, 9000), (30_000, 31_000)) + 0.05
    stereo = np.column_stack([samples, -samples + 0.1, 0 * samples])
    whole = measured(stereo)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", block * 3)
    parts = measured(stereo)
    assert parts.dropouts == whole.dropouts == [(30_000 / RATE, 31_000 / RATE)]
    assert parts.clipped_share == pytest.approx(whole.clipped_share, rel=0.02)
    assert parts.dc_offset == pytest.approx(whole.dc_offset, abs=1e-6)
    assert parts.level_db == pytest.approx(whole.level_db, abs=1e-3)
    assert parts.silence_s == whole.silence_s == 9000 / RATE
    assert parts.channels_used == whole.channels_used == [0, 1]
    assert parts.inverted_channels == whole.inverted_channels == [1]
    assert parts.silent_from_s == whole.silent_from_s == {2: 0}
    assert parts.bandwidth_hz == whole.bandwidth_hz


def test_the_example_of_the_page_has_the_fields_and_the_kinds_of_the_service() -> None:
    (example,) = (json.loads(block) for block in blocks("json", page("recordings")))
    signal = Signal.model_validate(example)
    assert list(example) == list(Signal.model_fields)
    samples = without_sound(SOUND.clip(-0.05, 0.05), (49_920, 50_720))
    quality = measured(np.column_stack([samples, 0 * samples]))
    written, found = signal.warnings, warnings.signal(quality, TOP_HZ, is_anomaly=True).warnings
    assert found[1:] == written[1:]
    assert found[0].partition(" of ")[2] == written[0].partition(" of ")[2]
