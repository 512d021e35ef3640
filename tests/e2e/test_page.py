"""The pages /ui and /docs in headless Chromium, with the local stack behind them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Page, Route, expect

from oddsound.http.openapi import behind_api_gateway
from oddsound_workbench.local.cloud import LocalCloud
from oddsound_workbench.synthesis import SAMPLE_RATE, fan
from tests.e2e.browser import accessibility_faults, chromium, drop, opened

pytestmark = pytest.mark.slow

FAULT_S = (8.0, 11.0)
"""Part of the long recording that has a bearing fault."""

PHONE = {"width": 360, "height": 740}
KNOCK_S = 8.0
MAX_WAIT_MS = 30_000
"""For a verdict: on a busy machine, the first prediction of a function takes seconds."""

WARNING = "the samples have a DC offset of +0.05 of full scale: check the recorder's input"


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 16 s with a fault from 8 s to 11 s."""
    sound = fan(700, faulty=False, duration_s=16)
    faulty = fan(700, faulty=True, duration_s=16)
    start, end = (round(time * SAMPLE_RATE) for time in FAULT_S)
    sound[start:end] = faulty[start:end]
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, sound, SAMPLE_RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def knock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A normal recording of 16 s with one knock, by a recorder with a DC offset."""
    sound = 0.5 * fan(701, faulty=False, duration_s=16)
    start = round(KNOCK_S * SAMPLE_RATE)
    time = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    level = 10 * sound.std()
    sound[start:][: len(time)] += level * np.exp(-60 * time) * np.sin(2 * np.pi * 2500 * time)
    path = tmp_path_factory.mktemp("knock") / "knock.wav"
    soundfile.write(path, sound + 0.05, SAMPLE_RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(wavs: dict[str, Path]) -> Iterator[Browser]:
    with chromium(microphone=wavs["anomaly"]) as started:
        yield started


@pytest.fixture
def page(browser: Browser, local_cloud: LocalCloud) -> Iterator[Page]:
    with opened(browser, f"{local_cloud.api_url}/ui") as page:
        yield page


def verdict(page: Page, text: str) -> None:
    heading = page.get_by_role("heading", name=text, exact=True)
    expect(heading).to_be_visible(timeout=MAX_WAIT_MS)
    expect(heading).to_be_focused()


def seconds(page: Page) -> float:
    """Where the recording is played."""
    return float(page.evaluate("document.getElementById('player').currentTime"))


def answered(page: Page, local_cloud: LocalCloud, path: Path, **fields: Any) -> None:
    """Answer predictions with that of a recording, plus fields that the service may add."""
    url = f"{local_cloud.api_url}/predict-anomaly"
    answer = httpx2.post(url, files={"file": path.read_bytes()}, timeout=60).json()
    page.route("**/predict-anomaly*", lambda route: route.fulfill(json=answer | fields))


def test_a_dropped_recording_gets_a_verdict(page: Page, wavs: dict[str, Path]) -> None:
    drop(page, wavs["anomaly"])
    verdict(page, "Anomaly")
    expect(page.locator("#summary")).to_contain_text("the threshold is 0.90")
    expect(page.locator("#probabilities tbody tr")).to_have_count(2)
    expect(page.locator("#explanation")).to_contain_text("Louder than normal between")
    expect(page.locator("#wave [part~='spec-labels']")).to_be_visible()
    drop(page, wavs["normal"])
    verdict(page, "Normal")
    expect(page.get_by_role("status")).to_have_text("Result: Normal")


def test_the_chosen_model_is_used(page: Page, wavs: dict[str, Path]) -> None:
    page.get_by_label("Model").select_option("bearing")
    expect(page.locator("#model-about")).to_have_text("Knows: faulty, normal.")
    page.get_by_label("Choose a file").set_input_files(wavs["anomaly"])
    verdict(page, "Sounds like: faulty")
    expect(page.locator("#summary")).to_contain_text("scored by bearing")
    page.get_by_label("Model").select_option("fan")
    page.get_by_role("button", name="Check the same sound again").click()
    verdict(page, "Anomaly")


def test_a_part_of_a_long_recording_is_found_and_played(page: Page, long: Path) -> None:
    """The service reports windows; the page joins those from the threshold on."""
    page.get_by_label("Choose a file").set_input_files(long)
    verdict(page, "Anomaly")
    assert page.locator("#scores rect.step").count() == 8
    part = page.get_by_role("button", name=re.compile("0:08.0 to 0:12.0"))
    part.click()
    expect(part).to_have_class("moment current")
    page.wait_for_timeout(300)
    assert FAULT_S[0] <= seconds(page) < FAULT_S[0] + 3


def test_an_event_is_played_by_its_line_and_by_its_region(page: Page, knock: Path) -> None:
    """The service finds the knock and the recorder's fault; the page shows both."""
    drop(page, knock)
    expect(page.locator("#warnings li").first).to_have_text(WARNING)
    line = page.get_by_role("button", name=re.compile("impact, score"))
    expect(line).to_have_count(1)
    expect(line).to_contain_text("0:08.0")
    expect(line).to_contain_text("a knock")
    page.locator("#wave [part~='region']").click()
    expect(line).to_have_class("moment current")
    assert seconds(page) == pytest.approx(KNOCK_S, abs=0.5)
    page.evaluate("document.getElementById('player').pause()")
    line.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_have_js_property("paused", value=False)
    # The player stops at the end of the event; the browser says so every 0.25 s.
    expect(page.locator("#player")).to_have_js_property("paused", value=True)
    assert seconds(page) == pytest.approx(KNOCK_S, abs=0.6)


