"""Security, as docs/security.md states it: hostile runs, hostile names, secrets, who wrote what; with what must be found."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from conftest import DOT, HOSTILE, NO_PICTURES, QUICK, TINY, ran
from safetensors.numpy import load_file, save_file

from dashboard import state
from dashboard.tables import safe_csv
from recsys_core import browse, feedback, fetch
from recsys_core.card import literal
from recsys_core.cli import main
from recsys_core.errors import UserError
from recsys_core.explain import answer
from recsys_core.explain.answer import explain
from recsys_core.readers import load_dataset
from recsys_core.run import Run, checksums
from recsys_core.text import locate
from recsys_core.train import train
from recsys_core.whole import seal, unseal

ROOT = Path(__file__).parents[1]
SECRET = "hunter2-secret"


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "runs" / "a"))


def signed(path: Path) -> None:
    """The checksums of somebody who made the run so on purpose."""
    manifest = unseal(path / "manifest.json", "")
    (path / "manifest.json").write_text(seal(manifest | {"files": checksums(path)}))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as told:
        _ = Run.load(path).model
    assert "\n" not in str(told.value)
    return str(told.value)


# A run of somebody else.


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/hostname", "data/../../outside.txt", "data/../../../../../etc/hostname"]
)
def test_a_manifest_that_leads_out_is_refused(run: Path, name: str) -> None:
    (run.parent / "outside.txt").write_text("x")
    manifest = unseal(run / "manifest.json", "")
    (run / "manifest.json").write_text(seal(manifest | {"files": {**manifest["files"], name: "0" * 64}}))
    assert "leads out of the run" in refused(run)


@pytest.mark.parametrize("name", ["metrics.json", "data/items.parquet", "report.json", "scorers/ease", "more"])
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_a_link_that_leads_out_is_refused(run: Path, name: str, how: str) -> None:
    place, outside = run / name, run.parent / "outside"
    if place.is_dir():
        shutil.move(place, outside)
    elif place.exists():
        place.rename(outside)
    else:
        outside.write_text("{}")
    place.symlink_to(outside if how == "absolute" else os.path.relpath(outside, place.parent))
    signed(run)
    assert "leads out of the run" in refused(run)


def test_links_within_a_run_and_to_it_are_well(run: Path, tmp_path: Path) -> None:
    (run / "again.md").symlink_to("card.md")
    (tmp_path / "link").symlink_to(run)
    assert Run.load(run).model.names == Run.load(tmp_path / "link").model.names


def test_a_device_in_a_run_is_not_read(run: Path) -> None:
    (run / "card.md").unlink()
    os.mkfifo(run / "card.md")  # to read it would wait for ever
    assert "card.md: missing" in refused(run)


@pytest.mark.parametrize("name", ["../../../../tmp/x", "base", "os", "_towers", "..", "ease/../../x"])
def test_a_component_is_one_of_ours(run: Path, name: str) -> None:
    blend = json.loads((run / "blend" / "blend.json").read_text())
    blend["names"][-1] = name
    (run / "blend" / "blend.json").write_text(json.dumps(blend))
    signed(run)
    assert f"unknown scorer {name!r}" in refused(run)


def test_arrays_with_pickles_are_refused(run: Path) -> None:
    import numpy as np

    np.save(run / "split.npy", np.array([{"a": 1}], object), allow_pickle=True)
    signed(run)
    with pytest.raises(UserError, match=r"split\.npy: cannot be read .*allow_pickle=False"):
        _ = Run.load(run).split


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.npy", b"\x93NUMPY"),
        ("blend/blend.json", DEEP.encode()),
        ("blend/blend.json", b"{}"),
        ("blend/blend.json", b"[1]"),
        ("data/dataset.json", DEEP.encode()),
        ("data/items.parquet", b"PAR1 of noise"),
        ("scorers/ease/arrays.safetensors", b"\xff" * 64),
    ],
)
def test_a_run_that_is_signed_and_no_run_is_one_line(
    name: str, content: bytes, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run / name).is_file()
    (run / name).write_bytes(content)
    signed(run)
    assert main(["recommend", "--run", str(run), "--users", "u01"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert str(run) in told[0]


@pytest.mark.parametrize("part", ["kept_", "n_items_", "weights_.indices"])
def test_an_index_beyond_an_array_is_refused_and_not_followed(part: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SciPy's own products do not look: such an index is read from memory that is not the array's."""
    file = run / "scorers" / ("ease" if part != "weights_.indices" else "item_knn") / "arrays.safetensors"
    arrays = {name: array.copy() for name, array in load_file(file).items()}
    arrays[part][-1] += 10_000_000
    save_file(arrays, file)
    signed(run)
    assert main(["recommend", "--run", str(run), "--users", "u01"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "cannot be read" in told


def test_pickled_weights_are_never_loaded(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    assert locate(str(tmp_path)) == tmp_path
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are never loaded"):
        locate(str(tmp_path))


@pytest.mark.parametrize("name", ["..", "tiny\x00"])
def test_a_run_in_the_address_is_one_of_the_folder(open_app, tiny_run: Run, name: str) -> None:
    app = open_app(tiny_run.path.parent, "overview", run=name)
    assert app.sidebar.selectbox(key="run").value == "tiny"


# Tables and pages.


def test_a_table_for_machines_is_exact_and_one_for_spreadsheets_is_guarded(hostile_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "topk.csv"
    assert main(["recommend", "--run", str(hostile_run.path), "--users", "all", "--k", "2", "--out", str(out)]) == 0
    found = pd.read_csv(out, dtype=str)
    assert set(HOSTILE) <= set(found["user_id"])  # what comes back in is what went out
    guarded = safe_csv(found[["user_id"]]).splitlines()
    assert "'=HYPERLINK(1)" in guarded
    assert not [line for line in guarded if line.lstrip('" ').startswith(("=", "+", "-", "@"))]


def test_every_csv_is_one_of_the_two() -> None:
    found = {}
    for path in (*(ROOT / "recsys_core").rglob("*.py"), *(ROOT / "dashboard").rglob("*.py")):
        if "to_csv" in (text := path.read_text("utf-8")):
            calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute) and n.attr == "to_csv"]
            found[path.relative_to(ROOT).as_posix()] = len(calls)
    assert found == {"recsys_core/cli.py": 1, "dashboard/tables.py": 1}


def test_only_pictures_come_to_a_page_from_a_column_of_pictures(open_app, hostile_run: Run) -> None:
    cells = hostile_run.dataset.catalog.frame["image"].tolist()
    assert set(cells) == {DOT, *NO_PICTURES}  # the run holds them all
    assert set(browse.pictures_of(hostile_run.dataset).values()) == {DOT}
    app = open_app(hostile_run.path.parent, user="empty", k="50")
    (view,) = (d.value for d in app.dataframe if "picture" in d.value.columns)
    assert set(view["picture"]) == {DOT, ""}
    assert len(view) == len(cells) - hostile_run.dataset.unmet.sum()
    app = open_app(hostile_run.path.parent, "explain", user="empty")
    for item, cell in zip(hostile_run.dataset.items.ids, cells, strict=True):
        app.session_state["why"], app.session_state["why for"] = str(item), ""
        ran(app)
        assert [e.proto.body.count(DOT) for e in app.get("html") if "<img" in e.proto.body] == ([1] if cell == DOT else [])


def test_the_card_shows_names_as_they_are(hostile_run: Run) -> None:
    card = (hostile_run.path / "card.md").read_text("utf-8")
    assert card.startswith("# Hybrid on \\<i\\>h\\</i\\>\n")
    for bad in HOSTILE:
        assert bad not in literal(bad) or not set(bad) & set("`*<>[]|")
    assert literal("a\n\n# b | `c`") == "a # b \\| \\`c\\`"
    assert literal("ml-100k, item_id") == "ml-100k, item_id"


# Secrets and persons.


def held(folder: Path, text: str) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_no_secret_comes_into_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "STREAMLIT_AUTH_COOKIE_SECRET", "PIP_INDEX_URL", "WHYREC_LOGIN"):
        monkeypatch.setenv(name, f"https://me:{SECRET}@127.0.0.1:9/")
    run = train(load_dataset(TINY), QUICK, tmp_path / "a", say=print)
    assert main(["evaluate", "--run", str(run.path)]) == 0
    assert SECRET not in capsys.readouterr().out
    assert not held(tmp_path, SECRET)
    (tmp_path / "control").write_text(f"x{SECRET}y")
    assert held(tmp_path, SECRET) == ["control"]


def test_no_password_of_a_proxy_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first call, for all tests that follow
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://me:{SECRET}@127.0.0.1:9")
    with pytest.raises(UserError) as told:
        fetch.fetch("ml-1m", tmp_path / "x")
    assert SECRET not in str(told.value)
    failed = subprocess.CompletedProcess([], 1, "", f"ERROR: http://me:{SECRET}@127.0.0.1:9/simple/ is not there")
    monkeypatch.setattr(subprocess, "run", lambda *args, **how: failed)
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/simple/ is not there") as told:
        fetch.download_wheel("a==1", tmp_path)
    assert SECRET not in str(told.value)


def test_what_is_forgotten_is_in_no_cache(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte search over the feedback, the caches and what a killed process left in them. The run itself keeps its data."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("WHYREC_CACHE", str(cache))
    trained, path = Run.load(run), feedback.file_of(run.parent)
    titles = {}
    for user in ("u01", "u02"):
        feedback.record(path, feedback.Verdict("a", user, "h1", "wrong", note=f"of {user}"))
        explain(trained, user, "h1", method="loo")
        (code,) = trained.dataset.users.codes([user], "user")
        titles[user] = {str(trained.dataset.catalog.titles[i]) for i in trained.histories[[code]].items}
    (folder,) = {answer._folder(trained.histories[trained.dataset.users.codes(["u01"], "user")])}
    (folder / ".x.json.0a0a0a0a.part").write_text("half an answer about " + " ".join(titles["u01"]))
    mine, others = (titles["u01"] - titles["u02"]), (titles["u02"] - titles["u01"])
    assert all(held(cache, title) for title in mine | others)
    assert main(["forget", "--runs", str(run.parent), "--user", "nobody"]) == 0
    assert "knows user nobody" in capsys.readouterr().out  # a mistyped id is noticed
    assert main(["forget", "--runs", str(run.parent), "--user", "u01"]) == 0
    assert f"{run.name} still hold" in capsys.readouterr().out
    assert not [title for title in mine if held(cache, title)]
    assert all(held(cache, title) for title in others)
    left = b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))
    assert (b"u01" in left, b"u02" in left) == (False, True)
    assert not held(cache, "u01")


