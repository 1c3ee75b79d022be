"""Every check of a pair model passes one that is right and fails one that has just this defect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_bert import two_tastes

from recsys_core.errors import UserError
from recsys_core.pair_checks import check_cut, check_loss, check_pairs, check_score
from recsys_core.scorers.cross_encoder import CrossEncoderConfig, Pairs, make_pairs

HISTORIES, ITEMS = ("robot space; alien night", "love kiss; wedding day"), ("red robot space", "blue love wedding")
ALL = (
    "one number a pair",
    "follows the item",
    "follows the history",
    "same twice",
    "same in a batch",
    "the newest past item is read",
    "the item survives a long history",
)


def value(text: str, most: int = 200) -> float:
    """A number that depends on the first characters of a text."""
    return float(sum(n * ord(c) for n, c in enumerate(text[:most], 1)) % 97)


def right(pasts: Any, items: Any) -> Any:
    return np.array([value(p) + value(i) * (1 + value(p[:5])) for p, i in zip(pasts, items, strict=True)])


noise = np.random.default_rng(0)
BROKEN: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("one number a pair", lambda p, i: np.stack([right(p, i)] * 2, axis=1)),
    ("one number a pair", lambda p, i: right(p, i) * np.nan),
    ("one number a pair", lambda p, i: right(p, i).astype(int)),
    ("one number a pair", lambda p, i: right(p, [])),
    ("follows the item", lambda p, i: right(p, [""] * len(i))),
    ("follows the history", lambda p, i: right([""] * len(p), i)),
    ("same twice", lambda p, i: right(p, i) * noise.normal(size=len(p))),
    ("same in a batch", lambda p, i: right(p, i) * max(map(len, p))),
    ("the newest past item is read", lambda p, i: right([t[-100:] for t in p], i)),
    ("the item survives a long history", lambda p, i: np.array([value(f"{a}{b}", 300) for a, b in zip(p, i, strict=True)])),
]

ALSO = {  # who is blind to it is blind to it everywhere, and noise shows twice
    "follows the item": ["the item survives a long history"],
    "follows the history": ["the newest past item is read"],
    "same twice": ["same in a batch"],
}


def failed(table: pd.DataFrame) -> list[str]:
    return table.loc[~table["passed"], "check"].tolist()


def test_what_is_right_passes() -> None:
    table = check_score(right, HISTORIES, ITEMS)
    assert tuple(table["check"]) == ALL
    assert failed(table) == []


@pytest.mark.parametrize(("check", "score"), BROKEN)
def test_each_check_fails_its_defect(check: str, score: Callable[[Any, Any], Any]) -> None:
    found = failed(check_score(score, HISTORIES, ITEMS))
    assert check in found
    assert set(found) <= {check, *ALSO.get(check, ())}


def test_every_check_has_a_defect() -> None:
    assert {check for check, _ in BROKEN} == set(ALL)


def test_an_error_of_the_model_is_told() -> None:
    def broken(pasts: Any, items: Any) -> Any:
        raise ValueError("not enough values to unpack")

    table = check_score(broken, HISTORIES, ITEMS)
    assert table["found"].tolist() == ["ValueError: not enough values to unpack"]


def test_texts_must_differ() -> None:
    with pytest.raises(UserError, match="histories"):
        check_score(right, ("a", "a"), ITEMS)
    with pytest.raises(UserError, match="items"):
        check_score(right, HISTORIES, ("a", " "))


def some_pairs() -> tuple[Pairs, Pairs]:
    likes, config, rng = two_tastes().histories(), CrossEncoderConfig(max_pairs=40), np.random.default_rng(0)
    half = len(likes) // 2
    rows = np.arange(len(likes))
    usable = np.ones(likes.n_items, bool)
    return make_pairs(likes[rows[:half]], usable, config, rng), make_pairs(likes[rows[half:]], usable, config, rng)


def test_pairs_of_likes_pass_and_their_defects_fail() -> None:
    train, dev = some_pairs()
    dev = dev[np.array([n for n in range(len(dev)) if not len(check_overlap(train, dev[[n]]))])]
    assert failed(check_pairs(train, dev)) == []
    assert failed(check_pairs(train, train)) == ["no pair is in both parts"]
    ones, alike = np.ones_like(train.label), np.linspace(0, 1, len(train), dtype=np.float32)
    assert failed(check_pairs(replace(train, label=ones), dev)) == ["both labels occur"]
    assert failed(check_pairs(replace(train, label=alike), dev)) == ["labels are 0 or 1"]


def check_overlap(train: Pairs, one: Pairs) -> list[str]:
    return [name for name in failed(check_pairs(train, one)) if name == "no pair is in both parts"]


def entropy(score: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], float]:
    """The right loss of a score, written the long way."""

    def loss(pasts: Any, items: Any, labels: Any) -> float:
        p = 1 / (1 + np.exp(-score(pasts, items)))
        return float(np.mean(-labels * np.log(p) - (1 - labels) * np.log(1 - p)))

    return loss


def logit(pasts: Any, items: Any) -> Any:
    return right(pasts, items) / 2000 - 1


def squared(pasts: Any, items: Any, labels: Any) -> float:
    return float(np.mean((logit(pasts, items) - labels) ** 2))


def test_the_loss_of_the_score_passes() -> None:
    table = check_loss(logit, entropy(logit), HISTORIES, ITEMS)
    assert failed(table) == []
    value = logit([HISTORIES[0]], [ITEMS[0]])[0]
    assert entropy(logit)([HISTORIES[0]], [ITEMS[0]], np.ones(1)) == pytest.approx(np.log(1 + np.exp(-value)))


@pytest.mark.parametrize(
    ("score", "loss"),
    [
        (logit, squared),  # what a classification head with one label trains if it is left alone
        (lambda p, i: 1 / (1 + np.exp(-logit(p, i))), entropy(logit)),  # the probability is blended as if it were log-odds
        (logit, entropy(lambda p, i: 20 * logit(p, i))),  # the temperature of a cosine is in the loss alone
        (logit, entropy(lambda p, i: -logit(p, i))),  # the other label is the liked one
        (logit, lambda p, i, y: float("nan")),
    ],
    ids=["squared error", "probability", "temperature", "sign", "nan"],
)
def test_a_loss_on_another_scale_fails(score: Callable[[Any, Any], Any], loss: Callable[[Any, Any, Any], float]) -> None:
    assert failed(check_loss(score, loss, HISTORIES, ITEMS)) == ["loss and score are on one scale"]


def first_words(most: int) -> Callable[[Any], list[str]]:
    return lambda texts: [" ".join(text.split()[:most]) for text in texts]


def test_items_that_read_alike_fail() -> None:
    opening = "a film that people rate here"
    texts = [f"{opening} {name}" for name in ("robots", "romance", "robots", " ")]
    assert failed(check_cut(first_words(7), texts)) == []  # the third is the first before it is cut
    (row,) = check_cut(first_words(6), texts).itertuples()
    assert (row.check, row.passed) == ("different items read differently", False)
    assert row.found.startswith("2 of 3 different texts read as an earlier one: ")
    assert failed(check_cut(first_words(6), [" ".join(text.split()[::-1]) for text in texts])) == []  # the name comes first
