"""Signed models.json: on disk and on S3, with an Ed25519 key and with one of KMS."""

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound import runtime, signatures
from oddsound.artifacts import Artifacts
from oddsound.errors import ModelsConfigError, StorageError
from oddsound.registry import Registry
from oddsound.settings import Settings, read_settings
from oddsound.signatures import Verify, signature_path, verifier
from oddsound_workbench import signing
from oddsound_workbench.deploy.push import push
from oddsound_workbench.errors import FolderError
from oddsound_workbench.models_files import LocalFile, S3Object
from oddsound_workbench.signing import Signer
from tests.making import configured, saved_classifier
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow

URL = "s3://models/live/models.json"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        runtime.clear()
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield client
    runtime.clear()


def made(folder: Path, *names: str) -> Path:
    """A models.json with small classifiers."""
    folder.mkdir(exist_ok=True)
    return configured(folder, **{name: saved_classifier(folder, name) for name in names})


def key_of(kind: str, folder: Path) -> tuple[str, str]:
    """What signs, and what MODELS_PUBLIC_KEY is then."""
    if kind == "Ed25519":
        public = signing.generate(folder / "key")
        return str(folder / "key"), str(public)
    client: Any = boto3.client("kms")
    made = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    arn: str = made["KeyMetadata"]["Arn"]
    return arn, arn


@pytest.fixture(params=["Ed25519", "KMS"])
def keys(request: pytest.FixtureRequest, s3: Any, tmp_path: Path) -> tuple[Signer, Verify]:
    private, public = key_of(request.param, tmp_path)
    return signing.signer(private, runtime.kms_client), verifier(public, runtime.kms_client)


def service(verify: Verify | None, tmp_path: Path, location: str = URL) -> Registry:
    settings = Settings(models_config_path=location, models_refresh_s=0)
    return Registry(settings, Artifacts(runtime.s3_client, tmp_path / "cache"), verify)


def text_on_s3(s3: Any) -> bytes:
    body: bytes = s3.get_object(Bucket="models", Key="live/models.json")["Body"].read()
    return body


def test_what_was_pushed_with_the_key_is_served(
    s3: Any, keys: tuple[Signer, Verify], tmp_path: Path
) -> None:
    signer, verify = keys
    models = made(tmp_path / "models", "pump")
    pushed = push(models, "s3://models/live", s3, signer=signer)
    assert pushed.states == {"pump": "new"}
    registry = service(verify, tmp_path)
    assert registry.get("pump").name == "pump"
    # The same again, and a second model: what is there has the signature.
    push(models, "s3://models/live", s3, signer=signer)
    push(made(tmp_path / "more", "press"), "s3://models/live", s3, signer=signer)
    assert {info.name for info in registry.describe().models} == {"pump", "press"}
    assert registry.catalogue.error is None


def test_the_signed_one_before_serves_if_a_new_one_is_not_signed_by_the_key(
    s3: Any, keys: tuple[Signer, Verify], tmp_path: Path
) -> None:
    signer, verify = keys
    push(made(tmp_path / "models", "pump"), "s3://models/live", s3, signer=signer)
    registry = service(verify, tmp_path)
    registry.get("pump")
    push(made(tmp_path / "intruder", "evil"), "s3://models/live", s3)
    described = registry.describe()
    assert [info.name for info in described.models] == ["pump"]
    assert described.config_error is not None
    assert described.config_error.startswith(f"{URL} is not signed: there is no s3://models/live/")
    other = signing.signer(str(key_file(tmp_path / "other")), runtime.kms_client)
    other.write(S3Object(URL, s3), text_on_s3(s3))
    error = registry.describe().config_error
    assert error is not None
    assert error.startswith(f"{URL} is signed by another key")
    with pytest.raises(ModelsConfigError, match="signed by another key"):
        service(verify, tmp_path).describe()
    # Without the setting, no signature is required.
    assert len(service(None, tmp_path).describe().models) == 2


def key_file(path: Path) -> Path:
    signing.generate(path)
    return path


