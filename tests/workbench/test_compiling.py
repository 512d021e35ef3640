"""Compiled numbers give scikit-learn's results, and everything else is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.calibration import CalibratedClassifierCV
from sklearn.covariance import OAS, EllipticEnvelope, EmpiricalCovariance, LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from oddsound.compiled.classifiers import response_of
from oddsound.compiled.detectors import detector_of
from oddsound.compiled.steps import step_of
from oddsound.numbers import Numbers, packed
from oddsound.schemas import ModelEntry
from oddsound_workbench.compiling import checking
from oddsound_workbench.compiling.classifiers import classifier
from oddsound_workbench.compiling.compiler import compiled
from oddsound_workbench.compiling.detectors import detector
from oddsound_workbench.compiling.scalers import scaler
from oddsound_workbench.compiling.translation import NotCompilableError, Rows
from tests.making import dumped, features

pytestmark = pytest.mark.slow

CLASSES = {2: np.tile(np.repeat([0, 1], 6), 2), 4: np.tile([0, 1, 2, 3], 6)}


def unseen(rows: Rows) -> Rows:
    """Rows that were not fitted: the means of pairs, and rows far from all others."""
    near = (rows + np.roll(rows, 1, axis=0)) / 2
    return np.concatenate([near, rows.mean(axis=0) + 6 * (rows - rows.mean(axis=0))])


ROWS = unseen(features().astype(np.float64))
SCALED = StandardScaler().fit_transform(ROWS)


def stored(numbers: dict[str, Any]) -> Numbers:
    """The numbers after they were written to a file and read."""
    return Numbers.load(packed(numbers), "compiled.npz")


def pipeline(*steps: Any) -> Pipeline:
    return Pipeline([(str(number), step) for number, step in enumerate(steps)])


def svc(**settings: Any) -> SVC:
    return SVC(C=3.0, **settings)


def lda() -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)


def calibrated(estimator: Any, **settings: Any) -> CalibratedClassifierCV:
    return CalibratedClassifierCV(
        estimator, **{"method": "temperature", "cv": 3, "ensemble": False, **settings}
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
    "robust": RobustScaler(),
    "largest": MaxAbsScaler(),
    "pca": PCA(5),
    "white pca": PCA(5, whiten=True),
    "standard, pca": pipeline(StandardScaler(), PCA(5)),
    "pca, standard, range": pipeline(PCA(5), StandardScaler(), MinMaxScaler()),
    "passthrough": pipeline("passthrough", PCA(5)),
    "clip, deviation": pipeline(MinMaxScaler((-1, 2), clip=True), StandardScaler(with_mean=False)),
    "pipeline in a pipeline": pipeline(pipeline(StandardScaler()), PCA(5)),
}
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "lda": lda,
    "logistic regression": lambda: LogisticRegression(),
    "without intercept": lambda: LogisticRegression(fit_intercept=False),
    "naive bayes": lambda: GaussianNB(),
    "tree": lambda: DecisionTreeClassifier(max_depth=2, random_state=0),
    "forest": lambda: RandomForestClassifier(20, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(20, random_state=0),
    "perceptron": lambda: MLPClassifier((8, 5), max_iter=3, random_state=0),
    "tanh": lambda: MLPClassifier((4,), activation="tanh", max_iter=3, random_state=0),
    "pipeline": lambda: pipeline(PCA(5), StandardScaler(), lda()),
    "tempered svc": lambda: calibrated(svc()),
    "tempered lda": lambda: calibrated(lda()),
    "tempered forest": lambda: calibrated(RandomForestClassifier(9, random_state=0)),
    "five tempered": lambda: calibrated(svc(), ensemble=True),
    "platt svc": lambda: calibrated(svc(), method="sigmoid"),
    "platt bayes": lambda: calibrated(GaussianNB(), method="sigmoid"),
    "isotonic": lambda: calibrated(lda(), method="isotonic"),
    "vote": vote,
    "weighted vote": lambda: vote(weights=[3, 1, 2]),
    "vote without one": lambda: vote(weights=[3, 1, 2]).set_params(lda="drop"),
    "tempered vote": lambda: calibrated(vote()),
}
DETECTORS = {
    "one-class svm": OneClassSVM(nu=0.3, gamma=0.01),
    "forest": IsolationForest(n_estimators=20, random_state=0),
    "forest of some": IsolationForest(
        n_estimators=20, max_samples=9, max_features=0.3, random_state=0
    ),
    "pipeline": pipeline(StandardScaler(), OneClassSVM(nu=0.3, gamma=0.01)),
    "envelope in a pipeline": pipeline(PCA(5), EllipticEnvelope(random_state=0)),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestSameResults:
    """Numbers that were written and read give the results of the object they were made from."""

    @pytest.mark.parametrize("fitted", SCALERS.values(), ids=SCALERS)
    def test_scalers(self, fitted: Any) -> None:
        fitted.fit(ROWS)
        step = step_of(stored(scaler(fitted).numbers))
        expected = fitted.transform(unseen(ROWS))
        assert_allclose(step(unseen(ROWS)), expected, rtol=1e-9, atol=1e-9)
        assert (step.inputs, step.outputs) == (ROWS.shape[1], expected.shape[1])

    def test_a_standard_scaler_gives_the_same_bits(self) -> None:
        fitted = StandardScaler().fit(ROWS)
        step = step_of(stored(scaler(fitted).numbers))
        assert (step(unseen(ROWS)) == fitted.transform(unseen(ROWS))).all()

    @pytest.mark.parametrize("count", CLASSES)
    @pytest.mark.parametrize("made", CLASSIFIERS.values(), ids=CLASSIFIERS)
    def test_classifiers(self, made: Callable[[], Any], count: int) -> None:
        fitted = made().fit(SCALED, CLASSES[count])
        response = response_of(stored(classifier(fitted).numbers))
        expected = fitted.predict_proba(unseen(SCALED))
        assert_allclose(response(unseen(SCALED)), expected, rtol=1e-9, atol=1e-12)
        assert (response.inputs, response.outputs) == (SCALED.shape[1], count)
        assert expected.std(axis=0).min() > 1e-3

    @pytest.mark.parametrize("count", [2, 3, 4, 6])
    def test_the_decisions_of_an_svc(self, count: int) -> None:
        fitted = calibrated(FrozenEstimator(svc(gamma=0.01).fit(SCALED, np.arange(24) % count)))
        fitted.fit(SCALED, np.arange(24) % count)
        response = response_of(stored(classifier(fitted).numbers))
        expected = fitted.predict_proba(unseen(SCALED))
        assert_allclose(response(unseen(SCALED)), expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("fitted", DETECTORS.values(), ids=DETECTORS)
    def test_detectors(self, fitted: Any) -> None:
        fitted.fit(SCALED)
        found = detector_of(stored(detector(fitted).numbers))
        expected = fitted.score_samples(unseen(SCALED))
        assert_allclose(found.score_samples(unseen(SCALED)), expected, rtol=1e-9, atol=1e-12)
        assert found.n_features_in_ == SCALED.shape[1]

    @pytest.mark.parametrize("fitted", [EmpiricalCovariance(), LedoitWolf(), OAS()])
    def test_covariances(self, fitted: Any) -> None:
        rows = PCA(5).fit_transform(SCALED)
        fitted.fit(rows)
        found = detector_of(stored(detector(fitted).numbers))
        expected = fitted.mahalanobis(unseen(rows))
        assert_allclose(found.mahalanobis(unseen(rows)), expected, rtol=1e-9, atol=1e-12)

    def test_kernel_sums_far_from_the_data_do_not_underflow(self) -> None:
        """scikit-learn adds the intercept and subtracts it again, which loses small sums."""
        fitted = OneClassSVM(nu=0.3, gamma=0.5).fit(SCALED)
        far = SCALED[:1] + 0.6
        squares = np.square(far - fitted.support_vectors_).sum(axis=1)
        expected = np.exp(-0.5 * squares) @ fitted.dual_coef_[0]
        assert 0 < expected < 1e-17
        found = detector_of(stored(detector(fitted).numbers))
        assert_allclose(found.score_samples(far), expected, rtol=1e-6)


class Doubled(StandardScaler):  # type: ignore[misc]  # scikit-learn has no types
    def transform(self, rows: Rows) -> Rows:
        return np.asarray(2 * super().transform(rows))


REFUSED: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "a subclass": (scaler, Doubled(), r"test_compiling\.Doubled cannot be compiled"),
    "a subclass in a pipeline": (scaler, pipeline(Doubled(), PCA(5)), r"Doubled cannot"),
    "nothing to do": (
        scaler,
        StandardScaler(with_mean=False, with_std=False),
        "StandardScaler with neither with_mean nor with_std cannot be compiled",
    ),
    "neighbours": (
        classifier,
        KNeighborsClassifier(3),
        r"KNeighborsClassifier cannot be compiled; here, scikit-learn's CalibratedClassifierCV, ",
    ),
    "another kernel": (classifier, calibrated(svc(kernel="poly")), "SVC with a kernel other"),
    "a decision for each pair": (
        classifier,
        calibrated(svc(decision_function_shape="ovo")),
        "SVC with decision_function_shape='ovo' cannot be compiled",
    ),
    "an unknown voter": (
        classifier,
        VotingClassifier([("lda", lda()), ("other", KNeighborsClassifier(3))], voting="soft"),
        "KNeighborsClassifier cannot",
    ),
    "a classifier as a detector": (detector, lda(), "LinearDiscriminantAnalysis cannot"),
}


@pytest.mark.parametrize(("translate", "fitted", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused(
    translate: Callable[[Any], Any], fitted: Any, words: str
) -> None:
    fitted.fit(SCALED, CLASSES[4])
    with pytest.raises(NotCompilableError, match=words):
        translate(fitted)


class TestChecked:
    """Numbers that do not give scikit-learn's results are not written."""

    @pytest.mark.parametrize(
        ("tamper", "words"),
        [
            (lambda machine: machine.dual_coef_.__imul__(1.01), "differ by up to 0.0"),
            (lambda machine: setattr(machine, "dual_coef_", machine.dual_coef_[:, :1]), "dual has"),
        ],
        ids=["another number", "fewer"],
    )
    def test_changed_attributes_are_found(self, tamper: Callable[[Any], None], words: str) -> None:
        """libsvm uses its own copies, as another version of scikit-learn might."""
        machine = OneClassSVM(nu=0.3).fit(features())
        # libsvm does not use this copy, so changing it does not change scikit-learn's results.
        machine.dual_coef_ = machine.dual_coef_.copy()
        tamper(machine)
        entry = ModelEntry(
            model_path="model.joblib",
            predictor="sklearn_outlier",
            calibration={"shape": 2.0, "scale": 1.0},
        )
        with pytest.raises(Exception, match=words):
            compiled("fan", entry, 16000, lambda _key: dumped(machine))

    def test_results_of_another_shape_are_found(self) -> None:
        with pytest.raises(NotCompilableError, match=r"the numbers give the shape \(48, 1\)"):
            checking.check_part(
                StandardScaler(), lambda rows: rows[:, :1], lambda rows: rows, SCALED
            )
