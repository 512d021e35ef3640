"""Announces each anomaly once: its stored result says whether its alert was sent.

The result is stored first, with the alert's status `sending`. Then the alert is published, and the
status becomes `sent` by a conditional write. Whoever later finds a result whose alert was not sent
sends it. So no alert is lost; it is sent twice only if a process ends in the instant between
publishing and the second write.
"""

import logging
import time
import uuid
from datetime import UTC, datetime

from oddsound import deadline
from oddsound.aws.alerts import Alerts
from oddsound.aws.results import Results
from oddsound.errors import StorageError
from oddsound.schemas import AlertState, AlertStatus, JobResult, Prediction
from oddsound.storage import READ_TIMEOUT_S

logger = logging.getLogger(__name__)

LEASE_S = 20
"""Seconds after which an attempt that is still sending has ended: longer than the timeouts and
retries of the SNS client take together."""

POLL_S = (0.05, 1)
"""First and longest time between two looks at a result whose alert another attempt is sending."""


class Announcements:
    """Sends the alerts of stored results. alerts : the topic, or None: nothing is announced."""

    def __init__(self, results: Results, alerts: Alerts | None) -> None:
        self._results = results
        self._alerts = alerts

    def planned(self, prediction: Prediction | None) -> AlertState | None:
        """The state to store a new result with; None if it needs no alert."""
        if self._alerts is None or prediction is None or not prediction.is_anomaly:
            return None
        return _state("sending", uuid.uuid4().hex)

    def complete(
        self, at: str, result: JobResult, etag: str, age_s: float = 0, own: str | None = None
    ) -> JobResult:
        """Send the alert of a stored result, unless it was sent. Returns the result as it is then.

        If another attempt is sending it, wait until it has: its process may have ended.

        at : key of the result
        etag, age_s : of the stored result
        own : the attempt that the caller stored, or tried to store
        Raises StorageError if SNS fails, or if there is no time to wait; the next attempt sends it.
        """
        poll_s, longest_s = POLL_S
        while self._alerts and (state := result.alert) and state.status != "sent":
            if state.attempt == own:
                return self._send(self._alerts, at, result, etag)
            if state.status == "failed" or age_s >= LEASE_S:
                taken = _with_state(result, "sending", uuid.uuid4().hex)
                if taken_etag := self._results.write(at, taken, etag):
                    return self._send(self._alerts, at, taken, taken_etag)
            elif deadline.remaining_s() < READ_TIMEOUT_S:
                raise StorageError(f"{at}: another attempt is sending its alert")
            else:
                time.sleep(poll_s)
                poll_s = min(2 * poll_s, longest_s)
            newest = self._results.read(at)
            if newest.result is None or not _same_content(newest.result, result):
                break  # whoever stored the result of other content announces it
            result, etag, age_s = newest.result, newest.etag or "", newest.age_s
        return result

    def _send(self, alerts: Alerts, at: str, result: JobResult, etag: str) -> JobResult:
        attempt = result.alert.attempt if result.alert else ""
        try:
            alerts.publish(result)
        except StorageError:
            # Whoever tries next need not wait for this attempt.
            self._mark(at, _with_state(result, "failed", attempt), etag)
            raise
        sent = _with_state(result, "sent", attempt)
        self._mark(at, sent, etag)
        return sent

    def _mark(self, at: str, result: JobResult, etag: str) -> None:
        """Store the new state. A failure is only logged: a retry would send the alert again."""
        status = result.alert and result.alert.status
        try:
            if self._results.write(at, result, etag) or self._mark_again(at, result):
                return
            logger.warning("%s was replaced before its alert was marked as %s", at, status)
        except StorageError as error:
            logger.error("%s: its alert was not marked as %s: %s", at, status, error)

    def _mark_again(self, at: str, result: JobResult) -> bool:
        """After a refused write: its answer was lost, S3 asks for a retry, or it was replaced."""
        newest = self._results.read(at)
        found = newest.result and newest.result.alert
        if not (found and result.alert and newest.etag and found.attempt == result.alert.attempt):
            return False
        written = found.status == result.alert.status
        return written or self._results.write(at, result, newest.etag) is not None


def _with_state(result: JobResult, status: AlertStatus, attempt: str) -> JobResult:
    return result.model_copy(update={"alert": _state(status, attempt)})


def _state(status: AlertStatus, attempt: str) -> AlertState:
    return AlertState(status=status, attempt=attempt, at=datetime.now(UTC))


def _same_content(one: JobResult, other: JobResult) -> bool:
    return (one.bucket, one.etag, one.version_id) == (other.bucket, other.etag, other.version_id)
