"""What the recorder did, in every way a prediction leaves the service."""

import io
import json
import re
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler as s3_handler
from functions.sqs_trigger.app import handler as sqs_handler
from oddsound.schemas import JobResult
from oddsound_workbench.synthesis import fan
from tests.cloud import FAULTY, Cloud, LambdaContext, batch, notification

pytestmark = pytest.mark.slow

WARNINGS = [
    "the recording has a drop-out at 0.50 s: check the recorder's connection and storage",
    "channel 1 is silent and left out: check the cable and the microphone",
    "the anomaly may come from the recorder, not from the machine: drop-outs, a silent channel",
]


def recording() -> bytes:
    """A faulty machine, recorded by a recorder with a drop-out and a silent channel."""
    left = fan(501, faulty=True, duration_s=2)
    left[8000:9000] = 0
    file = io.BytesIO()
    soundfile.write(file, np.column_stack([left, 0 * left]), 16000, "PCM_16", format="WAV")
    return file.getvalue()


def message(alert: dict[str, Any]) -> Any:
    return json.loads(alert["Message"])


def test_http_s3_sqs_and_alerts_name_the_same_warnings(cloud: Cloud) -> None:
    answer = TestClient(app).post("/predict-anomaly", files={"file": recording()})
    signal = answer.json()["signal"]
    assert signal["warnings"] == WARNINGS
    assert signal["dropouts"] == [{"start_s": 0.5, "end_s": 0.5625}]
    assert (signal["silent_channels"], signal["channels_used"]) == ([1], [0])

    s3_handler(notification(cloud.put("s3.wav", recording())), LambdaContext())
    job = cloud.put("sqs.wav", recording())
    sqs_handler(batch({"bucket": job.bucket, "key": job.key}), LambdaContext())
    for key in ("s3.wav", "sqs.wav"):
        prediction = cloud.result(key).prediction
        assert prediction is not None
        assert prediction.signal is not None
        assert prediction.signal.model_dump(mode="json") == signal
    for alert in cloud.alerts():
        assert re.match(r"Anomaly: s[3q]s?\.wav, at .* \(check the recorder\)$", alert["Subject"])
        assert message(alert)["prediction"]["signal"]["warnings"] == WARNINGS


def test_the_subject_of_an_alert_without_warnings_does_not_name_the_recorder(cloud: Cloud) -> None:
    s3_handler(notification(cloud.put("fan.wav", FAULTY)), LambdaContext())
    (alert,) = cloud.alerts()
    assert alert["Subject"].startswith("Anomaly: fan.wav")
    assert "recorder" not in alert["Subject"]
    assert message(alert)["prediction"]["signal"]["warnings"] == []


def test_a_long_subject_keeps_its_end(cloud: Cloud) -> None:
    s3_handler(notification(cloud.put("f" * 150 + ".wav", recording())), LambdaContext())
    (alert,) = cloud.alerts()
    assert len(alert["Subject"]) == 100
    assert alert["Subject"].endswith("f... (check the recorder)")


def test_a_result_that_an_earlier_version_stored_is_still_read(cloud: Cloud) -> None:
    event = notification(cloud.put("fan.wav", FAULTY))
    s3_handler(event, LambdaContext())
    stored = cloud.result("fan.wav").model_dump(mode="json")
    del stored["prediction"]["signal"]
    assert JobResult.model_validate(stored).prediction is not None
