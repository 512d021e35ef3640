"""`oddsound backfill`: scores every object under a prefix by the stack's state machine."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from oddsound.storage import MissingError, read_object
from oddsound_workbench.errors import BackfillError

POLL_S = 2.0
"""How often the state machine is asked for its progress."""

OUTCOMES = "backfills"
"""Prefix of the outcomes in the results bucket; template.yaml has it, too."""

RUNNING = ("RUNNING", "PENDING_REDRIVE")


@dataclass(frozen=True)
class Progress:
    """How many objects were found until now, and how many are done, with or without a result."""

    total: int
    done: int


@dataclass
class Summary:
    """What became of the objects under a prefix.

    objects : how many there are
    scored, anomalies : recordings with a prediction, and those of them that are anomalies
    unreadable : recordings that can never be scored, by the name of the error
    skipped : objects that are no recordings
    unfinished : objects that could not be scored for another reason, such as S3 that did not
        answer; the same backfill again scores only these
    reasons : of unfinished objects, as far as they are known, by the name of the error
    outcomes : URL of the manifest that names the files with the outcome of each object
    """

    execution: str
    objects: int = 0
    scored: int = 0
    anomalies: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    unfinished: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    outcomes: str | None = None
    stopped_because: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every recording was scored."""
        return not (self.unreadable or self.unfinished or self.stopped_because)


class Backfills:
    """The state machine of a deployed stack, or of the local one.

    Errors of botocore leave every method.
    """

    def __init__(self, stack: str, cloudformation: Any, step_functions: Any, s3: Any) -> None:
        self._step_functions, self._s3 = step_functions, s3
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}
        if "BackfillArn" not in outputs:
            raise BackfillError(
                f"the stack {stack} has no output BackfillArn; deploy its present template first"
            )
        self._machine = outputs["BackfillArn"]
        self.input_bucket: str = outputs["InputBucketName"]
        self._results_bucket: str = outputs["ResultsBucketName"]

    def start(
        self, prefix: str, bucket: str | None, concurrency: int, tolerated_percent: float
    ) -> str:
        """Start to score every object under a prefix. Returns the ARN of the execution.

        bucket : None for the input bucket
        concurrency : most objects that are scored at once
        tolerated_percent : of objects that may stay unscored before the execution stops
        Raises BackfillError if there is no object.
        """
        bucket = bucket or self.input_bucket
        if not self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents"):
            raise BackfillError(f"s3://{bucket}/{prefix}: no object has this prefix")
        given = {
            "bucket": bucket,
            "prefix": prefix,
            "concurrency": concurrency,
            "tolerated_failure_percentage": tolerated_percent,
        }
        started = self._step_functions.start_execution(
            stateMachineArn=self._machine, name=f"oddsound-{uuid.uuid4()}", input=json.dumps(given)
        )
        return str(started["executionArn"])

    def follow(
        self, execution: str, stopped: threading.Event, poll_s: float | None = None
    ) -> Iterator[Progress]:
        """The progress, again and again, until the execution ends or `stopped` is set."""
        while True:
            running = self._described(execution)["status"] in RUNNING
            if counts := self._counts(execution):
                done = counts["total"] - counts["pending"] - counts["running"]
                yield Progress(counts["total"], done)
            if not running or stopped.wait(POLL_S if poll_s is None else poll_s):
                return

    def summary(self, execution: str) -> Summary:
        """What became of the objects, also of an execution that was stopped."""
        described, counts = self._described(execution), self._counts(execution)
        found = Summary(execution, objects=counts.get("total", 0))
        found.unfinished = found.objects - counts.get("succeeded", 0)
        if described["status"] != "SUCCEEDED":
            found.stopped_because = _reason(described)
        # An execution that has failed has no output that says where the outcomes are.
        for run in self._runs(execution):
            key = f"{OUTCOMES}/{run.rpartition(':')[2]}/manifest.json"
            with suppress(MissingError):
                self._count(found, key)
                found.outcomes = f"s3://{self._results_bucket}/{key}"
        return found

    def _described(self, execution: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._step_functions.describe_execution(executionArn=execution)
        return answer

    def _runs(self, execution: str) -> list[str]:
        """The ARN of the run of the Distributed Map; none before it begins."""
        runs = self._step_functions.list_map_runs(executionArn=execution)["mapRuns"]
        return [run["mapRunArn"] for run in runs]

    def _counts(self, execution: str) -> dict[str, int]:
        """Numbers of objects by what became of them; empty before the first was found."""
        counts: dict[str, int] = {}
        for run in self._runs(execution):
            counts = self._step_functions.describe_map_run(mapRunArn=run)["itemCounts"]
        return counts

    def _count(self, found: Summary, manifest: str) -> None:
        """Count the outcomes in the files that a manifest names.

        Raises MissingError if there is no manifest.
        """
        content, _ = read_object(self._s3, self._results_bucket, manifest)
        files = json.loads(content)["ResultFiles"]
        unreadable: Counter[str] = Counter()
        for outcome in self._lines(files.get("SUCCEEDED", [])):
            found.scored += outcome["status"] == "succeeded"
            found.anomalies += bool(outcome["is_anomaly"])
            found.skipped += outcome["status"] == "skipped"
            if outcome["status"] == "failed":
                unreadable[outcome["error"]] += 1
        # Of an object whose function failed, Step Functions writes the record of the execution.
        reasons = Counter(
            failed.get("Error", "") for failed in self._lines(files.get("FAILED", []))
        )
        found.unreadable = dict(unreadable.most_common())
        found.reasons = {name: count for name, count in reasons.most_common() if name}

    def _lines(self, files: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The JSON value of each line of some files, of which none is ever in memory as a whole."""
        for file in files:
            body = self._s3.get_object(Bucket=self._results_bucket, Key=file["Key"])["Body"]
            for line in body.iter_lines():
                if line.strip():
                    yield json.loads(line)


def _reason(described: dict[str, Any]) -> str:
    """Why an execution has not succeeded, in one line."""
    parts = [described["status"].lower(), described.get("error"), described.get("cause")]
    return ": ".join(part for part in parts if part)
