"""`oddsound machines`, `oddsound predict --machine`, and the objects that `serve` keeps."""

from pathlib import Path

import pytest
import soundfile

from oddsound.errors import StorageError
from oddsound_workbench.deploy.events import INPUT_BUCKET, REGION, RESULTS_BUCKET
from oddsound_workbench.local.aws import aws_client, moto_servers
from oddsound_workbench.synthesis import SAMPLE_RATE, fan, write_fan
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_machines_are_added_replaced_and_listed(tmp_path: Path) -> None:
    added = read(run("machines", "add", "hall-3/pump-07", "--model", "fan", "--json"))
    assert added == {"added": ["hall-3/pump-07"], "replaced": []}
    options = ("--site", "Ulm", "--expected-every", "3600", "--alarm", "3/5", "--json")
    again = read(run("machines", "add", "hall-3/pump-07", *options))
    assert again == {"added": [], "replaced": ["hall-3/pump-07"]}
    (found,) = read(run("machines", "list", "--json"))["machines"]
    assert (found["site"], found["expected_every_s"]) == ("Ulm", 3600)
    assert found["alarm"] == {"n": 3, "of": 5}
    assert found["state"] == "unknown"  # it has no model any more
    assert (tmp_path / "oddsound-data" / "history.sqlite").exists()
    assert "hall-3/pump-07" in run("machines", "list").stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "machines.json",
            '[{"id": "a/1", "site": "Ulm", "alarm": {"n": 1, "of": 2}}, {"id": "b"}]',
        ),
        ("machines.csv", "id,site,alarm,model_name\na/1,Ulm,1/2,\nb,,,\n"),
    ],
)
def test_a_file_adds_many_machines(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    history = ("--history", tmp_path / "other.sqlite", "--json")
    assert read(run("machines", "add", "--file", tmp_path / name, *history))["added"] == [
        "a/1",
        "b",
    ]
    first, second = read(run("machines", "list", *history))["machines"]
    assert (first["site"], first["alarm"], first["model_name"]) == ("Ulm", {"n": 1, "of": 2}, None)
    assert (second["site"], second["alarm"]) == ("", {"n": 2, "of": 3})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.json", '[{"id": "a"}, {"id": "b/"}]', "entry 2: id: Value error, this is not the id"),
        ("m.json", '{"a": {}}', "is not a list such as"),
        ("m.json", "[", "is not JSON"),
        ("m.json", '[{"id": "a", "modell": "fan"}]', "modell: Extra inputs are not permitted"),
        ("m.json", '[{"id": "a", "alarm": {"n": 3, "of": 2}}]', "n is 3, and at most `of`"),
        ("m.json", '[{"id": "a"}, {"id": "a"}]', "names a more than once"),
        ("m.json", "[" * 100_000, "it is nested deeper than 50 levels"),
        ("m.json", '[{"id": "a", "id": "b"}]', "the key 'id' appears more than once"),
        ("m.csv", "id,name\na,b,c\n", "line 2 has more values than the heading"),
        ("m.csv", "id,id\na,b\n", "a column appears twice in its heading: id, id"),
        ("m.csv", f"id,name\na,{'x' * 200_000}\n", "field larger than field limit"),
        ("m.csv", "id\n", "contains no machine"),
        ("m.csv", "id,alarm\na,2-3\n", "'2-3' is not of the form 2/3"),
        ("m.csv", "id,expected_every_s\na,often\n", "line 2: expected_every_s: Input should be"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    error = read(run("machines", "add", "--file", tmp_path / name, "--json"), code=3)
    assert words in error["detail"]
    assert read(run("machines", "list", "--json"))["machines"] == []


def test_predict_adds_rows_only_if_it_is_asked_to(configured: Path, tmp_path: Path) -> None:
    files = [
        write_fan(tmp_path / f"2026-11-23T1{hour}-00-00.wav", hour, faulty=False, duration_s=2)
        for hour in range(2)
    ]
    run("predict", *files, "--json")
    assert not (tmp_path / "oddsound-data").exists()
    for _ in range(2):
        found = read(run("predict", *files, "--machine", "hall-3/pump-07", "--json"))
        assert [entry["machine"] for entry in found] == ["hall-3/pump-07"] * 2
    (machine,) = read(run("machines", "list", "--json"))["machines"]
    assert machine["last_recorded_at"] == "2026-11-23T11:00:00Z"
    refused = read(run("predict", *files, "--machine", "hall-3/", "--json"), code=3)
    assert refused["error"] == "InvalidMachineError"


def test_a_history_that_cannot_be_opened_is_an_error_of_the_set_up(tmp_path: Path) -> None:
    refused = read(run("machines", "list", "--history", tmp_path, "--json"), code=3)
    assert refused["error"] == StorageError.__name__


@pytest.mark.slow
def test_kept_objects_survive_a_restart_of_the_local_s3(tmp_path: Path) -> None:
    kept = tmp_path / "data" / "objects.sqlite"
    place = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    bodies = {"a/b ü.wav": b"one", "b": b"", "gone": b"x"}
    with moto_servers(["127.0.0.1"], kept) as (url,):
        s3 = aws_client("s3", url)
        for bucket in (INPUT_BUCKET, RESULTS_BUCKET):
            s3.create_bucket(Bucket=bucket, **place)
        for key, body in bodies.items():
            s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=body, Metadata={"machine": "a"})
        s3.put_object(Bucket=INPUT_BUCKET, Key="b", Body=b"newer")
        s3.delete_object(Bucket=INPUT_BUCKET, Key="gone")
        before = s3.head_object(Bucket=INPUT_BUCKET, Key="a/b ü.wav")
    with moto_servers(["127.0.0.1"], kept) as (url,):
        s3 = aws_client("s3", url)
        for bucket in (INPUT_BUCKET, RESULTS_BUCKET):
            s3.create_bucket(Bucket=bucket, **place)
        s3.put_bucket_versioning(
            Bucket=RESULTS_BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        after = s3.get_object(Bucket=INPUT_BUCKET, Key="a/b ü.wav")
        assert after["Body"].read() == b"one"
        for name in ("ETag", "LastModified", "Metadata"):
            assert after[name] == before[name]
        assert s3.get_object(Bucket=INPUT_BUCKET, Key="b")["Body"].read() == b"newer"
        for key, bucket in (("gone", INPUT_BUCKET), ("never", INPUT_BUCKET), ("b", RESULTS_BUCKET)):
            with pytest.raises(s3.exceptions.ClientError, match="404"):
                s3.head_object(Bucket=bucket, Key=key)
        with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket=INPUT_BUCKET, Key="b", Body=b"", IfNoneMatch="*")


def test_alarms_are_seen_acknowledged_and_snoozed(configured: Path, tmp_path: Path) -> None:
    run("machines", "add", "hall-3/pump-07", "--model", "fan")
    files = [
        write_fan(tmp_path / f"2026-11-23T1{hour}-00-00.wav", hour, faulty=True, duration_s=2)
        for hour in range(2)
    ]
    run("predict", *files, "--machine", "hall-3/pump-07")
    assert read(run("machines", "list", "--json"))["machines"][0]["state"] == "active"
    seen = run("machines", "acknowledge", "hall-3/pump-07", "--person", "Ada", "--note", "bearing")
    assert seen.stdout == "hall-3/pump-07: acknowledged\n"
    snooze = ("machines", "snooze", "hall-3/pump-07", "--person", "Ada", "--hours")
    assert read(run(*snooze, 8, "--json"))["state"] == "snoozed"
    assert read(run(*snooze, 0, "--json"))["state"] == "acknowledged"
    lines = run("machines", "events", "hall-3/pump-07").stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("2026-11-23 11:00 UTC  active  2 of the last 3 recordings are")
    assert lines[-2].endswith("acknowledged  A person has seen the alarm. Ada: bearing")
    events = read(run("machines", "events", "hall-3/pump-07", "--limit", 1, "--json"))["events"]
    assert [event["cause"] for event in events] == ["snooze ended"]
    assert read(run("machines", "check", "--json")) == {"changed": []}
    cleared = run("machines", "clear", "hall-3/pump-07", "--person", "Ada", "--note", "repaired")
    assert cleared.stdout == "hall-3/pump-07: normal\n"
    refused = read(run("machines", "clear", "hall-3/pump-07", "--person", "Ada", "--json"), code=3)
    assert refused["error"] == "InvalidStateError"
    again = read(run("machines", "acknowledge", "nobody", "--person", "Ada", "--json"), code=3)
    assert again["error"] == "UnknownMachineError"


def test_a_quieter_recorder_is_named_by_the_drift_command(configured: Path, tmp_path: Path) -> None:
    run("machines", "add", "hall-3/pump-07", "--model", "fan")
    files = []
    for hour in range(10):
        path = tmp_path / f"2026-11-23T1{hour}-00-00.wav"
        sound = fan(200 + hour, faulty=False, duration_s=2)
        soundfile.write(path, sound / 16, SAMPLE_RATE, "FLOAT")
        files.append(path)
    few = read(run("machines", "drift", "hall-3/pump-07", "--json"))
    assert (few["kind"], few["recordings"]) == ("unknown", 0)
    run("predict", *files, "--machine", "hall-3/pump-07")
    shown = run("machines", "drift", "hall-3/pump-07").stdout
    assert shown.startswith("Everything shifted: the recordings are quieter, and how the sound")
    assert "loudness" in shown
    (machine,) = read(run("machines", "list", "--json"))["machines"]
    assert machine["drift"]["kind"] == "everything"
    assert "everything" in run("machines", "list").stdout
    unknown = read(run("machines", "drift", "nobody", "--json"), code=3)
    assert unknown["error"] == "UnknownMachineError"


def test_a_file_is_reviewed_by_its_path(configured: Path, tmp_path: Path) -> None:
    file = write_fan(tmp_path / "2026-11-23T10-00-00.wav", 1, faulty=True, duration_s=2)
    run("predict", file, "--machine", "hall-3/pump-07")
    said = run("review", file.name, "--label", "normal", "--person", "Ada")
    assert said.stdout == "hall-3/pump-07, 2026-11-23 10:00 UTC: normal, scored as anomaly\n"
    options = ("--label", "fault", "--recorded-at", "2026-11-23T10:00:00", "--json")
    assert read(run("review", file, *options))["review"]["label"] == "fault"
    assert run("review", file, "--label", "fine").exit_code == 2
    missing = read(run("review", "gone.wav", "--label", "normal", "--json"), code=3)
    assert missing["error"] == "ResultNotFoundError"


def test_label_files_are_reviews(configured: Path, tmp_path: Path) -> None:
    folder, labels = tmp_path / "recordings", tmp_path / "labels"
    labels.mkdir()
    names = [f"2026-11-23T1{hour}-00-00" for hour in range(5)]
    files = [
        write_fan(folder / f"{name}.wav", number, faulty=False, duration_s=2)
        for number, name in enumerate(names)
    ]
    run("predict", *files[:4], "--machine", "hall-3/pump-07")
    texts = (
        "0.1\t0.2\tfaulty\n0.5\t1.5\tnormal\n",  # as Audacity writes it; shorter than for training
        "0\t2\tnormal\n",
        "0\t2\tok\n1\t1\tunusable\n",
        "0\t2\tlunch\n",
    )
    for name, text in zip(names, texts, strict=False):
        (labels / f"{name}.txt").write_text(text)
    raven = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tAnnotation\n"
    (labels / "gone.txt").write_text(f"{raven}1\t0\t1\t{names[4]}.wav\tfaulty\n")
    done = run("review", folder, "--labels", labels, "--person", "Ada", "--json")
    rows = read(done)["reviewed"]
    assert [row["review"]["label"] for row in rows] == ["fault", "normal", "unusable"]
    assert rows[0]["review"]["note"] == "faulty from 0.1 to 0.2 s"
    assert rows[0]["review"]["person"] == "Ada"
    assert "are left out: 'lunch' (1)" in done.stderr
    assert "1 labelled recording(s) are not in the history" in done.stderr
    one = ("--labels", labels / f"{names[0]}.txt", "--normal-label", "faulty")
    shown = run("review", files[0], *one, "--faulty-label", "normal")
    assert shown.stdout.endswith("fault, scored as normal; normal from 0.5 to 1.5 s\n")
    refused = read(run("review", folder, "--labels", labels / "none", "--json"), code=3)
    assert "cannot be read" in refused["detail"]
    none = read(run("review", files[4], "--labels", labels / "gone.txt", "--json"), code=3)
    assert "`oddsound watch --once` adds them" in none["detail"]
    assert run("review", folder).exit_code == 2
    assert run("review", folder, "--labels", labels, "--note", "x").exit_code == 2
