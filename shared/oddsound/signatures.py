"""Signatures of models.json, so that whoever can write to its bucket cannot decide which code runs.

The file signatures/<sha256>.sig beside models.json has the signature, in base64, of the text with
this checksum. It is one of an Ed25519 key, or one that AWS KMS makes and verifies, for which
Lambda needs no further package. The text names the checksums of all artifacts.
"""

import base64
import binascii
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from oddsound.artifacts import Artifacts, digest, resolve_path
from oddsound.errors import ModelArtifactError, ModelsConfigError, StorageError
from oddsound.storage import translating_errors

FOLDER = "signatures"
ALGORITHM = "ECDSA_SHA_256"
"""Of a key in KMS, which has the specification ECC_NIST_P256."""

MAX_BYTES = 6144
"""Longest signature that KMS accepts; one of Ed25519 has 64 bytes."""

NOT_BY_THIS_KEY = "KMSInvalidSignatureException"
PEM = "-----BEGIN "

type Verify = Callable[[bytes, bytes], bool]
"""Whether the second argument is the key's signature of the first. May raise StorageError."""


def signature_path(text: bytes) -> str:
    """Path of the signature of a models.json, relative to it."""
    return f"{FOLDER}/{digest(text)}.sig"


def encoded(signature: bytes) -> bytes:
    """A signature as the content of its file."""
    return base64.b64encode(signature) + b"\n"


def check(text: bytes, location: str, artifacts: Artifacts, verify: Verify) -> None:
    """Raises ModelsConfigError if the text of the models.json at `location` is not signed.

    Raises StorageError if it cannot be checked now.
    """
    path = resolve_path(location, signature_path(text))
    try:
        content = artifacts.fetch(path, None)
    except ModelArtifactError:
        raise ModelsConfigError(
            f"{location} is not signed: there is no {path}; MODELS_PUBLIC_KEY requires a signature,"
            " which `oddsound push --sign-with` and `oddsound sign` write"
        ) from None
    check_content(text, location, path, content, verify)


def check_content(text: bytes, location: str, path: str, content: bytes, verify: Verify) -> None:
    """`check` with the content of the signature's file."""
    try:
        signature = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        signature = b""
    if not 0 < len(signature) <= MAX_BYTES:
        raise ModelsConfigError(f"{path} is not a signature in base64")
    if not verify(text, signature):
        raise ModelsConfigError(
            f"{location} is signed by another key: {path} is not a signature by the key of"
            " MODELS_PUBLIC_KEY or --sign-with"
        )


def is_kms_key(key: str) -> bool:
    """Whether a key is named as in KMS: by its ARN, or by an alias."""
    return key.startswith(("arn:", "alias/"))


def verifier(key: str, kms_client: Callable[[], Any]) -> Verify:
    """A function that verifies signatures.

    key : ARN or alias of a key in KMS; or an Ed25519 public key as PEM, or the path of its file
    kms_client : creates the client, when the first signature is verified
    Raises ModelsConfigError if the key cannot be used.
    """
    return _by_kms(key, kms_client) if is_kms_key(key) else _by_public_key(key)


def _by_kms(key: str, kms_client: Callable[[], Any]) -> Verify:
    def verify(text: bytes, signature: bytes) -> bool:
        try:
            with translating_errors(f"the KMS key {key}"):
                answer = kms_client().verify(
                    KeyId=key,
                    Message=sha256(text).digest(),
                    MessageType="DIGEST",
                    Signature=signature,
                    SigningAlgorithm=ALGORITHM,
                )
        except StorageError as error:
            if error.code == NOT_BY_THIS_KEY:
                return False
            raise
        return bool(answer["SignatureValid"])

    return verify


def _by_public_key(key: str) -> Verify:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError:
        raise ModelsConfigError(
            "MODELS_PUBLIC_KEY is an Ed25519 key, which needs the package cryptography: install it"
            " with: pip install 'oddsound[sign]', or use a key of AWS KMS"
        ) from None
    try:
        pem = key.encode() if key.startswith(PEM) else Path(key).read_bytes()
        loaded = load_pem_public_key(pem)
    except (OSError, ValueError) as error:
        raise ModelsConfigError(
            f"MODELS_PUBLIC_KEY is not a public key as PEM, or a file with one: {error}"
        ) from None
    if not isinstance(loaded, Ed25519PublicKey):
        raise ModelsConfigError(
            "MODELS_PUBLIC_KEY is not an Ed25519 key; `oddsound keygen` makes one"
        )

    def verify(text: bytes, signature: bytes) -> bool:
        try:
            loaded.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return verify
