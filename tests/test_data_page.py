"""The page Data without a browser: files in, columns guessed, everything that is wrong told in a line, a run trained and opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY, ran
from streamlit.testing.v1 import AppTest
from test_dashboard import texts

from dashboard import strings, training, uploads


@pytest.fixture
def data(open_app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The page, over an empty folder of runs; data/tiny is the folder `tiny` on the server."""
    monkeypatch.setenv("WHYREC_DATA", str(TINY.parent))

    def open_() -> AppTest:
        runs = tmp_path / "runs"
        runs.mkdir(exist_ok=True)
        app = open_app(runs)
        app.switch_page("app_pages/data.py")
        return ran(app)

    yield open_
    training.TRAINING.cancel(wait=20)
    training.TRAINING.forget()


def press(app: AppTest, key: str) -> AppTest:
    next(b for b in app.button if b.label == strings.plain(key)).click()
    return ran(app)


def upload(app: AppTest, kind: str, name: str, content: bytes) -> AppTest:
    next(u for u in app.file_uploader if u.label == strings.plain(f"data.{kind}")).set_value((name, content, "text/csv"))
    return ran(app)


def test_walk(data):
    app = data()
    app.segmented_control(key="data.source").set_value("folder")
    ran(app)
    app.selectbox(key="data.folder").set_value("tiny")
    ran(app)
    print(texts(app))
    press(app, "data.check.do")
    print(texts(app))
    press(app, "data.train.do")
    print(texts(app))
    import time

    for _ in range(200):
        if not training.TRAINING.status().busy:
            break
        time.sleep(0.2)
    ran(app)
    print(texts(app), training.TRAINING.status())
    press(app, "data.open")
    print(texts(app))
    assert 0
