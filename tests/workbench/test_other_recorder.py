"""A recorder that is replaced by one with another bandwidth raises no alarm."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import oddsound
from oddsound.descriptors import Array
from oddsound.model import Model
from oddsound_workbench import model_folder
from oddsound_workbench.learn import recipe as recipes
from oddsound_workbench.learn.plan import Plan, no_progress
from oddsound_workbench.synthesis import fan

pytestmark = pytest.mark.slow

RATE = 16_000


def recorded_at(rate: int, samples: Array) -> Array:
    """The sound without what a recorder at that rate cannot contain, at the original rate."""
    return np.asarray(soxr.resample(soxr.resample(samples, RATE, rate), rate, RATE))


def write(path: Path, samples: Array) -> Path:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A detector of recordings that contain nothing above 4 kHz."""
    folder = tmp_path_factory.mktemp("narrow")
    for seed in range(12):
        sound = fan(seed, faulty=False, duration_s=2)
        write(folder / "normal" / f"{seed:02}.wav", recorded_at(8000, sound))
    plan = Plan(folder / "normal", "narrow", folder / "models.json")
    recipe = recipes.choose(plan)
    data = recipe.read(no_progress)
    model_folder.save(model_folder.new_version(plan, recipe.fit(data), data, {}), {})
    return oddsound.load_model("narrow", plan.models)


def test_the_bandwidth_of_the_training_recordings_is_known(model: Model) -> None:
    assert model.bandwidth_hz == pytest.approx(3900, abs=100)
    assert [each.bandwidth_hz for each in model.narrower] == [model.bandwidth_hz]


@pytest.mark.parametrize("rate", [8000, 11_025, RATE])
@pytest.mark.parametrize("faulty", [False, True])
def test_only_what_both_recorders_deliver_is_compared(
    faulty: bool, rate: int, model: Model, tmp_path: Path
) -> None:
    sound = recorded_at(rate, fan(50, faulty=faulty, duration_s=2))
    found = oddsound.predict(write(tmp_path / "sound.wav", sound), model)
    assert found.is_anomaly is faulty
    assert found.signal is not None
    assert found.signal.warnings == []
