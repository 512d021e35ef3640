"""Uploads that the local stack had no time to score before it was stopped."""

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

logger = logging.getLogger("oddsound.local")

RESULTS = "results/"


def resume(
    path: Path, input_bucket: str, results_bucket: str, sqs: Any, jobs_queue_url: str
) -> None:
    """Send a message for each kept recording that has no result, which scores it.

    path : the file of KeptObjects
    """
    keys = unscored(path, input_bucket, results_bucket)
    for key in keys:
        body = json.dumps({"bucket": input_bucket, "key": key})
        sqs.send_message(QueueUrl=jobs_queue_url, MessageBody=body)
    if keys:
        logger.info("%d upload(s) of an earlier run are scored now", len(keys))


def unscored(path: Path, input_bucket: str, results_bucket: str) -> list[str]:
    """Keys of the kept recordings without a result of their content, by any model."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        done = set(_results(database, results_bucket))
        found = database.execute(
            "SELECT key, etag FROM objects WHERE bucket = ? ORDER BY key", (input_bucket,)
        )
        return [key for key, etag in found if (key, etag.strip('"')) not in done]


def _results(database: sqlite3.Connection, bucket: str) -> Iterator[tuple[str, str]]:
    """Key and ETag of each recording that has a result."""
    found = database.execute(
        "SELECT content FROM objects WHERE bucket = ? AND key >= ? AND key < ?",
        (bucket, RESULTS, RESULTS + "\U0010ffff"),
    )
    for (content,) in found:
        try:
            result = json.loads(content)
            yield result["key"], str(result["etag"]).strip('"')
        except (ValueError, TypeError, KeyError):
            continue  # of something else
