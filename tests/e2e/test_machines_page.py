"""The pages of machines in headless Chromium, behind a stage as on API Gateway."""

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser, Page, Route, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from functions.api.app import app
from oddsound import runtime
from oddsound.history.sqlite import SqliteHistory
from oddsound.http.server import create_server
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.profile import Profile
from oddsound.machines.records import DriftNote, Machine
from tests.cloud import INPUT, NORMAL, REGION
from tests.e2e.browser import accessibility_faults, chromium, opened
from tests.machines.hearing import prediction

pytestmark = pytest.mark.slow

PUMP = "hall-3/pump-07"
PHONE = {"width": 360, "height": 740}
ODD = "<b>odd</b> & ü"
NOW = datetime.now(UTC).replace(microsecond=0)


def hear(ledger: Ledger, machine: str, letters: str, hours_ago: float, level: float = 0) -> None:
    """A recording each hour: A is an anomaly, N is normal."""
    for number, letter in enumerate(letters):
        at = NOW - timedelta(hours=hours_ago - number)
        shifted = Profile(
            trained_with=30, level=level + number % 2 / 2, bands=[0.1 * number % 1] * 16, time=[0.0]
        )
        found = prediction(anomalous=letter == "A", profile=shifted)
        ledger.record(found, Origin(machine, at, "s3", f"{machine}/{at:%dT%H}.wav", at.isoformat()))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet: an alarm, an alarm that came and went, drift, a machine in order, a new one."""
    path = tmp_path_factory.mktemp("fleet") / "history.sqlite"
    ledger = Ledger(SqliteHistory(path))
    for machine in (PUMP, "b/returned", "c/drifting", "a/normal"):
        ledger.register(Machine(id=machine, model_name="fan", site="Ulm"))
    ledger.register(Machine(id="a/odd", name=ODD))
    hear(ledger, "a/normal", "NNN", 3)
    hear(ledger, "c/drifting", "N" * 12, 12, level=9)
    hear(ledger, "b/returned", "AANN", 4)
    hear(ledger, PUMP, "N" * 55 + "ANAA", 59)
    ledger.close()
    return path


@pytest.fixture
def ledger(fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The history of the service: a copy of that of the fleet."""
    monkeypatch.setenv("HISTORY", str(shutil.copy(fleet, tmp_path)))
    runtime.clear()
    return runtime.required_history()


