"""models.json as a file or as an object on S3: read, and changed without losing other changes."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from oddsound import catalogue
from oddsound.artifacts import digest
from oddsound.errors import ModelsConfigError, StorageError
from oddsound.storage import (
    ConflictError,
    MissingError,
    read_object,
    split_url,
    translating_errors,
)
from oddsound_workbench.entries import Entry, to_json
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import replace_file

ATTEMPTS = 5
"""Times that a change is tried if somebody else writes models.json at the same time."""

type Entries = dict[str, Entry]


class ModelsFile(Protocol):
    """One models.json.

    location : path or URL, for error texts and for the catalogue
    """

    @property
    def location(self) -> str: ...
    def read(self) -> tuple[bytes, str] | None:
        """The text, and a tag that changes with it; None if there is none.

        Raises ModelsConfigError or StorageError.
        """
        ...

    def write(self, text: bytes, tag: str | None) -> bool:
        """Replace the text that had this tag; None: create it. False if it has changed since.

        Raises FolderError or StorageError.
        """
        ...

    def read_beside(self, path: str) -> bytes | None:
        """A file by its path relative to models.json; None if there is none.

        Raises FolderError or StorageError.
        """
        ...

    def write_beside(self, path: str, data: bytes) -> None:
        """Write a file by its path relative to models.json. Raises FolderError or StorageError."""
        ...


class Signer(Protocol):
    """Signs models.json; see oddsound_workbench.signing."""

    def write(self, file: ModelsFile, text: bytes) -> None:
        """Store the signature of a text beside models.json."""
        ...

    def check(self, file: ModelsFile, text: bytes) -> None:
        """Raises ModelsConfigError if a text is not signed."""
        ...


class LocalFile:
    """A models.json in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def location(self) -> str:
        return str(self.path)

    def read(self) -> tuple[bytes, str] | None:
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ModelsConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        return text, digest(text)

    def write(self, text: bytes, tag: str | None) -> bool:
        current = self.read()
        if (current[1] if current else None) != tag:
            return False
        try:
            replace_file(self.path, text)
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {error.strerror}") from None
        return True

    def read_beside(self, path: str) -> bytes | None:
        beside = self.path.parent / path
        try:
            return beside.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FolderError(f"{beside} cannot be read: {error.strerror}") from None

    def write_beside(self, path: str, data: bytes) -> None:
        beside = self.path.parent / path
        try:
            replace_file(beside, data)
        except OSError as error:
            raise FolderError(f"{beside} cannot be written: {error.strerror}") from None


class S3Object:
    """A models.json on S3. Conditional requests keep two writers from losing a change."""

    def __init__(self, url: str, s3: Any) -> None:
        self.location = url
        self.bucket, self.key = split_url(url)
        if not self.bucket or not self.key:
            raise FolderError(f"{url!r} names no object; use s3://bucket/models.json")
        self._s3 = s3

    def read(self) -> tuple[bytes, str] | None:
        try:
            with translating_errors(self.location):
                answer = self._s3.get_object(Bucket=self.bucket, Key=self.key)
                return answer["Body"].read(), answer["ETag"]
        except MissingError:
            return None

    def write(self, text: bytes, tag: str | None) -> bool:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            with translating_errors(self.location):
                self._s3.put_object(
                    Bucket=self.bucket,
                    Key=self.key,
                    Body=text,
                    ChecksumAlgorithm="SHA256",
                    ContentType="application/json",
                    **condition,
                )
        # It is missing if somebody deleted it after it was read.
        except (ConflictError, MissingError):
            return False
        return True

    def read_beside(self, path: str) -> bytes | None:
        key = self._beside(path)
        try:
            return read_object(self._s3, self.bucket, key)[0]
        except MissingError:
            return None

    def write_beside(self, path: str, data: bytes) -> None:
        key = self._beside(path)
        with translating_errors(f"s3://{self.bucket}/{key}"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data, ChecksumAlgorithm="SHA256")

    def _beside(self, path: str) -> str:
        return (PurePosixPath(self.key).parent / path).as_posix()


def open_models(location: str, s3: Callable[[], Any]) -> ModelsFile:
    """models.json at a path or URL. s3 : creates the client, if it is on S3"""
    if location.startswith("s3://"):
        return S3Object(location, s3())
    return LocalFile(Path(location))


def entries_of(file: ModelsFile) -> Entries:
    """The entries as they are written. Raises ModelsConfigError if there are none."""
    found = file.read()
    if found is None:
        raise ModelsConfigError(f"{file.location}: there is no such file")
    return parsed(found[0], file.location)


def parsed(text: bytes, location: str) -> Entries:
    """The entries of a text, checked. Raises ModelsConfigError."""
    catalogue.parse(text, location)
    entries: Any = catalogue.parse_json(text, location)
    return dict(entries)


def update(
    file: ModelsFile,
    change: Callable[[Entries], Entries],
    *,
    signer: Signer | None = None,
    anew: bool = False,
) -> tuple[Entries, bool]:
    """Change the entries; again from what is there then, if somebody else was faster.

    change : from the entries that are there, {} if there is no file, to the new ones
    signer : signs each new text before it is written. What is there must have its signature then:
        otherwise models that somebody else has added would be signed with it
    anew : do not keep what is there: take a text that cannot be read as if there were none, and do
        not require its signature
    Returns the new entries, and whether they had to be written. Raises ModelsConfigError if the
    text that is there cannot be read or is not signed, StorageError if others were faster every
    time.
    """
    for _ in range(ATTEMPTS):
        found = file.read()
        if signer is not None and found is not None and not anew:
            signer.check(file, found[0])
        current = _current(found, file.location, anew)
        new = dict(sorted(change(current).items()))
        if found is not None and new == current:
            if signer is not None:
                signer.write(file, found[0])
            return new, False
        text = to_json(new)
        parsed(text, file.location)
        if signer is not None:
            signer.write(file, text)
        if file.write(text, None if found is None else found[1]):
            return new, True
    raise StorageError(
        f"{file.location} was changed by somebody else {ATTEMPTS} times in a row; try again"
    )


def _current(found: tuple[bytes, str] | None, location: str, anew: bool) -> Entries:
    if found is None:
        return {}
    try:
        return parsed(found[0], location)
    except ModelsConfigError:
        if anew:
            return {}
        raise
