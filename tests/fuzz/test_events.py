"""Whatever a queue or a notification delivers, it names objects or is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddsound.aws.messages import jobs_of_event, jobs_of_message
from oddsound.aws.results import result_key
from oddsound.errors import InvalidJobError
from oddsound.schemas import Job
from tests.cloud import INPUT, TEST_EVENT, notification
from tests.fuzz.damage import ODD_VALUES, altered, damaged

pytestmark = pytest.mark.slow

JOB = {"bucket": INPUT, "key": "hall 3/fan.wav", "model_name": "fan", "etag": "abc"}
S3 = notification(Job(bucket=INPUT, key="a b+c.wav", etag="1", version_id="2"))
EVENT_BRIDGE = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {"bucket": {"name": INPUT}, "object": {"key": "a b.wav", "etag": "1", "size": 5}},
}
SNS = {"Type": "Notification", "MessageId": "1", "Message": json.dumps(S3)}
PARKED = {"version": "1.0", "requestContext": {"condition": "x"}, "requestPayload": S3}
EVENTS = [JOB, S3, EVENT_BRIDGE, SNS, PARKED, TEST_EVENT]


def check(jobs: list[Job]) -> None:
    """Each job can be looked for, logged and stored."""
    for job in jobs:
        assert 1 <= len(job.key) <= 1024
        result_key(job.model_name or "fan", job.key).encode()
        job.url.encode()
        job.model_dump_json()


@given(damaged([json.dumps(event).encode() for event in EVENTS]))
def test_damaged_messages(body: bytes) -> None:
    try:
        check(jobs_of_message(body.decode("utf-8", "replace")))
    except InvalidJobError as error:
        str(error).encode()


@given(st.data())
def test_altered_messages(data: st.DataObject) -> None:
    body = json.dumps(data.draw(altered(data.draw(st.sampled_from(EVENTS)))))
    try:
        check(jobs_of_message(body))
    except InvalidJobError as error:
        str(error).encode()


@given(st.data())
def test_altered_events(data: st.DataObject) -> None:
    event: Any = data.draw(altered(data.draw(st.sampled_from(EVENTS))))
    if not isinstance(event, dict):
        return  # Lambda calls the function for S3 with an object
    try:
        check(jobs_of_event(event))
    except InvalidJobError as error:
        str(error).encode("utf-8", "backslashreplace")


@given(st.text() | ODD_VALUES.map(json.dumps))
def test_arbitrary_messages(body: str) -> None:
    try:
        check(jobs_of_message(body))
    except InvalidJobError as error:
        str(error).encode("utf-8", "backslashreplace")
