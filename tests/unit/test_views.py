"""The detector that compares distances in views, and its predictor."""

import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from oddsound import student
from oddsound.errors import ModelArtifactError
from oddsound.predictors import Floats, MahalanobisViews
from oddsound.schemas import ModelEntry
from oddsound.views import Calibration, View, ViewDetector, mean_of_largest

ENTRY = ModelEntry(model_path="model.joblib", threshold=0.9)


def detector(averaged: int = 1) -> ViewDetector:
    """Two views of two features each; distances of usual recordings have the logarithm 0."""
    first, second = (
        View(np.array(columns), np.eye(2, dtype=np.float32), handicap)
        for columns, handicap in (([0, 1], 0.0), ([2, 3], 0.25))
    )
    # Distances of windows of one second are larger by 1, and vary by twice as much.
    calibration = Calibration(
        lengths_s=np.array([1.0, 10.0]),
        means=np.array([[1.0, 1.0], [0.0, 0.0]]),
        deviations=np.array([[1.0, 1.0], [0.5, 0.5]]),
        locations=np.zeros(2),
        scales=np.ones(2),
    )
    return ViewDetector((first, second), calibration, 4.0, 10, 4, averaged)


def predictor() -> MahalanobisViews:
    return MahalanobisViews(detector().to_artifact(), None, ENTRY)


def p_values(*values: float) -> Floats:
    return np.column_stack([values, 1 - np.array(values)])


def combined(*values: float) -> float:
    return float(predictor().combine(p_values(*values))[0])


def test_a_distance_is_relative_to_the_number_of_features() -> None:
    rows = np.array([[1.0, 1.0, 0, 0], [3.0, 4.0, 0, 0]])
    found = detector().views[0].distance(rows)
    np.testing.assert_allclose(found, [0, np.log(5 / np.sqrt(2))], atol=1e-8)


def test_in_earlier_versions_the_larger_view_decides_and_the_second_has_a_handicap() -> None:
    rows = np.array([[np.e, np.e, 1, 1], [1, 1, np.e, np.e]])
    np.testing.assert_allclose(detector().scores(rows), [2.0, 1.75], atol=1e-6)


