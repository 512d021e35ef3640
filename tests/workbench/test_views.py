"""How the views of a detector are fitted and calibrated."""

import numpy as np
import pytest
from scipy import stats

from oddsound.features import extractor
from oddsound.predictors import Floats
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import views
from oddsound_workbench.learn.fitted import FeatureChoice

CHOICE = FeatureChoice.of(extractor("machine", 16000), fixed_gain=False)


def normal(count: int, seed: int = 0) -> Floats:
    """Features that depend on each other, as those of real recordings do."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(count, 5)) @ np.random.default_rng(1).normal(size=(5, 306))
    return np.asarray(causes + rng.normal(size=(count, 306)))[:, : len(CHOICE.kept)]


def groups(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("recordings", [4, 6, 10, 20, 40])
def test_about_one_new_normal_score_in_ten_is_above_the_threshold(recordings: int) -> None:
    """On average over many small samples of a normal distribution."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        scores = views._limited(rng.normal(size=recordings))
        location, scale, df = views._calibrate(scores, recordings, 0.9)
        rates.append(stats.norm.sf(location + scale * stats.t.ppf(0.9, df)))
    assert 0.05 < np.mean(rates) < 0.15


def test_a_shift_of_one_family_is_found_by_its_view() -> None:
    train, new = normal(30), normal(30, seed=2)
    scaler, detector = views.fit_views(train, groups(30), CHOICE.families, 0.9)
    limit = detector.scores_of(np.array(0.1))
    assert (detector.scores(scaler.transform(new)) > limit).mean() < 0.25
    for name, place in (("log_mel", 0), ("shape", 1), ("rhythm", 2)):
        faulty = new.copy()
        faulty[:, CHOICE.families[name]] += 10 * np.random.default_rng(3).normal(
            size=len(CHOICE.families[name])
        )
        scaled = scaler.transform(faulty)
        assert (detector.scores(scaled) > limit).all()
        distances = [view.standardised(view.distance(scaled)).mean() for view in detector.views]
        assert distances[place] > 3


def test_recordings_of_one_group_are_left_out_together() -> None:
    """A copy of a recording in the training part would make its distance too small."""
    train = np.repeat(normal(8), 3, axis=0)
    names = np.repeat(groups(8), 3).tolist()
    together = views.fit_views(train, names, CHOICE.families, 0.9)[1]
    apart = views.fit_views(train, groups(24), CHOICE.families, 0.9)[1]
    assert together.recordings == 8
    assert together.views[0].mean > apart.views[0].mean + 0.5


def test_a_feature_that_hardly_varies_by_chance_gets_no_weight_from_that() -> None:
    train = normal(5)
    train[:, CHOICE.families["log_mel"][0]] = 1.0
    scaler = views.fit_scaler(train, CHOICE.families)
    levels = scaler.scale_[CHOICE.families["log_mel"]]
    assert levels[0] >= views.MIN_DEVIATION * np.median(levels)


def test_identical_recordings_are_refused() -> None:
    with pytest.raises(FolderError, match="the normal recordings are all the same"):
        views.fit_views(np.ones((6, len(CHOICE.kept))), groups(6), CHOICE.families, 0.9)
