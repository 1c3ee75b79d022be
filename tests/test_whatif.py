"""Edits to a history, worked by hand on data/tiny; two lists side by side; a list re-ranked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_core import beside, browse, feedback, whatif
from recsys_core.beside import Features, Ranked, ranked, side_by_side
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.recommend import list_of
from recsys_core.rerank import get
from recsys_core.run import Run
from recsys_core.whatif import Edits


def test_edits_add_up() -> None:
    own = {"a", "b"}
    none = Edits()
    assert not none
    gone = none.remove("a", own)
    assert gone == Edits(drop=("a",))
    assert gone.like("a", own) == none  # back to its own place
    assert none.like("a", own) == none  # it is there
    assert none.like("x", own).remove("x", own) == none
    anew = none.like("x", own).renew("a", own)
    assert anew == Edits(add=("x", "a"), drop=("a",))
    assert anew.renew("x", own) == Edits(add=("a", "x"), drop=("a",))
    assert anew.single == [("add", "x"), ("renew", "a")]
    assert anew.remove("a", own) == Edits(add=("x",), drop=("a",))
    assert anew.without("renew", "a") == Edits(add=("x",))
    twice = none.twice("b")
    assert twice.twice("b") == none
    assert twice.single == [("double", "b")]
    assert twice.remove("b", own) == Edits(drop=("b",))


def test_the_row_is_as_the_data_would_have_made_it(tiny_run: Run) -> None:
    own = whatif.past(tiny_run, "u01")
    new = next(i for i in tiny_run.dataset.items.ids if i not in own)
    row, hidden = whatif.edited(tiny_run, "u01", Edits())
    code = tiny_run.dataset.users.codes(["u01"])
    assert row.items.tolist() == tiny_run.histories[code].items.tolist()
    edits = Edits().remove(own[0], set(own)).like(new, set(own)).twice(new)
    row, hidden = whatif.edited(tiny_run, "u01", edits)
    ids = tiny_run.dataset.items.ids
    assert ids[row.items].tolist() == [*own[1:], new]
    assert row.ages.tolist() == list(range(len(own) - 1, -1, -1))  # no two likes of u01 have one time
    before = tiny_run.histories[code].values[1:].tolist()
    assert row.values.tolist() == [*before, whatif.DOUBLE]
    assert row.full_sizes[0] == pytest.approx(sum(before) + 1)  # counting one twice makes the row no longer
    met = set(ids[tiny_run.hidden[code].items])
    assert set(ids[hidden.items]) == (met - {own[0]}) | {new}
    again, _ = whatif.edited(tiny_run, "u01", Edits().renew(own[0], set(own)))
    assert ids[again.items].tolist() == [*own[1:], own[0]]


def test_ties_keep_their_mean_age(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tiny_run.dataset.items.ids
    row = Histories(
        np.array([0, 3]), np.array([0, 1, 2], np.int32), np.ones(3, np.float32), np.array([2, 0.5, 0.5], np.float32), len(ids)
    )
    run = Run(tiny_run.path, tiny_run.manifest)
    vars(run)["histories"] = vars(run)["hidden"] = row
    made, _ = whatif.edited(run, str(run.dataset.users.ids[0]), Edits(add=(str(ids[3]),), drop=(str(ids[0]),)))
    assert made.items.tolist() == [1, 2, 3]
    assert made.ages.tolist() == [1.5, 1.5, 0.0]


def test_removing_and_liking_again_gives_the_same_list(tiny_run: Run) -> None:
    own = whatif.past(tiny_run, "u01")
    edits = Edits().remove(own[1], set(own)).like(own[1], set(own))
    a, b = browse.person(tiny_run, "u01"), whatif.person(tiny_run, "u01", edits)
    np.testing.assert_array_equal(a.z, b.z)
    without = whatif.person(tiny_run, "u01", Edits().remove(own[1], set(own)))
    assert not np.array_equal(a.z, without.z, equal_nan=True)
    assert own[1] in browse.order(tiny_run, without, tiny_run.model.blend)  # it may come back
    assert own[1] not in browse.order(tiny_run, a, tiny_run.model.blend)


def test_somebody_new_gets_what_the_command_line_gives_to_a_history(tiny_run: Run) -> None:
    picks = ("h2", "s1", "h5")
    found = ranked(tiny_run, whatif.person(tiny_run, "", Edits(add=picks)), tiny_run.model.blend, k=5)
    expected = list_of(tiny_run, list(picks), k=5).frame()
    assert found.frame["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(found.frame["probability"], expected["probability"], rtol=1e-6)
    nobody = whatif.person(tiny_run, "", Edits())
    assert nobody.n_past == 0
    assert len(browse.order(tiny_run, nobody, tiny_run.model.blend))


def test_history_is_latest_first(tiny_run: Run) -> None:
    own = whatif.past(tiny_run, "u01")
    new = next(i for i in tiny_run.dataset.items.ids if i not in own)
    frame = whatif.history(tiny_run, "u01", Edits(add=(new,), double=(own[0],)))
    assert frame["item_id"].tolist() == [new, *own[::-1]]
    assert frame["own"].tolist() == [False] + [True] * len(own)
    assert frame["double"].tolist() == [False] * len(own) + [True]


def test_edits_begin_from_what_the_user_reacted_to(tiny_run: Run) -> None:
    own = whatif.past(tiny_run, "u01")
    liked, disliked, new = [str(i) for i in tiny_run.dataset.items.ids if i not in own][:3]
    reacted = ((liked,), (disliked, own[0]))
    before = whatif.person(tiny_run, "u01", Edits(), None, reacted)
    there = feedback.reacted(tiny_run, "u01", *reacted)
    np.testing.assert_array_equal(before.z, there.z)
    assert not np.array_equal(before.z, browse.person(tiny_run, "u01").z, equal_nan=True)
    assert whatif.past(tiny_run, "u01", reacted) == [*own[1:], liked]
    wanted = Edits(add=(new,), drop=(liked, own[0]))
    assert whatif.checked(tiny_run, "u01", wanted, reacted) == (Edits(add=(new,), drop=(liked,)), [own[0]])
    assert whatif.checked(tiny_run, "u01", wanted) == (Edits(add=(new,), drop=(own[0],)), [liked])
    row, hidden = whatif.edited(tiny_run, "u01", Edits(add=(new,), drop=(liked,)), None, reacted)
    ids = tiny_run.dataset.items.ids
    assert ids[row.items].tolist() == [*own[1:], new]
    assert {disliked, own[0], new} <= set(ids[hidden.items])  # a dislike stays hidden
    assert liked not in ids[hidden.items]
    assert whatif.history(tiny_run, "u01", Edits(), reacted)["item_id"][0] == liked
    assert [one.item for one in whatif.effects(tiny_run, "u01", Edits(drop=(liked,)), None, reacted)] == [liked]


def test_bad_edits_are_named(tiny_run: Run) -> None:
    own = whatif.past(tiny_run, "u01")
    new = next(i for i in tiny_run.dataset.items.ids if i not in own)
    asked = Edits(add=(new, own[0], "<b>"), drop=(new, own[1]), double=(new, own[1]))
    good, bad = whatif.checked(tiny_run, "u01", asked)
    assert good == Edits(add=(new,), drop=(own[1],), double=(new,))
    assert bad == [new, own[0], "<b>", own[1]]
    assert whatif.checked(tiny_run, "", Edits(drop=(own[0],))) == (Edits(), [own[0]])
    anew = Edits().renew(own[0], set(own))
    assert whatif.checked(tiny_run, "u01", anew) == (anew, [])


def test_what_each_edit_brings(tiny_run: Run) -> None:
    own, blend, k = whatif.past(tiny_run, "u01"), tiny_run.model.blend, 4
    new = [i for i in tiny_run.dataset.items.ids if i not in own][:2]
    edits = Edits(add=tuple(new), drop=(own[0],))
    after = whatif.person(tiny_run, "u01", edits)
    found = whatif.effects(tiny_run, "u01", edits)
    assert [(one.kind, one.item) for one in found] == [("drop", own[0]), ("add", new[0]), ("add", new[1])]
    listed = set(ranked(tiny_run, after, blend, k=k).frame["item_id"])
    fewer = [Edits(add=tuple(new)), Edits(add=(new[1],), drop=(own[0],)), Edits(add=(new[0],), drop=(own[0],))]
    lists = [set(ranked(tiny_run, whatif.person(tiny_run, "u01", e), blend, k=k).frame["item_id"]) for e in fewer]
    assert whatif.owed(tiny_run, found, after, blend, k=k) == [len(listed - other) for other in lists]
    assert any(listed - other for other in lists)


def test_starters_are_liked_and_of_different_kinds(tiny_run: Run) -> None:
    features = Features.of(tiny_run)
    found = whatif.starters(tiny_run, features, 4)
    fame = dict(zip(tiny_run.dataset.items.ids, tiny_run.fame, strict=True))
    assert found["item_id"].is_unique
    assert found["likes"].tolist() == [fame[i] for i in found["item_id"]]
    assert found["likes"].iloc[0] == tiny_run.fame.max()
    popular = np.argsort(-tiny_run.fame, kind="stable")[:4]
    plain = browse.items_of(tiny_run.dataset, popular)
    assert len({tag for tags in found["tags"] for tag in tags}) > len({tag for tags in plain["tags"] for tag in tags})


# Side by side.


def listed(ids: str, order: str) -> Ranked:
    frame = pd.DataFrame({"rank": range(1, len(ids) + 1), "item_id": list(ids)})
    return Ranked(frame, np.array(list(order), dtype=object))


def test_two_lists_worked_by_hand() -> None:
    found = side_by_side(listed("abc", "abcde"), listed("bda", "bdac"))
    assert found.first["other"].tolist() == [3, 1, 4]
    assert found.first["both"].tolist() == [True, True, False]
    assert found.second["other"].tolist() == [2, 4, 1]
    assert (found.n_new, found.n_left, found.n_moved) == (1, 1, 2)
    assert found.overlap == 2 / 3
    p = 0.9  # agreement at depths 1, 2, 3: 0, 1/2, 2/3; extrapolated (Webber et al. 2010, eq. 23)
    assert found.rbo == pytest.approx(2 / 3 * p**3 + (1 - p) / p * (0 + 1 / 2 * p**2 + 2 / 3 * p**3))
    assert not found.same
    assert side_by_side(listed("ab", "ab"), listed("ab", "ab")).same
    swapped = side_by_side(listed("ab", "ab"), listed("ba", "ba"))
    assert (swapped.n_moved, swapped.same) == (2, False)
    empty = side_by_side(listed("", ""), listed("", ""))
    assert np.isnan([empty.rbo, empty.overlap]).all()
    assert side_by_side(listed("a", "a"), listed("", "")).rbo == 0


def test_reranked_is_the_reranker_on_the_best_candidates(tiny_run: Run) -> None:
    features, person, blend = Features.of(tiny_run), browse.person(tiny_run, "u01"), tiny_run.model.blend
    plain = ranked(tiny_run, person, blend, k=2)
    assert {"mmr", "calibration", "popularity_penalty", "dpp"} == set(features.rerankers)
    for name in features.rerankers:
        same = beside.reranked(tiny_run, person, blend, features, k=2, reranker=name, strength=0.0)
        pd.testing.assert_frame_equal(same.frame, plain.frame)
    found = beside.reranked(tiny_run, person, blend, features, k=2, reranker="popularity_penalty", strength=1.0)
    pool = browse.order(tiny_run, person, blend)[:10]
    fame = tiny_run.fame[tiny_run.dataset.items.codes(pool)]
    assert found.frame["item_id"].tolist() == pool[np.argsort(fame, kind="stable")[:2]].tolist()
    assert found.frame["rank"].tolist() == [1, 2]
    topics = tiny_run.dataset.catalog.topics().toarray()[tiny_run.dataset.items.codes(pool)]
    vectors = topics / np.linalg.norm(topics, axis=1, keepdims=True)
    logit = browse.user_list(tiny_run, person, blend, k=10).frame["logit"].to_numpy()
    picked = get("mmr")(logit, {"vectors": vectors}, k=2, strength=0.6)[0]
    made = beside.reranked(tiny_run, person, blend, features, k=2, reranker="mmr", strength=0.6)
    assert made.frame["item_id"].tolist() == pool[picked].tolist()
    with pytest.raises(UserError, match="strength"):
        beside.reranked(tiny_run, person, blend, features, k=2, reranker="mmr", strength=2.0)
    with pytest.raises(UserError, match="needs attributes"):
        Features({"popularity": np.zeros(3, np.float32)}).needed("dpp", np.arange(2), None)
