"""Pictures of every page, made from the real dashboard: `make screenshots`, or

    python docs/screenshots.py --run runs/demo --user 196

Writes docs/images/NAME.png for each page of the navigation, and of some of them the dark theme; docs/screens.md shows them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

from served import READY, chromium, opened, serve  # noqa: E402

from dashboard.app import SCREENS  # noqa: E402

DARK = ("user", "explain")
PRESS = {"lab": "Measure the trade-off", "map": "Draw the map"}  # what a page waits for
SIZE = {"width": 1280, "height": 1000}


def shoot(browser, url: str, name: str, user: str, scheme: str) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{url}/{'' if name == 'user' else name}?user={user}")
    page.locator("[data-testid=stMain] h1").first.wait_for()
    page.locator(READY).wait_for()
    if name in PRESS:
        page.get_by_role("button", name=PRESS[name]).click()  # waits until it is there
        page.locator("[data-testid=stPlotlyChart] .main-svg").first.wait_for()
        page.locator(READY).wait_for()
    page.wait_for_function("document.querySelectorAll('[data-testid=stSkeleton]').length === 0")  # code that a page loads late
    page.locator("[data-testid=stMain]").evaluate("main => main.scrollTo(0, 0)")
    page.wait_for_timeout(2000)  # fonts, canvases and fading
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"{name}{'-dark' * (scheme == 'dark')}.png")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "demo")
    parser.add_argument("--user", default="196")
    args = parser.parse_args()
    path = chromium()
    if path is None:
        sys.exit("no Chromium; install it or set CHROMIUM=path")
    with tempfile.TemporaryDirectory() as folder, opened(path) as browser, serve(args.run, log=Path(folder) / "log.txt") as url:
        for screen in SCREENS:
            for scheme in ("light", "dark") if screen.name in DARK else ("light",):
                shoot(browser, url, screen.name, args.user, scheme)
                print(f"{screen.name} {scheme}", flush=True)


if __name__ == "__main__":
    main()
