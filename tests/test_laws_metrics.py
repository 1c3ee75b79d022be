"""Laws every registered metric keeps. A new metric is tested as soon as it has a naive loop and its two ends below."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys_core.metrics import INPUTS, METRICS, Metric, available, bootstrap_interval

K, N_USERS, N_ITEMS = 8, 60, 40
ACCURACY = ["ndcg", "precision", "recall", "mrr", "hit_rate", "average_precision"]
PER_RANK = ["precision", "serendipity"]  # divided by k: an empty rank counts
Inputs = dict[str, Any]


def world(seed: int = 0) -> Inputs:
    """All INPUTS, consistent, with short and empty lists, users without truth or history, items without a vector."""
    rng = np.random.default_rng(seed)
    lists = np.array([rng.permutation(N_ITEMS)[:K] for _ in range(N_USERS)])
    length = rng.integers(0, K + 1, N_USERS)
    lists[np.arange(K) >= length[:, None]] = -1
    truth = [set(rng.permutation(N_ITEMS)[: rng.integers(0, 7)].tolist()) for _ in range(N_USERS)]
    hits = np.array([[i in truth[u] for i in lists[u]] for u in range(N_USERS)])
    positions = [np.sort(rng.permutation(N_ITEMS)[: len(t)]) + 1 for t in truth]
    history = csr_array((rng.random((N_USERS, N_ITEMS)) < 0.1).astype(np.float32))
    history.data *= 3  # stored values must not matter
    vectors = rng.normal(size=(N_ITEMS, 5))
    vectors[3], vectors[4] = 0, np.nan
    return {
        "hits": hits,
        "n_relevant": np.array([len(t) for t in truth]),
        "ranks": np.concatenate(positions).astype(float),
        "rank_rows": np.repeat(np.arange(N_USERS), [len(t) for t in truth]),
        "n_candidates": np.full(N_USERS, N_ITEMS),
        "lists": lists,
        "n_items": N_ITEMS,
        "counts": rng.integers(0, 12, N_ITEMS),
        "n_users": 12,
        "history": history,
        "vectors": vectors,
        "attributes": (rng.random((N_ITEMS, 4)) < 0.3).astype(float),
    }


# The same metrics as loops anyone can follow


def _listed(w: Inputs, u: int) -> list[int]:
    return [int(i) for i in w["lists"][u] if i >= 0]


def _past(w: Inputs, u: int) -> list[int]:
    return w["history"][[u]].indices.tolist()


def _cosine(a: Any, b: Any) -> float:
    return float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))


def _has(v: Any) -> bool:
    return bool(np.isfinite(v).all() and (v != 0).any())


def _average(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _diversity(w: Inputs, u: int, name: str) -> float:
    vectors = [w[name][i] for i in _listed(w, u) if _has(w[name][i])]
    return _average([1 - _cosine(a, b) for a, b in combinations(vectors, 2)])


def _truth(loop: Callable[[list[bool], int], float]) -> Callable[[Inputs, int], float]:
    return lambda w, u: loop(w["hits"][u].tolist(), int(w["n_relevant"][u])) if w["n_relevant"][u] else math.nan


def _naive_ndcg(hits: list[bool], r: int) -> float:
    return sum(1 / math.log2(n + 2) for n, h in enumerate(hits) if h) / sum(
        1 / math.log2(n + 2) for n in range(min(r, len(hits)))
    )


def _naive_auc(w: Inputs, u: int) -> float:
    above = {int(r) for r in w["ranks"][w["rank_rows"] == u]}
    below = set(range(1, w["n_candidates"][u] + 1)) - above
    return _average([float(a < b) for a in above for b in below])


def _naive_gini(w: Inputs) -> float:
    x = [sum(i in _listed(w, u) for u in range(len(w["lists"]))) for i in range(w["n_items"])]
    return sum(abs(a - b) for a in x for b in x) / (2 * len(x) * sum(x))


def _naive_personalisation(w: Inputs, u: int) -> float:
    own = set(_listed(w, u))
    others = [set(_listed(w, v)) for v in range(len(w["lists"])) if v != u and _listed(w, v)]
    return 1 - _average([len(own & o) / len(own) for o in others]) if own else math.nan


def _naive_lift(w: Inputs, u: int) -> float:
    own = _average([float(w["counts"][i]) for i in _past(w, u)])
    return _average([float(w["counts"][i]) for i in _listed(w, u)]) / own - 1 if own else math.nan


def _naive_tail(w: Inputs, u: int) -> float:
    head: set[int] = set()
    counts = w["counts"].tolist()
    for level in sorted(set(counts), reverse=True):
        if sum(counts[i] for i in head) < 0.8 * sum(counts):
            head |= {i for i, c in enumerate(counts) if c == level}
    return _average([float(i not in head) for i in _listed(w, u)])


def _mix(items: list[int], attributes: Any) -> Any:
    rows = [attributes[i] / attributes[i].sum() for i in items if attributes[i].sum()]
    return sum(rows) / len(rows) if rows else None


def _naive_kl(w: Inputs, u: int) -> float:
    p, q = (_mix(items, w["attributes"]) for items in (_past(w, u), _listed(w, u)))
    if p is None or q is None:
        return math.nan
    return sum(a * math.log(a / (0.99 * b + 0.01 * a)) for a, b in zip(p, q, strict=True) if a > 0)


def _naive_serendipity(w: Inputs, u: int) -> float:
    v = w["vectors"]
    past = [v[i] for i in _past(w, u) if _has(v[i])]
    if not past or not w["n_relevant"][u]:
        return math.nan
    found = [v[i] for i, h in zip(w["lists"][u], w["hits"][u], strict=True) if h and _has(v[i])]
    return sum(1 - max(_cosine(f, p) for p in past) for f in found) / len(w["lists"][u])


NAIVE: dict[str, Callable[..., float]] = {
    "ndcg": _truth(_naive_ndcg),
    "precision": _truth(lambda hits, r: sum(hits) / len(hits)),
    "recall": _truth(lambda hits, r: sum(hits) / r),
    "mrr": _truth(lambda hits, r: max([1 / (n + 1) for n, h in enumerate(hits) if h], default=0.0)),
    "hit_rate": _truth(lambda hits, r: float(any(hits))),
    "average_precision": _truth(
        lambda hits, r: sum(sum(hits[: n + 1]) / (n + 1) for n, h in enumerate(hits) if h) / min(r, len(hits))
    ),
    "auc": _naive_auc,
    "coverage": lambda w: len({i for u in range(len(w["lists"])) for i in _listed(w, u)}) / w["n_items"],
    "gini": _naive_gini,
    "novelty": lambda w, u: _average([-math.log2((w["counts"][i] + 1) / (w["n_users"] + 1)) for i in _listed(w, u)]),
    "intra_list_diversity": lambda w, u: _diversity(w, u, "vectors"),
    "attribute_diversity": lambda w, u: _diversity(w, u, "attributes"),
    "personalisation": _naive_personalisation,
    "popularity_lift": _naive_lift,
    "long_tail_share": _naive_tail,
    "calibration_kl": _naive_kl,
    "serendipity": _naive_serendipity,
}

# The two ends of each scale in worlds anyone can see through: (inputs, best value), (inputs, worst value)

ALL, NONE = (
    {"hits": np.ones((1, 4), bool), "n_relevant": np.array([4])},
    {"hits": np.zeros((1, 4), bool), "n_relevant": np.array([4])},
)
SPREAD, SAME = {"lists": np.array([[0, 1], [2, 3]]), "n_items": 4}, {"lists": np.array([[0, 1], [0, 1]]), "n_items": 4}
ONE = np.array([[0, 1]])
PAST = csr_array(np.array([[0.0, 0, 1]]))  # one user, whose only past item is 2
ENDS: dict[str, tuple[tuple[Inputs, float], tuple[Inputs, float]]] = {
    **{name: ((ALL, 1.0), (NONE, 0.0)) for name in ACCURACY},
    "auc": (
        ({"ranks": np.array([1, 2]), "rank_rows": np.array([0, 0]), "n_candidates": np.array([5])}, 1.0),
        ({"ranks": np.array([4, 5]), "rank_rows": np.array([0, 0]), "n_candidates": np.array([5])}, 0.0),
    ),
    "coverage": ((SPREAD, 1.0), ({"lists": np.array([[-1, -1]]), "n_items": 4}, 0.0)),
    "gini": ((SPREAD, 0.0), ({"lists": np.array([[0], [0]]), "n_items": 4}, 3 / 4)),  # (n - 1) / n: one item has it all
    "novelty": (
        ({"lists": ONE, "counts": np.array([0, 0]), "n_users": 7}, 3.0),  # log2(7 + 1): nobody has met them
        ({"lists": ONE, "counts": np.array([7, 7]), "n_users": 7}, 0.0),
    ),
    "intra_list_diversity": (
        ({"lists": ONE, "vectors": np.array([[1.0, 2], [-2, -4]])}, 2.0),
        ({"lists": ONE, "vectors": np.array([[1.0, 2], [3, 6]])}, 0.0),
    ),
    "attribute_diversity": (
        ({"lists": ONE, "attributes": np.array([[1, 0], [0, 1]])}, 1.0),
        ({"lists": ONE, "attributes": np.array([[1, 1], [1, 1]])}, 0.0),
    ),
    "personalisation": ((SPREAD, 1.0), (SAME, 0.0)),
    "popularity_lift": (
        ({"lists": ONE, "counts": np.array([2, 4, 3]), "history": PAST}, 0.0),  # as popular as the user's own choices
        ({"lists": ONE, "counts": np.array([0, 0, 3]), "history": PAST}, -1.0),
    ),
    "long_tail_share": (
        ({"lists": ONE, "counts": np.array([1, 1, 8])}, 1.0),
        ({"lists": ONE, "counts": np.array([4, 4, 2])}, 0.0),
    ),
    "calibration_kl": (
        ({"lists": ONE, "history": PAST, "attributes": np.array([[1, 0], [0, 1], [1, 1]])}, 0.0),
        ({"lists": ONE, "history": PAST, "attributes": np.array([[1, 0], [1, 0], [0, 1]])}, math.log(100)),
    ),
    "serendipity": (
        ({**ALL, "lists": np.array([[0, 1, 3, 4]]), "history": PAST, "vectors": np.array([[1.0], [1], [-1], [1], [1]])}, 2.0),
        ({**ALL, "lists": np.array([[0, 1, 3, 4]]), "history": PAST, "vectors": np.ones((5, 1))}, 0.0),
    ),
}


# The laws, as asserts with names: the tests below run them over the registry, and over broken metrics


def assert_range(m: Metric, w: Inputs) -> None:
    values = m(w)
    assert values.dtype == np.float64
    assert values.shape == ((len(w["lists"]),) if m.per_user else ())
    known = values[~np.isnan(values)]
    assert known.size
    assert (known >= m.low - 1e-12).all()
    assert (known <= m.high + 1e-12).all()


def assert_ends(m: Metric, w: Inputs) -> None:
    for inputs, value in ENDS[m.name]:
        np.testing.assert_allclose(m(inputs), value, atol=1e-12)
    (_, best), (_, worst) = ENDS[m.name]
    assert m.direction == ("higher" if best > worst else "lower") or m.direction == "neither"


def assert_naive(m: Metric, w: Inputs) -> None:
    naive = NAIVE[m.name]
    expected = [naive(w, u) for u in range(len(w["lists"]))] if m.per_user else naive(w)
    np.testing.assert_allclose(m(w), expected, atol=1e-12)


def assert_tail_ignored(m: Metric, w: Inputs) -> None:
    """Empty ranks after the list change nothing (k is at least n_relevant here), or only the k divided by."""
    pad = ((0, 0), (0, 3))
    longer = {**w, "lists": np.pad(w["lists"], pad, constant_values=-1), "hits": np.pad(w["hits"], pad)}
    np.testing.assert_allclose(m(longer), m(w) * (K / (K + 3) if m.name in PER_RANK else 1), atol=1e-12)


def assert_users_permute(m: Metric, w: Inputs) -> None:
    order = np.random.default_rng(1).permutation(len(w["lists"]))
    moved = {**w, **{name: w[name][order] for name in ("hits", "n_relevant", "n_candidates", "lists", "history")}}
    moved["rank_rows"] = np.argsort(order)[w["rank_rows"]]
    np.testing.assert_allclose(m(moved), m(w)[order] if m.per_user else m(w), atol=1e-12)


def assert_items_relabel(m: Metric, w: Inputs) -> None:
    order = np.random.default_rng(2).permutation(w["n_items"])
    new = np.append(np.argsort(order), -1)  # new id of each item; -1 stays
    moved = {**w, **{name: w[name][order] for name in ("counts", "vectors", "attributes")}}
    moved["lists"], moved["history"] = new[w["lists"]], csr_array(w["history"][:, order])
    np.testing.assert_allclose(m(moved), m(w), atol=1e-12)


def assert_inputs_kept(m: Metric, w: Inputs) -> None:
    before = {name: w[name].copy() for name in w if name not in ("n_items", "n_users")}
    m(w)
    for name, value in before.items():
        same = (value != w[name]).nnz == 0 if name == "history" else np.array_equal(value, w[name], equal_nan=name == "vectors")
        assert same, name


LAWS = [
    assert_range,
    assert_ends,
    assert_naive,
    assert_tail_ignored,
    assert_users_permute,
    assert_items_relabel,
    assert_inputs_kept,
]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", METRICS)
def test_law(name: str, law: Callable[[Metric, Inputs], None]) -> None:
    for seed in range(3):
        law(METRICS[name], world(seed))


@pytest.mark.parametrize("name", [*ACCURACY, "auc", "serendipity"])
def test_empty_truth_is_nan_and_counted(name: str) -> None:
    w = world()
    values, empty = METRICS[name](w), w["n_relevant"] == 0
    assert empty.any()
    assert np.isnan(values[empty]).all()
    if name != "serendipity":
        assert bootstrap_interval(values, np.random.default_rng(0)).n == (~empty).sum()


def test_registry_says_what_it_needs() -> None:
    assert set(METRICS) == set(NAIVE) == set(ENDS)
    for name, m in METRICS.items():
        assert m.name == name
        assert set(m.needs) <= set(INPUTS)
        assert m.low < m.high
        assert m.label
        assert m.about
        assert m.formula in str(m.function.__doc__)
        assert any(c.isdigit() for c in m.source), f"{name}: a source has a year"
    assert available(world()) == list(METRICS.values())
    assert [m.name for m in available({"hits": 0, "n_relevant": 0})] == ACCURACY


# Negative control: each broken metric is rejected by the very law that should see it


def broken(name: str, function: Callable[..., Any]) -> Metric:
    m = METRICS[name]
    return Metric(
        name,
        m.label,
        m.about,
        m.formula,
        m.low,
        m.high,
        m.direction,
        m.source,
        tuple(INPUTS),
        m.per_user,
        lambda **w: function(w, m(w)),
    )


BROKEN: list[tuple[str, Callable[[Inputs, Any], Any], Callable[[Metric, Inputs], None]]] = [
    ("ndcg", lambda w, value: value + 1, assert_range),
    ("ndcg", lambda w, value: np.nan_to_num(value), assert_naive),  # empty truth as zero
    ("recall", lambda w, value: w["hits"].sum(1) / np.maximum(1, np.minimum(w["n_relevant"], 3)), assert_naive),
    ("hit_rate", lambda w, value: w["hits"][:, -4:].any(axis=1), assert_tail_ignored),
    ("mrr", lambda w, value: np.sort(value), assert_users_permute),
    ("gini", lambda w, value: 1 - value, assert_naive),
    (
        "long_tail_share",  # ties cut by item id
        lambda w, value: np.isin(w["lists"], np.argsort(-w["counts"], kind="stable")[10:]).mean(axis=1),
        assert_items_relabel,
    ),
    ("novelty", lambda w, value: w["counts"].__setitem__(0, 99) or value, assert_inputs_kept),
]


@pytest.mark.parametrize(("name", "function", "law"), BROKEN)
def test_broken_metric_is_rejected(name: str, function: Callable[..., Any], law: Callable[[Metric, Inputs], None]) -> None:
    law(METRICS[name], world())
    with pytest.raises(AssertionError):
        law(broken(name, function), world())


def test_ends_reject_a_metric_upside_down() -> None:
    upside = broken("ndcg", lambda w, value: 1 - value)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(upside({**world(), **ALL}), ENDS["ndcg"][0][1], atol=1e-12)
