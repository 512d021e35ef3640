"""`make invoke`: invoke every function with its sample events, in Lambda's container image.

`sam local invoke` runs what `sam build` built, with any Docker engine and without an AWS account:
S3 and SNS are moto's, in this process. sam exits with 0 even if the function failed; so each
answer is compared with the expected one here.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oddsound_workbench.deploy import events
from oddsound_workbench.files import EVENTS, PROJECT
from oddsound_workbench.local import built, containers, env_vars
from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.local.built import Deployment

SAM = PROJECT / ".venv-sam" / "bin" / "sam"

type Check = Callable[[Any, Deployment], str]


def answers_200(answer: Any, _: Deployment) -> str:
    body = json.loads(answer["body"])
    if answer["statusCode"] != 200:
        raise AssertionError(f"status {answer['statusCode']}, expected 200: {body}")
    if "models" in body:
        return f"models: {', '.join(info['name'] for info in body['models'])}"
    return f"{body['prediction']}, anomaly score {body['anomaly_score']:.3f}"


def stores_a_result(answer: Any, deployed: Deployment) -> str:
    if [outcome["status"] for outcome in answer] != ["succeeded"]:
        raise AssertionError(f"the answer is {answer}, expected one recording that succeeded")
    return _stored(deployed, "fan")


def returns_the_malformed(answer: Any, deployed: Deployment) -> str:
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    if failed != ["malformed"]:
        raise AssertionError(f"the failed messages are {failed}, expected only malformed")
    results = (_stored(deployed, model) for model in ("fan", "no-such-model"))
    return f"failed messages: {failed}; {'; '.join(results)}"


def _stored(deployed: Deployment, model: str) -> str:
    key = f"results/{model}/{events.KEY}.json"
    stored = deployed.client("s3").get_object(Bucket=events.RESULTS_BUCKET, Key=key)
    return f"{json.loads(stored['Body'].read())['status']}: {key}"


INVOCATIONS: tuple[tuple[str, str, Check], ...] = (
    ("ApiFunction", "api_get_models", answers_200),
    ("ApiFunction", "api_predict", answers_200),
    ("S3TriggerFunction", "s3_put", stores_a_result),
    ("SqsTriggerFunction", "sqs_batch", returns_the_malformed),
)


def invoke_all(architecture: str) -> int:
    """Run every invocation and print its answer. Returns the number of failed invocations.

    Raises SystemExit if nothing is built or no Docker engine answers.
    """
    try:
        with (
            built.running(aws_host=containers.host_address()) as deployed,
            tempfile.TemporaryDirectory() as folder,
        ):
            variables = Path(folder) / "env.json"
            endpoint = containers.endpoint_url(urlsplit(deployed.endpoint_url).port)
            env_vars.write(variables, deployed.functions.values(), endpoint)
            failed = 0
            for function, event, check in INVOCATIONS:
                deployed.delete_results()
                command = _command(function, event, variables, architecture)
                failed += not _invoke(command, check, deployed)
    except (FileNotFoundError, containers.ContainerError) as error:
        raise SystemExit(str(error)) from None
    print(f"{len(INVOCATIONS) - failed} of {len(INVOCATIONS)} answered as expected")
    return failed


def _command(function: str, event: str, variables: Path, architecture: str) -> list[str]:
    return [
        *(str(SAM), "local", "invoke", function),
        *("--event", str(EVENTS / f"{event}.json")),
        *("--env-vars", str(variables)),
        *("--parameter-overrides", f"Architecture={architecture}"),
    ]


def _invoke(command: list[str], check: Check, deployed: Deployment) -> bool:
    print(f"\n== {' '.join(command[1:6])}", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env=os.environ | CREDENTIALS | {"SAM_CLI_TELEMETRY": "0"},
    )
    print(done.stderr.strip(), done.stdout.strip(), sep="\n")
    try:
        summary = check(_answer(done), deployed)
    except Exception as error:  # whatever is wrong with this answer, the other invocations run
        print(f"-- FAILED after {time.monotonic() - started:.1f} s: {error}")
        return False
    print(f"-- ok in {time.monotonic() - started:.1f} s: {summary}")
    return True


def _answer(done: subprocess.CompletedProcess[str]) -> Any:
    """What the function returned. Raises AssertionError if that is an error, or nothing."""
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise AssertionError(f"sam exited with {done.returncode} and without an answer")
    answer = json.loads(lines[-1])
    if isinstance(answer, dict) and "errorMessage" in answer:
        raise AssertionError(f"{answer.get('errorType')}: {answer['errorMessage']}")
    return answer


if __name__ == "__main__":
    sys.exit(invoke_all(*sys.argv[1:]) > 0)
