"""Every page on MovieLens-100K, where it has been fetched: a catalogue, histories and ties as they are, and not made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK

from dashboard.app import SCREENS
from recsys_core import evaluate
from recsys_core.analytics import Analytics, measure
from recsys_core.explain import faithfulness
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train

ML_100K = Path(__file__).parents[1] / "data" / "ml-100k"
USER = "196"

pytestmark = pytest.mark.skipif(not ML_100K.is_dir(), reason="no data/ml-100k; whyrec fetch ml-100k brings it")


@pytest.fixture(scope="module")
def run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained and judged within seconds: one trial of each component, and a BERT of a dozen words."""
    given = {"encoder": tiny}
    settings = replace(
        QUICK,
        components=("popularity", "ease", "factors", "next_item", "bert", "cold"),
        tune=False,
        scorers={"bert": given | {"tune": "head", "epochs": 1}, "cold": given},
    )
    found = train(load_dataset(ML_100K), settings, tmp_path_factory.mktemp("movielens") / "a")
    evaluate.evaluate(found, k=10).save(found)
    faithfulness.scoreboard(found, users=12, most=2, seeds=2).save(found)
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("page", [screen.name for screen in SCREENS])
def test_page_opens(open_app, run: Run, page: str, language: str) -> None:
    app = open_app(run.path.parent, page, user=USER, language=language)
    assert app.title
    assert not app.error
    assert not app.warning


def test_list_is_that_of_the_core(open_app, run: Run) -> None:
    expected = recommend_users(run, [USER], k=10)
    shown = next(table.value for table in open_app(run.path.parent, user=USER).dataframe if "percent" in table.value)
    titles = run.dataset.catalog.titles[run.dataset.items.codes(expected["item_id"], "item")]
    assert list(shown["title"]) == list(titles)
    np.testing.assert_allclose(shown["percent"], 100 * expected["probability"], rtol=1e-6)


def test_figures_of_all_users_are_those_of_the_core(open_app, run: Run) -> None:
    app = open_app(run.path.parent, "lab")
    found = measure(Analytics.of(run), run.model.blend, k=run.settings.k)
    tiles = " ".join(table.value for table in app.html)
    assert f"{found.mean('ndcg'):.3f}" in tiles
    assert f"{found.mean('coverage'):.3f}" in tiles
