"""Builds the events that AWS sends; `make events` writes samples of them to events/.

The samples contain a synthesised recording with a fixed seed, so that every run writes the same
files. They have all fields that a handler reads: `sam local invoke` and the tests pass them to
the real handlers.
"""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import soundfile

from oddsound.schemas import Job
from oddsound_workbench.files import EVENTS, replace_file
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

ACCOUNT, REGION = "123456789012", "eu-west-1"
INPUT_BUCKET = f"audio-anomaly-dev-input-{ACCOUNT}-{REGION}"
RESULTS_BUCKET = f"audio-anomaly-dev-results-{ACCOUNT}-{REGION}"
MODELS_BUCKET = f"audio-anomaly-dev-models-{ACCOUNT}-{REGION}"

KEY = "hall 1/fan+pump.wav"
"""A key with characters that S3 encodes in its events."""

BOUNDARY = "------------------------d74496d66958873e"
TIME, TIME_MS = "2026-11-23T12:00:00.000Z", 1795435200000
REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


def recording() -> bytes:
    """Two seconds of a normal fan as a 16-bit WAV file."""
    file = io.BytesIO()
    sound = fan(7, faulty=False, duration_s=2)
    soundfile.write(file, sound, SAMPLE_RATE, "PCM_16", format="WAV")
    return file.getvalue()


def md5(data: bytes) -> str:
    """The MD5 in hexadecimal: the ETag of an object that was not uploaded in parts."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def through_api(
    method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> dict[str, Any]:
    """The proxy event of a REST API for a request to its stage `dev`."""
    headers = {
        "Accept": "*/*",
        "Host": f"a1b2c3d4e5.execute-api.{REGION}.amazonaws.com",
        "X-Forwarded-For": "192.0.2.10",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    } | headers
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "a1b2c3d4e5",
            "domainName": headers["Host"],
            "domainPrefix": "a1b2c3d4e5",
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": method,
            "identity": {"sourceIp": "192.0.2.10", "userAgent": "curl/8.11.0"},
            "path": f"/dev{path}",
            "protocol": "HTTP/1.1",
            "requestId": REQUEST_ID,
            "requestTime": "23/Nov/2026:12:00:00 +0000",
            "requestTimeEpoch": TIME_MS,
            "resourceId": "0fxm5p",
            "resourcePath": "/{proxy+}",
            "stage": "dev",
        },
        "body": None if body is None else base64.b64encode(body).decode(),
        "isBase64Encoded": body is not None,
    }


def multipart(data: bytes) -> bytes:
    """The body that `curl -F file=@fan.wav` sends."""
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="fan.wav"\r\n'
        "Content-Type: audio/x-wav\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def notification(
    *recordings: Job, name: str = "ObjectCreated:Put", size: int = 64_044
) -> dict[str, Any]:
    """The event that S3 sends when objects were created.

    recordings : bucket, key and etag of each object
    name : of the event
    size : of each object, in bytes
    """
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": REGION,
                "eventTime": TIME,
                "eventName": name,
                "userIdentity": {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"},
                "requestParameters": {"sourceIPAddress": "192.0.2.10"},
                "responseElements": {
                    "x-amz-request-id": "C3D13FE58DE4C810",
                    "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5Jg",
                },
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "uploads",
                    "bucket": {
                        "name": recording.bucket,
                        "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                        "arn": f"arn:aws:s3:::{recording.bucket}",
                    },
                    "object": {
                        "key": quote_plus(recording.key, safe="/"),
                        "size": size,
                        "eTag": recording.etag,
                        "sequencer": "0055AED6DCD90281E5",
                    },
                },
            }
            for recording in recordings
        ]
    }


def batch(bodies: dict[str, str]) -> dict[str, Any]:
    """The event that Lambda passes to the function of a queue. bodies : message id -> body"""
    return {
        "Records": [
            {
                "messageId": message_id,
                "receiptHandle": f"AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a-{message_id}",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(TIME_MS),
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": str(TIME_MS + 5),
                },
                "messageAttributes": {},
                "md5OfBody": md5(body.encode()),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:audio-anomaly-dev-jobs",
                "awsRegion": REGION,
            }
            for message_id, body in bodies.items()
        ]
    }


def events() -> dict[str, dict[str, Any]]:
    """Every sample event by the name of its file, without the suffix."""
    wav = recording()
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    uploaded = notification(Job(bucket=INPUT_BUCKET, key=KEY, etag=md5(wav)), size=len(wav))
    return {
        "api_get_models": through_api("GET", "/models", {}),
        "api_predict": through_api("POST", "/predict-anomaly", form, multipart(wav)),
        "s3_put": uploaded,
        "sqs_batch": batch(
            {
                "good": json.dumps({"bucket": INPUT_BUCKET, "key": KEY, "model_name": "fan"}),
                "malformed": '{"bucket": ',
                "unknown-model": json.dumps(
                    {"bucket": INPUT_BUCKET, "key": KEY, "model_name": "no-such-model"}
                ),
                "notification": json.dumps(uploaded),
            }
        ),
    }


def write(folder: Path = EVENTS) -> list[Path]:
    """Write every sample event. Returns the paths."""
    written = []
    for name, event in events().items():
        path = folder / f"{name}.json"
        replace_file(path, f"{json.dumps(event, indent=2)}\n".encode())
        written.append(path)
    return written


if __name__ == "__main__":
    for path in write():
        print(f"{path.stat().st_size:>9,}  {path}")
