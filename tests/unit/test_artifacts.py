"""Model files on disk and on S3: checksums, cache and errors."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.exceptions import ConnectTimeoutError

from oddsound.artifacts import Artifacts, digest, resolve_path
from oddsound.errors import ModelArtifactError, StorageError

DATA = b"the bytes of a model"
OTHER = b"the bytes of another"
URL = "s3://models/fan/model.joblib"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def artifacts(s3: Any, cache: Path) -> Artifacts:
    return Artifacts(lambda: s3, cache)


@pytest.fixture
def downloads(s3: Any) -> list[str]:
    """Records the keys of all later downloads, in their order."""
    requested: list[str] = []
    s3.meta.events.register(
        "provide-client-params.s3.GetObject", lambda params, **_: requested.append(params["Key"])
    )
    return requested


def put(s3: Any, data: bytes, key: str = "fan/model.joblib") -> None:
    s3.put_object(Bucket="models", Key=key, Body=data)


def no_client() -> Any:
    raise AssertionError("a file on disk needs no S3 client")


class TestOnDisk:
    """Files on disk are read directly and never copied to the cache."""

    def test_verified_bytes(self, tmp_path: Path, cache: Path) -> None:
        (tmp_path / "model.joblib").write_bytes(DATA)
        artifacts = Artifacts(no_client, cache)
        path = str(tmp_path / "model.joblib")
        assert artifacts.fetch(path, digest(DATA)) == artifacts.fetch(path, None) == DATA
        assert not cache.exists()

    def test_a_checksum_error_contains_both_checksums(self, tmp_path: Path) -> None:
        (tmp_path / "model.joblib").write_bytes(OTHER)
        with pytest.raises(ModelArtifactError) as caught:
            Artifacts(no_client, tmp_path).fetch(str(tmp_path / "model.joblib"), digest(DATA))
        assert f"is {digest(OTHER)}, expected {digest(DATA)}" in str(caught.value)

    def test_a_missing_file_or_a_folder(self, tmp_path: Path) -> None:
        artifacts = Artifacts(no_client, tmp_path)
        with pytest.raises(ModelArtifactError, match=r"gone\.joblib: No such file"):
            artifacts.fetch(str(tmp_path / "gone.joblib"), None)
        with pytest.raises(ModelArtifactError, match="Is a directory"):
            artifacts.fetch(str(tmp_path), None)
        with pytest.raises(ModelArtifactError, match=r"gone\.json: No such file"):
            artifacts.read_if_changed(str(tmp_path / "gone.json"), None)

    def test_what_may_have_no_end_is_not_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for location in ("/dev/zero", str(tmp_path / "pipe")):
            with pytest.raises(ModelArtifactError, match="is a device or a pipe, not a file"):
                Artifacts(no_client, tmp_path).read_if_changed(location, None)

    def test_a_file_is_read_again_only_if_it_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "models.json"
        path.write_bytes(DATA)
        artifacts = Artifacts(no_client, tmp_path)
        data, tag = artifacts.read_if_changed(str(path), None) or (b"", "")
        assert data == DATA
        assert artifacts.read_if_changed(str(path), tag) is None
        path.write_bytes(OTHER)
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        data, newer = artifacts.read_if_changed(str(path), tag) or (b"", "")
        assert data == OTHER
        assert newer != tag


class TestOnS3:
    """Objects are downloaded once, verified, and cached under their checksum."""

    def test_an_object_is_downloaded_once(
        self, s3: Any, artifacts: Artifacts, cache: Path, downloads: list[str]
    ) -> None:
        put(s3, DATA)
        assert artifacts.fetch(URL, digest(DATA)) == DATA
        assert artifacts.fetch(URL, digest(DATA)) == DATA
        assert downloads == ["fan/model.joblib"]
        assert [path.name for path in cache.iterdir()] == [digest(DATA)]
        # The next process finds it by its checksum; the key does not matter.
        assert Artifacts(no_client, cache).fetch("s3://models/copy", digest(DATA)) == DATA

    @pytest.mark.parametrize("found", [DATA[:5], OTHER, b""], ids=["truncated", "foreign", "empty"])
    def test_a_damaged_copy_is_downloaded_again(
        self,
        s3: Any,
        artifacts: Artifacts,
        cache: Path,
        downloads: list[str],
        found: bytes,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        put(s3, DATA)
        cache.mkdir()
        (cache / digest(DATA)).write_bytes(found)
        assert artifacts.fetch(URL, digest(DATA)) == DATA
        assert len(downloads) == 1
        assert f"{cache / digest(DATA)} in the cache is damaged" in caplog.text
        assert (cache / digest(DATA)).read_bytes() == DATA

    def test_bytes_with_a_wrong_checksum_are_rejected_and_not_cached(
        self, s3: Any, artifacts: Artifacts, cache: Path
    ) -> None:
        put(s3, OTHER)
        with pytest.raises(ModelArtifactError, match=f"is {digest(OTHER)}, expected"):
            artifacts.fetch(URL, digest(DATA))
        assert not cache.exists()

    def test_without_a_checksum_nothing_is_cached(
        self, s3: Any, artifacts: Artifacts, cache: Path, downloads: list[str]
    ) -> None:
        put(s3, DATA)
        assert artifacts.fetch(URL, None) == artifacts.fetch(URL, None) == DATA
        assert len(downloads) == 2
        assert not cache.exists()

    def test_a_read_only_cache_causes_only_a_warning(
        self, s3: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(s3, DATA)
        (tmp_path / "file").write_text("no folder can be made under a file")
        artifacts = Artifacts(lambda: s3, tmp_path / "file" / "cache")
        assert artifacts.fetch(URL, digest(DATA)) == DATA
        assert "cannot be cached for the next start" in caplog.text

    def test_a_copy_that_cannot_be_renamed_leaves_no_partial_file(
        self, s3: Any, artifacts: Artifacts, cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(s3, DATA)
        (cache / digest(DATA)).mkdir(parents=True)
        assert artifacts.fetch(URL, digest(DATA)) == DATA
        assert "cannot be cached for the next start" in caplog.text
        assert [path.name for path in cache.iterdir()] == [digest(DATA)]

    @pytest.mark.parametrize(
        ("url", "what"),
        [("s3://models/gone", "object"), ("s3://no-such-bucket/model.joblib", "bucket")],
    )
    def test_a_missing_object_or_bucket(self, artifacts: Artifacts, url: str, what: str) -> None:
        with pytest.raises(ModelArtifactError, match=f"{url}: no such {what}"):
            artifacts.fetch(url, digest(DATA))
        with pytest.raises(ModelArtifactError, match=f"{url}: no such {what}"):
            artifacts.read_if_changed(url, None)

    @pytest.mark.parametrize("url", ["s3://models", "s3://models/", "s3:///model.joblib"])
    def test_a_url_without_a_key(self, artifacts: Artifacts, url: str) -> None:
        with pytest.raises(ModelArtifactError, match="names no object; expected s3://bucket/key"):
            artifacts.fetch(url, None)

    @pytest.mark.parametrize("key", ["a#1/model", "a?b/model", "a b/ü.joblib", "/root", "a//b"])
    def test_keys_with_special_characters_are_not_decoded(
        self, s3: Any, artifacts: Artifacts, key: str
    ) -> None:
        put(s3, DATA, key)
        assert artifacts.fetch(f"s3://models/{key}", digest(DATA)) == DATA

    def test_throttling_is_a_storage_error(self, s3: Any, artifacts: Artifacts) -> None:
        put(s3, DATA)
        s3.meta.events.register_first("before-send.s3.GetObject", slow_down)
        for call in (artifacts.fetch, artifacts.read_if_changed):
            with pytest.raises(StorageError, match="SlowDown"):
                call(URL, digest(DATA))
        s3.meta.events.unregister("before-send.s3.GetObject", slow_down)
        assert artifacts.fetch(URL, digest(DATA)) == DATA

    def test_a_timeout_is_a_storage_error(self, s3: Any, artifacts: Artifacts) -> None:
        def hang(**_: Any) -> None:
            raise ConnectTimeoutError(endpoint_url="https://models.s3.amazonaws.com")

        s3.meta.events.register_first("before-send.s3.GetObject", hang)
        with pytest.raises(StorageError, match="Connect timeout"):
            artifacts.fetch(URL, digest(DATA))

    def test_an_object_is_read_again_only_if_it_changed(
        self, s3: Any, artifacts: Artifacts
    ) -> None:
        put(s3, DATA)
        data, tag = artifacts.read_if_changed(URL, None) or (b"", "")
        assert data == DATA
        assert artifacts.read_if_changed(URL, tag) is None
        put(s3, OTHER)
        data, newer = artifacts.read_if_changed(URL, tag) or (b"", "")
        assert data == OTHER
        assert newer != tag


def slow_down(request: Any, **_: Any) -> AWSResponse:
    """S3's response to too many requests."""
    body = (
        b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    raw = io.BytesIO(body)
    raw.stream = lambda *_, **__: iter([body])  # type: ignore[attr-defined]  # like urllib3
    return AWSResponse(request.url, 503, HTTPHeaders(), raw)


@pytest.mark.parametrize(
    ("config", "path", "location"),
    [
        ("models/models.json", "fan/model.joblib", "models/fan/model.joblib"),
        ("/srv/models.json", "fan/model.joblib", "/srv/fan/model.joblib"),
        ("/srv/models.json", "/opt/model.joblib", "/opt/model.joblib"),
        ("models.json", "fan/model.joblib", "./fan/model.joblib"),
        ("", "fan/model.joblib", "./fan/model.joblib"),
        ("s3://bucket/models.json", "fan/model.joblib", "s3://bucket/fan/model.joblib"),
        ("s3://bucket/a/b/models.json", "model.joblib", "s3://bucket/a/b/model.joblib"),
        ("/srv/models.json", "s3://bucket/model.joblib", "s3://bucket/model.joblib"),
    ],
)
def test_paths_are_relative_to_models_json(config: str, path: str, location: str) -> None:
    assert resolve_path(config, path) == location
