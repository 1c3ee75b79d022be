"""Fetching: verified, whole or nothing, and never outside its folder. No network: the two downloaders are replaced."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_core import fetch as module
from recsys_core.errors import UserError
from recsys_core.fetch import KNOWN, Unavailable, fetch
from recsys_core.readers import load_dataset

FOLDER = "recbole/dataset_example/ml-100k"
ATOMIC = {
    f"{FOLDER}/ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t1\t5\t881250949\n",
    f"{FOLDER}/ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tHeat\t1995\tCrime\n",
    f"{FOLDER}/ml-100k.user": "user_id:token\tage:token\n1\t24\n",
}
ORIGINAL = {
    "ml-100k/u.data": "1\t1\t5\t881250949\n",
    "ml-100k/u.item": "1|Heat (1995)|||" + "|0" * 19 + "\n",
    "ml-100k/u.user": "1|24|M|other|85711\n",
    "ml-100k/README": "terms",
}


def pack(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


class Web:
    """Stands in for both downloaders; what is None cannot be reached."""

    def __init__(self, folder: Path) -> None:
        self.wheel: Path | None = pack(folder / "w.whl", {**ATOMIC, "recbole/__init__.py": "raise SystemExit", "../evil": "x"})
        self.zip: Path | None = pack(folder / "z.zip", {**ORIGINAL, "ml-100k/../../evil": "x", "/evil": "x"})
        self.calls: list[str] = []

    def download_wheel(self, requirement: str, folder: Path) -> Path:
        self.calls.append(requirement)
        if self.wheel is None:
            raise Unavailable("pip could not download it")
        return self.wheel

    def download(self, url: str, path: Path) -> None:
        self.calls.append(url)
        if self.zip is None:
            path.write_bytes(b"half of")
            raise Unavailable("could not download it")
        md5 = hashlib.md5(self.zip.read_bytes()).hexdigest()
        path.write_bytes(f"{md5}  z.zip\n".encode() if url.endswith(".md5") else self.zip.read_bytes())


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    (tmp_path / "web").mkdir()
    web = Web(tmp_path / "web")
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in ATOMIC.items()}
    md5 = hashlib.md5(web.zip.read_bytes() if web.zip else b"").hexdigest()
    monkeypatch.setitem(KNOWN, "ml-100k", replace(KNOWN["ml-100k"], wheel_files=sums, md5=md5))
    monkeypatch.setattr(module, "download_wheel", web.download_wheel)
    monkeypatch.setattr(module, "download", web.download)
    return web


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ml-100k"


def assert_nothing_left(out: Path) -> None:
    assert not out.exists()
    assert list(out.parent.iterdir()) == []
    assert not list(out.parent.parent.rglob("evil"))


def test_from_the_wheel(web: Web, out: Path) -> None:
    assert fetch("ml-100k", out) == out
    names = {"ml-100k.inter", "ml-100k.item", "ml-100k.user", "LICENCE.txt", "fetched.json"}
    assert {p.name for p in out.iterdir()} == names
    assert [p.name for p in out.parent.iterdir()] == ["ml-100k"]
    assert "Harper" in (out / "LICENCE.txt").read_text()
    assert json.loads((out / "fetched.json").read_text())["source"] == "wheel"
    assert len(load_dataset(out).interactions) == 1
    assert web.calls == ["recbole==1.2.1"]


@pytest.mark.parametrize("source", ["auto", "grouplens"])
def test_from_grouplens_where_pip_fails_or_when_asked(source: str, web: Web, out: Path) -> None:
    web.wheel = None
    fetch("ml-100k", out, source=source)
    assert {"u.data", "u.item", "u.user", "README"} < {p.name for p in out.iterdir()}
    assert load_dataset(out).catalog.titles.tolist() == ["Heat"]
    assert not list(out.parent.parent.rglob("evil"))


def test_a_good_copy_is_kept_without_a_download(web: Web, out: Path) -> None:
    fetch("ml-100k", out)
    web.calls.clear()
    fetch("ml-100k", out)
    assert web.calls == []


def test_a_changed_copy_is_refused(web: Web, out: Path) -> None:
    fetch("ml-100k", out)
    (out / "ml-100k.inter").write_text("changed")
    with pytest.raises(UserError, match=r"ml-100k\.inter: missing or changed since it was fetched; give another --out"):
        fetch("ml-100k", out)


def test_another_set_or_a_strange_folder_is_refused_and_kept(web: Web, out: Path) -> None:
    fetch("ml-100k", out)
    with pytest.raises(UserError, match="holds ml-100k, not ml-1m; give another --out"):
        fetch("ml-1m", out)
    strange = out.parent / "mine"
    strange.mkdir()
    fetch("ml-100k", strange)  # an empty folder is no obstacle
    (out.parent / "own").mkdir()
    (out.parent / "own" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not fetched by this program"):
        fetch("ml-100k", out.parent / "own")
    assert (out.parent / "own" / "thesis.txt").read_text() == "years of work"


def test_a_wrong_checksum_in_the_wheel_leaves_nothing(web: Web, out: Path, tmp_path: Path) -> None:
    changed = {**ATOMIC, f"{FOLDER}/ml-100k.inter": "user_id:token\titem_id:token\n1\t1\n"}
    web.wheel = pack(tmp_path / "web" / "bad.whl", changed)
    with pytest.raises(UserError, match=r"ml-100k\.inter: sha256 is .* not .* try again"):
        fetch("ml-100k", out)
    assert_nothing_left(out)


def test_a_wrong_checksum_of_the_zip_leaves_nothing(web: Web, out: Path, tmp_path: Path) -> None:
    web.zip = pack(tmp_path / "web" / "bad.zip", ORIGINAL)
    with pytest.raises(UserError, match=r"ml-100k\.zip: md5 is"):
        fetch("ml-100k", out, source="grouplens")
    assert_nothing_left(out)


def test_no_network_is_one_line_with_the_fix(web: Web, out: Path) -> None:
    web.wheel = web.zip = None
    with pytest.raises(UserError) as error:
        fetch("ml-100k", out)
    assert "\n" not in str(error.value)
    assert "check the network" in str(error.value)
    assert_nothing_left(out)


def test_an_interrupted_download_leaves_nothing(web: Web, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(url: str, path: Path) -> None:
        path.write_bytes(b"half of")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("ml-100k", out, source="grouplens")
    assert_nothing_left(out)


def test_the_published_checksum_is_fetched_beside_a_set_that_changes(web: Web, out: Path, tmp_path: Path) -> None:
    members = {f"ml-latest-small/{n}": "x" for n in ("ratings.csv", "movies.csv", "README.txt")}
    web.zip = pack(tmp_path / "web" / "small.zip", members)
    fetch("ml-latest-small", out)
    assert web.calls[1].endswith("ml-latest-small.zip.md5")


def test_a_bomb_is_stopped(web: Web, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="unpacks to more than 10 bytes"):
        fetch("ml-100k", out)
    assert_nothing_left(out)


def test_a_set_without_its_files_and_a_broken_zip(web: Web, out: Path, tmp_path: Path) -> None:
    web.wheel = pack(tmp_path / "web" / "empty.whl", {"other": ""})
    with pytest.raises(UserError, match="the set has changed, try another source"):
        fetch("ml-100k", out)
    web.wheel = tmp_path / "web" / "text.whl"
    web.wheel.write_text("no zip")
    with pytest.raises(UserError, match="the download is damaged, try again"):
        fetch("ml-100k", out)
    assert_nothing_left(out)


def test_unknown_names(out: Path) -> None:
    with pytest.raises(UserError, match=r"unknown data set 'ml-100'; known: .* Did you mean 'ml-100k'\?"):
        fetch("ml-100", out)
    with pytest.raises(UserError, match="unknown source of ml-1m 'wheel'; known: auto, grouplens"):
        fetch("ml-1m", out, source="wheel")


def test_a_download_that_ends_early_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not download file:"):
        module.download(f"file://{tmp_path}/nothing", tmp_path / "x")
    (tmp_path / "a").write_text("whole")
    module.download(f"file://{tmp_path}/a", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "whole"
