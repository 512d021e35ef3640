"""The report shows what was measured, and its page is safe to open and to share."""

import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from oddsound_workbench import training
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import intervals, metrics
from oddsound_workbench.learn.classifier_result import ClassifierResult
from oddsound_workbench.learn.detector_result import DetectorGroup, DetectorResult, Split
from oddsound_workbench.learn.results import Chart, Result, RocChart
from oddsound_workbench.report import page, plots, text
from oddsound_workbench.report.report import Report
from oddsound_workbench.training import Plan

pytestmark = pytest.mark.slow

NASTY = '<script>alert("1")&amp;$x'


class Read(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def urls(self) -> list[str]:
        """Everything that the page links to or loads, except its own parts."""
        found = [a.get(key) for _, a in self.tags for key in ("href", "src", "xlink:href")]
        return [url for url in found if url and not url.startswith("#")]


def classified(folder: Path, *labels: str) -> ClassifierResult:
    """Two recordings of each class; one of the first class is predicted as the second."""
    truth = [label for label in labels for _ in range(2)]
    probabilities = np.full((len(truth), len(labels)), 0.1 / (len(labels) - 1))
    for row, label in enumerate(truth):
        probabilities[row, labels.index(label)] = 0.9
    probabilities[0] = [0.35, 0.65] + [0] * (len(labels) - 2)
    paths = [folder / label / f"{number} {label}.wav" for number, label in enumerate(truth)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    folds = np.array(["1", "2"] * len(labels))
    return ClassifierResult(labels, np.array(truth), probabilities, folds, paths)


def detected(folder: Path) -> DetectorResult:
    """Two splits. In one, a normal recording raises an alarm and scores above an anomaly.

    The model of all normal recordings misses one of two anomalies.
    """
    normal = [folder / "a.flac", folder / "b.flac"]
    anomaly = [folder / "c.aiff", folder / "d.aiff"]
    splits: list[Split] = [
        ((np.array([0.1, 0.95]), normal), (np.array([0.99, 0.97]), anomaly)),
        ((np.array([0.2, 0.49]), normal), (np.array([0.96, 0.7]), anomaly)),
    ]
    return DetectorResult.of_splits(splits, 0.9, detection=(np.array([0.98, 0.8]), anomaly))


def report_of(result: Result) -> Report:
    return Report(
        title="A title",
        method="A method.",
        facts=[("Folder", NASTY)],
        summary=result.summary(),
        notes=[NASTY],
        warnings=[NASTY],
    )


def test_a_page_contains_no_script_whatever_the_names_are(tmp_path: Path) -> None:
    read = Read(page.render(report_of(classified(tmp_path, NASTY, "b")), tmp_path, links=True))
    assert "script" not in {tag for tag, _ in read.tags}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    # Folder, note, warning, the mistake's name, class and prediction, and the axes of two plots.
    assert read.text.count(NASTY) >= 8


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    for result in (classified(tmp_path, "a", "b"), detected(tmp_path)):
        read = Read(page.render(report_of(result), tmp_path, links=False))
        assert read.urls() == []
        assert "link" not in {tag for tag, _ in read.tags}
        assert "import" not in "".join(text for text in read.text.split() if "url(" in text)


def test_links_are_relative_to_the_page(tmp_path: Path) -> None:
    result = classified(tmp_path / "recordings", "#1 50%?", "b")
    folder = tmp_path / "models" / "pump"
    read = Read(page.render(report_of(result), folder, links=True))
    urls = read.urls()
    assert len(urls) == 2
    for url in urls:
        assert url.startswith("../../recordings/")
        assert (folder / unquote(url)).resolve() == result.paths[0].resolve()
    assert [a["src"] for tag, a in read.tags if tag == "audio"] == urls[:1]


def test_a_file_name_that_looks_like_a_script_url_is_escaped(tmp_path: Path) -> None:
    assert (
        page.link(tmp_path / "javascript:alert(1).wav", tmp_path) == "javascript%3Aalert%281%29.wav"
    )


def test_a_format_that_browsers_cannot_play_has_only_a_link(tmp_path: Path) -> None:
    read = Read(page.render(report_of(detected(tmp_path)), tmp_path, links=True))
    assert [a["src"] for tag, a in read.tags if tag == "audio"] == ["b.flac"]
    assert [a["href"] for tag, a in read.tags if tag == "a"] == ["b.flac", "d.aiff"]


def test_a_report_without_links_contains_no_paths_of_the_computer(
    recordings: Path, tmp_path: Path
) -> None:
    normal, faulty = recordings / "normal", recordings / "faulty"
    models = tmp_path / "models.json"
    folder = training.train(Plan(normal, "fan", models, anomalies=faulty, links=False)).folder
    for path in folder.iterdir():
        assert str(recordings.parent).encode() not in path.read_bytes(), path
    result = classified(tmp_path / "somewhere", "a", "b")
    read = Read(page.render(report_of(result), folder, links=False))
    assert read.urls() == []
    assert "a/0 a.wav" in read.text
    (folder / "README.md").write_text("The data are from …")
    assert Read(page.render(report_of(result), folder, links=False)).urls() == ["README.md"]
    assert Read(page.render(report_of(result), folder, links=True)).urls() != ["README.md"]


def test_a_report_without_links_names_the_readme_of_the_model(
    recordings: Path, tmp_path: Path
) -> None:
    (tmp_path / "bearing").mkdir()
    (tmp_path / "bearing" / "README.md").write_text("The data are from …")
    plan = Plan(recordings, "bearing", tmp_path / "models.json", copies=0, links=False)
    folder = training.train(plan).folder
    result = classified(tmp_path, "a", "b")
    readme = folder.parent / "README.md"
    read = Read(page.render(report_of(result), folder, links=False, readme=readme))
    assert read.urls() == ["../README.md"]


def test_training_writes_the_page(trained: Path, recordings: Path) -> None:
    (path,) = (trained.parent / "fan").glob("*/report.html")
    read = Read(path.read_text(encoding="utf-8"))
    assert "24, 0.8 min in total: 24 at 16 kHz" in read.text
    assert "10% are expected at this threshold" in read.text
    assert str(recordings / "normal") in read.text
    assert "Loudnessignored" in read.text
    assert "A detector trained on 24 normal recordings" in read.text
    (path,) = (trained.parent / "bearing").glob("*/report.html")
    read = Read(path.read_text(encoding="utf-8"))
    assert "faulty 8, normal 24" in read.text
    assert "Reliability" in read.text


def test_the_text_shows_what_was_measured(tmp_path: Path) -> None:
    found = text.render(report_of(classified(tmp_path, "a", "b")))
    # Fold accuracies of 0.5 and 1: their standard deviation over the root of two.
    words = " ".join(found.split())
    assert "75.0% of 4 recordings are classified correctly; standard error 25.0 points" in words
    assert "0.69 is random guessing" in words
    lines = [line.split() for line in found.splitlines()]
    assert ["60%", "to", "70%", "1", "65.0%", "0.0%"] in lines
    assert ["90%", "to", "100%", "3", "90.0%", "100.0%"] in lines
    assert ["1", "a", "50%", "1", "1"] in lines
    assert ["2", "b", "100%", "0", "2"] in lines
    assert ["a/0", "a.wav", "a", "b", "65%", "1"] in lines


def test_a_detectors_mistakes_are_counted_by_recording(tmp_path: Path) -> None:
    alarm, missed = detected(tmp_path).summary().mistakes
    assert (alarm.path.name, alarm.truth, alarm.predicted) == ("b.flac", "normal", "anomaly")
    assert alarm.score == "0.72"
    assert alarm.where == "1 of 2"
    assert (missed.path.name, missed.truth, missed.predicted) == ("d.aiff", "anomaly", "normal")
    assert missed.where == "1 of 1"


def test_the_page_lists_a_limited_number_of_mistakes_most_confident_first(tmp_path: Path) -> None:
    count = page.MAX_MISTAKES + 20
    confidence = np.linspace(0.51, 0.99, count)
    result = ClassifierResult(
        ("a", "b"),
        np.array(["a"] * (count - 1) + ["b"]),
        np.column_stack([1 - confidence, confidence]),
        np.array(["1"] * count),
        [tmp_path / f"{number}.wav" for number in range(count)],
    )
    scores = [int(mistake.score.rstrip("%")) for mistake in result.summary().mistakes]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == count - 1
    read = Read(page.render(report_of(result), tmp_path, links=True))
    assert sum(tag == "audio" for tag, _ in read.tags) == page.MAX_MISTAKES
    assert "And 19 more." in read.text


def test_reliability_by_hand() -> None:
    confidence = np.array([0.55, 0.59, 1.0, 0.95])
    first, last = metrics.reliability(confidence, np.array([True, False, True, True]))
    assert (first.low, first.high, first.recordings, first.right) == (0.5, 0.6, 2, 0.5)
    assert first.probability == pytest.approx(0.57)
    assert (last.low, last.high, last.recordings, last.right) == (0.9, 1.0, 2, 1.0)


def test_standard_errors_by_hand() -> None:
    right = np.array([True] * 3 + [False])
    assert metrics.standard_error(right, [0.5, 1.0]) == pytest.approx(0.25)
    assert metrics.standard_error(right, [0.75]) == pytest.approx((0.75 * 0.25 / 4) ** 0.5)


@pytest.mark.parametrize("count", [2, 14])
def test_plots_are_drawn_for_any_names_and_any_number_of_classes(
    tmp_path: Path, count: int
) -> None:
    result = classified(tmp_path, *(f"$\\frac{number}$" for number in range(count)))
    charts = result.summary().charts
    assert plots.png("$", charts).startswith(b"\x89PNG")
    confusion = plots.svg(charts[0])
    assert "$\\frac0$" in confusion
    assert "<image" not in confusion
    assert "currentColor" in confusion


def test_plots_of_a_detector_without_anomalies(tmp_path: Path) -> None:
    splits: list[Split] = [((np.array([0.1]), [tmp_path / "a.wav"]), None)]
    result = DetectorResult.of_splits(splits, 0.9)
    assert [chart.title for chart in result.summary().charts] == ["Anomaly scores"]
    assert "not measured" in text.render(report_of(result))


def test_auc_and_pauc_are_those_of_all_scores_together(tmp_path: Path) -> None:
    """Each split alone separates its scores completely: a mean of the splits would be 1."""
    found = detected(tmp_path).metrics()
    # 16 pairs of a normal score and an anomaly score; only 0.95 is above 0.7.
    assert found["auc"] == pytest.approx(15 / 16)
    assert found["auc_interval"]["low"] < 0.5
    (chart,) = [c for c in detected(tmp_path).summary().charts if isinstance(c, RocChart)]
    assert list(chart.curves) == ["all scores"]


def test_the_table_of_thresholds_has_the_rates_of_the_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    normal, anomaly = rng.uniform(0, 1, 60), rng.uniform(0.6, 1, 20)
    paths = [tmp_path / f"{number}.wav" for number in range(30)]
    splits: list[Split] = [
        ((normal[:30], paths), (rng.uniform(0, 1, 10), paths[:10])),
        ((normal[30:], paths), (rng.uniform(0, 1, 10), paths[:10])),
    ]
    result = DetectorResult.of_splits(
        splits,
        0.85,
        detection=(anomaly, [tmp_path / f"x{n}.wav" for n in range(20)]),
        recordings_per_day=48,
    )
    found = result.metrics()
    assert [row["threshold"] for row in found["thresholds"]] == [
        *(0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99)
    ]
    for row in found["thresholds"]:
        alarms, detected = normal >= row["threshold"], anomaly >= row["threshold"]
        assert row["false_alarm_rate"] == pytest.approx(alarms.mean())
        assert row["false_alarms_per_day"] == pytest.approx(48 * alarms.mean())
        assert row["detection_rate"] == pytest.approx(detected.mean())
        for kind in ("false_alarm_rate", "detection_rate"):
            limits = row[f"{kind}_interval"]
            assert limits["low"] <= row[kind] <= limits["high"]
    (table,) = result.summary().tables
    row = next(row for row in found["thresholds"] if row["threshold"] == 0.85)
    shown = next(cells for cells in table.rows if cells[0] == "0.85 *")
    assert [cell.split()[0] for cell in shown[1:]] == [
        f"{row['detection_rate']:.1%}",
        f"{row['false_alarm_rate']:.1%}",
        f"{row['false_alarms_per_day']:.3g}",
    ]
    high = row["false_alarm_rate_interval"]["high"]
    assert shown[2].endswith(f" to {100 * high:.0f}%)")
    assert shown[3].endswith(f" to {48 * high:.2g})")
    for key in ("false_alarm_rate", "false_alarm_rate_interval", "detection_rate"):
        assert found[key] == row[key]


def test_the_report_fits_into_80_columns_and_the_page_has_the_table(tmp_path: Path) -> None:
    found = text.render(report_of(detected(Path("pump"))))
    assert max(map(len, found.splitlines())) <= 80
    words = " ".join(found.split())
    assert "With 2 normal recordings, the rate of false alarms may be anything from" in words
    assert "With 15 more, the interval would be half as wide" in words
    read = Read(page.render(report_of(detected(tmp_path)), tmp_path, links=False))
    assert "* is the threshold of the model" in read.text
    assert "0.9 *" in read.text
    # The tables of a classifier are shown as plots.
    read = Read(page.render(report_of(classified(tmp_path, "a", "b")), tmp_path, links=False))
    assert "numbers" not in {attributes.get("class") for _, attributes in read.tags}


def test_recordings_of_one_group_count_once(tmp_path: Path) -> None:
    """Ten recordings of five days determine the rate of false alarms no better than five."""
    paths = [tmp_path / f"{number}.wav" for number in range(10)]
    splits: list[Split] = [((np.linspace(0, 0.5, 10), paths), None)]
    groups = {path: f"day {number // 2}" for number, path in enumerate(paths)}
    single = DetectorResult.of_splits(splits, 0.9).metrics()
    grouped = DetectorResult.of_splits(splits, 0.9, groups=groups).metrics()
    assert (single["normal_recordings"], grouped["normal_recordings"]) == (10, 5)
    shown = text.render(report_of(DetectorResult.of_splits(splits, 0.9, groups=groups)))
    assert "With 10 (in 5 groups) normal recordings" in " ".join(shown.split())
    high = [found["false_alarm_rate_interval"]["high"] for found in (single, grouped)]
    assert high == pytest.approx(
        [intervals.false_alarm_rate(0, 10).high, intervals.false_alarm_rate(0, 5).high], abs=1e-4
    )


def test_every_kind_of_chart_has_a_plot(tmp_path: Path) -> None:
    for result in (classified(tmp_path, "a", "b"), detected(tmp_path)):
        for chart in result.summary().charts:
            assert plots.svg(chart).startswith("<svg")
    with pytest.raises(TypeError, match="no plot for a Chart"):
        plots.svg(Chart("Other", ""))


def test_several_detectors_have_a_table_and_a_section_each(tmp_path: Path) -> None:
    group = DetectorGroup({"pump": detected(tmp_path / "p"), "fan": detected(tmp_path / "f")})
    found = text.render(report_of(group))
    lines = [line.split() for line in found.splitlines()]
    assert ["pump", "0.938", "0.868", "25.0%", "50.0%"] in lines
    assert ["mean", "0.938", "0.868", "25.0%", "50.0%"] in lines
    read = Read(page.render(report_of(group), tmp_path, links=False))
    assert sum(tag == "h3" for tag, _ in read.tags) == 2
    assert sum(tag == "svg" for tag, _ in read.tags) == 4


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    found = report_of(detected(tmp_path))
    with pytest.raises(FolderError, match=r"r\.html cannot be written: (File exists|Not a dir)"):
        page.write(found, tmp_path / "file" / "r.html", links=True)
    shutil.rmtree(tmp_path)
