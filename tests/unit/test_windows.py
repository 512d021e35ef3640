"""Windows of a recording, and their features while the recording arrives in blocks."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from oddsound.descriptors import Array
from oddsound.features import EXTRACTORS, FeatureExtractor, extractor
from oddsound.framewise import FramewiseExtractor
from oddsound.windows import WindowCutter, split
from oddsound_workbench.synthesis import fan
from tests.conftest import noise

RATE = 16000


class TestSplit:
    """Windows of a recording, in samples."""

    @pytest.mark.parametrize(
        ("samples", "window_s", "starts", "size"),
        [
            (100, None, [0], 100),
            (1, 10.0, [0], 1),
            (90, 10.0, [0], 90),
            (100, 10.0, [0], 100),
            (150, 10.0, [0], 150),
            (151, 10.0, [0, 51], 100),
            (200, 10.0, [0, 100], 100),
            (201, 10.0, [0, 50, 101], 100),
            (300, 10.0, [0, 100, 200], 100),
            (1000, 10.0, list(range(0, 1000, 100)), 100),
        ],
    )
    def test_starts_and_size_of_the_windows(
        self, samples: int, window_s: float | None, starts: list[int], size: int
    ) -> None:
        assert split(samples, window_s, 10) == (starts, size)

    @pytest.mark.parametrize("samples", [151, 999, 16001, 57_600_000])
    def test_the_windows_cover_every_sample_and_stay_inside_the_recording(
        self, samples: int
    ) -> None:
        starts, size = split(samples, 10.0, 10)
        assert starts[0] == 0
        assert starts[-1] + size == samples
        steps = np.diff(starts)
        assert steps.min() > 0
        assert steps.max() <= size
        assert steps.max() - steps.min() <= 1
        assert all(type(start) is int for start in starts)

    @pytest.mark.parametrize("name", EXTRACTORS)
    @pytest.mark.parametrize("samples", [24_001, 37_123, 40_000, 160_000, 479_999])
    def test_windows_that_overlap_by_a_frame_share_the_grid_of_its_hops(
        self, name: str, samples: int
    ) -> None:
        frames = extractor(name, RATE)
        assert isinstance(frames, FramewiseExtractor)
        plain, window = split(samples, 1.0, RATE)
        starts, size = split(samples, 1.0, RATE, frames)
        assert len(starts) == len(plain)
        assert starts[0] == 0
        assert starts[-1] + size == samples
        if window - np.diff(plain).max() < frames.n_fft:
            assert (starts, size) == (plain, window)
            return
        assert window <= size < window + frames.hop_length
        assert {start % frames.hop_length for start in starts} == {0}
        np.testing.assert_allclose(starts, plain, rtol=0, atol=1.5 * frames.hop_length)


class Peaks:
    """An extractor that is no FramewiseExtractor: the largest samples of both halves."""

    version, min_samples = "1", 2
    names: tuple[str, ...] = ("first", "second")

    def __call__(self, waveform: Array) -> Array:
        return np.array([half.max() for half in np.array_split(waveform, 2)], np.float32)


def blocks_of(waveform: Array, sizes: Callable[[], int]) -> Iterator[Array]:
    start = 0
    while start < len(waveform):
        size = sizes()
        yield waveform[start : start + size].copy()
        start += size


def odd_sizes() -> Callable[[], int]:
    chance = np.random.default_rng(3)
    return lambda: int(chance.choice([1, 17, 511, 5000, 33_333]))


SIZES: dict[str, Callable[[], Callable[[], int]]] = {
    "at once": lambda: lambda: 1 << 30,
    "blocks": lambda: lambda: 7_777,
    "samples": lambda: lambda: 1,
    "odd": odd_sizes,
}


class TestWindowCutter:
    """The same features as those of each window alone."""

    @pytest.mark.parametrize(
        ("seconds", "sizes"),
        [
            *product((0.064, 1.4, 2.0, 2.345, 3.6), ("at once", "blocks", "odd")),
            (0.064, "samples"),  # one by one is slow
            (1.6, "samples"),
        ],
    )
    @pytest.mark.parametrize("name", [*EXTRACTORS, "without frames"])
    def test_blocks_of_any_size_give_the_features_of_each_window(
        self, name: str, seconds: float, sizes: str
    ) -> None:
        peaks: Any = Peaks()
        extract: FeatureExtractor = extractor(name, RATE) if name in EXTRACTORS else peaks
        sound = fan(1, faulty=True, duration_s=4)[: round(seconds * RATE)]
        sound += noise(2, 4)[: len(sound)] * np.float32(0.01) + np.float32(0.1)
        starts, size = split(len(sound), 1.0, RATE, extract)
        cutter = WindowCutter(extract, starts, size)
        found = [row for block in blocks_of(sound, SIZES[sizes]()) for row in cutter.feed(block)]
        expected = [extract(sound[start : start + size]) for start in starts]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("name", EXTRACTORS)
    def test_frames_that_windows_share_are_computed_once(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extract = extractor(name, RATE)
        assert isinstance(extract, FramewiseExtractor)
        computed = 0
        measure = type(extract)._measure  # the only place where a spectrum is computed

        def counted(self: FramewiseExtractor, samples: Array, found: dict[str, Array]) -> None:
            nonlocal computed
            computed += self.count(len(samples))
            measure(self, samples, found)

        monkeypatch.setattr(type(extract), "_measure", counted)
        sound = noise(1, 16)
        starts, size = split(len(sound), 10.0, RATE, extract)
        assert len(starts) == 2
        cutter = WindowCutter(extract, starts, size)
        assert sum(len(cutter.feed(block)) for block in blocks_of(sound, odd_sizes())) == 2
        # `default` also has a frame of its own at both ends of each window, as librosa has, and
        # computes them together, with a frame between them.
        edges = 6 if name == "default" else 0
        assert computed == extract.count(len(sound)) + edges

    def test_the_samples_of_a_window_are_not_kept(self) -> None:
        extract = extractor("machine", RATE)
        starts, size = split(60 * RATE, 10.0, RATE, extract)
        cutter = WindowCutter(extract, starts, size)
        sound = noise(1, 10)
        for _ in range(6):
            for block in blocks_of(sound, lambda: 4000):
                cutter.feed(block)
                assert len(cutter._samples) < extract.min_samples
