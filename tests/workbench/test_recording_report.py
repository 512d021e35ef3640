"""Pictures of recordings: the numbers that they show, the page and the image file."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import librosa
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench.cli import console
from oddsound_workbench.report import overview, picture, recordings
from oddsound_workbench.report.overview import Overview, overview_of
from oddsound_workbench.synthesis import write_fan
from tests.conftest import noise, sine
from tests.workbench.command import run
from tests.workbench.test_when import event, prediction

pytestmark = pytest.mark.slow

RATE = 16000
LIMITS = AudioLimits(10**9, 10**5)


def seen(path: Path, waveform: Array, rate: int = RATE) -> Overview:
    soundfile.write(path, waveform, rate, "FLOAT")
    return overview_of(path, rate, len(waveform) / rate, LIMITS)


@pytest.mark.parametrize("seconds", [0.5, 7.3, 100])
def test_the_waveform_keeps_every_peak(seconds: float, tmp_path: Path) -> None:
    waveform = noise(0, seconds) + 0.5
    waveform[1000], waveform[-1000] = 2, -2
    found = seen(tmp_path / "a.wav", waveform)
    assert len(found.low) == len(found.high) == overview.MAX_COLUMNS
    edges = np.linspace(0, len(waveform), len(found.high) + 1)
    assert found.high.max() == 2
    assert found.high.argmax() == np.searchsorted(edges, 1000, "right") - 1
    assert found.low.argmin() == np.searchsorted(edges, len(waveform) - 1000, "right") - 1
    assert np.median(found.low) > 0


@pytest.mark.parametrize("seconds", [0.01, 1, 60])
def test_a_tone_is_in_its_band_all_the_time(seconds: float, tmp_path: Path) -> None:
    found = seen(tmp_path / "a.wav", sine(1000, seconds))
    tops = librosa.mel_frequencies(len(found.levels_db) + 2, fmin=0, fmax=RATE / 2)[1:-1]
    loudest = tops[found.levels_db.argmax(axis=0)]
    assert abs(loudest - 1000).max() < 60
    assert found.levels_db.max() == 0
    assert found.levels_db.min() >= -80


def test_a_click_in_a_long_recording_stays_visible_at_its_time(tmp_path: Path) -> None:
    waveform = 0.001 * noise(0, 600)
    waveform[round(450 * RATE)] = 1
    found = seen(tmp_path / "a.wav", waveform)
    columns = found.levels_db.shape[1]
    assert columns == overview.MAX_COLUMNS
    column = found.levels_db.mean(axis=0).argmax()
    assert column == pytest.approx(0.75 * columns, abs=1)


@pytest.mark.parametrize("rate", [2000, 11025, 44100, 192000])
@pytest.mark.parametrize("seconds", [0.02, 1])
def test_every_sample_rate_and_length_gives_a_picture(
    rate: int, seconds: float, tmp_path: Path
) -> None:
    found = seen(tmp_path / "a.wav", noise(0, seconds, rate), rate)
    assert found.top_hz == rate / 2
    assert np.isfinite(found.levels_db).all()
    assert found.levels_db.max(axis=0).min() > -60
    assert len(found.levels_db) >= 16


def drawn(found: Prediction, **fields: object) -> Figure:
    silence = np.zeros(900, np.float32)
    levels = np.zeros((96, 900), np.float32)
    shown = Overview(found.duration_s, silence, silence, levels, top_hz=8000)
    return picture.draw(shown, found.model_copy(update=fields))


def labels(figure: Figure) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes]


def test_the_picture_has_the_panels_that_the_prediction_has() -> None:
    assert labels(drawn(prediction())) == ["waveform", "Hz", "score"]
    figure = drawn(prediction("..xx", event(3, 4), duration_s=120))
    assert labels(figure) == ["waveform", "Hz", "score", "events"]
    assert [each.get_text() for each in figure.axes[3].get_yticklabels()] == ["impact"]
    figure.draw_without_rendering()
    times = [each.get_text() for each in figure.axes[3].get_xticklabels()]
    assert times[:2] == ["0:00", "0:15"]
    unknown = {"anomaly_score": None, "threshold": None, "is_anomaly": None, "events": None}
    assert labels(drawn(prediction("..x."), **unknown)) == ["waveform", "Hz", "class"]
    assert labels(drawn(prediction(), **unknown)) == ["waveform", "Hz"]


def test_the_score_and_the_threshold_are_drawn_over_time() -> None:
    score = drawn(prediction("..xx", duration_s=40)).axes[2]
    (stairs,) = [each for each in score.patches if hasattr(each, "get_data")]
    values, edges, _ = stairs.get_data()
    assert values.tolist() == [0.5, 0.5, 0.95, 0.95]
    assert edges.tolist() == [0, 10, 20, 30, 40]
    assert [line.get_ydata()[0] for line in score.lines] == [0.9]  # type: ignore[index]


def test_a_short_event_of_an_hour_is_visible_and_inside() -> None:
    axes = drawn(prediction("." * 9, event(3599.9, 3600), duration_s=3600)).axes[3]
    box = axes.collections[0].get_paths()[0].get_extents()
    assert box.width > 10
    assert box.x1 == pytest.approx(3600)


class Page(HTMLParser):
    """Checks that tags are closed, and collects what a page loads, links and shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "link"}:
            self.open.append(tag)
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.anchors += [found["href"]] if tag == "a" else []
        self.loaded += [found[name] for name in ("src", "xlink:href") if name in found]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


