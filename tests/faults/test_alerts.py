"""One anomaly is announced once, whatever fails between its recording and its subscribers."""

import threading
from typing import Any

import pytest

from oddsound import runtime
from oddsound.aws import announcements
from oddsound.errors import StorageError
from oddsound.schemas import JobResult
from tests.cloud import FAULTY, NORMAL, RESULTS
from tests.faults.conftest import Broken
from tests.faults.proxy import lost_answer, refusal, reset

pytestmark = pytest.mark.slow

RESULT = f"/{RESULTS}/results/fan/fan.wav.json"
ERROR = b"<Error><Code>InternalError</Code><Message>We encountered an error</Message></Error>"


def status(broken: Broken) -> str | None:
    alert = broken.cloud.result("fan.wav").alert
    return alert.status if alert else None


def test_an_alert_is_sent_once_although_its_result_could_not_be_stored_at_first(
    broken: Broken,
) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    broken.proxy.on("PUT", RESULT, refusal(500, ERROR), times=9)
    for _ in range(3):
        with pytest.raises(StorageError, match=r"fan\.wav\.json: InternalError"):
            broken.process(job)
    assert broken.cloud.results() == []
    assert broken.cloud.alerts() == []
    broken.process(job)
    assert status(broken) == "sent"
    assert len(broken.cloud.alerts()) == 1


def test_three_functions_that_score_one_object_at_once_send_one_alert(broken: Broken) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    runtime.registry().get()
    together = threading.Barrier(3)
    write = runtime.results().write

    def at_once(at: str, result: JobResult, etag: str | None) -> str | None:
        if etag is None:
            together.wait(30)
        return write(at, result, etag)

    runtime.results().write = at_once  # type: ignore[method-assign]
    found: list[JobResult] = []
    threads = [threading.Thread(target=lambda: found.append(broken.process(job))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [broken.cloud.result("fan.wav")] * 3
    assert status(broken) == "sent"
    assert len(broken.cloud.alerts()) == 1
    assert len(broken.cloud.results()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        refusal(500),
        refusal(500, b"it broke", "text/plain"),
        refusal(503, b"<html>Service Unavailable</html>", "text/html"),
        refusal(
            403, b"<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>"
        ),
        refusal(200, b"not what SNS answers"),
        refusal(302),
        refusal(304),
        refusal(409),
        refusal(412),
        reset,
    ],
)
def test_an_alert_that_sns_does_not_take_is_sent_by_the_next_attempt(
    broken: Broken, fault: Any
) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    broken.proxy.on("POST", "Action=Publish", fault, times=9)
    with pytest.raises(StorageError, match="anomalies"):
        broken.process(job)
    broken.proxy.heal()
    assert broken.cloud.result("fan.wav").status == "succeeded"
    assert status(broken) == "failed"
    broken.process(job)
    assert status(broken) == "sent"
    assert len(broken.cloud.alerts()) == 1


def test_an_alert_is_sent_if_the_process_ended_before_it_was_published(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)

    def ended() -> Any:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "sns_client", ended)
        with pytest.raises(SystemExit):
            broken.process(job)
    assert status(broken) == "sending"
    runtime.clear()
    monkeypatch.setattr(announcements, "LEASE_S", 0)
    assert broken.process(job) == broken.cloud.result("fan.wav")
    assert status(broken) == "sent"
    assert len(broken.cloud.alerts()) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_an_alert_is_sent_once_if_the_answer_to_a_write_is_lost(
    broken: Broken, number: int
) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    broken.proxy.on("PUT", RESULT, lambda exchange: exchange.answer(exchange.forward()), number - 1)
    broken.proxy.on("PUT", RESULT, lost_answer)
    assert broken.process(job) == broken.cloud.result("fan.wav")
    assert status(broken) == "sent"
    assert len(broken.cloud.alerts()) == 1
    assert len(broken.cloud.results()) == 1


def test_an_alert_that_was_sent_is_not_sent_again_if_that_cannot_be_stored(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    broken.proxy.on("PUT", RESULT, lambda exchange: exchange.answer(exchange.forward()))
    broken.proxy.on("PUT", RESULT, refusal(500, ERROR), times=9)
    assert broken.process(job).prediction is not None
    assert "its alert was not marked as sent" in caplog.text
    assert len(broken.cloud.alerts()) == 1


def test_the_alert_of_replaced_content_is_not_waited_for(broken: Broken) -> None:
    job = broken.cloud.put("fan.wav", FAULTY)
    broken.proxy.on("POST", "Action=Publish", refusal(500), times=2)
    with pytest.raises(StorageError):
        broken.process(job)
    new = broken.process(broken.cloud.put("fan.wav", NORMAL))
    assert broken.cloud.result("fan.wav") == new
    assert new.alert is None
    assert broken.cloud.alerts() == []