def test_the_mean_of_the_largest_views_decides() -> None:
    rows = np.array([[np.e, np.e, 1, 1], [1, 1, np.e, np.e], [np.e, np.e, np.e, np.e]])
    found = detector(averaged=2).scores(rows)
    np.testing.assert_allclose(found, [(2 - 0.25) / 2, 1.75 / 2, (2 + 1.75) / 2], atol=1e-6)
    distances = np.array([[3.0, -1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(mean_of_largest(distances, 2), [2.5, 4.5])


def test_the_artifact_of_an_earlier_version_is_used_as_it_was_made() -> None:
    """Its largest view decides."""
    artifact = detector().to_artifact()
    del artifact["averaged"]
    rows = np.array([[np.e, np.e, 1, 1]])
    found = ViewDetector.of_artifact(artifact, "model.joblib")
    np.testing.assert_allclose(found.scores(rows), [2.0], atol=1e-6)


@pytest.mark.parametrize(
    ("length_s", "score"),
    [(None, 4.0), (60.0, 4.0), (10.0, 4.0), (10**0.5, 2.0), (1.0, 1.0), (0.1, 1.0)],
)
def test_a_distance_is_compared_with_those_of_windows_of_its_length(
    length_s: float | None, score: float
) -> None:
    """Between two lengths, means and deviations are interpolated over the logarithm."""
    rows = np.exp([[2.0, 2.0, 0, 0]])
    np.testing.assert_allclose(detector().scores(rows, length_s), score, atol=1e-6)


def test_the_probability_of_normal_is_that_of_the_t_distribution() -> None:
    found = predictor().probabilities(np.array([[np.e, np.e, 1.0, 1.0]]))
    np.testing.assert_allclose(found[0, 0], stats.t.sf(2.0, 4), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_score_is_the_inverse_of_its_p_value() -> None:
    scores = np.array([-3.0, 0.0, 1.5, 50.0])
    np.testing.assert_allclose(detector().scores_of(detector().p_values(scores)), scores, rtol=1e-6)


def test_the_level_is_one_at_the_threshold_and_does_not_saturate() -> None:
    found = predictor()
    assert found.level(np.array([0.1, 0.9])) == pytest.approx(1)
    rows = np.array([[10.0, 10, 1, 1], [100.0, 100, 1, 1]])
    first, second = (found.level(row) for row in found.probabilities(rows))
    assert first is not None
    assert second is not None
    assert second == pytest.approx(2 * first, rel=1e-3)


def test_a_detector_whose_threshold_is_below_its_median_has_no_level() -> None:
    low = MahalanobisViews(
        detector().to_artifact(), None, ENTRY.model_copy(update={"threshold": 0.4})
    )
    assert low.level(np.array([0.1, 0.9])) is None


def test_one_clearly_anomalous_window_among_many_is_an_alarm() -> None:
    assert combined(*[0.5] * 59, 0.0001) == pytest.approx(60 * 0.0001 / 0.8)


def test_a_recording_that_is_anomalous_throughout_is_an_alarm_at_any_length() -> None:
    for count in (2, 60, 3600):
        assert combined(*[0.01] * count) == pytest.approx(0.01 / 0.8)


def test_normal_windows_are_no_alarm_at_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows drawn from the t distribution itself: at most 10 % of the recordings alarm."""
    monkeypatch.setattr(student, "FEW", 0)  # SciPy has the same values, of arrays in less time
    rng, found = np.random.default_rng(0), predictor()
    for count in (6, 60, 360):
        drawn = [p_values(*rng.uniform(size=count)) for _ in range(400)]
        alarms = [found.combine(each)[0] <= 0.1 for each in drawn]
        assert np.mean(alarms) <= 0.12


@pytest.mark.parametrize("artifact", [[1, 2], None, 3.0])
def test_another_artifact_is_refused_by_its_type(artifact: Any) -> None:
    kind = type(artifact).__name__
    with pytest.raises(ModelArtifactError, match=rf"model\.joblib contains {kind}; a dictionary"):
        MahalanobisViews(artifact, None, ENTRY)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("views", [], "views is missing"),
        ("views", [{"columns": np.arange(2)}], "views/0/whiten is missing"),
        ("calibration", None, "calibration is missing"),
        ("df", np.inf, "df is inf; above 0 is expected"),
        ("averaged", 3, "averaged is 3; there are 2 views"),
        ("averaged", 0, "averaged is 0; an integer from 1 on is expected"),
        ("df", "4", "df is '4'; a number is expected"),
        ("n_features_in_", 3, "views/1/columns has numbers from 2 to 3; 0 to 2 are possible"),
        ("n_features_in_", 4.5, "n_features_in_ is 4.5; an integer from 1 on is expected"),
    ],
)
def test_a_faulty_number_is_refused_by_its_name(name: str, value: Any, words: str) -> None:
    artifact = {**detector().to_artifact(), name: value}
    with pytest.raises(ModelArtifactError, match=rf"^model\.joblib: {re.escape(words)}"):
        MahalanobisViews(artifact, None, ENTRY)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("means", np.ones((2, 3)), "means has the shape (2, 3); (2, 2) is expected"),
        ("means", np.ones(2), "means has the shape (2); (2, 2) is expected"),
        ("means", np.array([[1, 2]]), "means contains int64; floating-point numbers are"),
        ("means", [1.0, 2.0], "means is [1.0, 2.0]; an array of floating-point numbers"),
        (
            "means",
            np.array([[1.0, 1], [1, np.nan]]),
            "means is nan at [1, 1]; a number is expected",
        ),
        ("deviations", np.array([[1.0, 0], [1, 1]]), "deviations is 0.0 at [0, 1]; above 0 is"),
        ("lengths_s", np.array([]), "lengths_s is []; ascending lengths are expected"),
    ],
)
def test_a_faulty_calibration_is_refused_by_its_name(name: str, value: Any, words: str) -> None:
    artifact = detector().to_artifact()
    calibration = {**artifact["calibration"], name: value}
    with pytest.raises(ModelArtifactError, match=rf"model\.joblib: calibration/{re.escape(words)}"):
        MahalanobisViews({**artifact, "calibration": calibration}, None, ENTRY)


def test_an_artifact_has_no_class_of_this_project() -> None:
    artifact = detector().to_artifact()
    assert {type(value).__module__ for value in artifact.values()} == {"builtins"}
    kinds = {type(value).__module__ for view in artifact["views"] for value in view.values()}
    assert kinds == {"builtins", "numpy"}
