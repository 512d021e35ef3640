"""Headless Chromium for the tests of the pages, and what the tests do in it."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 20_000
ACCESSIBILITY_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

DROP = """
async ([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const event = new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}
"""


@contextmanager
def chromium(microphone: Path) -> Iterator[Browser]:
    """A browser whose microphone plays a WAV file. Skips the test if there is no Chromium."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    arguments = [
        "--no-sandbox",  # it needs user namespaces, which containers and root do not have
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page, which must load nothing from another host and break no rule of its policy.

    options : of a browser context, such as color_scheme and viewport
    """
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        faults: list[str] = []
        page.on("console", lambda message: faults.extend(_policy_fault(message)))
        page.on("pageerror", lambda error: faults.append(f"error in a script: {error}"))
        page.on("request", lambda request: faults.extend(_foreign(request)))
        page.goto(url)
        yield page
        assert not faults, "\n".join(faults)


def _policy_fault(message: ConsoleMessage) -> list[str]:
    return [message.text] if "Content Security Policy" in message.text else []


def _foreign(request: Request) -> list[str]:
    url = urlsplit(request.url)
    own = url.scheme in ("blob", "data") or url.hostname == "127.0.0.1"
    return [] if own else [f"loaded from another host: {request.url}"]


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page, as from a file manager."""
    page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])


def accessibility_faults(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now."""
    options = {"runOnly": {"type": "tag", "values": ACCESSIBILITY_RULES}}
    results = Axe().run(page, options=options)
    return [
        f"{violation['id']}: {node['html']}: {node.get('failureSummary')}"
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]
