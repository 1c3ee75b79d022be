"""An item that is not in the data: a copy of a cold one scores as that one, ranks are those of a list, and bad input is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY

from recsys_core import new_item
from recsys_core.config import Settings
from recsys_core.errors import UserError
from recsys_core.explain import questions
from recsys_core.explain.explainers import attribute
from recsys_core.new_item import Crowd, NewItem
from recsys_core.ranking import hide, top_k
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.train import train


@pytest.fixture(scope="module")
def cold_run(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """data/tiny with components that score new items, under weights that let both of them speak."""
    scorers = {"cold": {"encoder": tiny}, "bert": {"encoder": tiny, "tune": "head", "epochs": 3}}
    settings = Settings(components=("popularity", "ease", "user_knn", "bert", "cold"), control=False, scorers=scorers)
    run = train(load_dataset(TINY), settings, tmp_path_factory.mktemp("new") / "new")
    blend = replace(run.model.blend, weights=(0.1, 0.5, 0.2, 0.7, 0.9), cold_factors=(1.0, 1.0, 1.0, 1.5, 0.8))
    vars(run)["model"] = replace(run.model, blend=blend)
    return run


def copy_of(run: Run, code: int) -> NewItem:
    row = run.dataset.catalog.frame.iloc[code]
    return NewItem(row["title"], row["text"], {name: row[name] for name in run.dataset.catalog.attributes})


def test_a_copy_of_a_cold_item_scores_as_it_does(cold_run: Run) -> None:
    cold = np.flatnonzero(cold_run.model.cold)
    assert len(cold)
    crowd, blend = Crowd.of(cold_run), cold_run.model.blend
    assert len(crowd) == crowd.n_all == len(cold_run.dataset.users)
    for code in cold:
        arrival = new_item.arrive(cold_run, copy_of(cold_run, code))
        found = new_item.audience(cold_run, crowd, arrival, blend)
        z = cold_run.model.z(cold_run.histories, np.array([code]), cold_run.hidden)
        # One text read alone and one read in a batch: float32 in another order.
        np.testing.assert_allclose(found.logit, blend.logit(z, np.array([True]))[:, 0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.parts, blend.parts(z, np.array([True]))[:, 0], rtol=1e-4, atol=1e-4)
        assert found.differs
    other = replace(copy_of(cold_run, cold[0]), title="Robots", text="A robot in space")
    moved = new_item.audience(cold_run, crowd, new_item.arrive(cold_run, other), blend)
    assert np.abs(moved.logit - found.logit).max() > 1e-3


def test_places_are_those_of_the_whole_list(cold_run: Run) -> None:
    crowd, blend = Crowd.of(cold_run), cold_run.model.blend
    arrival = new_item.arrive(cold_run, copy_of(cold_run, 0))
    found = new_item.audience(cold_run, crowd, arrival, blend)
    wide = [replace(rows, n_items=len(arrival.items)) for rows in (cold_run.histories, cold_run.hidden)]
    scores = hide(arrival.model.score(wide[0], hidden=wide[1]), wide[1])
    old = hide(cold_run.model.score(cold_run.histories, hidden=cold_run.hidden), cold_run.hidden)
    np.testing.assert_allclose(scores[:, :-1], old, atol=1e-5)  # nobody else's score is touched
    lists = top_k(scores, scores.shape[1])
    for row, (rank, n) in enumerate(zip(found.rank, found.candidates, strict=True)):
        assert lists[row, rank - 1] == arrival.code
        assert n == (lists[row] >= 0).sum()
    assert found.share(3) == np.mean([arrival.code in row[:3] for row in lists])
    best = found.frame(5)
    assert best["place"].is_monotonic_increasing
    assert best["place"].iloc[0] == found.rank.min()
    np.testing.assert_allclose(best["base"] + best[[f"part_{n}" for n in found.names]].sum(axis=1), best["logit"], atol=1e-5)


def test_why_adds_up(cold_run: Run) -> None:
    arrival = new_item.arrive(cold_run, copy_of(cold_run, 0))
    found = new_item.audience(cold_run, Crowd.of(cold_run), arrival, cold_run.model.blend)
    user = list(found.user_ids).index("u01")
    about = arrival.subject(cold_run, "u01", cold_run.model.blend)
    assert about.logit == pytest.approx(found.logit[user], abs=1e-5)
    parts = attribute(questions.ask("components", about), "exact")
    assert parts.base + parts.contributions.sum() == pytest.approx(found.logit[user], abs=1e-5)
    by_past = attribute(questions.ask("history", about), "exact")
    assert by_past.base + by_past.contributions.sum() == pytest.approx(found.logit[user], abs=1e-5)


def test_a_large_crowd_is_a_fixed_sample(cold_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_item, "FEWEST", 7)
    a, b = Crowd.of(cold_run, most=1), Crowd.of(cold_run, most=1)
    assert (len(a), a.n_all) == (7, len(cold_run.dataset.users))
    assert a.users.tolist() == b.users.tolist()
    np.testing.assert_allclose(a.z, Crowd.of(cold_run).z[a.users], atol=1e-5)


def test_without_words_a_part_is_missing_and_nothing_breaks(cold_run: Run) -> None:
    arrival = new_item.arrive(cold_run, NewItem("", "", {"genres": ("Crime",)}))
    found = new_item.audience(cold_run, Crowd.of(cold_run), arrival, cold_run.model.blend)
    missing = dict(zip(found.names, np.isnan(found.parts).all(axis=0), strict=True))
    assert missing == {"popularity": True, "ease": True, "user_knn": True, "bert": True, "cold": False}


def test_forms_are_read_and_errors_name_the_fix(cold_run: Run) -> None:
    catalog = cold_run.dataset.catalog
    item = new_item.write(catalog, " A  title ", "", "genre: crime, Ballet\nYear: 1999")
    assert item == NewItem("A title", "A title", {"genres": ("Crime", "Ballet"), "year": ("1999",)})
    assert new_item.never_seen(catalog, item)[0] == "genres: Ballet"
    assert new_item.write(catalog, "", "one").name == "one"
    assert new_item.write(catalog, "", "x" * new_item.MOST_TEXT).text
    for title, text, attributes, told in (
        (" ", "\n", "", "are empty"),
        ("", "x" * (new_item.MOST_TEXT + 1), "", "shorten"),
        ("t", "", "Crime", "write name: value"),
        ("t", "", "gnre: Crime", "unknown attribute 'gnre'"),
    ):
        with pytest.raises(UserError, match=told):
            new_item.write(catalog, title, text, attributes)


def test_long_and_odd_texts(cold_run: Run) -> None:
    crowd = Crowd.of(cold_run)
    for text in ("robot " * 1600, "\ud800\x00", "<script>", "love"):
        found = new_item.audience(
            cold_run, crowd, new_item.arrive(cold_run, new_item.write(cold_run.dataset.catalog, "", text)), cold_run.model.blend
        )
        assert np.isfinite(found.logit).all()


def test_a_run_that_reads_nothing_says_so(tiny_run: Run, cold_run: Run) -> None:
    assert new_item.readers(tiny_run) == []
    assert new_item.readers(cold_run) == ["bert", "cold"]
    with pytest.raises(UserError, match="bert or cold"):
        new_item.arrive(tiny_run, NewItem("a", "a", {}))


def test_the_name_is_free(cold_run: Run) -> None:
    ids = new_item.arrive(cold_run, NewItem("a", "a", {})).items.ids
    assert len(set(ids)) == len(ids) == len(cold_run.dataset.items) + 1
