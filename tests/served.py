"""A dashboard served on a free port, and a real Chromium to look at it; for browser tests, benchmarks and screenshots."""

from __future__ import annotations

import os
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

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
    for _ in range(seconds * 4):
        assert server.poll() is None, "the server has stopped"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"{url} did not answer in {seconds} s")
