"""The schema of models.json, and the errors for invalid entries."""

import json

import pytest

from oddsound.catalogue import parse
from oddsound.errors import ModelsConfigError
from oddsound.schemas import ModelEntry

MINIMAL = {
    "model_path": "fan/model.joblib",
    "scaler_path": "fan/scaler.joblib",
    "label_encoder_path": "fan/label_encoder.joblib",
    "dropped_features_path": "fan/dropped_features.joblib",
    "feature_extractor": "default",
    "predictor": "sklearn_proba",
}
"""All keys of the original service."""


def test_an_entry_of_the_original_service_is_complete() -> None:
    entry = parse(json.dumps({"fan": MINIMAL}), "models.json")["fan"]
    assert entry.model_dump(include=set(MINIMAL)) == MINIMAL
    assert entry.version == "unversioned"
    assert entry.sample_rate is entry.threshold is entry.window_s is None


def test_an_entry_does_not_change_when_it_is_written_and_read() -> None:
    full = {
        **MINIMAL,
        "compiled_path": "fan/compiled.npz",
        "sha256": {"model_path": "0" * 64, "compiled_path": "1" * 64},
        "sample_rate": 16000,
        "window_s": 10.0,
        "threshold": 0.9,
        "normal_label": "normal",
        "calibration": {"shape": 2.0, "scale": 3.0, "loc": 0.5, "log": True},
        "classes": ["normal", "faulty"],
        "version": "2026-11-23",
        "sklearn_version": "1.9.1",
        "description": "Für Elise",
        "metrics": {"auc": 0.93},
    }
    assert ModelEntry.model_validate(full).model_dump() == full


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_path": None}, "fan.model_path: Input should be a valid string, found None"),
        ({"sha256": {"model_path": "abc"}}, "fan.sha256.model_path: String should match"),
        (
            {"sha256": {"model": "0" * 64}},
            "sha256 has the keys ['model']; allowed are ['model_path'",
        ),
        (
            {"scaler_path": None, "sha256": {"scaler_path": "0" * 64}},
            "fan: sha256 has scaler_path, but the entry has no such path",
        ),
        ({"sample_rate": 100}, "fan.sample_rate: Input should be greater than or equal to 2000"),
        ({"window_s": 0}, "fan.window_s: Input should be greater than or equal to 0.01, found 0"),
        ({"threshold": 1.1}, "fan.threshold: Input should be less than or equal to 1, found 1.1"),
        ({"calibration": {"shape": 1}}, "fan.calibration.scale: Field required"),
        (
            {"calibration": {"shape": 1, "scale": 1, "Loc": 80, "lgo": True}},
            "fan.calibration: unknown keys Loc, lgo; allowed are shape, scale, loc, log",
        ),
        ({"calibration": {}}, "fan.calibration.shape: Field required"),
        ({"threshold": True}, "fan.threshold: Input should be a valid number, found True"),
        ({"threshold": "0.5"}, "fan.threshold: Input should be a valid number, found '0.5'"),
        ({"window_s": True}, "fan.window_s: Input should be a valid number, found True"),
        ({"calibration": {"shape": True, "scale": 1}}, "fan.calibration.shape: Input should be"),
        ({"treshold": 0.5}, "fan: the key 'treshold' is not known; is threshold meant?"),
        ({"Window_s": 2}, "fan: the key 'Window_s' is not known; is window_s meant?"),
        ({"previous": [{"model_path": "a", "normal_lable": "x"}]}, "is normal_label meant?"),
        ({"calibration": [2.0, 3.0]}, "fan.calibration: Input should be a valid dictionary"),
        (
            {"previous": [{"model_path": "a", "calibration": {"shpe": 1}}]},
            "fan.previous.0.calibration: unknown keys shpe",
        ),
    ],
)
def test_the_error_for_an_invalid_entry_names_the_key(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ModelsConfigError) as caught:
        parse(json.dumps({"fan": {**MINIMAL, **fields}}), "models.json")
    assert str(caught.value).startswith("models.json, fan")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "models.json is not JSON: Expecting value"),
        ("{'fan': 1}", "models.json is not JSON"),
        (b"\xff\xfe{}", "models.json is not UTF-8 text: byte 0 is 0xff; save it as UTF-8"),
        ("[" * 100_000, "models.json is not JSON"),
        ("[]", "must be an object with an entry for each model"),
        ("{}", "must be an object with an entry for each model"),
        ("null", "must be an object with an entry for each model"),
        ('{"fan": null}', "models.json, fan: "),
        ('{"fan": "model.joblib"}', "models.json, fan: "),
        ('{"fan": {}}', "models.json, fan.model_path: Field required"),
    ],
)
def test_an_invalid_models_json_is_rejected(text: str | bytes, words: str) -> None:
    with pytest.raises(ModelsConfigError) as caught:
        parse(text, "models.json")
    assert words in str(caught.value)


def test_an_unknown_key_causes_a_warning_and_has_no_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry = parse(json.dumps({"fan": {**MINIMAL, "owner": "Ada"}}), "models.json")["fan"]
    assert entry.threshold is None
    assert "models.json, fan: the key 'owner' is not known" in caplog.text
