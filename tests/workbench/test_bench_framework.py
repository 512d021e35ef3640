"""The benchmark of what a request takes beside its prediction, and its table in the docs."""

import json
from pathlib import Path

import pytest

from benchmarks import framework
from benchmarks.framework import BESIDE, FORM, PREDICTION, RAW, REST, WHOLE
from tests.conftest import noise
from tests.functions.test_api import wav

ROOT = Path(__file__).parents[2]
FIGURES = json.loads(framework.RESULTS.read_text(encoding="utf-8"))


def test_the_documentation_has_the_table_of_the_figures() -> None:
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert framework.table(FIGURES) in text
    assert f"medians of {FIGURES['rounds']} rounds" in text


@pytest.mark.parametrize("kind", [RAW, FORM])
def test_the_targets_that_the_documentation_names_are_met(kind: str) -> None:
    assert FIGURES["ms"][kind][BESIDE] < framework.TARGET_MS[kind]


def test_the_rest_is_what_no_step_accounts_for() -> None:
    steps = {WHOLE: 10.0, PREDICTION: 5.0, framework.EVENT: 1.0, framework.ANSWER: 0.5}
    assert framework.with_rest(steps)[REST] == 3.5
    assert framework.with_rest(steps | {framework.PARSED: 0.25})[REST] == 3.25


def test_every_step_is_measured(configured: Path) -> None:
    found = framework.measured(wav(noise(0, 1)), rounds=1)
    assert set(found) == {RAW, FORM}
    assert set(found[FORM]) == set(framework.ROWS) | {WHOLE}
    assert set(found[FORM]) - set(found[RAW]) == {framework.PARSED}
