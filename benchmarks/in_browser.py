"""How quickly does the dashboard answer in a real browser, and what does a session cost?

    python benchmarks/in_browser.py --run RUN

Starts `whyrec dashboard` over the run's folder and looks at it with Chromium: seconds from starting the server to the first page,
once and four times more; seconds to open each page in a fresh browser; milliseconds from a key on a weight's slider to other
numbers on the page (what the reader waits for: network, server and drawing); and ten sessions at once: errors, milliseconds,
megabytes of the server. Beside them, in the same minutes, a page of one slider and one chart of ten bars: what machine, browser
and Streamlit take at the least. Writes results/in_browser.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, arguments, megabytes, result_file

sys.path.insert(0, str(ROOT / "tests"))
from served import READY, chromium, free_port, opened, serve, wait_for

from dashboard.app import SCREENS
from recsys_core.run import Run

MOVES, SESSIONS = 60, 10
SLIDER = ".st-key-weight-ease input[type=range]"
# What must change on a page when a weight moves: the scores of the list, the figures, the changes in the tiles.
NUMBERS = {
    "": ".wr-bars .lane b",
    "explain": "[data-testid=stMetricValue]",
    "lab": ".wr-tiles .delta",
}
# From the browser's own key event to the first picture in which the numbers are others; -1 if they stay for five seconds.
WATCH = """([slider, numbers]) => new Promise(done => {
  const read = () => [...document.querySelectorAll(numbers)].map(e => e.textContent).join("|");
  const before = read(), asked = performance.now();
  let start = 0;
  document.querySelector(slider).addEventListener("keydown", e => { start = e.timeStamp; }, {once: true, capture: true});
  const look = () => start && read() !== before && read() !== "" ? requestAnimationFrame(() => done(performance.now() - start))
    : performance.now() - asked > 5000 ? done(-1) : requestAnimationFrame(look);
  window.moved = false;
  requestAnimationFrame(look);
})"""


TOY = """
import plotly.graph_objects as go
import streamlit as st

