"""S3 event notifications and SQS messages are converted to jobs."""

import json

import pytest

from oddsound import runtime
from oddsound.aws.messages import jobs_of_event, jobs_of_message
from oddsound.errors import InvalidJobError
from oddsound.schemas import Job
from tests.cloud import (
    INPUT,
    NORMAL,
    TEST_EVENT,
    Cloud,
    failed_invocation,
    from_event_bridge,
    from_sns,
    notification,
    sns_event,
)

SPECIAL_KEYS = ["a b.wav", "a+b.wav", "100%.wav", "%2B.wav", "Lüfter ☂.wav", "a&b=c?d#e.wav"]


@pytest.mark.parametrize("key", SPECIAL_KEYS)
def test_keys_are_decoded(cloud: Cloud, key: str) -> None:
    job = cloud.put(key, NORMAL)
    assert jobs_of_event(notification(job)) == [job]
    assert runtime.jobs().process(job) == cloud.result(key)


def test_only_new_objects_become_jobs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert jobs_of_event(TEST_EVENT) == []
    # Whether an object is a recording is decided by its content, not by its name.
    created = [Job(bucket=INPUT, key=key) for key in ("folder/", "notes.txt", "wav", "LOUD.WAV")]
    assert jobs_of_event(notification(*created)) == created
    assert jobs_of_event(notification(created[0], name="ObjectRemoved:Delete")) == []
    for words in ("s3:TestEvent", "folder/; ObjectRemoved:Delete does not create an object"):
        assert words in caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON list"),
        ("null", "the message is a JSON null, not an object"),
        ('"hush"', "a JSON string"),
        ("1", "a JSON number"),
        ('{"bucket": 1}', "model_name, etag, version_id, machine, recorded_at"),
        ('{"Records": []}', "this event has no records"),
        ('{"Records": {}}', "this event has no records"),
        ('{"bucket": "hush", "key": "a.wav", "Records": []}', "this event has no records"),
        ('{"Event": "s3:TestEvent", "Records": []}', "this event has no records"),
        ('{"Type": "Notification", "Message": "{\\"Records\\": []}"}', "this event has no records"),
        ('{"bucket": "in", "key": "a.wav", "recorded_at": 2026}', "recorded_at: Value error"),
        ("{}", "bucket: Field required; key: Field required"),
        ('{"bucket": "in"}', "key: Field required"),
        ('{"bucket": "in", "key": 5}', "key: Input should be a valid string"),
        ('{"bucket": "in", "key": ""}', "key: String should have at least 1"),
        ('{"bucket": "in", "key": "a.wav", "model": "fan"}', "model: Extra inputs"),
        ('{"bucket": "in", "key": "a.wav", "model_name": ""}', "model_name: String"),
        (
            '{"Records": [{"dynamodb": {}}]}',
            "new objects on S3; its keys: Records",
        ),
        ('{"Records": "hush"}', "this event has no records"),
        ('{"detail-type": "Scheduled Event", "detail": {}}', "its keys: detail, detail-type"),
        ('{"Type": "SubscriptionConfirmation", "Token": "hush"}', "its keys: Token, Type"),
        ('{"Type": "Notification", "Message": "hush"}', "not JSON"),
        ('{"Type": "Notification", "Message": 5}', "its keys: Message, Type"),
        ('{"requestPayload": []}', "a JSON list"),
        ("[" * 100_000, "not JSON"),
        ('{"bucket": "hush", "bucket": "b", "key": "fan.wav"}', "the key 'bucket' appears more"),
        ('{"Event": "else"}', "not an event about new objects on S3; its keys: Event"),
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


@pytest.mark.parametrize("key", SPECIAL_KEYS)
def test_an_event_is_read_through_each_service_that_can_carry_it(key: str) -> None:
    job = Job(bucket=INPUT, key=key, etag="1")
    by_bridge = from_event_bridge(job)
    for event in (notification(job), by_bridge):
        wrapped = [from_sns(event), sns_event(event), failed_invocation(event)]
        wrapped += [sns_event(from_sns(event)), failed_invocation(sns_event(event))]
        for carried in (event, *wrapped):
            assert jobs_of_event(carried) == [job]
            assert jobs_of_message(json.dumps(carried)) == [job]
    versioned = from_event_bridge(job, **{"version-id": "v1"})
    assert jobs_of_event(versioned) == [job.model_copy(update={"version_id": "v1"})]


def test_what_creates_no_object_is_skipped_through_each_service_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    job = Job(bucket=INPUT, key="fan.wav")
    deleted = from_event_bridge(job) | {"detail-type": "Object Deleted"}
    for event in (TEST_EVENT, deleted, notification(job, name="ObjectRemoved:Delete")):
        assert jobs_of_message(json.dumps(from_sns(event))) == []
        assert jobs_of_event(sns_event(event)) == []
    assert "'Object Deleted' does not create an object" in caplog.text


def test_an_event_that_is_no_object_is_described() -> None:
    with pytest.raises(InvalidJobError, match="the event is a JSON list, not an object"):
        jobs_of_event([{"Records": []}])  # type: ignore[arg-type]


def test_a_job_may_come_by_sns_and_wrappings_end_somewhere() -> None:
    message = {"bucket": INPUT, "key": "fan.wav"}
    assert jobs_of_message(json.dumps(from_sns(message))) == [Job(bucket=INPUT, key="fan.wav")]
    for _ in range(5):
        message = failed_invocation(message)
    with pytest.raises(InvalidJobError, match="wrapped more than 4 times"):
        jobs_of_message(json.dumps(message))


def test_a_key_that_is_no_text_is_described() -> None:
    """Lambda passes on what a client of its API sends: halves of surrogate pairs, for example."""
    with pytest.raises(InvalidJobError, match="the message is not a job: a key: "):
        jobs_of_event({"requestPayload": {"Reco\ud800": "hush"}})
