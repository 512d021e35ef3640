"""Jobs: recordings on S3 that are scored, repeated, replaced, deleted or invalid."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import soundfile
from botocore.response import StreamingBody

from oddsound import runtime
from oddsound.aws.results import result_key
from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError, NotConfiguredError, StorageError
from oddsound.schemas import Job, JobResult
from oddsound.windows import WindowCutter
from tests.cloud import (
    FAULTY,
    INPUT,
    MODELS,
    NORMAL,
    OTHER_NORMAL,
    RESULTS,
    Cloud,
    push,
    refuse,
)
from tests.conftest import noise

pytestmark = pytest.mark.slow


def process(job: Job) -> JobResult:
    return runtime.jobs().process(job)


def test_the_result_of_a_recording_is_stored(cloud: Cloud) -> None:
    job = cloud.put("hall 3/fan.wav", NORMAL)
    result = process(job)
    assert cloud.result("hall 3/fan.wav") == result
    assert (result.status, result.error) == ("succeeded", None)
    assert (result.bucket, result.key, result.etag) == (INPUT, "hall 3/fan.wav", job.etag)
    assert (result.model, result.version_id) == ("fan", None)
    assert result.prediction is not None
    assert result.prediction.prediction == "normal"
    assert result.finished_at.tzinfo is not None
    assert cloud.alerts() == []


def test_an_anomaly_publishes_an_alert(cloud: Cloud) -> None:
    key = "hall/Lüfter 7.wav"
    result = process(cloud.put(key, FAULTY))
    assert result.prediction is not None
    (alert,) = cloud.alerts()
    strongest = max(result.prediction.events or [], key=lambda event: event.score)
    expected = f"Anomaly: hall/L?fter 7.wav, at {strongest.start_s:.1f} s: {strongest.says}"
    assert alert["Subject"] == f"{expected[:97]}..." if len(expected) > 100 else expected
    assert alert["MessageAttributes"]["model"]["Value"] == "fan"
    published = json.loads(alert["Message"])
    assert "windows" not in published["prediction"]
    assert JobResult.model_validate(published) == result.model_copy(update={"alert": None})
    assert published["prediction"]["is_anomaly"] is True
    assert len(published["prediction"]["events"]) >= 1


def test_the_subject_of_an_alert_fits_the_limits_of_sns(cloud: Cloud) -> None:
    process(cloud.put(f"{'a' * 200}\n.wav", FAULTY))
    (alert,) = cloud.alerts()
    assert len(alert["Subject"]) == 100


def test_a_result_is_stored_before_its_alert_and_a_failed_alert_is_sent_later(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cloud.put("fan.wav", FAULTY)
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", f"{cloud.topic_arn}-gone")
    runtime.clear()
    with pytest.raises(StorageError, match="anomalies-gone: no such topic"):
        process(job)
    stored = cloud.result("fan.wav")
    assert stored.alert is not None
    assert stored.alert.status == "failed"
    monkeypatch.setenv("ANOMALY_TOPIC_ARN", cloud.topic_arn)
    runtime.clear()
    sent = process(job)
    assert sent == cloud.result("fan.wav")
    assert sent.alert is not None
    assert sent.alert.status == "sent"
    assert sent.finished_at == stored.finished_at
    assert len(cloud.alerts()) == 1


def test_without_a_topic_no_alert_is_published(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANOMALY_TOPIC_ARN")
    runtime.clear()
    assert process(cloud.put("fan.wav", FAULTY)).status == "succeeded"


def test_without_a_results_bucket_no_job_is_started(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESULTS_BUCKET")
    runtime.clear()
    with pytest.raises(NotConfiguredError, match="RESULTS_BUCKET"):
        runtime.jobs()


@pytest.mark.parametrize(
    ("key", "message", "metadata", "model"),
    [
        ("fan.wav", None, None, "fan"),
        ("models/bearing/fan.wav", None, None, "bearing"),
        ("models/fan.wav", None, None, "fan"),
        ("models/fan/fan.wav", None, "bearing", "bearing"),
        ("models/fan/fan.wav", "bearing", "fan", "bearing"),
    ],
)
def test_the_model_comes_from_the_message_the_metadata_the_prefix_or_the_default(
    cloud: Cloud, key: str, message: str | None, metadata: str | None, model: str
) -> None:
    job = cloud.put(key, NORMAL, **({"model_name": metadata} if metadata else {}))
    result = process(job.model_copy(update={"model_name": message}))
    assert result.model == model
    assert result.prediction is not None
    assert result.prediction.model_name == model
    assert cloud.results() == [f"results/{model}/{key}.json"]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", "InvalidAudioError", "0 bytes"),
        (b"just a text", "UnsupportedAudioError", "WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64"),
        (NORMAL[:44], "InvalidAudioError", "0 frames"),
    ],
)
def test_an_invalid_recording_gives_a_failed_result(
    cloud: Cloud, data: bytes, error: str, words: str
) -> None:
    job = cloud.put("fan.wav", data)
    assert process(job) == process(job)
    result = cloud.result("fan.wav")
    assert (result.status, result.prediction) == ("failed", None)
    assert result.error is not None
    assert result.error.error == error
    assert words in result.error.detail
    assert len(cloud.results()) == 1


def opened_in(folder: Path) -> list[str]:
    """The files of a folder that this process has open, also those without a name."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            links.append(str(descriptor.readlink()))
    return [link for link in links if link.startswith(str(folder))]


