"""How the views of a detector are fitted and calibrated."""

import numpy as np
import pytest
from scipy import stats

from oddsound.features import extractor
from oddsound.predictors import Floats
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import views
from oddsound_workbench.learn.fitted import FeatureChoice
from oddsound_workbench.learn.views import Sample, fit_views

CHOICE = FeatureChoice.of(extractor("machine", 16000), fixed_gain=False)


def normal(count: int, seed: int = 0) -> Floats:
    """Features that depend on each other, as those of real recordings do."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(count, 5)) @ np.random.default_rng(1).normal(size=(5, 306))
    return np.asarray(causes + rng.normal(size=(count, 306)))[:, : len(CHOICE.kept)]


def sample(values: Floats, names: list[str] | None = None, length_s: float = 10.0) -> Sample:
    return Sample(values, names or [str(number) for number in range(len(values))], length_s)


@pytest.mark.parametrize("recordings", [4, 6, 10, 20, 40])
def test_about_one_new_normal_score_in_ten_is_above_the_threshold(recordings: int) -> None:
    """On average over many small samples of a normal distribution."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        scores = views._limited(rng.normal(size=recordings))
        location, scale = views._calibrate(scores, recordings, 0.9, df=3)
        rates.append(stats.norm.sf(location + scale * stats.t.ppf(0.9, 3)))
    assert 0.05 < np.mean(rates) < 0.15


def test_a_shift_of_one_family_is_found_by_its_view() -> None:
    train, new = normal(30), normal(30, seed=2)
    scaler, detector = fit_views(sample(train), CHOICE.families, 0.9)
    limit = detector.scores_of(np.array(0.1))
    assert (detector.scores(scaler.transform(new)) > limit).mean() < 0.25
    for name, place in (("log_mel", 0), ("shape", 1), ("rhythm", 3)):
        faulty = new.copy()
        faulty[:, CHOICE.families[name]] += 10 * np.random.default_rng(3).normal(
            size=len(CHOICE.families[name])
        )
        scaled = scaler.transform(faulty)
        assert (detector.scores(scaled) > limit).all()
        means, deviations, _, _ = detector.calibration.at(None)
        distances = np.array([view.distance(scaled).mean() for view in detector.views])
        assert ((distances - means) / deviations)[place] > 3


def test_recordings_of_one_group_are_left_out_together() -> None:
    """A copy of a recording in the training part would make its distance too small."""
    train = np.repeat(normal(8), 3, axis=0)
    names = np.repeat([str(number) for number in range(8)], 3).tolist()
    together = fit_views(sample(train, names), CHOICE.families, 0.9)[1]
    apart = fit_views(sample(train), CHOICE.families, 0.9)[1]
    assert together.recordings == 8
    assert together.calibration.means[0, 0] > apart.calibration.means[0, 0] + 0.5


def test_a_feature_that_hardly_varies_by_chance_gets_no_weight_from_that() -> None:
    train = normal(5)
    train[:, CHOICE.families["log_mel"][0]] = 1.0
    scaler = views.fit_scaler(train, CHOICE.families)
    levels = scaler.scale_[CHOICE.families["log_mel"]]
    assert levels[0] >= views.MIN_DEVIATION * np.median(levels)


def test_identical_recordings_are_refused() -> None:
    with pytest.raises(FolderError, match="the normal recordings are all the same"):
        fit_views(sample(np.ones((6, len(CHOICE.kept)))), CHOICE.families, 0.9)


def test_short_windows_are_compared_with_short_windows() -> None:
    """Statistics of a window that is ten times shorter vary more: here by twice the deviation."""
    train, new = normal(30), normal(200, seed=2)
    rng = np.random.default_rng(4)

    def short(values: Floats) -> Floats:
        return np.asarray(values + 2 * rng.normal(size=values.shape))

    names = [str(number) for number in range(30)]
    shorter = Sample(np.repeat(short(train), 2, axis=0), np.repeat(names, 2).tolist(), 1.0)
    scaler, detector = fit_views(sample(train), CHOICE.families, 0.9, [shorter])
    limit = detector.scores_of(np.array(0.1))
    scaled = scaler.transform(short(new))
    assert (detector.scores(scaled, 10.0) > limit).mean() > 0.9
    assert (detector.scores(scaled, 1.0) > limit).mean() < 0.2
    assert detector.min_length_s == 1.0
    np.testing.assert_array_equal(detector.scores(scaled, 30.0), detector.scores(scaled))
