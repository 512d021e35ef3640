"""Changes of models.json while the local stack runs."""

import json
import time
from pathlib import Path

import httpx2
import pytest

from oddsound_workbench.local.cloud import LocalCloud

pytestmark = pytest.mark.slow


def test_with_an_invalid_models_json_the_previous_one_stays_in_use(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    s3, bucket = local_cloud.client("s3"), local_cloud.names["ModelsBucket"]
    files = {"file": wavs["normal"].read_bytes()}
    good = s3.get_object(Bucket=bucket, Key="models.json")["Body"].read()
    # The API must have read a valid models.json before, to have a previous one.
    assert httpx2.get(f"{local_cloud.api_url}/models", timeout=60).status_code == 200
    s3.put_object(Bucket=bucket, Key="models.json", Body=b'{"fan": ')
    try:
        deadline = time.monotonic() + 30
        while not httpx2.get(f"{local_cloud.api_url}/models", timeout=60).json()["config_error"]:
            answer = httpx2.post(f"{local_cloud.api_url}/predict-anomaly", files=files, timeout=60)
            assert answer.json()["prediction"] == "normal"
            assert time.monotonic() < deadline
        answer = httpx2.post(f"{local_cloud.api_url}/predict-anomaly", files=files, timeout=60)
        assert answer.json()["prediction"] == "normal"
    finally:
        s3.put_object(Bucket=bucket, Key="models.json", Body=good)
    while httpx2.get(f"{local_cloud.api_url}/models", timeout=60).json()["config_error"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_artifact_with_another_checksum_is_not_loaded(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    s3, bucket = local_cloud.client("s3"), local_cloud.names["ModelsBucket"]
    good = s3.get_object(Bucket=bucket, Key="models.json")["Body"].read()
    entries = json.loads(good)
    entries["changed"] = entries["fan"] | {"model_path": "changed/model.joblib"}
    s3.put_object(Bucket=bucket, Key="changed/model.joblib", Body=b"other bytes")
    entries["changed"]["sha256"] = entries["fan"]["sha256"] | {"model_path": "0" * 64}
    s3.put_object(Bucket=bucket, Key="models.json", Body=json.dumps(entries).encode())
    time.sleep(1)
    url, files = f"{local_cloud.api_url}/predict-anomaly", {"file": wavs["normal"].read_bytes()}
    answer = httpx2.post(f"{url}?model_name=changed", files=files, timeout=60)
    before = httpx2.post(url, files=files, timeout=60)
    s3.put_object(Bucket=bucket, Key="models.json", Body=good)
    assert (before.status_code, before.json()["model_name"]) == (200, "fan")
    # The models.json before it stays in use, because a model of the new one does not load.
    assert (answer.status_code, answer.json()["error"]) == (404, "UnknownModelError")
    assert "changed" not in answer.json()["detail"].partition("known models")[2]


def test_a_new_model_is_used_without_a_restart(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    s3 = local_cloud.client("s3")
    bucket = local_cloud.names["ModelsBucket"]
    entries = json.loads(s3.get_object(Bucket=bucket, Key="models.json")["Body"].read())
    entries["second-fan"] = entries["fan"]
    s3.put_object(Bucket=bucket, Key="models.json", Body=json.dumps(entries).encode())
    key = "for-the-second.bin"
    s3.put_object(Bucket=local_cloud.input_bucket, Key=key, Body=wavs["normal"].read_bytes())
    message = {"bucket": local_cloud.input_bucket, "key": key, "model_name": "second-fan"}
    local_cloud.client("sqs").send_message(
        QueueUrl=local_cloud.jobs_queue_url, MessageBody=json.dumps(message)
    )
    deadline = time.monotonic() + 60
    prefix = f"results/second-fan/{key}.json"
    while not s3.list_objects_v2(Bucket=local_cloud.results_bucket, Prefix=prefix)["KeyCount"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    stored = json.loads(s3.get_object(Bucket=local_cloud.results_bucket, Key=prefix)["Body"].read())
    assert stored["status"] == "succeeded"
