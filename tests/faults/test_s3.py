"""S3 breaks connections, is silent, or answers nonsense: what happens to the recording."""

import pytest

from functions.s3_trigger import app as s3_trigger
from oddsound import deadline, runtime, storage
from oddsound.errors import StorageError
from tests.cloud import INPUT, MODELS, NORMAL, RESULTS, LambdaContext, notification
from tests.faults.conftest import Broken
from tests.faults.proxy import Fault, half_body, refusal, reset, silence

pytestmark = pytest.mark.slow

RECORDING = f"/{INPUT}/fan.wav"


def gets(broken: Broken, part: str) -> int:
    return sum(method == "GET" and part in path for method, path in broken.proxy.requests)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """S3 is given up after a quarter of a second. Returns this time in seconds."""
    for module in (runtime, storage):
        monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.25)
    return 0.25


@pytest.mark.parametrize("part", [RECORDING, f"/{MODELS}/models.json", "compiled.npz"])
def test_an_object_is_read_again_at_once_if_its_content_breaks_off(
    broken: Broken, part: str
) -> None:
    job = broken.cloud.put("fan.wav", NORMAL)
    broken.proxy.on("GET", part, half_body)
    assert broken.process(job) == broken.cloud.result("fan.wav")
    assert broken.cloud.result("fan.wav").status == "succeeded"
    assert gets(broken, part) == 2


def test_a_result_is_read_again_at_once_if_its_content_breaks_off(broken: Broken) -> None:
    job = broken.cloud.put("fan.wav", NORMAL)
    first = broken.process(job)
    broken.proxy.on("GET", f"/{RESULTS}/", half_body)
    assert broken.process(job) == first
    assert len(broken.cloud.results()) == 1


def test_content_that_breaks_off_three_times_is_left_to_the_next_attempt(broken: Broken) -> None:
    job = broken.cloud.put("fan.wav", NORMAL)
    broken.proxy.on("GET", RECORDING, half_body, times=3)
    with pytest.raises(StorageError, match=r"s3://recordings-in/fan\.wav"):
        broken.process(job)
    assert broken.cloud.results() == []
    assert broken.process(job).status == "succeeded"


@pytest.mark.parametrize("fault", [reset, refusal(503), refusal(500, b"<html>", "text/html")])
@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_a_request_that_fails_twice_is_repeated_within_the_call(
    broken: Broken, method: str, fault: Fault
) -> None:
    job = broken.cloud.put("fan.wav", NORMAL)
    broken.proxy.on(method, "fan.wav", fault, times=2)
    assert broken.process(job) == broken.cloud.result("fan.wav")
    assert len(broken.cloud.results()) == 1


def test_silence_of_s3_ends_before_the_invocation_does(broken: Broken, impatient: float) -> None:
    job = broken.cloud.put("fan.wav", NORMAL)
    runtime.registry().get()
    broken.proxy.on("GET", RECORDING, silence, times=9)
    context = LambdaContext(lambda: round(1000 * 1.5 * impatient))
    with pytest.raises(StorageError, match="no time for another"):
        s3_trigger.handler(notification(job), context)
    assert gets(broken, RECORDING) == 1
    with pytest.raises(StorageError, match="Read timeout"):
        broken.process(job)
    assert gets(broken, RECORDING) == 4
    broken.proxy.heal()
    assert broken.process(job).status == "succeeded"


def test_an_inner_deadline_does_not_extend_an_outer_one() -> None:
    assert deadline.remaining_s() == float("inf")
    with deadline.within(5):
        with deadline.within(60):
            assert deadline.remaining_s() <= 5
        with deadline.within(-1):
            assert deadline.remaining_s() < 0
        assert 0 < deadline.remaining_s() <= 5
    assert deadline.remaining_s() == float("inf")
