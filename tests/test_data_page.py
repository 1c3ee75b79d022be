"""The page Data without a browser: files in, columns guessed, what is wrong told in a line, a run trained and opened."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest
from broken import KINDS, good
from conftest import HOSTILE, TINY, ran
from streamlit.testing.v1 import AppTest
from test_bad_input import CASES, GOOD
from test_dashboard import texts

from dashboard import strings, training, uploads
from recsys_core import intake
from recsys_core.cli import main
from recsys_core.errors import UserError
from recsys_core.readers import load_dataset


@pytest.fixture
def data(open_app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The page, over an empty folder of runs; data/tiny is the folder `tiny` on the server."""
    monkeypatch.setenv("WHYREC_DATA", str(TINY.parent))

    def open_() -> AppTest:
        runs = tmp_path / "runs"
        runs.mkdir(exist_ok=True)
        app = open_app(runs)
        assert strings.t("empty.title") in texts(app)
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


def on_server(app: AppTest, name: str) -> AppTest:
    app.segmented_control(key="data.source").set_value("folder")
    ran(app).selectbox(key="data.folder").set_value(name)
    return ran(app)


def test_from_a_folder_to_an_open_run(data) -> None:
    app = press(on_server(data(), "tiny"), "data.check.do")
    facts = intake.facts(load_dataset(TINY))
    assert [m.value for m in app.metric][:4] == [f"{facts[n]:,}" for n in ("users", "items", "interactions", "likes")]
    app.text_input(key="data.name").set_value("../x")
    assert "name '../x'" in "".join(str(w.value) for w in ran(app).warning)
    app.text_input(key="data.name").set_value("first")
    press(ran(app), "data.train.do")
    while training.TRAINING.status().busy:
        time.sleep(0.1)
    press(ran(app), "data.open")
    assert app.title[0].value == "What is in this run, and is the hybrid worth it?"


def test_uploads_are_mapped_and_markup_stays_text(data) -> None:
    names = [*HOSTILE[:3], "User ID", "Item", "Rating"]
    head = ",".join(f'"{n}"' for n in names)
    rows = "\n".join(f'"{HOSTILE[0]}",x,=1,{n},{n % 3},{1 + n % 5}' for n in range(9))
    app = upload(data(), "interactions", "../../<b>x</b>.csv", f"{head}\n{rows}\n".encode())
    assert [app.selectbox(key=f"data.interactions.{n}").value for n in ("user_id", "item_id", "value")] == names[3:]
    assert list(app.dataframe[0].value.columns) == names
    press(app, "data.check.do")
    assert len(app.metric) == 6
    assert not [m.value for m in app.markdown if "<script>" in str(m.value) or "<b>" in str(m.value)]


@pytest.mark.parametrize("case", [c for c, (_, options, _) in CASES.items() if not options])
def test_broken_files_get_one_line(case: str, data) -> None:
    app = data()
    files = {**GOOD, **CASES[case][0]}
    for kind, name in zip(intake.KINDS, ("events.csv", "items.csv", "users.csv"), strict=True):
        content = files[name]
        upload(app, kind, name, content if isinstance(content, bytes) else content.encode())
    if any(b.label == strings.plain("data.check.do") for b in app.button):
        press(app, "data.check.do")
    told = [c.value for c in app.code if ".csv" in c.value and not c.value.startswith("whyrec")]
    mended = not app.error and app.metric  # by the guess: another name of a column, delimiter or encoding
    assert mended or (told and all("\n" not in line and "/tmp" not in line for line in told))


def test_what_is_no_table_gets_one_line_until_one_comes(data, tmp_path: Path) -> None:
    app = data()
    for name in ("a ZIP archive", "JSON", "a NUL byte", "Parquet: cut off", "a million columns"):
        table = KINDS[name].make(tmp_path)
        upload(app, "interactions", f"{HOSTILE[0]}{table.suffix}", table.read_bytes())
        told = [c.value for c in app.code if ";" in c.value]
        assert len(told) == 1
        assert "\n" not in told[0]
        assert "/tmp" not in told[0]
        assert not any(b.label == strings.plain("data.check.do") for b in app.button)
    press(upload(app, "interactions", "good.csv", good().encode()), "data.check.do")
    assert len(app.metric) == 6


@pytest.mark.parametrize("name", ["..", "../etc", "/etc", ".", "", "tiny/../..", "out", "deep", "a\0b", "~", "x" * 5000])
def test_no_way_out_of_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "data"
    for folder in ("tiny", "deep"):
        (base / folder).mkdir(parents=True)
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (base / "out").symlink_to(tmp_path)
    (base / "deep" / "interactions.csv").symlink_to(tmp_path / "secret.csv")
    monkeypatch.setenv("WHYREC_DATA", str(base))
    assert uploads.folder("tiny") == base / "tiny"
    with pytest.raises(UserError, match="name one below data/"):
        uploads.folder(name)


def test_the_command_reads_the_same(tmp_path: Path) -> None:
    peeks = {kind: intake.peek(TINY / f"{kind}.csv") for kind in intake.KINDS}
    plan = intake.guess(peeks)
    command = intake.command({kind: str(TINY / f"{kind}.csv") for kind in peeks}, plan, str(tmp_path / "tiny"))
    assert main(shlex.split(command)[1:]) == 0
    paths = {kind: peek.path for kind, peek in peeks.items()}
    assert load_dataset(tmp_path / "tiny").fingerprint == intake.read(paths, plan, "tiny").fingerprint


def test_read_only_offers_nothing(data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYREC_READ_ONLY", "1")
    app = data()
    assert strings.t("data.readonly") in texts(app)
    assert not app.file_uploader
    assert not app.button


def test_temporary_folders_are_few() -> None:
    desks = uploads.Desks(most=2)
    first, *_, last = [desks.fresh() for _ in range(3)]
    assert (first.exists(), last.exists(), desks.used(first), desks.used(last)) == (False, True, False, True)
    assert uploads.save(last, "items", "../../x.CSV", b"a").name == "items.csv"
    uploads.save(last, "items", "y.parquet", b"a")
    assert [p.name for p in last.iterdir()] == ["items.parquet"]
    with pytest.raises(UserError, match="must end in"):
        uploads.save(last, "items", "x.exe", b"a")