weight = st.slider("ease", 0.0, 1.0, 0.3, 0.01, key="weight-ease")
values = [weight * n for n in range(1, 11)]
st.title("toy")
st.plotly_chart(go.Figure(go.Bar(x=values, y=list(range(10)), orientation="h", text=[f"{v:.3f}" for v in values])))
"""
TOY_NUMBERS = "[data-testid=stPlotlyChart] text.bartext"


@contextmanager
def toy(folder: Path) -> Iterator[str]:
    """The least page there is: its address."""
    script, port = folder / "toy.py", free_port()
    script.write_text(TOY)
    words = ["run", str(script), f"--server.port={port}", "--server.headless=true", "--browser.gatherUsageStats=false"]
    with (folder / "toy.log").open("w") as out:
        server = subprocess.Popen([sys.executable, "-m", "streamlit", *words], stdout=out, stderr=out)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def ready(page: Any) -> None:
    page.locator("[data-testid=stMain] h1").first.wait_for()
    page.locator(READY).wait_for()


def move(page: Any, numbers: str, step: int) -> float:
    """Milliseconds from one key on the slider to other numbers."""
    waiting = page.evaluate_handle(f"a => ({{answer: ({WATCH})(a)}})", [SLIDER, numbers])
    page.locator(SLIDER).press("ArrowRight" if step % 2 else "ArrowLeft")
    took = float(page.evaluate("w => w.answer", waiting))
    page.locator(READY).wait_for()
    page.wait_for_timeout(150)
    return took


def told(times: list[float]) -> dict[str, Any]:
    good = [t for t in times if t >= 0]
    summary = {"n": len(good), "median_ms": round(float(np.median(good)), 1), "p95_ms": round(float(np.percentile(good, 95)), 1)}
    return summary | {"unchanged": len(times) - len(good)}


def sliders(browser: Any, url: str, asked: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name, numbers in asked.items():
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.goto(f"{url}/{name}?user=196")
        ready(page)
        page.locator(numbers).first.wait_for(state="attached")
        page.locator(SLIDER).focus()
        times = [move(page, numbers, step) for step in range(MOVES + 5)][5:]  # the first ones load code
        found[name or "user"] = told(times)
        print(name or "user", found[name or "user"], flush=True)
        context.close()
    return found


def openings(browser: Any, url: str) -> dict[str, float]:
    """Seconds to each page in a fresh browser, the server warm; the second visit."""
    found = {}
    for screen in SCREENS:
        path = "" if screen.name == "user" else screen.name
        for _ in range(2):
            context = browser.new_context(viewport={"width": 1280, "height": 1000})
            page, started = context.new_page(), time.perf_counter()
            page.set_default_timeout(90_000)
            page.goto(f"{url}/{path}")
            ready(page)
            found[screen.name] = round(time.perf_counter() - started, 2)
            context.close()
    print(found, flush=True)
    return found


def many(browser: Any, url: str, pid: int) -> dict[str, Any]:
    """Ten sessions, each with a user of its own; in turn each moves its slider, so that answers of several overlap."""
    before, errors, times = megabytes(pid), [], []
    pages = []
    for number in range(SESSIONS):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(180_000)  # ten browsers draw at once
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(f"{url}/?user={100 + number}", wait_until="commit")
        pages.append(page)
    for page in pages:
        ready(page)
        page.locator(NUMBERS[""]).first.wait_for(state="attached")
    opened_mb = megabytes(pid)
    for step in range(6):
        watched = []
        for page in pages:
            watched.append(page.evaluate_handle(f"a => ({{answer: ({WATCH})(a)}})", [SLIDER, NUMBERS[""]]))
            page.locator(SLIDER).press("ArrowRight" if step % 2 else "ArrowLeft", no_wait_after=True)
        times += [float(page.evaluate("w => w.answer", w)) for page, w in zip(pages, watched, strict=True)]
        for page in pages:
            page.locator(READY).wait_for()
    shown = sum(page.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() for page in pages)
    after = megabytes(pid)
    for page in pages:
        page.context.close()
    return {
        "sessions": SESSIONS,
        "errors": len(errors) + shown,
        "server_mb_before": round(before),
        "server_mb_after": round(after),
        "mb_a_session": round((opened_mb - before) / SESSIONS, 1),
        "slider": told(times),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a run on MovieLens-100K")
    args = parser.parse_args()
    started, path = time.perf_counter(), chromium()
    if path is None:
        sys.exit("no Chromium; install it or set CHROMIUM=path")
    run, servers = Run.load(args.run), []
    result: dict[str, Any] = {"moves": MOVES, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder, opened(path) as browser:
        seen: list[float] = []  # seconds to the first page, start by start
        for last in (False, False, False, False, True):
            begun = time.perf_counter()
            with serve(args.run, log=Path(folder) / "log.txt", told=servers) as url:
                page = browser.new_page()
                page.goto(url)
                ready(page)
                seen.append(round(time.perf_counter() - begun, 2))
                print("first page", seen[-1], flush=True)
                page.close()
                if last:
                    result["first_page_start_seconds"], warm = seen[0], seen[1:]
                    result["first_page_warm_starts_seconds"] = {"median": float(np.median(warm)), "each": warm}
                    result["pages_seconds"] = openings(browser, url)
                    with toy(Path(folder)) as least:
                        before = sliders(browser, least, {"": TOY_NUMBERS})["user"]
                        result["slider"] = sliders(browser, url, NUMBERS)
                        after = sliders(browser, least, {"": TOY_NUMBERS})["user"]
                    result["slider"] |= {"toy, before": before, "toy, after": after}
                    least_ms = (before["median_ms"] + after["median_ms"]) / 2
                    shown = [name or "user" for name in NUMBERS]
                    result["medians_in_toys"] = {n: round(result["slider"][n]["median_ms"] / least_ms, 2) for n in shown}
                    result_file("in_browser", run.dataset, started, result)
                    result["sessions"] = many(browser, url, servers[-1].pid)
    result_file("in_browser", run.dataset, started, result)


if __name__ == "__main__":
    main()
