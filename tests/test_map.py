"""The catalogue map's core: the sample keeps every stratum, and stays within its bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import catalogue_map
from recsys_core.data import Catalog
from recsys_core.errors import UserError


@pytest.mark.parametrize("seed", range(5))
def test_sample_keeps_every_stratum_within_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fame, labels = rng.zipf(1.5, 9000).astype(float), rng.zipf(1.3, 9000).clip(max=400).astype(str).astype(object)
    chosen = catalogue_map.sample(fame, labels, 5000, np.random.default_rng(seed))
    strata = catalogue_map.strata_of(fame, labels)
    assert len(chosen) == len(set(chosen)) == 5000
    assert set(strata[chosen]) == set(strata)
    np.testing.assert_array_equal(chosen, catalogue_map.sample(fame, labels, 5000, np.random.default_rng(seed)))
    with pytest.raises(UserError, match="strata"):
        catalogue_map.sample(fame, labels, 2, rng)


def test_the_answers_tell_the_bound() -> None:
    page = (Path(__file__).parents[1] / "docs" / "faq.md").read_text("utf-8")
    assert f"Up to {catalogue_map.MOST:,} items, yes." in page


def test_best_is_a_sort_without_the_item_itself() -> None:
    values = np.array([0.3, 0.9, -np.inf, 0.5, 0.9, 0.1])
    items, best = catalogue_map._best(values, 1, 3)
    brute = sorted((i for i in (0, 3, 4, 5)), key=lambda i: -values[i])[:3]
    assert items.tolist() == brute == [4, 3, 0]
    assert best.tolist() == [0.9, 0.5, 0.3]


def test_items_are_told_apart_by_every_attribute_and_by_decade() -> None:
    columns = {
        "genres": [("a", "b"), (), ("b",), ("b",)],
        "year": [("1998",), ("2004",), ("unknown",), ()],
        "maker": [("m",)] * 4,
    }
    catalog = Catalog(pd.DataFrame({"title": list("wxyz"), "text": [""] * 4} | columns))
    assert catalogue_map.colourings(catalog) == [catalog.topic, *(n for n in ("genres", "decade", "maker") if n != catalog.topic)]
    assert catalogue_map.labels_by(catalog, "decade").tolist() == ["1990s", "2000s", "", ""]
    assert catalogue_map.labels_by(catalog, "genres").tolist() == ["a", "", "b", "b"]
    labels = np.array(["2000s", "", "1990s", "2000s", "1980s"], dtype=object)
    by_count, in_order = catalogue_map.coloured(labels, 2), catalogue_map.coloured(labels, 2, sort=True)
    assert (by_count[1], by_count[0].tolist()) == (["2000s", "1980s"], [0, 2, 2, 0, 1])
    assert (in_order[1], in_order[0].tolist()) == (["1980s", "2000s"], [1, 2, 2, 1, 0])
