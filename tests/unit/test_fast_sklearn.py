"""The NumPy methods give scikit-learn's results, or scikit-learn's own method is used."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, OneClassSVM

from oddsound.fast_sklearn import Rows, UnsupportedEstimatorError, fast_method, translate
from tests.making import features

CLASSES = {2: np.tile(np.repeat([0, 1], 6), 2), 4: np.tile([0, 1, 2, 3], 6)}
PATH = "fan/model.joblib"


def unseen(rows: Rows) -> Rows:
    """Rows that were not fitted: the means of pairs, and rows far from all others."""
    near = (rows + np.roll(rows, 1, axis=0)) / 2
    return np.concatenate([near, rows.mean(axis=0) + 6 * (rows - rows.mean(axis=0))])


ROWS = unseen(features().astype(np.float64))
SCALED = StandardScaler().fit_transform(ROWS)


def pipeline(*steps: Any) -> Pipeline:
    return Pipeline([(str(number), step) for number, step in enumerate(steps)])


def svc(**settings: Any) -> SVC:
    return SVC(C=3.0, **settings)


def lda() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)


def calibrated(estimator: Any, **settings: Any) -> CalibratedClassifierCV:
    return CalibratedClassifierCV(
        estimator, method="temperature", cv=3, **{"ensemble": False, **settings}
    )


def vote(voting: str = "soft", **settings: Any) -> VotingClassifier:
    voters = [("svc", calibrated(svc())), ("lda", lda()), ("third", lda())]
    return VotingClassifier(voters, voting=voting, **settings)


SCALERS = {
    "standard": StandardScaler(),
    "deviation": StandardScaler(with_mean=False),
    "mean": StandardScaler(with_std=False),
    "range": MinMaxScaler((-1, 2)),
    "clip": MinMaxScaler((-1, 2), clip=True),
    "pca": PCA(5),
    "standard, pca": pipeline(StandardScaler(), PCA(5)),
    "pca, standard, range": pipeline(PCA(5), StandardScaler(), MinMaxScaler()),
    "pca, pca": pipeline(PCA(5), PCA(3)),
    "as our detectors'": pipeline(
        MinMaxScaler((-1, 2), clip=True), StandardScaler(with_mean=False)
    ),
    "pipeline in a pipeline": pipeline(pipeline(StandardScaler()), PCA(5)),
}
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "lda": lda,
    "tempered svc": lambda: calibrated(svc()),
    "tempered lda": lambda: calibrated(lda()),
    "vote": vote,
    "weighted vote": lambda: vote(weights=[3, 1, 2]),
    "vote without one": lambda: vote(weights=[3, 1, 2]).set_params(lda="drop"),
    "tempered vote": lambda: calibrated(vote()),
}


@pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)
def test_scalers(scaler: Any) -> None:
    scaler.fit(ROWS)
    expected = scaler.transform(unseen(ROWS))
    found = translate(scaler, "transform").function(unseen(ROWS))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", CLASSES)
@pytest.mark.parametrize("made", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers(made: Callable[[], Any], count: int) -> None:
    classifier = made().fit(SCALED, CLASSES[count])
    expected = classifier.predict_proba(unseen(SCALED))
    found = translate(classifier, "predict_proba").function(unseen(SCALED))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("count", CLASSES)
def test_a_frozen_estimator_gives_the_results_of_the_wrapped_one(count: int) -> None:
    frozen = FrozenEstimator(svc().fit(SCALED, CLASSES[count]))
    classifier = calibrated(frozen, ensemble="auto").fit(SCALED, CLASSES[count])
    expected = classifier.predict_proba(unseen(SCALED))
    found = translate(classifier, "predict_proba").function(unseen(SCALED))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_the_decisions_of_an_svc(count: int) -> None:
    classes = np.arange(24) % count
    machine = svc(gamma=0.01).fit(SCALED, classes)
    expected = machine.decision_function(unseen(SCALED))
    found = translate(machine, "decision_function").function(unseen(SCALED))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_one_class_svm() -> None:
    machine = OneClassSVM(nu=0.3).fit(SCALED)
    expected = machine.score_samples(unseen(SCALED))
    found = translate(machine, "score_samples").function(unseen(SCALED))
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


class Doubled(StandardScaler):  # type: ignore[misc]  # scikit-learn has no types
    def transform(self, rows: Rows) -> Rows:
        return np.asarray(2 * super().transform(rows))


UNKNOWN: dict[str, tuple[str, Any]] = {
    "a subclass": ("transform", Doubled()),
    "a subclass in a pipeline": ("transform", pipeline(Doubled(), PCA(5))),
    "whitening": ("transform", PCA(5, whiten=True)),
    "another scaler": ("transform", RobustScaler()),
    "nothing to do": ("transform", StandardScaler(with_mean=False, with_std=False)),
    "another kernel": ("predict_proba", calibrated(svc(kernel="poly"))),
    "a decision for each pair": ("decision_function", svc(decision_function_shape="ovo")),
    "several calibrations": ("predict_proba", calibrated(svc(), ensemble=True)),
    "another calibration": (
        "predict_proba",
        CalibratedClassifierCV(svc(), method="sigmoid", cv=3, ensemble=False),
    ),
    "an unknown voter": (
        "predict_proba",
        VotingClassifier([("lda", lda()), ("other", LogisticRegression())], voting="soft"),
    ),
}


@pytest.mark.parametrize(("method", "fitted"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_estimators_use_scikit_learns_method(
    method: str, fitted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fitted.fit(SCALED, CLASSES[4])
    with pytest.raises(UnsupportedEstimatorError):
        translate(fitted, method)
    expected = getattr(fitted, method)(unseen(SCALED))
    assert (fast_method(fitted, method, PATH)(unseen(SCALED)) == expected).all()
    assert caplog.messages == []


def test_known_estimators_do_not_use_scikit_learns_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scikit-learn's method is called only once, for the comparison."""
    classifier = calibrated(vote()).fit(SCALED, CLASSES[4])
    expected = classifier.predict_proba(unseen(SCALED))
    probabilities = fast_method(classifier, "predict_proba", PATH)
    monkeypatch.setattr(CalibratedClassifierCV, "predict_proba", None)
    assert_allclose(probabilities(unseen(SCALED)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda machine: machine.dual_coef_.__imul__(1.01), "the difference is up to 0.0"),
        (lambda machine: delattr(machine, "support_vectors_"), "AttributeError"),
        (lambda machine: setattr(machine, "dual_coef_", machine.dual_coef_[:, :1]), "ValueError"),
        (lambda machine: setattr(machine, "dual_coef_", machine.dual_coef_[..., None]), "shape is"),
    ],
    ids=["another number", "none", "fewer", "another shape"],
)
def test_changed_attributes_of_an_estimator_disable_the_fast_method(
    tamper: Callable[[Any], None], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """libsvm uses its own copies, as another version of scikit-learn might."""
    machine = OneClassSVM(nu=0.3).fit(SCALED)
    # libsvm does not use this copy, so changing it does not change scikit-learn's results.
    machine.dual_coef_ = machine.dual_coef_.copy()
    tamper(machine)
    found = fast_method(machine, "score_samples", PATH)
    [message] = caplog.messages
    assert message.startswith(f"{PATH}: OneClassSVM uses scikit-learn's slower method; ")
    assert words in message
    if hasattr(machine, "support_vectors_"):
        assert (found(SCALED) == machine.score_samples(SCALED)).all()


def test_kernel_sums_far_from_the_data_do_not_underflow() -> None:
    """scikit-learn adds the intercept and subtracts it again, which loses small sums."""
    machine = OneClassSVM(nu=0.3, gamma=0.5).fit(SCALED)
    far = SCALED[:1] + 0.6
    squares = np.square(far - machine.support_vectors_).sum(axis=1)
    expected = np.exp(-0.5 * squares) @ machine.dual_coef_[0]
    assert 0 < expected < 1e-17
    assert_allclose(fast_method(machine, "score_samples", PATH)(far), expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_rows_raise_scikit_learns_error(value: float) -> None:
    scale = fast_method(PCA(5).fit(ROWS), "transform", PATH)
    rows = ROWS.copy()
    rows[3, 7] = value
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        scale(rows)
