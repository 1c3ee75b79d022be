"""Hard cases come first, and groups hold whom they say: by hand on small worlds, and against single lists on a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from worlds import dataset_of

from recsys_core import browse, cases
from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.recommend import recommend_users
from recsys_core.run import Run


def known(data: Dataset) -> Run:
    """A run that knows all of a dataset; nothing is trained."""
    run = Run(Path("none"), {})
    vars(run).update(dataset=data, known=data, histories=data.histories())
    return run


@pytest.fixture
def rated() -> Run:
    """u0 rates 1 1 5 5 5 5, u1 3 3 3 3 3, u2 1 5 (too few), u3 nothing, u4 4 4 4 4 5; a like is 4 or more."""
    ratings = [(0, v) for v in (1, 1, 5, 5, 5, 5)] + [(1, 3)] * 5 + [(2, 1), (2, 5)] + [(4, v) for v in (4, 4, 4, 4, 5)]
    at = [0] * 5
    events = []
    for user, _ in ratings:
        events.append((user, at[user]))
        at[user] += 1
    data = dataset_of(events, 5, 6, values=[float(v) for _, v in ratings], threshold=4)
    return known(replace(data, user_table=pd.DataFrame({"sex": ["F", "M", "F", None, "M"], "name": list("abcde")})))


def order(found: browse.Found) -> list[str]:
    return list(found.frame["user_id"])


def test_most_polarised_first(rated: Run) -> None:
    spread = cases.polarised(rated)
    mean = (1 + 1 + 4 * 5) / 6
    assert spread[0] == pytest.approx(((2 * (1 - mean) ** 2 + 4 * (5 - mean) ** 2) / 6) ** 0.5)
    assert spread[1] == 0
    assert np.isnan(spread[[2, 3]]).all()
    assert spread[4] == pytest.approx((4 * 0.2**2 / 5 + 0.8**2 / 5) ** 0.5)
    assert order(cases.find(rated, "", case="polarised", limit=9)) == ["u0", "u4", "u1"]


def test_fewest_likes_first_and_ties_in_the_order_of_the_data(rated: Run) -> None:
    found = cases.find(rated, "", case="coldest", limit=4)
    assert list(zip(found.frame["user_id"], found.frame["case"], strict=True)) == [("u1", 0), ("u3", 0), ("u2", 1), ("u0", 4)]
    assert found.total == 5


def test_nobody_is_polarised_where_nothing_is_rated() -> None:
    events = [(0, n) for n in range(6)]
    implicit, flat = dataset_of(events, 2, 6, values=[1, 2, 3, 4, 5, 6]), dataset_of(events, 2, 6, threshold=1)
    rated = replace(implicit, threshold=3.0)
    for data, there in ((implicit, False), (flat, False), (rated, True)):
        assert ("polarised" in cases.kinds(known(data))) == there


def test_groups_are_thirds_and_columns_with_few_values(rated: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Likes 4 0 1 0 5: of 1 4 5, those who have any, a third of the way lies at 3 and two thirds at 4 1/3.
    thirds = {"low": ["u1", "u2", "u3"], "middle": ["u0"], "high": ["u4"]}
    assert [value for name, value in cases.groups(rated) if name == "activity"] == list(thirds)
    for value, users in thirds.items():
        assert order(cases.find(rated, "", group=("activity", value), limit=9)) == users
    assert order(cases.find(rated, "", group=("sex", "F"), limit=9)) == ["u0", "u2"]
    assert ("name", "a") in cases.groups(rated)
    monkeypatch.setattr(cases, "MOST_VALUES", 4)
    assert "name" not in dict(cases.groups(rated))
    assert "sex" in dict(cases.groups(rated))


def test_group_order_and_search_go_together(rated: Run) -> None:
    assert order(cases.find(rated, "", case="coldest", group=("sex", "F"), limit=9)) == ["u2", "u0"]
    assert order(cases.find(rated, "sex=M", case="coldest", limit=9)) == ["u1", "u4"]
    assert order(cases.find(rated, "", limit=2)) == ["u0", "u1"]
    with pytest.raises(UserError, match="unknown case 'rare'"):
        cases.find(rated, "", case="rare", limit=1)
    with pytest.raises(UserError, match="unknown segment 'town'"):
        cases.find(rated, "", group=("town", "x"), limit=1)


def test_lowest_probability_is_that_of_the_list(tiny_run: Run) -> None:
    first = recommend_users(tiny_run, None, k=1).set_index("user_id")["probability"]
    chance = cases.unsure(tiny_run)
    some = tiny_run.histories.lengths > 0
    np.testing.assert_allclose(chance[some], first[tiny_run.dataset.users.ids[some]], rtol=1e-5)
    found = cases.find(tiny_run, "", case="unsure", limit=3)
    assert order(found)[0] == first.idxmin()
    assert found.frame["case"].is_monotonic_increasing


def test_who_liked_nothing_is_not_unsure_and_short_lists_are_read_for_some(
    hostile_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "empty" not in order(cases.find(hostile_run, "", case="unsure", limit=99))
    monkeypatch.setattr(cases, "MOST_READ", 5)
    assert np.isfinite(cases.unsure(hostile_run)).sum() > 5
    monkeypatch.setattr(cases, "_reads", lambda run: True)
    assert np.isfinite(cases.unsure(hostile_run)).sum() == 5
