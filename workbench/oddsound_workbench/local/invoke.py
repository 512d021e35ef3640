"""`make invoke`: every function with every sample event, in Lambda's image, without an account.

`sam local invoke` runs what `sam build` built; any Docker engine will do. S3 and SNS are moto's,
in this process. An invocation counts as failed where its answer is an error or is not the
expected one: sam itself exits with 0 then.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from moto.server import ThreadedMotoServer

from oddsound_workbench.deploy import events
from oddsound_workbench.files import BUILD, EVENTS, PROJECT

SAM = PROJECT / ".venv-sam" / "bin" / "sam"
HOST = "host.docker.internal"
FAKE_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": events.REGION,
    "SAM_CLI_TELEMETRY": "0",
}


def answers_200(answer: Any, _: Any) -> str:
    body = json.loads(answer["body"])
    if answer["statusCode"] != 200:
        raise AssertionError(f"status {answer['statusCode']}, expected 200: {body}")
    if "models" in body:
        return f"models: {', '.join(info['name'] for info in body['models'])}"
    return f"{body['prediction']}, anomaly score {body['anomaly_score']:.3f}"


def stores_a_result(answer: Any, s3: Any) -> str:
    if answer is not None:
        raise AssertionError(f"the answer is {answer}, expected null")
    return _stored(s3, "fan")


def returns_the_malformed(answer: Any, s3: Any) -> str:
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    if failed != ["malformed"]:
        raise AssertionError(f"failed are {failed}, expected malformed alone")
    return f"{failed} goes back; {_stored(s3, 'fan')}; {_stored(s3, 'no-such-model')}"


def _stored(s3: Any, model: str) -> str:
    key = f"results/{model}/{events.KEY}.json"
    result = json.loads(s3.get_object(Bucket=events.RESULTS_BUCKET, Key=key)["Body"].read())
    return f"{result['status']}: {key}"


INVOCATIONS: tuple[tuple[str, str, Callable[[Any, Any], str]], ...] = (
    ("ApiFunction", "api_get_models", answers_200),
    ("ApiFunction", "api_predict", answers_200),
    ("S3TriggerFunction", "s3_put", stores_a_result),
    ("SqsTriggerFunction", "sqs_batch", returns_the_malformed),
)


def invoke_all(architecture: str) -> int:
    """Run every invocation and print its answer. Returns the number of those that failed."""
    if not (BUILD / "template.yaml").exists():
        raise SystemExit("nothing is built; `make build` builds it")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs every request
    address = _address_for_containers()
    server = ThreadedMotoServer(address, port=0)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        s3, topic_arn = _set_up(f"http://{address}:{port}")
        environment = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
            "MODELS_CONFIG_PATH": f"s3://{events.MODELS_BUCKET}/models.json",
            "INPUT_BUCKET": events.INPUT_BUCKET,
            "RESULTS_BUCKET": events.RESULTS_BUCKET,
            "ANOMALY_TOPIC_ARN": topic_arn,
            "POWERTOOLS_SERVICE_NAME": "audio-anomaly-dev",
        }
        failed = 0
        with _template(environment) as template:
            for function, event, check in INVOCATIONS:
                _empty(s3, events.RESULTS_BUCKET)
                failed += not _invoke(template, architecture, function, event, check, s3)
    finally:
        server.stop()
    print(f"{len(INVOCATIONS) - failed} of {len(INVOCATIONS)} answered as expected")
    return failed


def _address_for_containers() -> str:
    """Where a container's host-gateway leads, and nobody else comes in.

    That is the bridge of an engine that runs on this machine, and 127.0.0.1 for one that runs
    in a machine of its own.
    """
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    done = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", gateway],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"no Docker engine answers: {done.stderr.strip()}")
    address = done.stdout.strip()
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return "127.0.0.1"
    return address


def _set_up(endpoint: str) -> tuple[Any, str]:
    """The buckets with models and recording in them, and the topic."""
    session = boto3.Session(
        FAKE_ACCOUNT["AWS_ACCESS_KEY_ID"],
        FAKE_ACCOUNT["AWS_SECRET_ACCESS_KEY"],
        region_name=events.REGION,
    )
    s3: Any = session.client("s3", endpoint_url=endpoint)
    sns: Any = session.client("sns", endpoint_url=endpoint)
    for bucket in (events.INPUT_BUCKET, events.RESULTS_BUCKET, events.MODELS_BUCKET):
        where = {"LocationConstraint": events.REGION}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    for path in (PROJECT / "models").rglob("*"):
        if path.is_file():
            key = path.relative_to(PROJECT / "models").as_posix()
            s3.put_object(Bucket=events.MODELS_BUCKET, Key=key, Body=path.read_bytes())
    s3.put_object(Bucket=events.INPUT_BUCKET, Key=events.KEY, Body=events.recording())
    return s3, sns.create_topic(Name="anomalies")["TopicArn"]


def _empty(s3: Any, bucket: str) -> None:
    for stored in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=stored["Key"])


@contextmanager
def _template(environment: dict[str, str]) -> Iterator[Path]:
    """The built template with this environment, for as long as the context is.

    `--env-vars` sets only what a template names, and AWS_ENDPOINT_URL stands in none. The file
    lies beside the built one, because the paths in it are relative.
    """
    template = yaml.safe_load((BUILD / "template.yaml").read_text())
    template["Globals"]["Function"]["Environment"]["Variables"].update(environment)
    with tempfile.NamedTemporaryFile("w", dir=BUILD, suffix=".yaml") as file:
        yaml.safe_dump(template, file)
        file.flush()
        yield Path(file.name)


def _invoke(
    template: Path,
    architecture: str,
    function: str,
    event: str,
    check: Callable[[Any, Any], str],
    s3: Any,
) -> bool:
    print(f"\n== {function} < events/{event}.json", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [
            *(str(SAM), "local", "invoke", function),
            *("--template", str(template), "--event", str(EVENTS / f"{event}.json")),
            *("--parameter-overrides", f"Architecture={architecture}"),
            *("--add-host", f"{HOST}:host-gateway", "--skip-pull-image"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | FAKE_ACCOUNT,
    )
    print(done.stderr.strip(), done.stdout.strip(), sep="\n")
    try:
        said = check(_answer(done), s3)
    except Exception as error:  # whatever is wrong with this answer, the others still run
        print(f"-- FAILED after {time.monotonic() - began:.1f} s: {error}")
        return False
    print(f"-- ok in {time.monotonic() - began:.1f} s: {said}")
    return True


def _answer(done: subprocess.CompletedProcess[str]) -> Any:
    """What the function returned. Raises AssertionError where that is an error, or nothing."""
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise AssertionError(f"sam exited with {done.returncode} and no answer")
    answer = json.loads(lines[-1])
    if isinstance(answer, dict) and "errorMessage" in answer:
        raise AssertionError(f"{answer.get('errorType')}: {answer['errorMessage']}")
    return answer


if __name__ == "__main__":
    sys.exit(invoke_all(*sys.argv[1:]) > 0)
