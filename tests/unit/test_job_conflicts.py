"""Jobs that are repeated, run at the same time, or meet other content than was announced."""

import threading
from typing import Any

import pytest

from oddsound import runtime
from oddsound.errors import StorageError
from oddsound.schemas import Job, JobResult
from tests.cloud import (
    FAULTY,
    INPUT,
    MODELS,
    NORMAL,
    RESULTS,
    Cloud,
    one_at_a_time,
    refuse,
)
from tests.unit.test_jobs import process

pytestmark = pytest.mark.slow


def test_a_duplicate_job_produces_one_result_and_one_alert(cloud: Cloud) -> None:
    job = cloud.put("fan.wav", FAULTY)
    assert process(job) == process(job)
    assert len(cloud.results()) == len(cloud.alerts()) == 1


def test_new_content_replaces_the_result(cloud: Cloud) -> None:
    first = process(cloud.put("fan.wav", FAULTY))
    second = process(cloud.put("fan.wav", NORMAL))
    assert first.etag != second.etag
    assert cloud.result("fan.wav") == second
    assert len(cloud.results()) == 2
    late = process(Job(bucket=INPUT, key="fan.wav", etag=first.etag))
    assert late == second


def test_a_new_version_of_the_same_bytes_is_new_content(cloud: Cloud) -> None:
    cloud.s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
    versions = {process(cloud.put("fan.wav", FAULTY)).version_id for _ in range(2)}
    assert len(versions) == 2
    assert None not in versions
    assert len(cloud.alerts()) == 2


def test_two_concurrent_jobs_store_one_result(cloud: Cloud) -> None:
    job = cloud.put("fan.wav", FAULTY)
    both = threading.Barrier(2)
    one_at_a_time(runtime.s3_client(), lambda: both.wait(timeout=30))
    found: list[JobResult] = []
    service = runtime.jobs()
    threads = [threading.Thread(target=lambda: found.append(service.process(job))) for _ in "12"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == cloud.result("fan.wav")
    assert len(cloud.results()) == len(cloud.alerts()) == 1


def test_a_result_of_old_content_never_replaces_a_newer_result(cloud: Cloud) -> None:
    old = cloud.put("fan.wav", FAULTY)
    client = runtime.s3_client()
    write = client.put_object
    newer: list[JobResult] = []

    def put_object(**arguments: Any) -> Any:
        client.put_object = write
        newer.append(process(cloud.put("fan.wav", NORMAL)))
        return write(**arguments)

    client.put_object = put_object
    assert process(old) == cloud.result("fan.wav") == newer[0]
    assert len(cloud.results()) == 1


def test_a_retried_write_does_not_replace_a_newer_result(cloud: Cloud) -> None:
    old = cloud.put("fan.wav", FAULTY)
    client = runtime.s3_client()
    refuse(client, "PutObject", 409, "ConditionalRequestConflict", times=1)
    read, newer = client.get_object, []

    def get_object(**arguments: Any) -> Any:
        if arguments["Bucket"] != MODELS:
            asked.append(arguments["Bucket"])
        if asked == [RESULTS, INPUT, RESULTS]:
            client.get_object = read
            newer.append(process(cloud.put("fan.wav", NORMAL)))
        return read(**arguments)

    asked: list[str] = []
    client.get_object = get_object
    runtime.registry().get()
    asked.clear()
    assert process(old) == cloud.result("fan.wav") == newer[0]
    assert len(cloud.results()) == 1


def test_a_conflict_is_retried_without_a_second_alert(cloud: Cloud) -> None:
    job = cloud.put("fan.wav", FAULTY)
    refuse(runtime.s3_client(), "PutObject", 409, "ConditionalRequestConflict", times=2)
    result = process(job)
    assert cloud.result("fan.wav") == result
    assert len(cloud.alerts()) == 1


def test_repeated_conflicts_raise_an_error(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    refuse(runtime.s3_client(), "PutObject", 412, "PreconditionFailed")
    with pytest.raises(StorageError, match="each of 5 attempts"):
        process(cloud.put("fan.wav", NORMAL))


def test_content_that_changes_before_the_download_is_scored_in_its_new_version(
    cloud: Cloud,
) -> None:
    job = cloud.put("fan.wav", FAULTY)
    runtime.registry().catalogue.entries()
    refuse(runtime.s3_client(), "GetObject", 404, "NoSuchKey", times=1)  # no result yet
    changed: list[Job] = []

    def change(**_: Any) -> None:
        if not changed:
            changed.append(cloud.put("fan.wav", NORMAL))

    runtime.s3_client().meta.events.register("after-call.s3.HeadObject", change)
    result = process(job)
    assert result.etag == changed[0].etag != job.etag
    assert cloud.alerts() == []


def test_an_object_deleted_before_the_download_gives_a_failed_result(cloud: Cloud) -> None:
    job = cloud.put("models/bearing/fan.wav", NORMAL)
    cloud.s3.delete_object(Bucket=INPUT, Key=job.key)
    assert process(job) == process(job)
    result = cloud.result(job.key, "bearing")
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.error == "RecordingNotFoundError"
    assert job.url in result.error.detail
    assert (result.etag, result.prediction) == (job.etag, None)
    assert len(cloud.results()) == 1
    cloud.put(job.key, NORMAL)
    assert process(job).status == "succeeded"


def test_a_result_is_kept_after_its_recording_is_deleted(cloud: Cloud) -> None:
    job = cloud.put("fan.wav", NORMAL)
    result = process(job)
    cloud.s3.delete_object(Bucket=INPUT, Key=job.key)
    assert process(job) == process(Job(bucket=INPUT, key="fan.wav")) == result
