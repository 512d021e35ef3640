"""The cache of features: what it depends on, and that no stale features can be read.

Each part that features depend on declares a version, and the cache is keyed by it. The numbers
that a version gives are stored in feature_versions.json. To store those of a new version:
`python -m tests.workbench.test_dataset`.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from oddsound import audio
from oddsound.default_features import DefaultExtractor
from oddsound.descriptors import Array
from oddsound.machine_features import MachineExtractor
from oddsound.windows import split
from oddsound_workbench.learn import augmentation, dataset, robustness
from oddsound_workbench.learn.dataset import ExtractionSettings
from oddsound_workbench.learn.recordings import unlabelled
from oddsound_workbench.synthesis import fan
from tests.media import remuxed, written

STORED = Path(__file__).parent / "feature_versions.json"
RTOL, ATOL = 1e-3, 1e-3
"""Tolerance between platforms. The sums of another BLAS differ by less than 1e-5."""

RATE = 16000


def statistics(waveform: Array) -> list[float]:
    """Length, level and a coarse shape of a waveform."""
    spectrum = np.abs(np.fft.rfft(waveform))
    bands = [float(np.sqrt(np.mean(part**2))) for part in np.array_split(spectrum, 8)]
    return [len(waveform), float(waveform.min()), float(waveform.max()), *bands]


def extracted() -> list[float]:
    return [float(value) for value in DefaultExtractor(RATE)(fan(1, faulty=True, duration_s=3))]


def extracted_for_detectors() -> list[float]:
    return [float(value) for value in MachineExtractor(RATE)(fan(1, faulty=True, duration_s=3))]


def augmented() -> list[float]:
    sound = fan(2, faulty=False, duration_s=3)
    return [
        value
        for seed in range(4)
        for value in statistics(augmentation.augment(sound, RATE, np.random.default_rng(seed)))
    ]


def degraded() -> list[float]:
    sound, found = fan(3, faulty=False, duration_s=1), []
    for condition in robustness.CONDITIONS:
        data = robustness.altered(sound, RATE, condition, [1])
        found += statistics(audio.load(data, RATE, dataset.LIMITS).waveform)
    return found


def decoded() -> list[float]:
    """Stereo files at another rate, one with an inverted channel; windows of a long recording."""
    sound = fan(4, faulty=False, duration_s=2)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stereo.wav"
        for gain in (0.5, -0.5):
            soundfile.write(path, np.column_stack([sound, gain * sound]), 22050, "PCM_16")
            found += statistics(audio.load(path, RATE, dataset.LIMITS).waveform)
    starts, size = split(10 * RATE, 3.0, RATE, DefaultExtractor(RATE))
    return [*found, *map(float, starts), float(size)]


PARTS: dict[str, tuple[str, str, Callable[[], list[float]]]] = {
    "DefaultExtractor.version": (
        "shared/oddsound/default_features.py",
        DefaultExtractor.version,
        extracted,
    ),
    "MachineExtractor.version": (
        "shared/oddsound/machine_features.py",
        MachineExtractor.version,
        extracted_for_detectors,
    ),
    "AUGMENTATION_VERSION": (
        "workbench/oddsound_workbench/learn/augmentation.py",
        augmentation.AUGMENTATION_VERSION,
        augmented,
    ),
    "ROBUSTNESS_VERSION": (
        "workbench/oddsound_workbench/learn/robustness.py",
        robustness.ROBUSTNESS_VERSION,
        degraded,
    ),
    "DECODING_VERSION": (
        "workbench/oddsound_workbench/learn/dataset.py",
        dataset.DECODING_VERSION,
        decoded,
    ),
}
"""Each declared version: its file, its value, and numbers that depend on the code behind it."""


def problem(part: str, stored: dict[str, Any]) -> str:
    """Why a declared version does not fit its numbers, and what to do; "" if it does."""
    file, version, compute = PARTS[part]
    update = "run `python -m tests.workbench.test_dataset` to store the new numbers"
    found, expected = np.array(compute()), np.array(stored[part]["numbers"])
    same = found.shape == expected.shape and np.allclose(found, expected, RTOL, ATOL)
    if version != stored[part]["version"]:
        return f"{part} is new ({version!r}): {update}"
    if not same:
        return (
            f"the numbers behind {part} have changed, and it is still {version!r}: features in the"
            f" caches of users would be stale. Raise {part} in {file}, then {update}"
        )
    return ""


@pytest.mark.parametrize("part", PARTS)
def test_changed_numbers_need_a_new_version(part: str) -> None:
    assert problem(part, json.loads(STORED.read_text())) == ""


def test_a_change_without_a_new_version_is_found() -> None:
    stored = json.loads(STORED.read_text())
    stored["DefaultExtractor.version"]["numbers"][0] += 0.1
    assert "Raise DefaultExtractor.version in shared" in problem("DefaultExtractor.version", stored)


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Empties the cache, and lists the files whose features are computed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    computed: list[Path] = []
    extract = dataset._extract

    def watched(path: Path, settings: ExtractionSettings) -> Array:
        computed.append(path)
        return extract(path, settings)

    monkeypatch.setattr(dataset, "_extract", watched)
    return computed


def test_features_are_computed_once_for_each_content(
    recordings: Path, extractions: list[Path]
) -> None:
    found = unlabelled(recordings / "faulty", "faulty")
    first = dataset.rows_of(found, ExtractionSettings(RATE, 2.0))
    again = dataset.rows_of(found, ExtractionSettings(RATE, 2.0))
    assert len(extractions) == len(found)
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize(
    ("target", "attribute", "settings", "recomputed"),
    [
        (DefaultExtractor, "version", ExtractionSettings(RATE, 2.0), True),
        (dataset, "DECODING_VERSION", ExtractionSettings(RATE, 2.0), True),
        (augmentation, "AUGMENTATION_VERSION", ExtractionSettings(RATE, 2.0, copies=1), True),
        (augmentation, "AUGMENTATION_VERSION", ExtractionSettings(RATE, 2.0), False),
        (robustness, "ROBUSTNESS_VERSION", ExtractionSettings(RATE, 2.0).under("rate_8_khz"), True),
        (robustness, "ROBUSTNESS_VERSION", ExtractionSettings(RATE, 2.0), False),
    ],
)
def test_a_new_version_of_a_part_that_was_used_makes_cached_features_invalid(
    recordings: Path,
    extractions: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    target: object,
    attribute: str,
    settings: ExtractionSettings,
    recomputed: bool,
) -> None:
    found = unlabelled(recordings / "faulty", "faulty")[:2]
    dataset.rows_of(found, settings)
    monkeypatch.setattr(target, attribute, "another")
    dataset.rows_of(found, settings)
    assert len(extractions) == (4 if recomputed else 2)


def test_a_damaged_cache_file_is_computed_again(
    recordings: Path, extractions: list[Path], tmp_path: Path
) -> None:
    found = unlabelled(recordings / "faulty", "faulty")[:1]
    first = dataset.rows_of(found, ExtractionSettings(RATE, 2.0))
    (cached,) = (tmp_path / "cache").rglob("*.npy")
    cached.write_bytes(b"damaged")
    again = dataset.rows_of(found, ExtractionSettings(RATE, 2.0))
    assert len(extractions) == 2
    np.testing.assert_array_equal(again.values, first.values)


def test_features_are_computed_without_a_writable_cache(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = unlabelled(recordings / "faulty", "faulty")[:1]
    assert len(dataset.rows_of(found, ExtractionSettings(RATE, 2.0)).values) == 1


def test_the_container_of_a_recording_makes_no_difference(tmp_path: Path) -> None:
    unfinished = bytearray(written("FLAC"))
    # The low 36 bits of the eight bytes from 18 on are the number of samples; 0 means unknown.
    unfinished[21] &= 0xF0
    unfinished[22:26] = bytes(4)
    files = {
        "a.wav": written("WAV"),
        "b.wav": b"BW64" + written("RF64")[4:],
        "c.flac": bytes(unfinished),
        "d.oga": remuxed(written("FLAC"), "flac", "ogg"),
        "e.mka": remuxed(written("FLAC"), "flac", "matroska"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = unlabelled(tmp_path, "normal")
    assert [recording.path.name for recording in found] == list(files)
    assert dataset.summarize_headers(found).durations_s == [2.0] * len(files)
    for settings in (
        ExtractionSettings(RATE, 1.0),
        ExtractionSettings(RATE, 2.0).under(robustness.OGG),
    ):
        values = dataset.rows_of(found, settings).values.reshape(len(files), -1)
        np.testing.assert_array_equal(values, values[:1].repeat(len(files), axis=0))


def main() -> None:
    """Store the numbers of every declared version."""
    stored = {
        part: {"version": version, "numbers": [float(f"{value:.6g}") for value in compute()]}
        for part, (_, version, compute) in PARTS.items()
    }
    STORED.write_text(json.dumps(stored) + "\n")
    sys.stdout.write(f"{STORED}\n")


if __name__ == "__main__":
    main()
