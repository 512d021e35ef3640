"""The sentences about features are correct and complete."""

import pytest

from oddsound.explain.wording import FAMILIES, FEATURES, NUMBER, between, comparison, family
from oddsound.features import extractor

EXTRACTORS = [extractor(name, 16000) for name in ("default", "machine")]
NAMES = sorted({name for extract in EXTRACTORS for name in extract.names})


def test_exactly_the_existing_features_have_a_description() -> None:
    assert {NUMBER.sub("#", name) for name in NAMES} == set(FEATURES)


def test_the_families_exist_in_the_extractor() -> None:
    assert set(FAMILIES) < {family for extract in EXTRACTORS for family in extract.families}
    assert family("contrast") == "strength of tones over noise"
    assert family("rhythm") == "rhythm"


@pytest.mark.parametrize("name", NAMES)
def test_more_and_less_are_different_sentences(name: str) -> None:
    more, less = (comparison(name, larger, "normal") for larger in (True, False))
    assert more != less
    for sentence in (more, less):
        assert sentence[0].isupper()
        assert sentence.endswith(" than normal")
        assert "{" not in sentence


@pytest.mark.parametrize(
    ("name", "more", "band", "sentence"),
    [
        ("log_mel_26_mean", True, (2849, 3300), "Louder than normal between 2.8 and 3.3 kHz"),
        ("log_mel_0_mean", False, (50, 145), "Quieter than normal between 50 and 140 Hz"),
        (
            "contrast_0_mean",
            True,
            (0, 200),
            "Tones stand out from the noise more than normal below 200 Hz",
        ),
        (
            "modulation_3_0.5_1_hz",
            False,
            (837, 1372),
            "Loudness fluctuations (0.5 to 1 per second) are weaker than normal"
            " between 840 Hz and 1.4 kHz",
        ),
        (
            "energy_over_peak_mean",
            False,
            None,
            "More of the sound lies in a single tone than normal",
        ),
        (
            "active_share_30_db",
            False,
            None,
            "The sound is within 30 dB of its peak for less of the time than normal",
        ),
        ("bearing_wear", True, None, "bearing_wear is higher than normal"),
    ],
)
def test_sentences(name: str, more: bool, band: tuple[float, float] | None, sentence: str) -> None:
    assert comparison(name, more, "normal", band) == sentence


@pytest.mark.parametrize(
    ("low_hz", "high_hz", "words"),
    [
        (0, 100, "below 100 Hz"),
        (96, 145.2, "between 100 and 150 Hz"),
        (900, 997, "between 900 Hz and 1 kHz"),
        (6400, 8000, "between 6.4 and 8 kHz"),
        (10000, 22050, "between 10 and 22 kHz"),
    ],
)
def test_bands(low_hz: float, high_hz: float, words: str) -> None:
    assert between(low_hz, high_hz) == words