@pytest.mark.parametrize(("login", "signed_in", "name"), [("", True, ""), ("1", False, ""), ("1", True, "ada@example.org")])
def test_reviews_are_named_only_where_people_sign_in(
    login: str, signed_in: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class User(dict):
        is_logged_in = signed_in

    monkeypatch.setenv("WHYREC_LOGIN", login)
    monkeypatch.setattr("streamlit.user", User(email="ada@example.org"))
    assert state.reader() == name


# What bandit knows.


def bandit(*paths: str) -> subprocess.CompletedProcess[str]:
    words = ["-c", "pyproject.toml", "-r", *paths, "--severity-level", "medium", "--quiet"]
    return subprocess.run([sys.executable, "-m", "bandit", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow  # `make lint` does it too
def test_bandit_finds_nothing() -> None:
    pytest.importorskip("bandit")
    done = bandit("recsys_core", "dashboard")
    assert done.returncode == 0, done.stdout


def test_bandit_would_find_something(tmp_path: Path) -> None:
    pytest.importorskip("bandit")
    (tmp_path / "bad.py").write_text("import subprocess, sys\nsubprocess.run(sys.argv[1], shell=True)\n")
    done = bandit(str(tmp_path))
    assert done.returncode == 1
    assert "shell=True" in done.stdout


def test_lint_runs_bandit() -> None:
    lint = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    assert "bandit -c pyproject.toml -r recsys_core dashboard --severity-level medium" in lint
