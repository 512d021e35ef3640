"""Machines and times in keys and file names."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from oddsound.errors import InvalidMachineError
from oddsound.machines.naming import (
    check_machine_id,
    check_pattern,
    machine_of_key,
    time_of_name,
)
from tests.machines.conftest import MONDAY

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("key", "machine"),
    [
        ("hall-3/pump-07/2026-11-23.wav", "hall-3/pump-07"),
        ("hall 3/Lüfter+1.wav", "hall 3"),
        ("pump.wav", None),
        ("/pump.wav", None),
        ("a//pump.wav", None),
        ("a/../pump.wav", None),
        ("a/history/pump.wav", None),
        ("a/\x01/pump.wav", None),
        (f"{'a' * 201}/pump.wav", None),
        ("uploads/01234567-89ab-cdef-0123-456789abcdef/pump.wav", None),
        ("models/fan/01234567-89ab-cdef-0123-456789abcdef/pump.wav", None),
        ("models/fan/pump.wav", "models/fan"),
        ("uploads/pump.wav", "uploads"),
    ],
)
def test_the_folder_of_a_key_names_the_machine(key: str, machine: str | None) -> None:
    assert machine_of_key(key) == machine


@pytest.mark.parametrize(
    ("machine_id", "words"),
    [
        ("", "empty"),
        ("/a", "a part between slashes is empty"),
        ("a/", "a part between slashes is empty"),
        ("a/ b", "begins or ends with a space"),
        ("a\nb", "cannot be printed"),
        ("a/history", "history, acknowledge"),
        ("a" * 201, "201 characters, at most 200"),
    ],
)
def test_an_impossible_id_is_refused_with_the_reason(machine_id: str, words: str) -> None:
    with pytest.raises(InvalidMachineError, match=words) as caught:
        check_machine_id(machine_id)
    assert "hall-3/pump-07" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "hall-3/pump-07/2026-11-23T10-00-00.wav",
        "2026-11-23T10:00:00Z.flac",
        "2026-11-23 10.00.00.wav",
        "pump_2026-11-23_1000.wav",
        "20261123_100000.WAV",
        "pump-07-20261123T100000Z.wav",
        "pump 20261123-1000.wav",
        "20261123100000.ogg",
        "archive/2020-01-01T00-00/2026-11-23T10-00-00.wav",
        "SN99999999999999_20261123_100000.wav",
    ],
)
def test_usual_forms_of_a_time_are_read(name: str) -> None:
    assert time_of_name(name, None, UTC) == MONDAY


@pytest.mark.parametrize(
    "name",
    [
        "pump.wav",
        "2026-11-23.wav",
        "20261123.wav",
        "99999999999999.wav",
        "20261399_250000.wav",
        "1202611231000009.wav",
        "2026-02-30T10-00-00.wav",
    ],
)
def test_what_is_no_time_is_not_read(name: str) -> None:
    assert time_of_name(name, None, UTC) is None


def test_a_time_is_in_the_zone_of_the_setting_unless_it_says_its_own() -> None:
    assert time_of_name("2026-07-01T12-00-00.wav", None, BERLIN) == datetime(
        2026, 7, 1, 10, tzinfo=UTC
    )
    assert time_of_name("2026-07-01T12-00-00Z.wav", None, BERLIN) == datetime(
        2026, 7, 1, 12, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("%d%m%y-%H%M", "pump 231126-1000.wav"),
        ("%d.%m.%Y_%H.%M", "a/b/23.11.2026_10.00.wav"),
        ("%Y/%m/%d/%H-%M", "pump/2026/11/23/10-00.wav"),
        ("%Y%j%H", "2026327 10 202632710.wav"),
        ("%b%d-%Y-%I%p", "Nov23-2026-10AM.wav"),
        ("%Y-%m-%dT%H%M%z", "2026-11-23T1200+0200.wav"),
    ],
)
def test_a_pattern_of_the_setting_is_read(pattern: str, name: str) -> None:
    assert time_of_name(name, check_pattern(pattern), UTC) == MONDAY


def test_a_name_that_does_not_match_the_pattern_has_no_time() -> None:
    assert time_of_name("2026-11-23T10-00-00.wav", "%d%m%y-%H%M", UTC) is None
    assert time_of_name("990099-1000.wav", "%d%m%y-%H%M", UTC) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("%Q", "%Q"), ("%Y%m%d%", "a % at its end"), ("%H%M", "neither %Y nor %y"), ("%Y", "%d")],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_pattern(pattern)