@pytest.fixture
def folder(configured: Path, tmp_path: Path) -> Path:
    """A normal recording, a faulty one whose name is markup, and a damaged file."""
    place = tmp_path / "recordings"
    write_fan(place / "a.wav", 600, faulty=False, duration_s=2)
    write_fan(place / "<b>&$x$\x1b[31m.wav", 601, faulty=True, duration_s=2)
    (place / "c.wav").write_bytes(b"RIFF")
    return place


def test_the_page_shows_every_recording_and_loads_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.html"
    printed = run("predict", folder, "--html", target, "--explain")
    assert printed.exit_code == 1
    page = Page(target.read_text(encoding="utf-8"))
    words = " ".join(page.text.split())
    assert "3 recordings, 1 anomaly" in words
    assert rf"{folder}/<b>&$x$\x1b[31m.wav" in words
    assert "failed : the file begins like WAV but cannot be decoded" in words
    assert "anomaly , throughout" in words
    assert "Louder than normal between" in words
    assert "\x1b" not in page.text
    assert sorted(page.anchors) == ["#recording-1", "#recording-2"]
    assert set(page.ids) >= {"recording-1", "recording-2"}
    assert {each.partition(",")[0] for each in page.loaded if not each.startswith("#")} == {
        "data:audio/wav;base64",
        "data:image/png;base64",
    }
    assert len(re.findall("<svg", target.read_text())) == 2


def test_a_page_of_one_recording_has_no_table_of_recordings(folder: Path, tmp_path: Path) -> None:
    assert run("predict", folder / "a.wav", "--html", tmp_path / "x.html").exit_code == 0
    text = (tmp_path / "x.html").read_text()
    assert f"<h1>{folder / 'a.wav'}</h1>" in text
    assert "<table" not in text
    assert "<h3>" not in text


def test_only_the_most_anomalous_of_many_recordings_have_a_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MAX_SECTIONS", 2)
    monkeypatch.setattr(picture, "svg", lambda *_: "<svg></svg>")
    names = ["a.wav", "b.wav", "c.wav", "d.wav", "e.aiff"]
    for name in names:
        write_fan(tmp_path / name, 1, faulty=False, duration_s=0.5)
    levels = [0.5, 1.2, 3.0, 0.7]
    results: list[tuple[Path, Prediction | ErrorBody]] = [
        (tmp_path / name, prediction(anomaly=level > 1, duration_s=0.5, anomaly_level=level))
        for name, level in zip(names, levels, strict=False)
    ]
    page = Page(recordings.render(results, RATE, LIMITS))
    assert "Only the 2 most anomalous recordings are shown below" in page.text
    assert page.anchors == ["#recording-1", "#recording-2"]
    assert [file.name for file, _ in recordings.drawn(results)] == ["b.wav", "c.wav"]


