"""`oddsound listen`, with a fake microphone that plays a synthesised fan."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import soundfile

from oddsound_workbench import listening
from oddsound_workbench.cli import console
from oddsound_workbench.cli import listening as command
from oddsound_workbench.synthesis import SAMPLE_RATE, fan
from tests.workbench.command import read, run

PUMP = "hall-3/pump-07"


class FakeSoundDevice(ModuleType):
    """The part of sounddevice that is used.

    sound : that the microphone hears; when it is over, `over` is called
    overflow_at : sample of the block before which samples were lost
    """

    class PortAudioError(Exception):
        pass

    def __init__(self, sound: Any, over: Callable[[], None], overflow_at: int = -1) -> None:
        super().__init__("sounddevice")
        self.sound = (np.asarray(sound) * 32767).astype(np.int16)
        self.over, self.overflow_at, self.place = over, overflow_at, 0
        self.breaks = False

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        found = {"name": "Fake", "max_input_channels": 2, "default_samplerate": SAMPLE_RATE}
        if kind is None:
            return [found, {**found, "name": "Speaker", "max_input_channels": 0}]
        if device not in (None, 0, "Fake"):
            raise ValueError(f"No input device matching {device!r}")
        return found

    def InputStream(self, **options: Any) -> Self:  # noqa: N802  as in sounddevice
        assert options["channels"] == 1
        assert options["dtype"] == "int16"
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, frames: int) -> tuple[Any, bool]:
        if self.breaks:
            raise self.PortAudioError("Device unavailable")
        start, self.place = self.place, self.place + frames
        if self.place >= len(self.sound):
            self.over()
        block = np.zeros((frames, 1), np.int16)
        heard = self.sound[start : self.place]
        block[: len(heard), 0] = heard
        return block, start <= self.overflow_at < self.place


@pytest.fixture
def plugged_in(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FakeSoundDevice]:
    """Plugs a microphone in; listening stops when its sound is over."""
    monkeypatch.chdir(tmp_path)
    stopped = threading.Event()

    class Stopping:
        def __enter__(self) -> threading.Event:
            return stopped

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(command, "stopped_by_signals", Stopping)
    assert hasattr(console, "stopped_by_signals")

    def plug(sound: Any, **options: Any) -> FakeSoundDevice:
        fake = FakeSoundDevice(sound, stopped.set, **options)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake

    return plug


def sounds(*faulty: bool) -> Any:
    """Two seconds of a fan, and one second that nobody scores, each."""
    parts = [fan(400 + n, faulty=bad, duration_s=2) for n, bad in enumerate(faulty)]
    gap = np.full(SAMPLE_RATE, 0.9, np.float32)
    return np.concatenate([part for each in parts for part in (each, gap)])


OPTIONS = ("--window", 2, "--every", 3)


@pytest.mark.slow
def test_windows_are_scored_into_the_history(plugged_in: Any, tmp_path: Path) -> None:
    run("machines", "add", PUMP, "--model", "fan")
    plugged_in(sounds(False, True, True, False))
    done = run("listen", PUMP, *OPTIONS, "--history", "oddsound-data/history.sqlite", "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = ["normal", "anomaly", "anomaly", "normal"]
    assert [line["prediction"] for line in lines] == found
    assert [line["duration_s"] for line in lines] == [2] * 4
    assert lines[-1]["state"] == "active"
    (machine,) = read(run("machines", "list", "--json"))["machines"]
    assert machine["state"] == "active"
    kept = sorted((tmp_path / "recordings" / "hall-3" / "pump-07").glob("*.wav"))
    assert len(kept) == len({line["file"] for line in lines})
    assert soundfile.info(kept[0]).samplerate == SAMPLE_RATE


def test_normal_recordings_are_not_kept_if_that_is_wanted(plugged_in: Any, tmp_path: Path) -> None:
    plugged_in(sounds(False, False))
    done = run("listen", PUMP, *OPTIONS, "--no-keep-normal", "--model", "fan")
    assert done.exit_code == 0, done.output
    assert f"{PUMP}  " in done.stdout
    assert list((tmp_path / "recordings" / "hall-3" / "pump-07").iterdir()) == []


def test_a_window_with_missing_samples_is_left_out(plugged_in: Any, tmp_path: Path) -> None:
    plugged_in(sounds(False, False), overflow_at=SAMPLE_RATE)
    done = run("listen", PUMP, *OPTIONS)
    assert "is left out: samples are missing" in done.stderr
    assert len(done.stdout.splitlines()) == 1  # the second one


def test_what_is_missing_or_wrong_is_said(plugged_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> str:
        return str(read(run("listen", *arguments, "--json"), code=3)["detail"])

    fake = plugged_in(sounds(False))
    assert read(run("listen", "--list-devices", "--json")) == {
        "devices": ["0: Fake, 2 channels, 16000 Hz"]
    }
    assert refused(PUMP, "--device", "none") == (
        "the microphone cannot be opened: No input device matching 'none'; devices that can record:"
        " 0: Fake, 2 channels, 16000 Hz"
    )
    assert "at least --window, which is 10 s" in refused(PUMP, "--every", 5)
    assert "name the machine" in refused()
    fake.breaks = True
    assert refused(PUMP) == "the microphone has stopped: Device unavailable"
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'oddsound[listen]'" in refused(PUMP)
    assert "Listening to" not in run("listen", PUMP).stderr

    def without_portaudio(_: str) -> ModuleType:
        raise OSError("PortAudio library not found")

    fake_import = SimpleNamespace(import_module=without_portaudio)
    monkeypatch.setattr(listening, "importlib", fake_import)
    with pytest.raises(Exception, match="apt-get install libportaudio2"):
        listening.sounddevice()
