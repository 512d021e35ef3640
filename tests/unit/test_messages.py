"""S3 event notifications and SQS messages are converted to jobs."""

import json

import pytest

from oddsound import runtime
from oddsound.aws.messages import jobs_of_message, jobs_of_notification
from oddsound.errors import InvalidJobError
from oddsound.schemas import Job
from tests.cloud import INPUT, NORMAL, TEST_EVENT, Cloud, notification

SPECIAL_KEYS = ["a b.wav", "a+b.wav", "100%.wav", "%2B.wav", "Lüfter ☂.wav", "a&b=c?d#e.wav"]


@pytest.mark.parametrize("key", SPECIAL_KEYS)
def test_keys_are_decoded(cloud: Cloud, key: str) -> None:
    job = cloud.put(key, NORMAL)
    assert jobs_of_notification(notification(job)) == [job]
    assert runtime.jobs().process(job) == cloud.result(key)


def test_only_new_objects_become_jobs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert jobs_of_notification(TEST_EVENT) == []
    # Whether an object is a recording is decided by its content, not by its name.
    created = [Job(bucket=INPUT, key=key) for key in ("folder/", "notes.txt", "wav", "LOUD.WAV")]
    assert jobs_of_notification(notification(*created)) == created
    assert jobs_of_notification(notification(created[0], name="ObjectRemoved:Delete")) == []
    for words in ("s3:TestEvent", "folder/; ObjectRemoved:Delete does not create an object"):
        assert words in caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON list"),
        ("{}", "bucket: Field required; key: Field required"),
        ('{"bucket": "in"}', "key: Field required"),
        ('{"bucket": "in", "key": 5}', "key: Input should be a valid string"),
        ('{"bucket": "in", "key": ""}', "key: String should have at least 1"),
        ('{"bucket": "in", "key": "a.wav", "model": "fan"}', "model: Extra inputs"),
        ('{"bucket": "in", "key": "a.wav", "model_name": ""}', "model_name: String"),
        ('{"Records": [{"dynamodb": {}}]}', "not an S3 event notification; its keys: Records"),
        ('{"Records": "hush"}', "not an S3 event notification"),
        ('{"Event": "else"}', "not an S3 event notification; its keys: Event"),
    ],
)
def test_a_malformed_message_is_described_without_its_content(message: str, words: str) -> None:
    with pytest.raises(InvalidJobError) as raised:
        jobs_of_message(message)
    assert words in str(raised.value)
    assert "hush" not in str(raised.value)


def test_a_message_is_a_job_or_a_notification() -> None:
    job = Job(bucket="in", key="a+b.wav", model_name="fan")
    assert jobs_of_message('{"bucket": "in", "key": "a+b.wav", "model_name": "fan"}') == [job]
    two = [Job(bucket="in", key="a b.wav", etag="1"), Job(bucket="in", key="c.wav", etag="2")]
    assert jobs_of_message(json.dumps(notification(*two))) == two
    assert jobs_of_message(json.dumps(TEST_EVENT)) == []


def test_a_message_accepts_any_file_name(cloud: Cloud) -> None:
    cloud.put("fan.bin", NORMAL)
    (job,) = jobs_of_message(json.dumps({"bucket": INPUT, "key": "fan.bin"}))
    assert runtime.jobs().process(job).status == "succeeded"
