"""Keeps the objects of the local S3 in a SQLite file, so that they survive a restart.

moto keeps everything in memory and has no setting for this, so the methods of its S3 that write
and read an object are extended in the server's process. An object of an earlier run is read from
the file when it is first asked for: a start takes no longer with many of them. Lists of a bucket
only name objects of this run, and those that were read in it.
"""

import json
import sqlite3
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TABLE = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, modified TEXT NOT NULL,
    metadata TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (bucket, key)
)
"""


class KeptObjects:
    """The newest version of each object of some buckets."""

    def __init__(self, path: Path, buckets: Collection[str]) -> None:
        """Raises OSError or sqlite3.Error if the file cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._buckets = buckets
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(TABLE)

    def attach(self) -> None:
        """Extend moto's S3 in this process."""
        from moto.s3 import models

        s3: Any = models.S3Backend
        object_class: Any = models.FakeKey
        put, get, delete = s3.put_object, s3.get_object, s3.delete_object
        set_metadata = object_class.set_metadata

        def put_object(backend: Any, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
            key = put(backend, bucket_name, *args, **kwargs)
            self._save(key)
            return key

        def get_object(backend: Any, bucket_name: str, key_name: str, *a: Any, **kw: Any) -> Any:
            found = get(backend, bucket_name, key_name, *a, **kw)
            if found is None and self._load(backend, put, bucket_name, key_name):
                found = get(backend, bucket_name, key_name, *a, **kw)
            return found

        def delete_object(backend: Any, bucket_name: str, key_name: str, *a: Any, **kw: Any) -> Any:
            self._write("DELETE FROM objects WHERE bucket = ? AND key = ?", bucket_name, key_name)
            return delete(backend, bucket_name, key_name, *a, **kw)

        def set_and_save(key: Any, *args: Any, **kwargs: Any) -> None:
            set_metadata(key, *args, **kwargs)
            self._write(
                "UPDATE objects SET metadata = ? WHERE bucket = ? AND key = ?",
                *(json.dumps(dict(key.metadata)), key.bucket_name, key.name),
            )

        s3.put_object, s3.get_object, s3.delete_object = put_object, get_object, delete_object
        object_class.set_metadata = set_and_save

    def _save(self, key: Any) -> None:
        if key.bucket_name in self._buckets:
            self._write(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                *(key.bucket_name, key.name, key.etag.strip('"'), key.last_modified.isoformat()),
                *(json.dumps(dict(key.metadata)), key.value),
            )

    def _load(self, backend: Any, put: Any, bucket: str, name: str) -> bool:
        """Put a kept object into moto's S3, without a notification. Returns whether there is one.

        An object that was deleted in this run is no longer in the file.
        """
        if bucket not in self._buckets:
            return False
        with self._lock:
            found = self._database.execute(
                "SELECT etag, modified, metadata, content FROM objects"
                " WHERE bucket = ? AND key = ?",
                (bucket, name),
            ).fetchone()
        if found is None:
            return False
        etag, modified, metadata, content = found
        key = put(backend, bucket, name, content, etag=etag, disable_notification=True)
        key.set_metadata(json.loads(metadata))
        key.last_modified = datetime.fromisoformat(modified).replace(tzinfo=UTC)
        return True

    def _write(self, statement: str, *values: Any) -> None:
        with self._lock:
            self._database.execute(statement, values)