@pytest.mark.parametrize("failure", [OSError("disk"), MemoryError(), KeyboardInterrupt(), None])
def test_nothing_remains_of_the_temporary_file_after_a_failure_in_the_middle_of_a_recording(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, failure: BaseException | None
) -> None:
    """None: the file itself is cut off. A block of it has been decoded each time."""
    file = io.BytesIO()
    soundfile.write(file, noise(1, 40), 16000, format="FLAC")
    whole = file.getvalue()
    job = cloud.put("fan.flac", whole if failure else whole[: len(whole) * 2 // 3])
    tmp = Path(tempfile.gettempdir())
    during: list[int] = []
    feed = WindowCutter.feed

    def broken(cutter: WindowCutter, samples: Array) -> list[Array]:
        during.append(len(opened_in(tmp)))
        assert list(tmp.iterdir()) == []  # it has no name that a killed process could leave
        if failure:
            raise failure
        return feed(cutter, samples)

    monkeypatch.setattr(WindowCutter, "feed", broken)
    if isinstance(failure, OSError | KeyboardInterrupt):
        with pytest.raises(type(failure)):
            process(job)
    else:
        assert process(job).status == "failed"
    assert during[0] == 1
    assert opened_in(tmp) == []


def test_an_object_over_the_limit_is_rejected_without_a_download(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_OBJECT_BYTES", "64000")
    runtime.clear()
    job = cloud.put("fan.wav", NORMAL)

    def unread(body: StreamingBody, _: int) -> Iterator[bytes]:
        if vars(body)["_content_length"] == str(len(NORMAL)):
            raise AssertionError("the object is read")
        yield body.read()

    with monkeypatch.context() as patch:
        patch.setattr("botocore.response.StreamingBody.iter_chunks", unread)
        result = process(job)
    assert result.error is not None
    assert result.error.error == "AudioTooLargeError"
    assert "64,044 bytes; the limit is 64,000 bytes, set by MAX_OBJECT_BYTES" in result.error.detail
    monkeypatch.setenv("MAX_OBJECT_BYTES", "65000")
    runtime.clear()
    assert process(job).status == "succeeded"


def test_the_upload_limit_applies_to_objects_as_well(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "64000")
    runtime.clear()
    assert process(cloud.put("fan.wav", NORMAL)).status == "failed"


def test_an_unknown_model_gives_a_failed_result_until_it_exists(cloud: Cloud) -> None:
    job = cloud.put("models/pump/fan.wav", NORMAL)
    assert process(job) == process(job)
    result = cloud.result(job.key, "pump")
    assert result.error is not None
    assert result.error.error == "UnknownModelError"
    assert "bearing, fan" in result.error.detail
    assert len(cloud.results()) == 1
    config = json.loads(cloud.s3.get_object(Bucket=MODELS, Key="models.json")["Body"].read())
    config["pump"] = config["fan"]
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=json.dumps(config))
    # The new model is used immediately, before MODELS_REFRESH_S have passed.
    assert process(job).status == "succeeded"


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject", "PutObject"])
def test_throttling_by_s3_raises_an_error(
    cloud: Cloud, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_MODEL_NAME", "fan")  # otherwise models.json is read first
    runtime.clear()
    job = cloud.put("fan.wav", FAULTY)
    runtime.registry().get()
    refuse(runtime.s3_client(), operation, 503, "SlowDown", times=1)
    with pytest.raises(StorageError, match=r"s3://.*fan\.wav.*: SlowDown"):
        process(job)
    assert cloud.results() == []
    assert process(job).status == "succeeded"


def test_an_access_denied_error_names_the_missing_permission(cloud: Cloud) -> None:
    refuse(runtime.s3_client(), "HeadObject", 403, "AccessDenied")
    with pytest.raises(StorageError, match="s3:ListBucket"):
        process(cloud.put("fan.wav", NORMAL))


def test_an_interrupted_download_raises_an_error(cloud: Cloud) -> None:
    job = cloud.put("fan.wav", NORMAL)
    runtime.registry().get()

    def cut(parsed: dict[str, Any], **_: Any) -> None:
        if parsed.get("ContentLength") == len(NORMAL):
            parsed["ContentLength"] = parsed["Body"]._content_length = len(NORMAL) + 1

    runtime.s3_client().meta.events.register("after-call.s3.GetObject", cut)
    with pytest.raises(StorageError, match="64044 read"):
        process(job)
    assert cloud.results() == []


def test_the_previous_models_json_is_used_if_the_new_one_is_invalid(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MODELS_REFRESH_S", "0")
    runtime.clear()
    process(cloud.put("1.wav", NORMAL))
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=b'{"fan": ')
    assert process(cloud.put("2.wav", OTHER_NORMAL)).status == "succeeded"
    assert "the previous one stays" in caplog.text


def test_an_invalid_models_json_at_the_start_raises_an_error_until_it_is_fixed(
    cloud: Cloud, trained: Path
) -> None:
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=b'{"fan": ')
    job = cloud.put("fan.wav", NORMAL)
    with pytest.raises(Exception, match=r"models\.json is not JSON"):
        process(job)
    push(cloud.s3, trained)
    assert process(job).status == "succeeded"


def test_an_artifact_with_a_wrong_checksum_raises_an_error_until_it_is_fixed(
    cloud: Cloud, trained: Path
) -> None:
    key = json.loads(trained.read_text())["fan"]["compiled_path"]
    cloud.s3.put_object(Bucket=MODELS, Key=key, Body=b"other bytes")
    job = cloud.put("fan.wav", NORMAL)
    with pytest.raises(ModelArtifactError, match=r"fan/.*/compiled\.npz is not the file"):
        process(job)
    assert cloud.results() == []
    assert process(cloud.put("models/bearing/fan.wav", NORMAL)).status == "succeeded"
    push(cloud.s3, trained)
    assert process(job).status == "succeeded"


def test_an_object_that_is_not_a_result_is_replaced(cloud: Cloud) -> None:
    at = result_key("fan", "fan.wav")
    cloud.s3.put_object(Bucket=RESULTS, Key=at, Body=b"{}")
    assert process(cloud.put("fan.wav", NORMAL)) == cloud.result("fan.wav")


def test_the_same_key_in_two_buckets(cloud: Cloud) -> None:
    process(cloud.put("fan.wav", NORMAL))
    cloud.s3.put_object(Bucket=MODELS, Key="fan.wav", Body=NORMAL)
    assert process(Job(bucket=MODELS, key="fan.wav")).bucket == MODELS


def test_all_jobs_are_processed_before_a_failure_is_raised(cloud: Cloud) -> None:
    good, other = cloud.put("good.wav", NORMAL), cloud.put("other.wav", OTHER_NORMAL)
    with pytest.raises(StorageError, match="nowhere"):
        runtime.jobs().process_all([Job(bucket="no where", key="nowhere.wav"), good, other])
    assert len(cloud.results()) == 2


@pytest.mark.parametrize(
    ("model", "key", "expected"),
    [
        ("fan", "a/b.wav", "results/fan/a/b.wav.json"),
        ("a/b", "c.wav", "results/a%2Fb/c.wav.json"),
        ("100%", "c.wav", "results/100%25/c.wav.json"),
    ],
)
def test_the_key_of_a_result(model: str, key: str, expected: str) -> None:
    assert result_key(model, key) == expected


def test_keys_that_are_too_long_for_s3_end_in_their_checksum(cloud: Cloud) -> None:
    longest = "ü" * 510 + ".wav"
    assert len(longest.encode()) == 1024
    others = {longest, "ü" * 509 + "xx.wav", "a" * 1000 + ".wav", "a" * 1001 + ".wav"}
    found = {result_key("fan", key) for key in others}
    assert len(found) == len(others)
    assert max(len(key.encode()) for key in found) <= 1024
    assert result_key("fan", "a" * 1000 + ".wav").count("a") >= 1000
    assert len(result_key("m" * 2000, longest).encode()) <= 1024
    result = process(cloud.put("a" * 1020 + ".wav", NORMAL))
    assert cloud.result("a" * 1020 + ".wav") == result
    assert result.key == "a" * 1020 + ".wav"


def test_a_missing_bucket_raises_an_error_and_stores_no_result(cloud: Cloud) -> None:
    with pytest.raises(StorageError, match=r"s3://nobucket.*(no such bucket|NoSuchBucket)"):
        runtime.jobs().process(Job(bucket="nobucket", key="fan.wav"))
    assert cloud.results() == []
