"""Records from a microphone in windows, and scores each as `oddsound watch` scores a file."""

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from oddsound.machines.ledger import Ledger
from oddsound.schemas import Prediction
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.watching import CHECK_EVERY_S, Scored, Watch

type Samples = NDArray[np.int16]
type Window = tuple[datetime, Samples, int]
"""Start, samples and sample rate of a window."""

BLOCK_S = 0.1
"""Longest time until Ctrl-C is noticed."""


@dataclass(frozen=True)
class Microphone:
    """device : number or part of the name; None for the default one of the system

    sample_rate : in Hz; None for that of the device
    """

    device: int | str | None = None
    sample_rate: int | None = None


@dataclass(frozen=True)
class Plan:
    """What to record.

    machine : its id; folder : the recordings are kept in its subfolder of that name
    window_s : length of a recording; every_s : from the start of one to the start of the next
    keep_normal : whether recordings stay that are no anomaly
    """

    machine: str
    folder: Path
    window_s: float
    every_s: float
    keep_normal: bool = True


def sounddevice() -> Any:
    """The package. Raises WorkbenchError that says what to install."""
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError:
        raise WorkbenchError(
            "recording needs the package sounddevice; install it with:"
            " pip install 'oddsound[listen]'"
        ) from None
    except OSError as error:
        raise WorkbenchError(
            f"recording needs the library PortAudio ({error}); on Debian and Ubuntu:"
            " apt-get install libportaudio2"
        ) from None


def devices() -> list[str]:
    """Number, name, channels and sample rate of each device that can record."""
    return [
        f"{number}: {found['name']}, {found['max_input_channels']} channels,"
        f" {found['default_samplerate']:g} Hz"
        for number, found in enumerate(sounddevice().query_devices())
        if found["max_input_channels"] > 0
    ]


class Listening:
    """Windows of a microphone, and the history that they are added to.

    lost : is called with a sentence when a window cannot be used
    """

    def __init__(
        self,
        plan: Plan,
        microphone: Microphone,
        ledger: Ledger,
        model: str | None = None,
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._microphone = microphone
        self._ledger = ledger
        self._watch = Watch(plan.folder, ledger, plan.machine, model)
        self._lost = lost

    def run(self, stopped: threading.Event) -> Iterator[Scored]:
        """Record and score until `stopped` is set. Raises WorkbenchError if that is impossible."""
        checked = time.monotonic()
        for started_at, sound, rate in self._windows(stopped):
            scored = self._watch.score(self._written(started_at, sound, rate))
            if isinstance(scored.result, Prediction) and self._is_discarded(scored.result):
                scored.file.unlink()
            yield scored
            if time.monotonic() - checked > CHECK_EVERY_S:
                checked = time.monotonic()
                self._ledger.check()

    def _is_discarded(self, found: Prediction) -> bool:
        return not self._plan.keep_normal and not found.is_anomaly

    def _windows(self, stopped: threading.Event) -> Iterator[Window]:
        package = sounddevice()
        stream, rate = self._opened(package)
        block = max(1, round(BLOCK_S * rate))
        length, period = round(self._plan.window_s * rate), round(self._plan.every_s * rate)
        try:
            with stream:
                while not stopped.is_set():
                    started_at = datetime.now(UTC)
                    sound, whole = self._read(stream, length, block, stopped)
                    if stopped.is_set():
                        return
                    if whole:
                        yield started_at, sound, rate
                    else:
                        self._lost(
                            f"the window from {started_at:%H:%M:%S} UTC on is left out: samples are"
                            " missing, because the computer was too slow"
                        )
                    self._read(stream, period - length, block, stopped)
        except package.PortAudioError as error:
            raise WorkbenchError(f"the microphone has stopped: {error}") from None

    def _opened(self, package: Any) -> tuple[Any, int]:
        """The stream, not started yet, and its sample rate."""
        wanted = self._microphone
        try:
            device = package.query_devices(wanted.device, "input")
            rate = wanted.sample_rate or int(device["default_samplerate"])
            stream = package.InputStream(
                device=wanted.device, channels=1, samplerate=rate, dtype="int16"
            )
        except (package.PortAudioError, ValueError) as error:
            found = "; ".join(devices()) or "none"
            raise WorkbenchError(
                f"the microphone cannot be opened: {error}; devices that can record: {found}"
            ) from None
        return stream, rate

    @staticmethod
    def _read(
        stream: Any, length: int, block: int, stopped: threading.Event
    ) -> tuple[Samples, bool]:
        """So many samples, and whether none is missing between them."""
        parts, whole, read = [np.empty(0, np.int16)], True, 0
        while read < length and not stopped.is_set():
            samples, overflowed = stream.read(min(block, length - read))
            # What was lost before the first block is not in the window.
            whole &= not (overflowed and read)
            parts.append(samples[:, 0])
            read += len(samples)
        return np.concatenate(parts), whole

    def _written(self, started_at: datetime, sound: Samples, rate: int) -> Path:
        folder = self._plan.folder / self._plan.machine
        path = folder / f"{started_at:%Y-%m-%dT%H-%M-%SZ}.wav"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, rate, "PCM_16")
        except (OSError, soundfile.SoundFileError) as error:
            raise WorkbenchError(f"{path} cannot be written: {error}") from None
        return path.resolve()
