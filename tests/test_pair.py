"""What a page says of a user and an item under any blend is what the explainers and lists say, and costs no model call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_questions import hybrid, world
from worlds import random_world

from recsys_core import browse
from recsys_core.config import Settings
from recsys_core.errors import UserError
from recsys_core.explain import explainers
from recsys_core.explain._ranks import rank_of
from recsys_core.explain.answer import explain, subject
from recsys_core.explain.explainers import attribute
from recsys_core.explain.pair import Pair, agreement, by_past, compared, methods, pair, removals, splittable, steps, why
from recsys_core.explain.questions import history
from recsys_core.explain.questions.words import ask, outline
from recsys_core.explain.subject import Subject
from recsys_core.explain.why_not import why_not
from recsys_core.hybrid import Hybrid
from recsys_core.recommend import recommend_users
from recsys_core.run import Run
from recsys_core.train import train

MOVED = {"ease": 0.4, "item_knn": 0.1, "popularity": 0.3}


@pytest.fixture(scope="module")
def unscored_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Item i39, which nobody has met, can be scored by no component."""
    settings = Settings(components=("item_knn", "ease"), control=False, hide="met")
    return train(random_world(), settings, tmp_path_factory.mktemp("unscored") / "unscored")


def of(run: Run, user: str, item: str) -> Pair:
    return pair(run, browse.person(run, user), item)


def items_of(run: Run, user: str) -> list[str]:
    """One listed, one further down, one that was met."""
    listed = list(recommend_users(run, [user], k=99)["item_id"])
    return [listed[0], listed[-1], str(browse.history(run, user)[0]["item_id"].iloc[0])]


@pytest.mark.parametrize("weights", [{}, MOVED])
@pytest.mark.parametrize("user", ["u01", "u09"])
def test_numbers_are_those_of_explain(tiny_run: Run, user: str, weights: dict[str, float]) -> None:
    blend = tiny_run.model.blend.with_weights(weights)
    for item in items_of(tiny_run, user):
        told = why(of(tiny_run, user, item), blend, 3)
        for question, found in (("components", told.components), ("history", told.history), ("attributes", told.attributes)):
            expected = explain(tiny_run, user, item, question=question, weights=weights)
            assert found is not None
            assert (found.players, found.labels, found.method) == (expected.players, expected.labels, "exact")
            np.testing.assert_allclose(found.contributions, expected.contributions, atol=1e-12)
            assert (found.base, found.output) == pytest.approx((expected.base, expected.output), abs=1e-9)
        expected = explain(tiny_run, user, item, weights=weights)
        assert (told.sentence, told.rank) == (expected.sentence, expected.rank)
        other = explain(tiny_run, user, item, weights={"ease": 9.0})
        assert not np.allclose(by_past(told.about).contributions, other.contributions)  # other weights, other numbers


def test_places_are_those_of_the_list(tiny_run: Run) -> None:
    learned = list(recommend_users(tiny_run, ["u01"], k=99)["item_id"])
    moved = list(recommend_users(tiny_run, ["u01"], k=99, weights=MOVED)["item_id"])
    assert learned != moved
    blend = tiny_run.model.blend.with_weights(MOVED)
    for place, item in enumerate(moved, 1):
        told = why(of(tiny_run, "u01", item), blend, 4)
        assert (told.rank, told.learned_rank, told.candidates) == (place, learned.index(item) + 1, len(moved))
        assert told.state == ("listed" if place <= 4 else "below")
        assert told.edge == tiny_run.dataset.catalog.titles[tiny_run.dataset.items.codes([moved[3]])[0]]


def test_moving_weights_asks_no_model(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = of(tiny_run, "u01", items_of(tiny_run, "u01")[0])
    blends = [tiny_run.model.blend.with_weights({"ease": 0.3 + 0.001 * n}) for n in range(5)]
    expected = [why(found, blend, 3).sentence for blend in blends]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Hybrid, "z", refuse)
    monkeypatch.setattr(Hybrid, "score", refuse)
    assert [why(found, blend, 3).sentence for blend in blends] == expected
    with pytest.raises(AssertionError, match="the model was asked"):
        why(replace(found, without=lambda mask: found.subject.model.z(found.subject.history)), blends[0], 3)


def test_shares_of_a_component_are_its_part(tiny_run: Run) -> None:
    about = subject(tiny_run, "u01", items_of(tiny_run, "u01")[0], MOVED)
    names = splittable(about)
    assert names == ["item_knn", "ease"]  # popularity does not read the history
    for name in names:
        found = by_past(about, name)
        assert found.output == pytest.approx(about.parts[about.model.names.index(name)], abs=1e-9)
        assert abs(found.gap) < 1e-12
    total = sum(by_past(about, name).contributions for name in names)
    np.testing.assert_allclose(total, by_past(about).contributions, atol=1e-12)
    with pytest.raises(UserError, match="item_knn, ease"):
        by_past(about, "popularity")


