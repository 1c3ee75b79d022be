"""Runs that several tests look at; trained once a session, in seconds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from encoders import tiny_bert
from served import Visit, chromium, opened, serve
from streamlit.testing.v1 import AppTest

from recsys_core.config import Settings
from recsys_core.data import Catalog, Dataset, Vocabulary
from recsys_core.hybrid import save_blend
from recsys_core.readers import load_dataset
from recsys_core.run import Run, checksums
from recsys_core.train import train

APP = Path(__file__).parents[1] / "dashboard" / "app.py"
TINY = Path(__file__).parents[1] / "data" / "tiny"
QUICK = Settings(components=("popularity", "item_knn", "ease"), control=False, hide="met")
HOSTILE = (
    "<script>alert(1)</script>",
    "**x** [a](javascript:1) `b`",
    "=HYPERLINK(1)",
    ":material/bug_report: $x$ :red[y] www.example.com",
)

DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgaPj/HwAFBAJ/2n4iMgAAAABJRU5ErkJggg=="
NO_PICTURES = (  # what a column of pictures may hold, and no page may show
    "javascript:alert(1)",
    "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIG9ubG9hZD0iYWxlcnQoMSkiLz4=",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    'data:image/png;base64,AAAA" onerror="alert(1)',
    "//example.com/a.png",
    "http://me:secret@example.com/a.png",
    'https://example.com/a.png"><script>alert(1)</script>',
    "https://example.com/a b.png",
    "http://[example.com/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../app.py",
    "ftp://example.com/a.png",
    "blob:https://example.com/1",
    " ",
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random BERT, a name for `encoder`."""
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WHYREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A real Chromium; without one the tests are skipped, but where CI is set they fail."""
    path = chromium()
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium; install it or set CHROMIUM=path")
    pytest.importorskip("playwright.sync_api")
    with opened(path) as found:
        yield found


@pytest.fixture(scope="module")
def address(hostile_run: Run, tiny_run: Run, browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`whyrec dashboard` on a free port, over copies of both runs: one for all the tests of a file."""
    folder = tmp_path_factory.mktemp("served")
    for run in (tiny_run, hostile_run):
        shutil.copytree(run.path, folder / run.path.name)
    with serve(folder / "tiny", log=folder / "log.txt") as url:
        yield url


@pytest.fixture
def visit(browser, address: str) -> Iterator:
    visits: list[Visit] = []

    def go(link: str = "", **options) -> Visit:
        visits.append(Visit(browser, link if link.startswith("http") else address + link, **options))
        return visits[-1]

    yield go
    for one in visits:
        if not one.page.is_closed():  # pytest shows this if the test failed
            print(f"{one.page.url} as it was left:\n{one.page.locator('body').inner_text()}")
        one.context.close()
        assert not one.errors


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny, trained; the only run in its folder."""
    return train(load_dataset(TINY), QUICK, tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny with markup and formulas for titles and ids, code for pictures, and a user "empty" of whom nothing is known."""
    return train(hostile(load_dataset(TINY)), QUICK, tmp_path_factory.mktemp("hostile") / "hostile")


def reblended(run: Run, **fields: object) -> Run:
    """The run with other fields in its blend, on disk."""
    save_blend(replace(run.model.blend, **fields), run.model.cold, run.path / "blend")
    manifest = run.manifest | {"files": checksums(run.path)}
    (run.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Run.load(run.path)


def hostile(data: Dataset) -> Dataset:
    titles = [HOSTILE[n % len(HOSTILE)] + str(n) for n in range(len(data.items))]
    shots = [(DOT, *NO_PICTURES)[n % (1 + len(NO_PICTURES))] for n in range(len(data.items))]
    table = data.catalog.frame.assign(title=titles, image=shots)
    users = [*HOSTILE, *data.users.ids[len(HOSTILE) :], "empty"]
    people = data.user_table.reindex(range(len(users))).fillna("<b>none</b>")
    return replace(data, name="<i>h</i>", users=Vocabulary.of(users), catalog=Catalog(table), user_table=people)


# Parts of pages that are made when they are opened.
FOLDS = ("parts", "command", "components", "attributes", "past", "words", "other", "metrics", "points", "presets")


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch):
    """Open the app on a folder of runs, with a URL and what is folded at first unfolded; every run of the script must end
    without an exception."""

    def open_(folder: Path | None, page: str = "", *, unfold: bool = True, **url: str) -> AppTest:
        monkeypatch.delenv("WHYREC_RUN", raising=False)
        monkeypatch.delenv("WHYREC_RUNS", raising=False)
        if folder is not None:
            monkeypatch.setenv("WHYREC_RUNS", str(folder))
        app = AppTest.from_file(str(APP), default_timeout=120)
        for name, value in url.items():
            app.query_params[name] = value
        for part in FOLDS if unfold else ():
            app.session_state[f"folded {part}"] = True
        if page:
            app.run()  # pages can be switched to once they are known; what the URL asked for is in the session by then
            app.switch_page(f"app_pages/{page}.py")
        return ran(app)

    return open_


def ran(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, [e.value for e in app.exception]
    return app


@pytest.fixture(scope="session")
def whole_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has all that a page can show; see `stations`."""
    import stations  # which needs this file

    return stations.make(tiny, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def come(open_app, whole_run: Run):
    """The page of a station, opened once."""
    import stations

    def come_(name: str) -> AppTest:
        if name not in stations.SEEN:
            stations.SEEN[name] = stations.come(open_app, whole_run, name)
        return stations.SEEN[name]

    return come_
