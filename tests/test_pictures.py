"""Pictures of items: which column is taken, which addresses are shown, and that no model and no file reads them."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import DOT, HOSTILE, NO_PICTURES, QUICK, TINY
from streamlit.testing.v1 import AppTest
from test_dashboard import table

from dashboard import light
from recsys_core import browse, cli_dashboard, intake, pictures
from recsys_core.data import Catalog, load_prepared
from recsys_core.readers import load_dataset
from recsys_core.readers.table import read_tables
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train

WEB = "https://pictures.example.org/a%20b.jpg?size=90&x=1#y"
GOOD = (WEB, "http://10.0.0.7:8080/a.png", "HTTPS://a.org/\u5716.webp", "http://[::1]/a.png", DOT, f"  {DOT}\n")

BAD = (
    *NO_PICTURES,
    *HOSTILE,
    *("", None, 1.5, float("nan"), ("https://a.org/b.png",), "https://", "https:///a.png", f"{WEB}\x00"),
    *(DOT[:-9] + "-", DOT.replace("png", "svg+xml"), DOT.replace("base64,", "")),
    DOT[:22] + "A" * pictures.EMBEDDED,
    "https://a.org/" + "a" * pictures.LONGEST,
)


def world(folder: Path, **columns: list[str]) -> Path:
    """Two items, with these columns; the path of the folder."""
    folder.mkdir(exist_ok=True)
    rows = {"item_id": ["a", "b"], "title": ["Heat", "Big"], "genres": ["Crime", "Comedy|Drama"]}
    pd.DataFrame(rows | columns).to_csv(folder / "items.csv", index=False)
    pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]}).to_csv(folder / "interactions.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny with pictures of all items but the first."""
    data = load_dataset(TINY)
    shots = ["", *[DOT] * (len(data.items) - 1)]
    folder = tmp_path_factory.mktemp("pictured")
    return train(replace(data, catalog=Catalog(data.catalog.frame.assign(image=shots))), QUICK, folder / "pictured")


# Addresses.


@pytest.mark.parametrize("cell", GOOD)
def test_an_address_of_a_picture_is_kept(cell: str) -> None:
    assert pictures.address(cell) == cell.strip()


@pytest.mark.parametrize("cell", BAD)
def test_anything_else_is_no_picture(cell: object) -> None:
    assert pictures.address(cell) == ""


# Columns.


@pytest.mark.parametrize("name", ["image", "image_url", "imageURL", "Poster", "picture", "thumbnail", "cover_url", "img"])
def test_a_column_of_pictures_is_found_and_neither_text_nor_attribute(tmp_path: Path, name: str) -> None:
    data = load_dataset(world(tmp_path / "w", **{name: [WEB, "javascript:alert(1)"]}))
    plain = load_dataset(world(tmp_path / "w"))
    assert browse.pictures_of(data) == {"a": WEB}
    assert browse.pictures_of(plain) == {}
    assert data.catalog.attributes == plain.catalog.attributes == ["genres"]
    assert data.catalog.texts == plain.catalog.texts
    assert data.catalog.topic == "genres"
    assert [n for n in data.notes if "pictures.example.org" in n and n.startswith("1 pictures")]
    data.save(tmp_path / "prepared")
    assert browse.pictures_of(load_prepared(tmp_path / "prepared")) == {"a": WEB}


def test_a_column_that_is_only_called_so_stays_an_attribute(tmp_path: Path) -> None:
    data = load_dataset(world(tmp_path, cover=["hard", "soft"]))
    assert "cover" in data.catalog.attributes
    assert browse.pictures_of(data) == {}
    assert not data.notes


def test_of_two_columns_the_first_is_shown_and_the_other_read_by_nobody(tmp_path: Path) -> None:
    data = load_dataset(world(tmp_path, poster=[DOT, ""], thumbnail=["", WEB]))
    assert browse.pictures_of(data) == {"a": DOT}
    assert data.catalog.attributes == ["genres"]
    assert not data.notes  # nothing is fetched


def test_a_mapping_and_lists_of_pictures(tmp_path: Path) -> None:
    folder = world(tmp_path, shot=[f'["x", "{WEB}", "{DOT}"]', f"{DOT}|{WEB}"])
    data = read_tables(folder / "interactions.csv", folder / "items.csv", mapping={"image": "shot"})
    assert browse.pictures_of(data) == {"a": WEB, "b": DOT}
    told = read_tables(folder / "interactions.csv", folder / "items.csv", mapping={"poster": "shot"}, attributes=["poster"])
    assert told.catalog.attributes == ["poster"]  # as the caller says
    assert browse.pictures_of(told) == {}


