"""Diversity and fairness: hand-worked shares, small groups suppressed, and figures on the page that are those of the core."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HOSTILE, ran
from scipy.sparse import csr_array
from test_dashboard import texts

from dashboard import strings
from recsys_core import fairness
from recsys_core.analytics import Analytics, measure
from recsys_core.fairness import Mass
from recsys_core.run import Run


def lists_of(items: list[list[int]], counts: list[int]) -> SimpleNamespace:
    history = csr_array(np.ones((len(items), len(counts))))
    return SimpleNamespace(items=np.array(items), source=SimpleNamespace(inputs={"counts": np.array(counts), "history": history}))


def test_lorenz_and_gini_by_hand() -> None:
    found = lists_of([[3, 2], [3, -1]], [0, 1, 1, 2])
    curve = fairness.long_tail(found)
    np.testing.assert_allclose(curve["catalogue"], [0, 1 / 4, 3 / 4, 1])  # the two items of one like are one piece
    np.testing.assert_allclose(curve["likes"], [0, 0, 2 / 4, 1])
    np.testing.assert_allclose(curve["exposure"], [0, 0, 1 / 3, 1])
    # sum_i (2 i - n - 1) x_i / (n sum x) of 0, 1, 1, 2
    assert fairness.concentration([1, 0, 2, 1]) == pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4))
    assert np.isnan(fairness.concentration([0, 0]))
    assert fairness.tail(found, curve, 1 / 4).exposure == pytest.approx(2 / 3)


def test_gap_is_that_of_independent_bootstraps(tiny_run: Run) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.exponential(1, 60), rng.exponential(2, 90)
    labels = np.array(["a"] * 60 + ["b"] * 90 + ["few"] * (fairness.SMALLEST - 1), dtype=object)
    found = replace(
        measure(Analytics.of(tiny_run), k=3), per_user={"ndcg": np.concatenate([a, b, np.full(len(labels) - 150, 9.0)])}
    )
    gap = fairness.gap(found, labels, "ndcg")
    assert gap is not None
    assert (gap.best, gap.worst, gap.pairs) == ("b", "a", 1)  # the best mean is of too few users
    draws = [rng.choice(b, 90).mean() - rng.choice(a, 60).mean() for _ in range(4000)]
    np.testing.assert_allclose([gap.low, gap.high], np.quantile(draws, [0.025, 0.975]), atol=0.05)
    assert gap.shown == (gap.low > 0)
    assert not replace(gap, low=-0.1).shown


def test_small_groups_are_suppressed(tiny_run: Run) -> None:
    found = measure(Analytics.of(tiny_run), k=5)
    labels = np.array(["few"] * 3 + ["many"] * (len(found.items) - 3), dtype=object)
    table = fairness.segments(found, labels)
    few = table[table["group"] == "few"]
    assert few["small"].all()
    assert few[["mean", "low", "high"]].isna().all(axis=None)
    many = table[(table["group"] == "many") & (table["metric"] == "ndcg")].iloc[0]
    assert many["mean"] == pytest.approx(np.nanmean(found.per_user["ndcg"][3:]))
    assert fairness.gap(found, labels, "ndcg") is None


def test_shares_sum_to_one(tiny_run: Run) -> None:
    found, catalog = measure(Analytics.of(tiny_run), k=5), tiny_run.dataset.catalog
    for mass in (*(Mass.of(catalog, a) for a in catalog.attributes), Mass.fame(found.source.inputs["counts"])):
        np.testing.assert_allclose(mass.share.sum(axis=1), 1)
        shares = fairness.exposure(found, mass)[["catalogue", "histories", "lists"]]
        np.testing.assert_allclose(shares.sum(), 1)


def test_page_shows_the_figures_of_the_core(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, "fairness", k="5")
    found = measure(Analytics.of(tiny_run), k=5)
    told = fairness.tail(found, fairness.long_tail(found))
    assert strings.t("fair.tail.says", part=told.part, likes=told.likes, lists=told.exposure) in texts(app)
    more = fairness.more_popular(found)
    assert strings.t("fair.lift.says", share=more.share, mean=more.mean, median=more.median, n=more.n) in texts(app)
    app.selectbox(key="fair_by").set_value("known")
    ran(app)


def test_hostile_run(open_app, hostile_run: Run) -> None:
    app = open_app(hostile_run.path.parent, "fairness", user=HOSTILE[0])
    for words in (m.value for m in app.markdown):
        for bad in HOSTILE:
            assert bad not in words.replace(strings.code(bad), "")


def test_both_languages_say_the_same() -> None:
    from dashboard.strings import fairness as words

    assert words.EN.keys() == words.ZH.keys()
