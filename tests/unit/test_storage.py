"""Every failure of AWS is a StorageError, wherever it is not expected."""

from http import HTTPStatus
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import IncompleteRead

from oddsound.errors import StorageError
from oddsound.http.errors import STATUS_OF, failure
from oddsound.storage import ConflictError, MissingError, NotModifiedError, translating_errors

TOPIC = "arn:aws:sns:eu-central-1:123456789012:anomalies"


def answered(status: int | None, code: str | None = None) -> ClientError:
    response: Any = {"Error": {"Code": code} if code else {}}
    if status is not None:
        response["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(response, "Publish")


ERRORS = [
    *(answered(status) for status in (None, 200, 302, 304, 400, 403, 404, 409, 412, 429, 500, 503)),
    answered(409, "KMSInvalidStateException"),
    answered(404, "NoSuchBucket"),
    EndpointConnectionError(endpoint_url="https://sns"),
    ConnectTimeoutError(endpoint_url="https://sns"),
    ReadTimeoutError(endpoint_url="https://sns"),
    SSLError(endpoint_url="https://sns", error=OSError("expired")),
    NoCredentialsError(),
    NoRegionError(),
    ParamValidationError(report="Unknown parameter"),
    BotoCoreError(),
    ResponseParserError("not what SNS answers"),
    IncompleteRead(1, 2),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}: {error}")
def test_every_failure_of_aws_is_one_of_the_storage(error: Exception) -> None:
    with pytest.raises(StorageError) as raised, translating_errors(TOPIC):
        raise error
    assert str(raised.value).startswith(f"{TOPIC}: ")
    answer = failure(raised.value)
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert b'"error":"StorageError"' in answer.body
    assert b"arn:" not in answer.body


@pytest.mark.parametrize(
    ("status", "kind"),
    [(304, NotModifiedError), (404, MissingError), (409, ConflictError), (412, ConflictError)],
)
def test_what_a_condition_can_lead_to_is_told_apart(status: int, kind: type[StorageError]) -> None:
    with pytest.raises(kind), translating_errors("s3://bucket/key"):
        raise answered(status)
    assert kind not in STATUS_OF
