"""Objects that are read while they are downloaded."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from threading import Thread
from typing import Any

from oddsound.arriving import AbandonedError, ArrivingFile
from oddsound.errors import InvalidAudioError, UnsupportedAudioError
from oddsound.storage import get_object


@contextmanager
def arriving(
    s3_client: Any,
    bucket: str,
    key: str,
    condition: Mapping[str, str],
    accept: Callable[[int], None],
) -> Iterator[ArrivingFile]:
    """The content of an object as a file, of which each part can be read once it is there.

    A thread writes it to a temporary file, so that decoders can go back. If the block fails, for
    example because the header says that the recording is too long, the download stops. If it ends
    well, or finds the content invalid, the whole object is downloaded first: botocore compares
    checksums at the end.

    condition : parameters such as IfMatch. An object that changes between two attempts must not
        meet it: parts of both would be read as one file.
    accept : called with the size in bytes before the content is read; what it raises is passed on
    Raises the errors of `get_object`, also where missing bytes made the content invalid.
    """
    # Without a name nothing is left behind, however the process ends.
    with tempfile.TemporaryFile(prefix="recording-", buffering=0) as backing:
        file = ArrivingFile(backing.fileno())

        def announce(size: int) -> None:
            accept(size)
            file.announce(size)

        def receive() -> None:
            try:
                get_object(s3_client, bucket, key, file, condition, announce)
                file.end(None)
            except AbandonedError:
                pass
            except Exception as error:  # raised where the file is read
                file.end(error)

        # In this context, for the deadline of the call.
        thread = Thread(target=copy_context().run, args=(receive,), name="download", daemon=True)
        thread.start()
        try:
            yield file
        except (InvalidAudioError, UnsupportedAudioError):
            thread.join()
            if file.failure:
                raise file.failure from None
            raise
        except BaseException:
            file.abandon()
            thread.join()
            raise
        thread.join()
        if file.failure:
            raise file.failure
