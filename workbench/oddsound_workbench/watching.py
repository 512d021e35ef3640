"""Scores recordings of a folder as they appear; files that are still being written wait."""

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EAGAIN
from pathlib import Path

from oddsound import pipeline, runtime
from oddsound.errors import AudioAnomalyError, StorageError
from oddsound.formats import named_as_recording
from oddsound.machines.ledger import Ledger
from oddsound.machines.naming import machine_of_key
from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench.files import decoded
from oddsound_workbench.history import remember

LOOK_EVERY_MS = 500
"""Longest time between two looks at files that are waiting."""

CHECK_EVERY_S = 60


@dataclass(frozen=True)
class Scored:
    """A file, its machine, and its prediction or the reason that it has none."""

    file: Path
    machine: str | None
    result: Prediction | ErrorBody


@dataclass
class _Waiting:
    size: int
    changed_ns: int
    since_s: float


class Settling:
    """Files that have appeared or changed, until they are complete.

    A file is complete when neither its size nor its time of change differs for `settle_s` seconds,
    and, where Linux tells, no process has it open for writing.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._waiting: dict[Path, _Waiting] = {}

    def add(self, file: Path) -> None:
        """A file has appeared or changed."""
        with suppress(OSError):
            found = file.stat()
            self._waiting[file] = _Waiting(found.st_size, found.st_mtime_ns, self._clock())

    def complete(self) -> list[Path]:
        """The files that are complete now, by name. They wait no longer."""
        now, done = self._clock(), []
        for file, waiting in list(self._waiting.items()):
            try:
                found = file.stat()
            except OSError:  # it was renamed or deleted
                del self._waiting[file]
                continue
            if (found.st_size, found.st_mtime_ns) != (waiting.size, waiting.changed_ns):
                self.add(file)
            elif now - waiting.since_s >= self._settle_s and not being_written(file):
                del self._waiting[file]
                done.append(file)
        return sorted(done)


def being_written(file: Path) -> bool:
    """Whether a process has the file open for writing; False where that cannot be known.

    Linux grants a lease for reading only if nobody has.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with file.open("rb") as opened:
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:  # also where leases are not supported, or the file is not ours
        return error.errno == EAGAIN
    return False


class Watch:
    """A folder, and the history that its recordings are added to.

    machine : of all recordings; None for the one that the subfolder names
    model : of all recordings; None for the machine's
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        machine: str | None = None,
        model: str | None = None,
        settle_s: float = 2,
    ) -> None:
        self._folder = folder.resolve()
        self._ledger = ledger
        self._machine = machine
        self._model = model
        self._settle_s = settle_s
        self._settling = Settling(settle_s)

    def catch_up(self) -> Iterator[Scored]:
        """Score what is new in the folder, once. Files that are being written are left out.

        Raises StorageError if the history does not answer.
        """
        for file in sorted(self._folder.rglob("*")):
            self._consider(file)
        time.sleep(self._settle_s)
        for file in self._settling.complete():
            if not self._is_known(file):
                yield self.score(file)
        self._ledger.check()

    def run(self, stopped: threading.Event) -> Iterator[Scored]:
        """Score what is new in the folder, and then what appears, until `stopped` is set.

        Raises StorageError if the history does not answer.
        """
        from watchfiles import Change, watch

        for file in sorted(self._folder.rglob("*")):
            self._consider(file)
        checked = time.monotonic()
        for changes in watch(
            self._folder,
            stop_event=stopped,
            rust_timeout=LOOK_EVERY_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            for change, name in changes:
                if change != Change.deleted:
                    self._consider(Path(name))
            for file in self._settling.complete():
                if not self._is_known(file):
                    yield self.score(file)
                if stopped.is_set():
                    return
            if time.monotonic() - checked > CHECK_EVERY_S:
                checked = time.monotonic()
                self._ledger.check()

    def score(self, file: Path) -> Scored:
        """Score one file, and add it to the history."""
        machine = self._machine or machine_of_key(self._relative(file))
        try:
            of_machine = self._ledger.model_of(machine) if machine else None
            model = runtime.registry().get(self._model or of_machine)
            prediction = pipeline.predict(file, model, runtime.limits())
            result = remember(self._ledger, prediction, file, machine, source="watch")
        except (AudioAnomalyError, OSError) as error:
            if isinstance(error, StorageError):  # of the history: the file is tried again
                self._settling.add(file)
            detail = error.strerror if isinstance(error, OSError) else None
            return Scored(
                file, machine, ErrorBody(error=type(error).__name__, detail=detail or str(error))
            )
        return Scored(file, machine, result)

    def _consider(self, file: Path) -> None:
        hidden = any(part.startswith(".") for part in file.relative_to(self._folder).parts)
        if not hidden and named_as_recording(file.name) and file.is_file():
            self._settling.add(file)

    def _is_known(self, file: Path) -> bool:
        """Whether the file was scored and has not changed since."""
        try:
            changed_s = file.stat().st_mtime
        except OSError:
            return True
        rows = self._ledger.rows_of_key(decoded(file))
        return any(row.scored_at.timestamp() >= changed_s for row in rows)

    def _relative(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()
