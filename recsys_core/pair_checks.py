"""Checks of a model that scores pairs of texts, a history and an item: what makes such a model run and mean nothing.

    from recsys_core.pair_checks import check_score
    check_score(my_score, histories, items)  # my_score(["a; b", ...], ["c", ...]) -> one number a pair

In: a function of texts, its loss, what it reads of a text, or training pairs. Out: one row a check, passed or not, with what was
found and how to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recsys_core.errors import UserError
from recsys_core.scorers.cross_encoder import Pairs

Score = Callable[[Sequence[str], Sequence[str]], ArrayLike]  # histories and items, one text of each a pair -> (n,) numbers
Loss = Callable[[Sequence[str], Sequence[str], NDArray[np.float32]], float]  # the same and labels 0 or 1 -> the mean loss
Read = Callable[[Sequence[str]], Sequence[object]]  # item texts -> what is left of each: words, or numbers of tokens
LONG = 60  # times a text is repeated so that the pair is longer than a network reads
SAME = 1e-3  # a smaller gap between two numbers that should be one is rounding, as a share of them where they exceed 1
LEAST = 1e-4  # a smaller difference of two scores, as a share of the spread of all, is none
COLUMNS = ["check", "passed", "found", "fix"]
Found = tuple[bool, str]


def check_score(score: Score, histories: Sequence[str], items: Sequence[str]) -> pd.DataFrame:
    """One row a check of a score of texts: check, passed, found, fix.

    Args:
        histories: two texts or more, as the model reads them, newest past item first; items: two texts or more; all different.

    Raises:
        UserError: fewer texts; what `score` itself raises passes through but for the first check, which tells it.
    """
    for name, texts in (("histories", histories), ("items", items)):
        if len(set(texts)) < 2 or not all(t.strip() for t in texts):
            raise UserError(f"{name}: give two or more different texts that are not empty")
    first = _one_number(score, histories, items)
    told = [("one number a pair", *first, "return the logit of the liked class: shape (n,), finite")]
    if first[0]:
        told += [(name, *check(score, histories, items), fix) for name, check, fix in CHECKS]
    return pd.DataFrame(told, columns=COLUMNS)


def check_pairs(train: Pairs, dev: Pairs) -> pd.DataFrame:
    """One row a check of labelled pairs, as `check_score`: what labels are, and whether the two parts share a pair."""
    labels = np.unique(np.concatenate([train.label, dev.label]))
    binary = bool(np.isin(labels, (0, 1)).all())
    kinds = [np.unique(p.label) for p in (train, dev)]
    mine, theirs = _keys(train), _keys(dev)
    shared = len(mine & theirs)
    table = [
        ("labels are 0 or 1", binary, f"{len(labels)} different labels", "label what a user did, not how alike two texts are"),
        (
            "both labels occur",
            all(len(k) > 1 for k in kinds),
            f"different labels: {len(kinds[0])} in train, {len(kinds[1])} in dev",
            "draw items that were not liked",
        ),
        ("no pair is in both parts", not shared, f"{shared} of {len(theirs)} dev pairs were trained on", "part users, not rows"),
    ]
    return pd.DataFrame(table, columns=COLUMNS)


def check_loss(score: Score, loss: Loss, histories: Sequence[str], items: Sequence[str]) -> pd.DataFrame:
    """One row, as `check_score`: is what training makes small the cross-entropy of sigmoid(score)? Then sigmoid(score) is the
    probability that was learned, and the score a log-odds that may be added to others.

    Args:
        score: what is shown and blended; loss: what is trained, with dropout off.
    """
    pairs = [(past, item, label) for past in histories for item in items for label in (1, 0)]
    value = np.array([_scores(score, [past], [item])[0] for past, item, _ in pairs])
    got = np.array([float(loss([past], [item], np.array([label], np.float32))) for past, item, label in pairs])
    wanted = np.logaddexp(0, [-v if label else v for v, (_, _, label) in zip(value, pairs, strict=True)])
    gap = np.nan_to_num(np.abs(got - wanted) / np.maximum(wanted, 1.0), nan=np.inf)
    n = int(gap.argmax())
    told = f"a pair of score {value[n]:.3g} and label {pairs[n][2]} costs {got[n]:.3g}; its cross-entropy is {wanted[n]:.3g}"
    fix = "train and show one number: binary_cross_entropy_with_logits(score, label)"
    return pd.DataFrame([("loss and score are on one scale", bool(gap[n] <= SAME), told, fix)], columns=COLUMNS)


def check_cut(read: Read, items: Sequence[str]) -> pd.DataFrame:
    """One row, as `check_score`: are item texts that differ still different where the text is cut?

    Args:
        read: what of each text the model reads; items: all texts of the catalogue. Those that are equal before are counted once.
    """
    texts = list(dict.fromkeys(text.strip() for text in items if text.strip()))
    left, first, alike = read(texts), dict[str, str](), list[tuple[str, str]]()
    for text, key in zip(texts, map(repr, left), strict=True):
        if first.setdefault(key, text) != text:
            alike.append((first[key], text))
    told = f"{len(alike)} of {len(texts):,} different texts read as an earlier one"
    if alike:
        told += ": " + " and ".join(f"...{text[-40:]!r}" for text in alike[0])
    fix = "say first what tells items apart, or let the model read more tokens of an item"
    return pd.DataFrame([("different items read differently", not alike, told, fix)], columns=COLUMNS)


def _scores(score: Score, histories: Sequence[str], items: Sequence[str]) -> NDArray[np.float64]:
    return np.asarray(score(list(histories), list(items)), np.float64)


def _grid(score: Score, histories: Sequence[str], items: Sequence[str]) -> NDArray[np.float64]:
    """(n_histories, n_items), each pair scored on its own, so that what a batch does is not seen here."""
    return np.array([[_scores(score, [h], [i])[0] for i in items] for h in histories])


def _one_number(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    try:
        got: Any = np.asarray(score([histories[0], histories[1]], [items[0], items[1]]))
    except Exception as error:  # whatever a stranger's model raises is what is told
        return False, f"{type(error).__name__}: {error}".splitlines()[0][:160]
    good = got.shape == (2,) and got.dtype.kind == "f" and bool(np.isfinite(got).all())
    return good, f"two pairs give shape {got.shape}" if good or got.shape != (2,) else "not finite floating point numbers"


def _differ(a: NDArray[np.float64], axis: int, what: str) -> Found:
    """Whether scores change along an axis, beside the spread of all."""
    spread = float(np.ptp(a, axis=axis).max())
    moved = spread > LEAST * max(float(np.abs(a).max()), 1e-12)
    return moved, f"scores differ by {spread:.2g} at most between {what}"


def _follows_item(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    return _differ(_grid(score, histories[:2], items), 1, "items")


def _follows_history(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    return _differ(_grid(score, histories, items[:2]), 0, "histories")


def _same_twice(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    a, b = (_grid(score, histories[:2], items[:2]) for _ in range(2))
    return _same(a, b, "two calls")


def _same_alone(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    short, long = (" ".join(items[1].split()[:3]), items[0]), ("; ".join([*histories] * LONG), items[1])
    together = _scores(score, [short[0], long[0]], [short[1], long[1]])[:1]
    return _same(_scores(score, [short[0]], [short[1]]), together, "a short pair alone and the same beside a long one")


def _same(a: NDArray[np.float64], b: NDArray[np.float64], what: str) -> Found:
    gap = float(np.abs(a - b).max())
    return gap <= SAME * max(float(np.abs(a).max()), 1.0), f"{what} differ by {gap:.2g}"


def _newest_is_read(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    old = "; ".join([histories[0]] * LONG)
    pair = [f"{newest}; {old}" for newest in (histories[1], items[1])]
    return _differ(_scores(score, pair, [items[0]] * 2)[None], 1, "two newest items before a long past")


def _item_is_read(score: Score, histories: Sequence[str], items: Sequence[str]) -> Found:
    old = "; ".join([histories[0]] * LONG)
    return _differ(_scores(score, [old] * 2, items[:2])[None], 1, "two items beside a long past")


CHECKS: tuple[tuple[str, Callable[[Score, Sequence[str], Sequence[str]], Found], str], ...] = (
    ("follows the item", _follows_item, "feed the item's text too: tokenizer(history, item)"),
    ("follows the history", _follows_history, "feed the history's text too: tokenizer(history, item)"),
    ("same twice", _same_twice, "call model.eval() before scoring, so that dropout is off"),
    ("same in a batch", _same_alone, "hand the attention mask to the model, so that padding is not read"),
    ("the newest past item is read", _newest_is_read, "put the newest first and cut the history at its end"),
    ("the item survives a long history", _item_is_read, 'truncation="only_first" cuts the history and never the item'),
)


def _keys(pairs: Pairs) -> set[tuple[Any, ...]]:
    """History and item of each pair."""
    return {(*sorted(pairs.histories[[n]].items.tolist()), "->", int(pairs.item[n])) for n in range(len(pairs))}
