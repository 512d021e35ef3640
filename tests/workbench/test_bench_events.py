"""The benchmark of events: what is injected, how it is counted, resuming, tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.events import inject, measure, run, scoring, tables
from benchmarks.events.inject import INJECT, LEVELS, STRONG, WEAK, Fault
from oddsound.descriptors import Array
from oddsound.schemas import Event
from oddsound_workbench.synthesis import fan, write_fan

pytestmark = pytest.mark.slow

RATE = 16000


def sound(seed: int = 1) -> Array:
    return fan(seed, faulty=False, duration_s=6)


def event(kind: str, start_s: float, end_s: float) -> Event:
    return Event.model_validate(
        {"kind": kind, "start_s": start_s, "end_s": end_s, "score": 1.5, "says": ""}
    )


@pytest.mark.parametrize("kind", INJECT)
@pytest.mark.parametrize("level", LEVELS)
def test_a_fault_changes_the_sound_only_at_its_time(kind: str, level: str) -> None:
    original = sound()
    kept = original.copy()
    changed, faults = inject.inject(original, RATE, kind, level, [0, 1])
    np.testing.assert_array_equal(original, kept)
    inside = np.zeros(len(changed), dtype=bool)
    for fault in faults:
        assert fault.kind == kind
        assert 0 <= fault.start_s < fault.end_s <= 6
        inside[round(fault.start_s * RATE) : round(fault.end_s * RATE)] = True
    difference = np.abs(changed - (original - original.mean(dtype=np.float64)))
    assert difference[~inside].max() < 1e-6
    assert difference[inside].max() > 0.001
    again, _ = inject.inject(original, RATE, kind, level, [0, 1])
    np.testing.assert_array_equal(changed, again)


@pytest.mark.parametrize(("level", "ratio"), [(STRONG, 10.0), (WEAK, 1.0)])
@pytest.mark.parametrize("kind", ["impact", "tone"])
def test_the_energy_is_relative_to_the_sound_at_the_same_time(
    kind: str, level: str, ratio: float
) -> None:
    original = sound()
    centred = original - original.mean(dtype=np.float64)
    changed, faults = inject.inject(original, RATE, kind, level, [0, 2])
    for fault in faults:
        start = round(fault.start_s * RATE)
        stop = round(0.03 * RATE) + start if kind == "impact" else round(fault.end_s * RATE)
        added = np.square(changed[start:stop] - centred[start:stop]).mean()
        assert added / np.square(centred[start:stop]).mean() == pytest.approx(ratio, rel=0.01)


def test_a_strong_dropout_is_a_mute_and_a_weak_one_is_10_db_quieter() -> None:
    centred = sound() - sound().mean(dtype=np.float64)
    for level, gain in ((STRONG, 0), (WEAK, 10**-0.5)):
        changed, faults = inject.inject(sound(), RATE, "dropout", level, [3])
        part = slice(round(faults[0].start_s * RATE), round(faults[0].end_s * RATE))
        np.testing.assert_allclose(changed[part], gain * centred[part], atol=1e-6)


@pytest.mark.parametrize(
    ("found", "hits", "false", "any_kind"),
    [
        ([("impact", 1.04, 1.1), ("impact", 3.0, 3.1)], 2, 0, 2),
        ([("impact", 1.06, 1.1)], 0, 1, 0),
        ([("impact", 1.0, 1.1), ("impact", 1.02, 1.1)], 1, 1, 1),
        ([("tone", 1.0, 1.1)], 0, 0, 1),
        ([], 0, 0, 0),
    ],
)
def test_knocks_are_compared_by_their_start(
    found: list[tuple[str, float, float]], hits: int, false: int, any_kind: int
) -> None:
    faults = [Fault("impact", 1.0, 1.25), Fault("impact", 3.0, 3.25)]
    counts = scoring.count([event(*each) for each in found], faults)
    assert counts == {"hits": hits, "misses": 2 - hits, "false": false, "any_kind": any_kind}


@pytest.mark.parametrize(
    ("start_s", "end_s", "hit"), [(1.2, 9, True), (1.5, 3, True), (2.5, 3.4, False)]
)
def test_tones_are_compared_by_start_or_overlap(start_s: float, end_s: float, hit: bool) -> None:
    counts = scoring.count([event("tone", start_s, end_s)], [Fault("tone", 1.0, 3.0)])
    assert counts["hits"] == hit


def test_f1() -> None:
    assert scoring.f1({"hits": 6, "misses": 2, "false": 1}) == pytest.approx(12 / 15)
    assert scoring.f1({"hits": 0, "misses": 0, "false": 0}) == 0


def test_joined_recordings_have_one_level_and_no_clicks() -> None:
    joined = measure.join([0.1 * sound(1), sound(2)], 800)
    assert len(joined) == 2 * 6 * RATE - 800
    halves = [np.square(part).mean() for part in np.split(joined, [6 * RATE])]
    assert halves[0] == pytest.approx(halves[1], rel=0.02)
    assert np.abs(np.diff(joined)).max() < 1.5 * np.abs(np.diff(joined[: 5 * RATE])).max()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    for seed in range(12):
        write_fan(folder / "pump" / "normal" / f"{seed:02}.wav", seed, faulty=False, duration_s=3)
    write_fan(folder / "pump" / "abnormal" / "0.wav", 90, faulty=True, duration_s=3)
    return folder


def test_a_run_is_reproducible_and_continues(
    machines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    run.main([str(machines), "--results", str(whole), "--splits", "2"])
    printed = capsys.readouterr().out
    for splits in ("1", "2"):
        run.main([str(machines), "--results", str(parts), "--splits", splits])
    assert whole.read_bytes() == parts.read_bytes()
    content = json.loads(whole.read_text())
    assert tables.tables(content) in printed
    first = content["sets"]["pump"]["methods"]["oddsound"][0]
    assert set(first["faults"]) == set(INJECT)
    assert first["clean"]["recording"]["recordings"] == 6
    for kind, counts in first["faults"].items():
        assert scoring.f1(counts[STRONG]) > 0.8, kind


def test_the_tables_show_sums_over_splits() -> None:
    counts = {"hits": 3, "misses": 1, "false": 0, "any_kind": 3}
    clean = {"recordings": 10, "without": 9, "seconds": 60.0, "events": {"impact": 2}}
    split = {
        "faults": {kind: dict.fromkeys(LEVELS, counts) for kind in INJECT},
        "clean": {"piece": clean, "recording": clean},
    }
    content = {"sets": {"pump": {"kind": "machine", "methods": {"oddsound": [split, split]}}}}
    faults, clean_rows = tables.tables(content).split("\n\n")
    assert faults.splitlines()[2].startswith("| pump | 0.86 | 0.86 |")
    assert clean_rows.splitlines()[2] == "| pump | 90 % | 90 % |  | 2.00 |"
    assert tables.tables({"sets": {}}) == ""