def test_only_small_recordings_are_part_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "svg", lambda *_: "<svg></svg>")
    for name, seconds in (("a.wav", 0.5), ("b.wav", 0.5), ("c.wav", 1.5), ("d.aiff", 0.5)):
        write_fan(tmp_path / "x.wav", 1, faulty=False, duration_s=seconds)
        (tmp_path / "x.wav").rename(tmp_path / name)
    size = (tmp_path / "a.wav").stat().st_size
    monkeypatch.setattr(recordings, "MAX_AUDIO_BYTES", 2 * size)
    monkeypatch.setattr(recordings, "MAX_ALL_AUDIO_BYTES", 2 * size - 1)
    results = [(path, prediction()) for path in sorted(tmp_path.glob("?.*"))]
    page = Page(recordings.render(results, RATE, LIMITS))
    assert len(page.loaded) == 1
    assert page.text.count("The recording is not part of this page, because it has 0.0 MB.") == 2
    assert "Browsers do not play .aiff files." in page.text


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".PDF", b"%PDF"), (".svg", b"<?xml")]
)
def test_a_plot_is_written_in_the_format_of_its_name(
    suffix: str, start: bytes, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / f"out{suffix}"
    (file,) = folder.glob("<b>*")
    assert run("predict", file, "--plot", target).exit_code == 0
    content = target.read_bytes()
    assert content.startswith(start)
    if suffix == ".svg":
        title = "".join(ET.fromstring(content).itertext())  # noqa: S314
        assert r"<b>&$x$\x1b[31m.wav: anomaly, throughout" in title


@pytest.mark.filterwarnings("error")
def test_a_name_in_another_script_is_drawn(folder: Path, tmp_path: Path) -> None:
    (folder / "a.wav").rename(folder / f"{'録音' * 60}.wav"[:60])
    target = tmp_path / "out.png"
    printed = run("predict", next(folder.glob("録*")), "--plot", target)
    assert printed.exit_code == 0, printed.output
    assert target.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--plot", "out.png"], "it draws one recording, not 3; --html draws all"),
        (["--plot", "out.jpg"], "out.jpg does not end in .png, .svg, .pdf"),
        (["--html", "out.wav"], "out.wav does not end in .html, .htm"),
    ],
)
def test_a_picture_that_cannot_be_is_wrong_usage(
    options: list[str], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    printed = run("predict", folder, *options)
    assert printed.exit_code == 2
    assert words in re.sub(r"[\s│]+", " ", printed.stderr)
    assert not list(folder.glob("out*"))


def test_a_recording_that_failed_has_no_plot(folder: Path, tmp_path: Path) -> None:
    assert run("predict", folder / "c.wav", "--plot", tmp_path / "x.png").exit_code == 1
    assert not (tmp_path / "x.png").exists()
    assert run("predict", folder / "c.wav", "--html", tmp_path / "x.html").exit_code == 1
    assert "No recording could be scored." in (tmp_path / "x.html").read_text()


def test_a_file_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--plot", "--html"):
        target = tmp_path / "file" / ("out.png" if option == "--plot" else "out.html")
        printed = run("predict", folder / "a.wav", option, target)
        assert printed.exit_code == 3
        assert f"{target} cannot be written: File exists" in printed.stderr
        assert "normal" in printed.stdout


@pytest.mark.parametrize("option", ["--plot=x.png", "--html"])
def test_a_missing_package_is_named_with_its_extra(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    assert console.missing_package(error, ["predict", "a.wav", option]) == 3
    words = "needs the package matplotlib. Install it with: pip install 'oddsound[train]'"
    assert words in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        console.missing_package(error, ["predict", "a.wav"])
