"""One score at three levels that reconcile: component of the blend -> past item -> words of the explained item's text.

In: a Subject. Out: a table whose contributions, with the base, add up to the logit at every level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recsys_core.explain.explainers.exact import coalitions, shapley
from recsys_core.explain.game import Budget, Floats, Masks
from recsys_core.explain.questions.words import Variants, text_readers
from recsys_core.explain.subject import Subject

PRIOR = "prior"  # what a component gives an emptied history
TEXT_ASIDE = "text aside"  # what it gives with every word masked: what the item's id has learned, and the mask tokens
ENUMERATED = 6  # words: 64 coalitions


@dataclass(frozen=True)
class Tree:
    """Args:
    frame: one row a leaf: component, player (past item's id, or PRIOR), label (its title), word ("" if not split), contribution.
        A component that is not linear in the history has one row, player "" .
    base: the logit where every part is zero; output: the logit.
    evaluations: texts that were read anew; 0 without words.
    """

    frame: pd.DataFrame
    base: float
    output: float
    evaluations: int = 0

    @property
    def gap(self) -> float:
        """output - base - sum of the leaves."""
        return float(self.output - self.base - self.frame["contribution"].sum())

    def components(self) -> pd.DataFrame:
        """component, contribution: the leaves summed."""
        return self._summed("component")

    def players(self) -> pd.DataFrame:
        """component, player, label, contribution: words summed."""
        return self._summed("component", "player", "label")

    def _summed(self, *keys: str) -> pd.DataFrame:
        return self.frame.groupby(list(keys), sort=False)[["contribution"]].sum().reset_index()


def tree(subject: Subject, *, words: bool = False, budget: Budget | None = None, seed: int = 0) -> Tree:
    """Split a logit; with `words`, the bars of linear text readers are split once more.

    Words share each bar by Shapley values: enumerated up to ENUMERATED words, else by antithetic permutations within the budget
    (one pair at least). The same coalitions serve all bars, so the item's text is read once for the whole tree.
    """
    past = subject.history.items
    ids, titles = subject.items.ids[past], subject.catalog.titles[past]
    rows: list[tuple[str, str, str, str, float]] = []
    readers = dict(text_readers(subject)) if words else {}
    evaluations = 0
    for c, name, scorer in subject.active:
        if not scorer.linear:
            rows.append((name, "", "", "", float(subject.parts[c])))
            continue
        bars = subject.weights[c] * np.concatenate([[subject.shares.prior[0, c]], subject.shares.past[:, 0, c]])  # (1 + n_past,)
        split: Floats | None = None
        if c in readers:
            split, spoken, evaluations = _by_words(subject, c, bars, budget or Budget(), np.random.default_rng(seed))
        heads = [(PRIOR, PRIOR), *zip(map(str, ids), map(str, titles), strict=True)]
        for n, (player, label) in enumerate(heads):
            if split is None:
                rows.append((name, player, label, "", float(bars[n])))
            else:
                rows += [(name, player, label, w, float(v)) for w, v in zip([TEXT_ASIDE, *spoken], split[:, n], strict=True)]
    frame = pd.DataFrame(rows, columns=["component", "player", "label", "word", "contribution"])
    return Tree(frame, subject.base, subject.logit, evaluations)


def _by_words(subject: Subject, c: int, bars: Floats, budget: Budget, rng: np.random.Generator) -> tuple[Floats, list[str], int]:
    """(1 + n_words, 1 + n_past): each bar with all words masked, and each word's share of the rest; the words; texts read."""
    reader = dict(text_readers(subject))[c]
    variants = Variants.of(subject, reader)
    p = len(variants.spans)
    scale = subject.weights[c] * subject.scale[c]
    masks = coalitions(p) if p <= ENUMERATED else _joining(p, budget, rng)
    unique, place = np.unique(masks, axis=0, return_inverse=True)
    values = np.repeat(bars[None], len(unique), axis=0)
    some = np.flatnonzero(~unique.all(axis=1))
    if len(some):
        raw = reader.rewritten(subject.history, subject.item, *variants.read(unique[some])).T
        raw[:, 0] -= subject.blend.mu[c]
        values[some] = scale * raw
    values = values[np.ravel(place)]  # (m, 1 + n_past)
    shares = shapley(values, p) if p <= ENUMERATED else _steps(masks, values)
    return np.concatenate([values[:1], shares]), variants.words, len(some)


def _joining(p: int, budget: Budget, rng: np.random.Generator) -> Masks:
    """Coalitions as the words join one by one, in random orders and their reverses; each order has p + 1 rows, none to all."""
    pairs = max(1, (budget.evaluations - 2) // (2 * (p - 1)))
    orders = [order for _ in range(pairs) for o in [rng.permutation(p)] for order in (o, o[::-1])]
    place = np.argsort(orders, axis=1)  # (orders, p) when each word joins
    return (place[:, None, :] < np.arange(p + 1)[None, :, None]).reshape(-1, p)


def _steps(masks: Masks, values: Floats) -> Floats:
    """(p, outputs) mean gain when each word joins."""
    p = masks.shape[1]
    gains = np.diff(values.reshape(-1, p + 1, values.shape[1]), axis=1)  # (orders, p, outputs)
    joined = np.diff(masks.reshape(-1, p + 1, p).astype(np.int8), axis=1).argmax(axis=2)  # (orders, p)
    phi = np.zeros((p, values.shape[1]))
    for order, gain in zip(joined, gains, strict=True):
        phi[order] += gain
    return phi / len(gains)