def test_what_is_not_linear_stays_in_the_base(tiny: str) -> None:
    data = world()
    model = hybrid(data, ("ease", "user_knn"), tiny)
    about = Subject(model, data.histories()[[1]], data.met()[[1]], 7, data.catalog, data.items)
    found = by_past(about)
    nothing = history.value(about, np.zeros((1, len(about.history.items)), bool))[0]
    assert found.output == pytest.approx(about.logit)
    assert abs(found.gap) < 1e-9
    assert splittable(about) == ["ease"]
    part = about.parts[model.names.index("user_knn")]
    assert found.base - by_past(about, "ease").base == pytest.approx(about.base + part)
    assert found.base != pytest.approx(nothing)  # which is what sampling has as its base


def test_why_not_is_that_of_why_not(tiny_run: Run) -> None:
    listed, low, met = items_of(tiny_run, "u01")
    for item, state in ((low, "below"), (met, "hidden")):
        found = why(of(tiny_run, "u01", item), tiny_run.model.blend, 3)
        expected = why_not(subject(tiny_run, "u01", item), 3, most=0)
        assert found.state == expected.state == state
        assert found.beside.equals(expected.frame())
        assert (found.edge, found.shown_rank) == (expected.edge_title, expected.shown_rank)
        assert found.held == (expected.frame()["component"].iloc[0], expected.frame()["to_edge"].iloc[0])
    assert why(of(tiny_run, "u01", listed), tiny_run.model.blend, 3).beside.empty


def test_what_nothing_scores_is_told(unscored_run: Run) -> None:
    found = why(of(unscored_run, "u1", "i39"), unscored_run.model.blend, 5)
    assert (found.state, found.rank, found.sentence, found.history) == ("unscored", 0, "", None)
    assert found.missing == ("item_knn", "ease")
    other = why(of(unscored_run, "u1", items_of(unscored_run, "u1")[0]), unscored_run.model.blend, 5)
    assert (other.state, other.missing, other.attributes) == ("listed", (), None)


def test_nothing_liked(hostile_run: Run) -> None:
    item = str(recommend_users(hostile_run, ["empty"], k=1)["item_id"][0])
    found = why(of(hostile_run, "empty", item), hostile_run.model.blend, 5)
    assert found.history is not None
    assert found.history.players == ()
    assert found.sentence


def test_methods_that_can_be_asked(tiny_run: Run, tiny: str) -> None:
    about = subject(tiny_run, "u01", items_of(tiny_run, "u01")[0])
    able = methods(about, "history")
    assert list(able)[:2] == ["exact", "shap"]
    assert {"random", "popularity"} <= set(able)
    assert able["ig"]
    assert not able["shap"]
    with pytest.raises(UserError, match="reads the text"):
        methods(about, "words")
    data = world()
    reading = Subject(hybrid(data, ("ease", "bert"), tiny), data.histories()[[1]], data.met()[[1]], 7, data.catalog, data.items)
    able, game = methods(reading, "words"), ask(reading)
    assert able == {name: explainers.unable(name, game) for name in able}  # as the game itself says
    assert not {"random", "popularity", "shap_partition"} & set(able)
    with pytest.raises(NotImplementedError):
        attribute(outline(reading), "loo")


def test_agreement_is_a_rank_correlation(tiny_run: Run) -> None:
    found = by_past(subject(tiny_run, "u01", items_of(tiny_run, "u01")[0]))
    assert agreement(found, replace(found, contributions=np.exp(found.contributions))) == pytest.approx(1)
    assert agreement(found, replace(found, contributions=-found.contributions)) == pytest.approx(-1)
    assert np.isnan(agreement(found, replace(found, contributions=0 * found.contributions)))
    table = compared(found, replace(found, contributions=found.contributions + 0.5))
    assert table["first"].is_monotonic_decreasing
    np.testing.assert_allclose(table["difference"], 0.5)


def test_removals_and_their_steps_hold(tiny_run: Run) -> None:
    for user in ("u01", "u05", "u09"):
        about = subject(tiny_run, user, items_of(tiny_run, user)[0])
        for found in removals(about, 3):
            table = steps(about, found)
            assert list(table["effect"]) == sorted(table["effect"], reverse=True)
            assert set(table["label"]) == set(found.labels)
            if found.found:
                assert table["together"].iloc[-1] == found.rank_after > found.k
            past = list(about.catalog.titles[about.history.items])
            for row in table.itertuples():
                mask = np.array([[title != row.label for title in past]])
                assert rank_of(about, mask)[0] == row.alone
    assert [found.k for found in removals(about, 3)] == [3, 1]  # it stands first: the list, and its own place
    assert [found.k for found in removals(about, 1)] == [1]


def test_items_are_found_by_id_and_title(tiny_run: Run) -> None:
    def ids(query: str, limit: int = 99) -> list[str]:
        return list(browse.search_items(tiny_run, query, limit=limit).frame["item_id"])

    assert ids("h3")[0] == "h3"
    assert ids("LISBON the") == ids("the lisbon") == ["h3"]
    assert ids("paper")[0] == "h4"
    assert ids("  ") == ids("no such thing") == []
    found = browse.search_items(tiny_run, "the", limit=1)
    assert found.total > len(found.frame) == 1


def test_unknown_item_is_refused(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="item"):
        of(tiny_run, "u01", "nope")