@pytest.fixture
def url(ledger: Ledger) -> Iterator[str]:
    """The service below a stage."""
    server = create_server(Starlette(routes=[Mount("/dev", app)]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/dev"
        server.should_exit = True
        thread.join()


@pytest.fixture
def s3(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The input bucket of the service, in a server of moto."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("INPUT_BUCKET", INPUT)
    runtime.clear()
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket=INPUT, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield client
    runtime.clear()
    server.stop()


@pytest.fixture(scope="module")
def browser(wavs: dict[str, Path]) -> Iterator[Browser]:
    with chromium(microphone=wavs["normal"]) as started:
        yield started


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, f"{url}/ui/machine?id={PUMP}") as page:
        expect(page.locator("#chart svg")).to_be_visible()
        expect(page.locator("#recordings > li")).to_have_count(50)
        yield page


def test_what_needs_attention_is_first(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/ui/machines") as page:
        links = page.locator("#machines tbody th a")
        expected = [PUMP, "b/returned", "c/drifting", ODD, "a/normal"]
        expect(links).to_have_text(expected)
        expect(page.get_by_role("status")).to_have_text(
            "5 machines: 1 active, 1 returned, 1 drifting, 1 unknown, 1 normal."
        )
        first, _, third = page.locator("#machines tbody tr").all()[:3]
        expect(first).to_contain_text("2 of the last 3 recordings are anomalous")
        expect(third).to_contain_text("Everything shifted: the recordings are louder")
        page.get_by_label("Only what needs attention").check()
        expect(links).to_have_text(expected[:3])
        page.get_by_label("Find").fill("DRIFT")
        expect(links).to_have_text(["c/drifting"])
        page.get_by_label("Find").fill("nothing")
        expect(page.locator("#none")).to_have_text("No machine fits.")
        page.get_by_label("Find").fill("")
        links.first.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=PUMP)).to_be_visible()
        page.get_by_role("link", name="Check a sound").click()
        expect(page.get_by_role("heading", name="Check a sound")).to_be_visible()


def test_a_known_fault_explains_that_a_part_has_shifted(
    browser: Browser, url: str, ledger: Ledger
) -> None:
    """Only a sentence on the machine's page says so; the list says what the alarm is."""
    note = DriftNote(kind="part", since=NOW, says="A part of the sound has shifted.")
    for machine in (PUMP, "a/normal"):
        record = ledger._store.machine(machine)
        assert record is not None
        status = record.status.model_copy(update={"drift": note})
        ledger._store.change_machine(record.model_copy(update={"status": status}))
    with opened(browser, f"{url}/ui/machines") as page:
        rows = page.locator("#machines tbody tr")
        expect(rows.first).to_contain_text("2 of the last 3 recordings are anomalous")
        expect(rows.first).not_to_contain_text("shifted")
        expect(rows.filter(has_text="a/normal")).to_contain_text("part shifted")
        page.goto(f"{url}/ui/machine?id={PUMP}")
        expect(page.get_by_text("which the open alarm explains")).to_be_visible()
        expect(page.locator("#drift")).to_be_hidden()
        page.goto(f"{url}/ui/machine?id=a/normal")
        expect(page.locator("#drift")).to_be_visible()
        expect(page.get_by_text("which the open alarm explains")).to_be_hidden()


def test_a_machine_shows_its_score_states_and_recordings(page: Page) -> None:
    expect(page.locator("#state")).to_contain_text("active since")
    expect(page.locator("#chart svg")).to_have_attribute(
        "aria-label", re.compile(r"59 recordings, 3 anomalous; the highest score is 0\.990$")
    )
    expect(page.locator("#chart .threshold")).to_have_count(1)
    expect(page.locator("#chart .alarm")).to_have_count(1)
    expect(page.locator("#chart .strip.active")).to_have_count(1)
    page.get_by_text("Scores as a table").click()
    expect(page.locator("#slices tr").last).to_be_visible()
    expect(page.locator("#events tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Show older recordings").click()
    expect(page.locator("#recordings > li")).to_have_count(59)
    expect(page.locator("#recordings > li > details > summary").nth(50)).to_be_focused()
    page.get_by_label("Show").select_option("everything")
    expect(page.locator("#chart svg")).to_be_visible()


def test_an_alarm_is_acknowledged_snoozed_and_ended(page: Page, ledger: Ledger) -> None:
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_label("Your name")).to_be_focused()  # it is required
    page.get_by_label("Your name").fill("Ada")
    page.locator("#note").fill("bearing ordered")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("status")).to_have_text("The machine is acknowledged.")
    expect(page.locator("#events tbody tr").first).to_contain_text("Ada: bearing ordered")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    page.get_by_label("Snooze for").select_option("1 day")
    page.get_by_role("button", name="Snooze", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("The machine is snoozed.")
    until = ledger.machine(PUMP).snoozed_until
    assert until is not None
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(days=1)
    page.get_by_role("button", name="End the snooze").click()
    expect(page.get_by_role("status")).to_have_text("The machine is acknowledged.")
    page.get_by_role("button", name="End the alarm").click()
    expect(page.get_by_role("status")).to_have_text("The machine is normal.")
    expect(page.get_by_role("button", name="End the alarm")).to_be_hidden()


def test_a_recording_is_reviewed(page: Page, ledger: Ledger) -> None:
    page.get_by_label("Your name").fill("Ada")
    newest = page.locator("#recordings > li").first
    newest.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(newest).to_contain_text("At 3.2 s: a knock, 14 dB over usual.")
    newest.get_by_label("Note").fill("the door")
    newest.get_by_role("button", name="Normal").click()
    expect(newest.locator("summary")).to_contain_text("reviewed as normal by Ada: the door")
    expect(newest.locator("summary")).to_be_focused()
    pressed = newest.get_by_role("button", name="Normal")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    review = ledger.history(PUMP, 1).rows[0].review
    assert review is not None
    assert (review.label, review.person, review.note) == ("normal", "Ada", "the door")
    expect(page.locator("#chart .mark")).to_have_count(1)


def test_the_link_of_a_notice_opens_its_recording_and_plays_it(
    browser: Browser, url: str, ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path.resolve() / "Lüfter 7.wav"
    soundfile.write(path, np.zeros(60 * 16000), 16000)
    made = prediction(anomalous=True)
    row = ledger.record(made, Origin(PUMP, NOW - timedelta(minutes=1), "watch", str(path), "x"))
    ledger.record(made, Origin(PUMP, NOW, "http", "http/0123/fan.wav", "y"))
    with opened(browser, f"{url}/ui/machine?id={PUMP}&row={row.id}") as page:
        expect(page.locator("#recordings > li")).to_have_count(50)
        sent, named = page.locator("#recordings > li").all()[:2]
        expect(named.get_by_role("button", name="Listen")).to_be_focused()
        expect(named).to_have_class("named")
        expect(named).to_be_in_viewport()
        page.keyboard.press("Enter")
        audio = named.locator("audio")
        expect(audio).to_be_visible()
        expect(audio).to_have_js_property("paused", False)
        assert audio.evaluate("player => player.currentTime") >= 3.2  # where the knock is
        expect(named.locator(".listening [role=status]")).to_have_text("")
        sent.locator("summary").click()
        expect(sent).to_contain_text("http/0123/fan.wav")
        expect(sent.get_by_role("button", name="Listen")).to_have_count(0)


def test_a_recording_on_s3_is_played_from_there(browser: Browser, url: str, s3: Any) -> None:
    """The page's policy allows the host of the bucket, and nothing else."""
    key = f"{PUMP}/Lüfter #1?.wav"
    s3.put_object(Bucket=INPUT, Key=key, Body=NORMAL)
    origins = (Origin(PUMP, NOW, "s3", each, "x", INPUT) for each in ("gone.wav", key))
    ledger = runtime.required_history()
    _, row = [ledger.record(prediction(anomalous=False), origin) for origin in origins]
    with opened(browser, f"{url}/ui/machine?id={PUMP}&row={row.id}") as page:
        named = page.locator(".named")
        named.get_by_role("button", name="Listen").click()
        expect(named.locator("audio")).to_have_js_property("duration", 2)
        expect(named.locator("audio")).to_have_attribute("src", re.compile(s3.meta.endpoint_url))
        gone = page.locator("#recordings > li").filter(has_text="gone.wav")
        gone.locator("summary").click()
        gone.get_by_role("button", name="Listen").click()
        expect(gone.locator(".listening")).to_contain_text("The recording cannot be played")


def test_an_older_recording_of_a_notice_is_above_the_others_and_the_page_says_what_is_gone(
    browser: Browser, url: str, ledger: Ledger
) -> None:
    ledger.register(Machine(id="d/old", model_name="fan"))
    hear(ledger, "d/old", "AA" + "N" * 51, 60)
    row = next(e.row for e in ledger.events("d/old", 9).events if e.cause == "anomalies")
    with opened(browser, f"{url}/ui/machine?id=d/old&row={row}") as page:
        first = page.locator("#recordings > li").first
        expect(first).to_have_class("named")
        expect(page.locator("#recordings > li")).to_have_count(51)
        first.get_by_role("button", name="Listen").click()
        expect(page.get_by_role("alert")).to_contain_text("The recording cannot be played.")
        expect(page.get_by_role("alert")).to_contain_text("a file of the computer that scored it")
        page.get_by_role("button", name="Show older recordings").click()
        expect(page.locator("#recordings > li")).to_have_count(53)  # each once


def test_words_of_a_person_are_shown_as_text(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/ui/machine?id=a/odd") as page:
        expect(page.get_by_role("heading", name=ODD)).to_be_visible()
        expect(page.locator("#no-rows")).to_be_visible()
        expect(page.locator("#why")).to_have_text("No model yet, so no alarms.")
        page.goto(f"{url}/ui/machine?id=nobody")
        expect(page.get_by_role("alert")).to_contain_text("No machine 'nobody' is registered")


def test_the_key_is_asked_for_and_sent(browser: Browser, url: str) -> None:
    def gateway(route: Route) -> None:
        if route.request.headers.get("x-api-key") == "secret":
            route.fallback()
        else:
            body = {"error": "INVALID_API_KEY", "detail": "Forbidden"}
            route.fulfill(status=403, json=body)

    with opened(browser, "about:blank") as page:
        page.route(re.compile(r"/dev/machines"), gateway)
        page.goto(f"{url}/ui/machines")
        expect(page.get_by_role("alert")).to_contain_text("The service requires an API key")
        expect(page.get_by_label("API key of this service")).to_be_focused()
        page.keyboard.type("secret")
        page.keyboard.press("Enter")
        expect(page.locator("#machines tbody tr")).to_have_count(5)
        expect(page.get_by_role("alert")).to_be_hidden()
        page.goto(f"{url}/ui/machine?id={PUMP}")  # the key is of the tab
        expect(page.locator("#chart svg")).to_be_visible()
        assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible(browser: Browser, url: str, scheme: str) -> None:
    # axe-core adds a style of its own, which the policy of the page does not allow.
    options = {"color_scheme": scheme, "viewport": PHONE, "bypass_csp": True}
    with opened(browser, f"{url}/ui/machines", **options) as page:
        expect(page.locator("#machines tbody tr")).to_have_count(5)
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        for machine in (PUMP, "c/drifting"):
            page.goto(f"{url}/ui/machine?id={machine}")
            expect(page.locator("#chart svg")).to_be_visible()
            page.locator("#recordings summary").first.click()
            page.get_by_text("Scores as a table").click()
            assert accessibility_faults(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_without_a_history_the_page_says_what_to_set() -> None:
    client = TestClient(app)
    assert client.get("/ui/machines").status_code == 200
    assert client.get("/machines").status_code == 501
