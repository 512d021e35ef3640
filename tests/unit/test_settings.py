"""The environment, and `.env`, as the service reads them."""

import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

from oddsound import runtime
from oddsound.errors import ModelsConfigError
from oddsound.settings import Settings, read_settings


def test_every_setting_has_a_default_and_a_line_of_documentation() -> None:
    text = inspect.getsource(Settings)
    assert read_settings().sample_rate == 16000
    assert read_settings().default_model_name == "fan"
    for name in Settings.model_fields:
        declaration = text.split(f"\n    {name}: ")[1]
        assert declaration.split("\n")[1].startswith('    """'), name


def test_the_original_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    original = {
        "API_TITLE": "Pumps",
        "API_VERSION": "2.0",
        "SAMPLE_RATE": "22050",
        "DEFAULT_MODEL_NAME": "pump",
        "MODELS_CONFIG_PATH": "s3://bucket/models.json",
        "MODELS_CONFIG_JSON": '{"pump": {}}',
        "MODEL_PATH": "model.joblib",
        "SCALER_PATH": "scaler.joblib",
        "LABEL_ENCODER_PATH": "label_encoder.joblib",
        "DROPPED_FEATURES_PATH": "dropped.joblib",
    }
    for name, value in original.items():
        monkeypatch.setenv(name, value)
    found = read_settings()
    for name, value in original.items():
        assert str(getattr(found, name.lower())) == value


def test_the_environment_takes_precedence_over_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "SAMPLE_RATE=8000\nDEFAULT_MODEL_NAME=pump\nANOTHER_PROGRAM=1\nMODEL_PATH=\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMPLE_RATE", "22050")
    found = read_settings()
    assert (found.sample_rate, found.default_model_name) == (22050, "pump")
    assert found.model_path is None


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_CONFIG_PATH", "")
    monkeypatch.setenv("SAMPLE_RATE", "")
    assert read_settings().models_config_path is None
    assert read_settings().sample_rate == 16000


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SAMPLE_RATE", "fast", "found 'fast'"),
        ("SAMPLE_RATE", "100", "greater than or equal to 2000, found '100'"),
        ("ALLOW_UNVERIFIED_MODELS", "perhaps", "found 'perhaps'"),
        ("MODEL_CACHE_MB", "0", "greater than 0"),
        ("MODELS_REFRESH_S", "-1", "greater than or equal to 0"),
        ("MAX_DURATION_S", "nan", "greater than 0"),
        ("MAX_DURATION_S", "inf", "the number is too large; at most 9,007,"),
        ("MAX_UPLOAD_BYTES", "9" * 500, "at most 9,007,199,254,740,992 is allowed"),
        ("BLAS_THREADS", "100000", "less than or equal to 1024"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_the_error_names_the_variable_and_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ModelsConfigError, match=f"^the environment is invalid: {name}: ") as caught:
        read_settings()
    assert words in str(caught.value)


def test_the_error_names_every_invalid_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_RATE", "fast")
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "huge")
    with pytest.raises(ModelsConfigError, match=r"SAMPLE_RATE: .*; MAX_UPLOAD_BYTES: "):
        read_settings()


def test_settings_are_read_once_and_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = runtime.settings()
    monkeypatch.setenv("SAMPLE_RATE", "8000")
    assert runtime.settings() is before
    with pytest.raises(ValidationError):
        before.sample_rate = 8000  # type: ignore[misc]  # the point of the test
    runtime.clear()
    assert runtime.settings().sample_rate == 8000


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MQTT_URL", "http://ada:hidden@broker", "mqtt:// or mqtts://|mqtt or mqtts"),
        ("WEBHOOK_URL", "ftp://hidden", "http or https"),
        ("PUBLIC_URL", "plant.example", "http or https"),
        ("WEBHOOK_SECRET", "whsec_hidden!", "WEBHOOK_SECRET"),
        ("RECORDED_AT_ZONE", "Mars/Olympus", "'Mars/Olympus' is not a time zone"),
        ("RECORDED_AT_PATTERN", "%H%M", "names no day"),
    ],
)
def test_settings_of_machines_are_checked_and_passwords_are_not_shown(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ModelsConfigError, match=words) as caught:
        read_settings()
    assert "hidden" not in str(caught.value)


def test_a_webhook_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_URL", "https://plant.example/hook")
    with pytest.raises(ModelsConfigError, match=r"WEBHOOK_SECRET: .*WEBHOOK_URL needs a secret"):
        read_settings()
    monkeypatch.setenv("WEBHOOK_SECRET", "text")
    assert read_settings().webhook_secret is not None
