"""A dashboard served on a free port, and a real Chromium to look at it; for browser tests, benchmarks and screenshots."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
ARTIFACTS = ROOT / "test-artifacts"
PATIENCE = 90_000  # milliseconds: the first page imports torch, on what may be a busy machine
ROW = ".wr-bars .row"
CELLS = "[data-testid=stDataFrame] canvas [role=gridcell]"
# Pages that have a chart and weights, whatever the run.
CHARTED = {"": ROW, "/": ROW, "/explain": "[data-testid=stPlotlyChart] .main-svg"}
TOO_WIDE = """() => ["html", "[data-testid=stMain]", "[data-testid=stSidebarContent]"].flatMap(name => {
  const box = document.querySelector(name), edge = box.getBoundingClientRect().left + box.clientWidth + 1;
  const over = [...box.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > edge);
  return box.scrollWidth > box.clientWidth + 1 ? [name, ...over.map(e => e.dataset.testid || e.className)] : [];
})"""


def chromium() -> str | None:
    """Path of the browser, CHROMIUM or the one that is installed; None if there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    return found if Path(found).is_file() or shutil.which(found) else None


@contextmanager
def opened(path: str) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    run: Path, *options: str, log: Path, base: str = "", port: int | None = None, told: list[subprocess.Popen] | None = None
) -> Iterator[str]:
    """`whyrec dashboard` over the folder of a run, as long as the block lasts: its address. `told` is given the process."""
    port = port or free_port()
    command = [sys.executable, "-m", "recsys_core.cli", "dashboard", "--run", str(run), "--port", str(port), *options]
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}{base}"
    try:
        wait_for(f"{url}/_stcore/health", server)
        (told if told is not None else []).append(server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(url: str, server: subprocess.Popen, seconds: int = 90) -> None:
    for _ in range(seconds * 20):
        assert server.poll() is None, "the server has stopped"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer in {seconds} s")


def probes(message) -> bool:
    """Streamlit's own search for its server from a page: it tries /PAGE/_stcore, is told 404, and goes on to /_stcore."""
    return bool(re.search(r"//[^/]+/[a-z]+/_stcore/", message.location.get("url", "")))


class Visit:
    """One page in a fresh context, which remembers what the console complained about."""

    def __init__(self, browser, url: str, *, width: int = 1280, height: int = 1300, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" and not probes(m) else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("requestfailed", lambda r: self.errors.append(r.url) if "127.0.0.1" not in r.url else None)
        self.page.goto(url)
        self.settled()

    def settled(self) -> None:
        """The chart is drawn, where the page has one, and no script runs."""
        if (chart := CHARTED.get(urlsplit(self.page.url).path)) is not None:
            self.page.locator(chart).first.wait_for()
            self.page.locator("[data-testid=stSidebar] [role=group]").first.wait_for()
        self.idle()

    def idle(self) -> None:
        """There is a title, and no script runs."""
        self.page.locator("[data-testid=stMain] h1").first.wait_for()
        self.page.locator(READY).wait_for()

    def rows(self) -> list[str]:
        """The list as the chart has it: rank, title and logit of each bar."""
        titles = self.page.locator(f"{ROW} .name").all_text_contents()
        logits = self.page.locator(f"{ROW} .lane b").all_text_contents()
        assert len(titles) == len(logits) > 0
        return [f"{title} {logit}" for title, logit in zip(titles, logits, strict=True)]

    def changed_from(self, rows: list[str]) -> list[str]:
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline:
            self.settled()
            if (now := self.rows()) != rows:
                return now
            self.page.wait_for_timeout(50)
        raise AssertionError("the list did not change")

    def shot(self, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        self.settled()
        self.page.wait_for_timeout(700)  # fonts and fading
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


def tab_to(here: Visit, selector: str, key: str = "Tab", most: int = 300) -> None:
    """Press Tab until an element of this kind has the focus."""
    for _ in range(most):
        here.page.keyboard.press(key)
        if here.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{most} times {key} did not lead to {selector}")
