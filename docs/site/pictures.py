"""Takes the pictures of the documentation: `make pictures`. It needs Chromium.

The recordings are synthesised, the service, the models and the browser are real.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import oddsound
from oddsound_workbench import demo_fleet, training
from oddsound_workbench.files import PROJECT
from oddsound_workbench.synthesis import SAMPLE_RATE, fan, write_fan

DOCS = PROJECT / "docs"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 900, "height": 1000}, {"width": 390, "height": 760}
STARTED_WITHIN_S, VERDICT_WITHIN_MS = 30, 30_000
KNOCKS_S = (2.0, 6.5)
COLOURS = 128
"""Of a saved picture, which is a quarter as large with so few."""


def main() -> None:
    """Write the pictures into docs/."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit("error: Chromium is needed; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models, sounds = trained(folder), recordings(folder)
        report = folder / "recording.html"
        command = [sys.executable, "-m", "oddsound_workbench.cli", "predict", sounds["knocks"].name]
        options = ["--models", str(models), "--html", str(report)]
        subprocess.run([*command, *options], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        (folder / "fleet").mkdir()
        start = datetime.now(UTC) - timedelta(days=demo_fleet.WEEKS * demo_fleet.DAYS)
        demo_fleet.simulate(oddsound.load_model("fan", models), folder / "fleet", start=start)
        with (
            service(models, folder / "fleet" / "history.sqlite") as url,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            take(browser, url, sounds, report)
            browser.close()


def trained(folder: Path) -> Path:
    """A models.json with a detector `fan` for recordings of the synthesis."""
    for seed in range(24):
        write_fan(folder / "normal" / f"{seed:02}.wav", seed, faulty=False)
    models = folder / "models" / "models.json"
    training.train(training.Plan(folder / "normal", "fan", models, description="A fan."))
    return models


def recordings(folder: Path) -> dict[str, Path]:
    """A recording with two knocks, and a file that is no recording."""
    sound = 0.5 * fan(901, faulty=False, duration_s=8)
    decay = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    for at in KNOCKS_S:
        start = round(at * SAMPLE_RATE)
        level = 8 * sound.std()
        knock = level * np.exp(-60 * decay) * np.sin(2 * np.pi * 2500 * decay)
        sound[start:][: len(decay)] += knock
    soundfile.write(folder / "fan-07.wav", sound, SAMPLE_RATE, "PCM_16")
    notes = folder / "notes.txt"
    notes.write_text("Bearing changed on Monday.", encoding="utf-8")
    return {"knocks": folder / "fan-07.wav", "notes": notes}


@contextmanager
def service(models: Path, history: Path) -> Iterator[str]:
    """The HTTP service on this machine, and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"MODELS_CONFIG_PATH": str(models), "HISTORY": str(history)}
    command = [sys.executable, "-m", "uvicorn", "functions.api.app:app", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"], cwd=PROJECT, env=os.environ | settings
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_S
    while True:
        try:
            httpx2.get(url, timeout=1).raise_for_status()
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def take(browser: Browser, url: str, sounds: dict[str, Path], report: Path) -> None:
    with opened(browser, f"{url}/ui") as page:
        scored(page, sounds["knocks"])
        save(page, "ui.png")
    with opened(browser, f"{url}/ui", dark=True) as page:
        scored(page, sounds["knocks"])
        save(page, "ui-dark.png")
    with opened(browser, f"{url}/ui", PHONE, dark=True) as page:
        scored(page, sounds["knocks"])
        save(page, "ui-phone.png")
    with opened(browser, f"{url}/ui") as page:
        page.get_by_label("Choose a file").set_input_files(sounds["notes"])
        expect(page.get_by_role("alert")).to_contain_text("This is not a recording")
        save(page, "ui-error.png")
    with opened(browser, f"{url}/ui/machines") as page:
        expect(page.locator("#machines tbody tr")).to_have_count(len(demo_fleet.MACHINES))
        save(page, "machines.png")
    for name, size in (("machine.png", DESKTOP), ("machine-phone.png", PHONE)):
        machine = f"{url}/ui/machine?id={demo_fleet.FAILING}"
        with opened(browser, machine, size, dark=size is PHONE) as page:
            expect(page.locator("#chart svg")).to_be_visible()
            expect(page.locator("#recordings > li").first).to_be_visible()
            save(page, name, full=False)
    with opened(browser, report.as_uri()) as page:
        save(page, "recording.png")


@contextmanager
def opened(
    browser: Browser, url: str, size: dict[str, int] = DESKTOP, *, dark: bool = False
) -> Iterator[Page]:
    scheme = "dark" if dark else "light"
    with browser.new_context(viewport=size, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(url)
        yield page


def scored(page: Page, path: Path) -> None:
    page.get_by_label("Choose a file").set_input_files(path)
    heading = page.get_by_role("heading", name="Anomaly", exact=True)
    expect(heading).to_be_visible(timeout=VERDICT_WITHIN_MS)
    expect(page.locator("#wave [part~='spec-labels']")).to_be_visible()


def save(page: Page, name: str, *, full: bool = True) -> None:
    page.wait_for_timeout(500)  # for the last drawing
    picture = Image.open(io.BytesIO(page.screenshot(full_page=full))).convert("RGB")
    picture.quantize(COLOURS).save(DOCS / name, optimize=True)
    print(f"docs/{name}")


if __name__ == "__main__":
    main()