def test_the_page_data_does_not_take_pictures_for_lists_or_texts(tmp_path: Path) -> None:
    folder = world(tmp_path, poster=[DOT, DOT])
    peeks = {"interactions": intake.peek(folder / "interactions.csv"), "items": intake.peek(folder / "items.csv")}
    plan = intake.guess(peeks)
    assert plan.lists == ("genres",)
    assert "poster" not in plan.text
    data = intake.read({kind: seen.path for kind, seen in peeks.items()}, plan, "w")
    assert browse.pictures_of(data) == {"a": DOT, "b": DOT}


def test_models_know_nothing_of_pictures(pictured: Run, tiny_run: Run) -> None:
    ours, plain = (recommend_users(run, ["u01", "u13"], k=5) for run in (pictured, tiny_run))
    pd.testing.assert_frame_equal(ours, plain)


# Pages.


def shown(app: AppTest) -> dict[str, str]:
    """Pictures of the list by title."""
    view = table(app, "bar")
    return dict(zip(view["title"], view["picture"], strict=True)) if "picture" in view else {}


def test_the_list_shows_pictures_where_there_are_some(open_app, pictured: Run, tiny_run: Run) -> None:
    found = shown(open_app(pictured.path.parent, user="u01"))
    first = str(pictured.dataset.catalog.titles[0])
    assert found
    assert found == {title: "" if title == first else DOT for title in found}
    assert shown(open_app(tiny_run.path.parent, user="u01")) == {}


def html(app: AppTest) -> str:
    return "\n".join(str(e.proto.body) for e in app.get("html"))


def test_explain_has_the_picture_beside_its_title(open_app, pictured: Run) -> None:
    ids = pictured.dataset.items.ids
    assert light.picture(DOT) in html(open_app(pictured.path.parent, "explain", user="u01", item=str(ids[1])))
    assert 'class="wr-picture"' not in html(open_app(pictured.path.parent, "explain", user="u01", item=str(ids[0])))


def test_whoever_serves_may_show_none(open_app, pictured: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYREC_NO_PICTURES", "1")
    assert shown(open_app(pictured.path.parent, user="u01")) == {}
    app = open_app(pictured.path.parent, "explain", user="u01", item=str(pictured.dataset.items.ids[1]))
    assert 'class="wr-picture"' not in html(app)


@pytest.mark.parametrize("given", [True, False])
def test_the_command_says_so_to_the_pages(given: bool, tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WHYREC_RUNS", "WHYREC_RUN", "WHYREC_READ_ONLY", "WHYREC_LOGIN"):
        monkeypatch.setenv(name, "")  # so that they are as before when the test is over
    monkeypatch.setenv("WHYREC_NO_PICTURES", "" if given else "1")
    monkeypatch.setattr(cli_dashboard, "become", lambda *_: None)
    cli_dashboard.serve(tiny_run.path.parent, None, argparse.Namespace(port=8501, address="127.0.0.1", no_pictures=given))
    assert os.environ.get("WHYREC_NO_PICTURES", "") == ("1" if given else "")


def test_quotes_cannot_leave_the_attribute() -> None:
    assert light.picture('x" onerror="alert(1)').count('"') == 6
    assert "<script>" not in light.picture("<script>")


@pytest.mark.browser
def test_a_browser_draws_pictures_and_fetches_nothing(visit, hostile_run: Run) -> None:
    """`visit` fails if another host is asked."""
    good, bad = hostile_run.dataset.items.ids[:2]
    drawn = {}
    for item in (good, bad):
        here = visit(f"/explain?run=hostile&user=u10&item={item}")
        here.page.locator("[data-testid=stMain] h1").first.wait_for()
        drawn[item] = here.page.locator(".wr-picture img").evaluate_all("all => all.map(e => [e.src, e.naturalWidth])")
    assert drawn == {good: [[DOT, 1]], bad: []}
    here = visit("/?run=hostile&user=u10")
    here.page.wait_for_timeout(700)  # the canvas is drawn
    here.shot("pictures")