def test_a_push_does_not_sign_what_somebody_else_has_added(s3: Any, tmp_path: Path) -> None:
    """Models in the bucket are merged: with an unsigned one, the key would vouch for it."""
    signer = signing.signer(str(key_file(tmp_path / "key")), runtime.kms_client)
    push(made(tmp_path / "intruder", "evil"), "s3://models/live", s3)
    before = text_on_s3(s3)
    with pytest.raises(ModelsConfigError, match="is not signed, so it is not known who wrote"):
        push(made(tmp_path / "models", "pump"), "s3://models/live", s3, signer=signer)
    assert text_on_s3(s3) == before
    push(tmp_path / "models" / "models.json", "s3://models/live", s3, signer=signer, replace=True)
    assert list(json.loads(text_on_s3(s3))) == ["pump"]
    signer.check(S3Object(URL, s3), text_on_s3(s3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not base64!", "is not a signature in base64"),
        (b"", "is not a signature in base64"),
        (signatures.encoded(b"x" * 10_000), "is not a signature in base64"),
        (signatures.encoded(b"x" * 64), "is signed by another key"),
        (b"\xff\xfe", "is not a signature in base64"),
    ],
)
def test_a_damaged_signature_is_refused(
    keys: tuple[Signer, Verify], tmp_path: Path, content: bytes, words: str
) -> None:
    models = made(tmp_path / "models", "pump")
    file = LocalFile(models)
    file.write_beside(signature_path(models.read_bytes()), content)
    with pytest.raises(ModelsConfigError, match=words):
        service(keys[1], tmp_path, str(models)).describe()


def test_one_changed_byte_is_another_text(keys: tuple[Signer, Verify], tmp_path: Path) -> None:
    signer, verify = keys
    models = made(tmp_path / "models", "pump")
    text = models.read_bytes()
    signing.sign_models(LocalFile(models), signer)
    changed = text + b"\n"
    models.write_bytes(changed)
    signed = (models.parent / signature_path(text)).read_bytes()
    LocalFile(models).write_beside(signature_path(changed), signed)
    with pytest.raises(ModelsConfigError, match="signed by another key"):
        service(verify, tmp_path, str(models)).describe()


def test_kms_that_does_not_answer_is_no_wrong_signature(s3: Any, tmp_path: Path) -> None:
    missing = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    verify = verifier(missing, runtime.kms_client)
    with pytest.raises(StorageError, match="NotFoundException"):
        verify(b"text", b"signature")


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    private = key_file(tmp_path / "key")
    with pytest.raises(ModelsConfigError, match="is not a public key as PEM"):
        verifier(str(private), runtime.kms_client)
    with pytest.raises(ModelsConfigError, match="is not a public key as PEM"):
        verifier(str(tmp_path / "missing"), runtime.kms_client)
    with pytest.raises(FolderError, match="is not a private key as PEM"):
        signing.signer(f"{private}.pub", runtime.kms_client)
    pem = Path(f"{private}.pub").read_text()
    assert verifier(pem, runtime.kms_client)(b"text", b"signature") is False
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with pytest.raises(FolderError, match="key cannot be written: File exists"):
        signing.generate(private)


def test_unverified_artifacts_and_a_signature_contradict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_PUBLIC_KEY", "alias/models")
    assert read_settings().models_public_key == "alias/models"
    monkeypatch.setenv("ALLOW_UNVERIFIED_MODELS", "true")
    with pytest.raises(ModelsConfigError, match="set one of the two"):
        read_settings()


def test_the_commands(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained.parent, tmp_path / "models")
    models = tmp_path / "models" / "models.json"
    keys = read(run("keygen", tmp_path / "key", "--json"))
    assert keys == {"private": str(tmp_path / "key"), "public": str(tmp_path / "key.pub")}
    monkeypatch.setenv("MODELS_PUBLIC_KEY", keys["public"])
    refused = read(run("models", "--models", models, "--json"), code=3)
    assert "is not signed" in refused["detail"]
    signed = read(run("sign", "--key", keys["private"], "--models", models, "--json"))
    assert (models.parent / signed["signature"]).is_file()
    assert len(read(run("models", "--models", models, "--json"))["models"]) == 2
    missing = run("push", "s3://models/live", "--models", models, "--sign-with", tmp_path / "no")
    assert missing.exit_code == 3
    assert "is not a private key as PEM" in " ".join(missing.output.split())


def test_a_rollback_is_signed_too(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = key_file(tmp_path / "key")
    signer = signing.signer(str(private), runtime.kms_client)
    for version in ("1", "2"):
        folder = tmp_path / version
        folder.mkdir()
        models = configured(folder, pump=saved_classifier(folder, "pump", version=version))
        push(models, "s3://models/live", s3, signer=signer)
    registry = service(verifier(f"{private}.pub", runtime.kms_client), tmp_path)
    assert registry.get("pump").version == "2"
    unsigned = run("rollback", "pump", "--models", URL)
    assert unsigned.exit_code == 0
    assert registry.get("pump").version == "2"
    assert "is not signed" in (registry.describe().config_error or "")
    read(run("sign", "--key", private, "--models", URL, "--json"))
    assert registry.get("pump").version == "1"
    read(run("rollback", "pump", "--models", URL, "--sign-with", private, "--json"))
    assert registry.get("pump").version == "2"
    assert registry.catalogue.error is None