def test_the_words_of_an_answer_are_shown_as_text(
    page: Page, local_cloud: LocalCloud, long: Path
) -> None:
    """No answer of the service contains HTML; a file name in one of another service could."""
    says = "A ringing, <b>18 dB</b> louder than normal."
    event = {"start_s": 8.0, "end_s": 11.0, "kind": "tone", "score": 2.1, "says": says}
    answered(page, local_cloud, long, events=[event], signal={"warnings": ["<i>loud</i>"]})
    drop(page, long)
    verdict(page, "Anomaly")
    expect(page.get_by_role("button", name=re.compile("0:08.0 to 0:11.0 tone"))).to_contain_text(
        says
    )
    expect(page.locator("#warnings li")).to_have_text("<i>loud</i>")


def test_a_refusal_is_shown_in_the_words_of_the_service(page: Page, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("Dear fan, this is not a recording.")
    drop(page, notes)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("supported: WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64")
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#listen")).to_be_hidden()


def test_a_sound_is_recorded_and_scored(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#recording")).to_have_text(re.compile(r"Recording: 0:0[2-9]"))
    page.get_by_role("button", name="Stop and check").click()
    verdict(page, "Anomaly")
    expect(page.locator("#file-name")).to_have_text(re.compile(r"^recording-[\dT-]+\.wav$"))
    # What the microphone plays is a fan with a resonance at 3.1 kHz.
    expect(page.locator("#explanation")).to_contain_text("Louder than normal between 2.8 and 3.5")


def test_a_format_that_only_the_browser_reads_is_converted(page: Page) -> None:
    """WebM, as phones and browsers record it; the service itself does not read it."""
    page.evaluate("""async () => {
      const context = new AudioContext();
      const tone = new OscillatorNode(context, {frequency: 440});
      const target = context.createMediaStreamDestination();
      tone.connect(target);
      tone.start();
      const recorder = new MediaRecorder(target.stream, {mimeType: "audio/webm"});
      const parts = [];
      recorder.ondataavailable = ({data}) => parts.push(data);
      recorder.start();
      await new Promise((resolve) => setTimeout(resolve, 1200));
      await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
      const transfer = new DataTransfer();
      transfer.items.add(new File(parts, "phone.webm"));
      document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, cancelable: true}));
    }""")
    verdict(page, "Anomaly")
    name = page.locator("#file-name")
    expect(name).to_have_text("phone.wav, converted to WAV by this browser")
    expect(page.locator("#summary")).to_contain_text("at 48,000 Hz")


def test_a_large_recording_is_uploaded_to_s3(page: Page, long: Path, tmp_path: Path) -> None:
    sound, rate = soundfile.read(long, dtype="int16")
    large = tmp_path / "large.wav"
    soundfile.write(large, np.tile(sound, 10), rate)
    assert large.stat().st_size > 4_500_000  # the limit of the API function
    with page.expect_request(lambda request: request.url.endswith("/uploads")):
        page.get_by_label("Choose a file").set_input_files(large)
    expect(page.locator("#progress")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    verdict(page, "Anomaly")
    expect(page.locator("#summary")).to_contain_text("160.0 s at 16,000 Hz")


def test_a_sound_over_the_limits_is_not_sent(page: Page, wavs: dict[str, Path]) -> None:
    def small(route: Route) -> None:
        answer = route.fetch()
        text = re.sub(r'(data-max-\w+-bytes)="\d+"', r'\1="50000"', answer.text())
        route.fulfill(response=answer, body=text)

    page.route("**/ui", small)
    page.reload()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))
    drop(page, wavs["normal"])
    expect(page.get_by_role("alert")).to_contain_text("The sound has 0.1 MB; the limit of this")
    assert "POST" not in requests


def test_an_upload_can_be_cancelled(page: Page, wavs: dict[str, Path]) -> None:
    page.route("**/predict-anomaly*", lambda route: None)  # never answered
    drop(page, wavs["normal"])
    expect(page.locator("#progress")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text("Cancelled.")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#player")).to_be_visible()  # a sound that is not scored can be heard


def test_the_key_is_asked_for_and_sent(
    browser: Browser, local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    def gateway(route: Route) -> None:
        """Answer as API Gateway does, which requires a key for these routes."""
        if route.request.headers.get("x-api-key") == "secret":
            route.fallback()
        else:
            body = {"error": "INVALID_API_KEY", "detail": "Forbidden"}
            route.fulfill(status=403, json=body)

    with opened(browser, "about:blank") as page:
        for pattern in ("**/models", "**/predict-anomaly*"):
            page.route(pattern, gateway)
        page.goto(f"{local_cloud.api_url}/ui")
        expect(page.get_by_role("alert")).to_contain_text("The service requires an API key")
        key = page.get_by_label("API key of this service")
        expect(key).to_be_focused()
        key.fill("secret")
        page.keyboard.press("Enter")
        expect(page.locator("#model option").nth(1)).to_be_attached()
        expect(page.get_by_role("alert")).to_be_hidden()
        drop(page, wavs["normal"])
        verdict(page, "Normal")
        assert page.evaluate("localStorage.length") == 0
        assert page.evaluate("sessionStorage.length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(
    browser: Browser, local_cloud: LocalCloud, knock: Path, scheme: str, tmp_path: Path
) -> None:
    url = f"{local_cloud.api_url}/ui"
    # axe-core adds a style of its own, which the policy of the page does not allow.
    with opened(browser, url, color_scheme=scheme, viewport=PHONE, bypass_csp=True) as page:
        expect(page.locator("#model option").nth(1)).to_be_attached()
        drop(page, knock)
        expect(page.locator("#warnings li").first).to_have_text(WARNING)
        expect(page.get_by_role("button", name=re.compile("impact, score"))).to_be_visible()
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        notes = tmp_path / "a-long-name-without-a-space-that-does-not-fit-on-a-phone.txt"
        notes.write_text("text")
        drop(page, notes)
        expect(page.get_by_role("alert")).to_be_visible()
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_docs_shows_the_routes_without_other_hosts(
    browser: Browser, local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    document = httpx2.get(f"{local_cloud.api_url}/openapi.json", timeout=60).json()
    with opened(browser, f"{local_cloud.api_url}/docs") as page:
        expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
        expect(page.get_by_role("button", name="Authorize")).to_have_count(0)
        # Only behind API Gateway is there a key.
        of_gateway = behind_api_gateway(document)
        page.route("**/openapi.json", lambda route: route.fulfill(json=of_gateway))
        page.reload()
        page.get_by_role("button", name="Authorize").first.click()
        page.locator("#api_key_value").fill("secret")
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".auth-btn-wrapper .btn-done").click()
        page.locator("#operations-default-models_models_get .opblock-summary-control").click()
        page.get_by_role("button", name="Try it out").click()
        with page.expect_request(lambda request: request.url.endswith("/models")) as sent:
            page.get_by_role("button", name="Execute").click()
        assert sent.value.headers["x-api-key"] == "secret"
        expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text(
            "200"
        )
