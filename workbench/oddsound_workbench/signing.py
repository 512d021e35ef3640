"""Signs models.json: `oddsound keygen`, `oddsound sign`, and `--sign-with` of push and rollback."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from oddsound.errors import ModelsConfigError
from oddsound.signatures import (
    ALGORITHM,
    Verify,
    check_content,
    encoded,
    is_kms_key,
    signature_path,
    verifier,
)
from oddsound.storage import translating_errors
from oddsound_workbench.errors import FolderError
from oddsound_workbench.models_files import ModelsFile


@dataclass(frozen=True)
class Signer:
    """A key that signs, and that verifies what it has signed.

    sign : returns the signature of a text; may raise StorageError
    """

    sign: Callable[[bytes], bytes]
    verify: Verify

    def write(self, file: ModelsFile, text: bytes) -> None:
        """Store the signature of a text beside models.json."""
        file.write_beside(signature_path(text), encoded(self.sign(text)))

    def check(self, file: ModelsFile, text: bytes) -> None:
        """Raises ModelsConfigError if a text is not signed by this key."""
        path = signature_path(text)
        content = file.read_beside(path)
        if content is None:
            raise ModelsConfigError(
                f"{file.location} is not signed, so it is not known who wrote the models in it:"
                " look at them, then use `oddsound sign`, or `oddsound push --replace`"
            )
        check_content(text, file.location, path, content, self.verify)


def signer(key: str, kms_client: Callable[[], Any]) -> Signer:
    """The signer with a key.

    key : ARN or alias of a key in KMS, or the path of a file that `generate` wrote
    Raises FolderError if the file cannot be used.
    """
    if is_kms_key(key):
        return Signer(_by_kms(key, kms_client), verifier(key, kms_client))
    return _by_private_key(Path(key), kms_client)


def _by_kms(key: str, kms_client: Callable[[], Any]) -> Callable[[bytes], bytes]:
    def sign(text: bytes) -> bytes:
        with translating_errors(f"the KMS key {key}"):
            answer = kms_client().sign(
                KeyId=key,
                Message=sha256(text).digest(),
                MessageType="DIGEST",
                SigningAlgorithm=ALGORITHM,
            )
        return bytes(answer["Signature"])

    return sign


def _by_private_key(path: Path, kms_client: Callable[[], Any]) -> Signer:
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise FolderError(f"{path} is not a private key as PEM: {error}") from None
    if not isinstance(loaded, Ed25519PrivateKey):
        raise FolderError(f"{path} is not an Ed25519 key; `oddsound keygen` makes one")
    return Signer(loaded.sign, verifier(_public_pem(loaded).decode(), kms_client))


def _public_pem(private: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _require_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise FolderError(
            "Ed25519 keys need the package cryptography: install it with: pip install"
            " 'oddsound[sign]', or use a key of AWS KMS"
        )


def generate(path: Path) -> Path:
    """Write a new Ed25519 key to `path`, readable by its owner only.

    Returns the path of the public key. Raises FolderError if either file exists, or cannot be
    written.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = path.with_name(f"{path.name}.pub")
    for target, content, mode in ((path, pem, 0o600), (public, _public_pem(private), 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise FolderError(f"{target} cannot be written: {error.strerror}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return public


def sign_models(file: ModelsFile, using: Signer) -> str:
    """Sign the models.json that is there. Returns the path of the signature, relative to it.

    Raises ModelsConfigError if there is none, FolderError or StorageError.
    """
    found = file.read()
    if found is None:
        raise ModelsConfigError(f"{file.location}: there is no such file")
    using.write(file, found[0])
    return signature_path(found[0])
