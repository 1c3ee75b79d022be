"""What is explained: one user's history and one item under a hybrid, with the closed forms that make most answers exact.

In: a Hybrid, one history row, what its list hides, an item, the dataset's catalogue. Out: z-scores and, of linear
components, their prior (what an emptied history scores) and one share for each past item. Weights come last, so moving them costs
no model call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Catalog, Histories, Vocabulary
from recsys_core.hybrid import Blend, Hybrid, silent
from recsys_core.scorers.base import Scorer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """Closed forms of one history and some items, in units of z; NaN of a component that cannot score counts as 0.

    Args:
        z: (n_items, c); prior: (n_items, c) z of the emptied history, its size and ages as they were; of a component that is not
            linear all of z.
        past: (n_past, n_items, c) what each past item adds to z; 0 for a component that is not linear.
        linear: (c,) whether prior + the sum of past is z.
        missing: (n_items, c) whether the component cannot score the item.
        cold: (n_items,) whether nobody has met the item.
    """

    z: Floats
    prior: Floats
    past: Floats
    linear: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    cold: NDArray[np.bool_]

    def of(self, n: int) -> Shares:
        """Those of the n-th item alone."""
        some = slice(n, n + 1)
        return Shares(self.z[some], self.prior[some], self.past[:, some], self.linear, self.missing[some], self.cold[some])

    def weights(self, blend: Blend) -> Floats:
        """(n_items, c) the blend's weights at these items, 0 where the component cannot score."""
        return np.where(self.missing, 0, blend.weights_at(self.cold).astype(np.float64))

    def history(self, blend: Blend) -> tuple[Floats, Floats]:
        """Shares of past items in the logit (n_past, n_items), and what remains without them (n_items,)."""
        weights = self.weights(blend)
        return np.einsum("jic,ic->ji", self.past, weights), blend.base(self.cold) + (weights * self.prior).sum(axis=1)


def shares(model: Hybrid, history: Histories, items: NDArray[np.int64], hidden: Histories | None = None) -> Shares:
    """All closed forms of one history row and `items`; nothing is sampled. `hidden`: what the list leaves out."""
    past = np.zeros((len(history.items), len(items), len(model.names)))
    prior, linear = np.zeros(past.shape[1:]), np.zeros(len(model.names), bool)
    for c, scorer in enumerate(model.components.values()):
        linear[c] = scorer.linear
        prior[:, c] = (
            scorer.prior(items)
            if scorer.linear
            else scorer.score_beyond(history, history if hidden is None else hidden, items)[0]
        )
        if scorer.linear:
            past[..., c] = scorer.contributions(history, items)
    mu, scale = np.array(model.blend.mu), model.blend.scale(history.full_sizes)[0].astype(np.float64)
    prior[:, silent(model.components, history)[0]] = np.nan
    missing = np.isnan(prior)
    prior = np.where(missing, 0, (prior - mu) * scale)
    past = np.where(missing, 0, past * scale)
    return Shares(
        z=prior + past.sum(axis=0),
        prior=prior,
        past=past,
        linear=linear,
        missing=missing,
        cold=model.cold[items],
    )


@dataclass(frozen=True)
class Subject:
    """One (history, item) pair. `hidden` stays as it is while a game is played: masked past items do not become candidates.

    Args:
        history, hidden: one row each.
        catalog, items: names, texts and attributes of items.
        fame: (n_items,) likes of each item in training, or None.
    """

    model: Hybrid
    history: Histories
    hidden: Histories
    item: int
    catalog: Catalog
    items: Vocabulary
    fame: Floats | None = None

    @cached_property
    def shares(self) -> Shares:
        """The closed forms of this history and item alone: arrays with one item."""
        return shares(self.model, self.history, np.array([self.item]), self.hidden)

    @cached_property
    def others(self) -> Histories:
        """The history without the item itself, if that is in it: an item's own past says nothing for it."""
        return self.history.keep(self.history.items != self.item)

    @property
    def blend(self) -> Blend:
        """That of the model."""
        return self.model.blend

    @cached_property
    def scale(self) -> Floats:
        """(c,) what a difference of raw scores counts in z of this history."""
        return np.asarray(self.blend.scale(self.history.full_sizes)[0], np.float64)

    @cached_property
    def weights(self) -> Floats:
        """(c,) at this item, 0 where the component cannot score."""
        weights: Floats = self.shares.weights(self.blend)[0]
        return weights

    @cached_property
    def base(self) -> float:
        """The logit where every part is zero."""
        return float(self.blend.base(self.shares.cold)[0])

    @property
    def parts(self) -> Floats:
        """(c,) w z; with `base` they add up to the logit."""
        return np.asarray(self.weights * self.shares.z[0], np.float64)

    @property
    def logit(self) -> float:
        """What the list shows: base + parts, log-odds."""
        return float(self.base + self.parts.sum())

    @property
    def active(self) -> list[tuple[int, str, Scorer]]:
        """Components that count here: position, name, scorer."""
        everyone = enumerate(self.model.components.items())
        return [(c, name, scorer) for c, (name, scorer) in everyone if self.weights[c] != 0]

    def with_blend(self, blend: Blend) -> Subject:
        """The same subject under other weights; nothing is scored again."""
        other = replace(self, model=replace(self.model, blend=blend))
        return other.with_shares(self.shares) if "shares" in vars(self) else other

    def with_shares(self, known: Shares) -> Subject:
        """Take over closed forms that were computed with those of other items."""
        other = replace(self)
        vars(other)["shares"] = known
        return other

    def masked(self, masks: NDArray[np.bool_]) -> Histories:
        """(m, n_past) -> m rows, each the history without what its mask leaves out; sizes and ages stay as they were."""
        many = self.history[np.zeros(len(masks), np.int64)]
        return many.keep(np.asarray(masks, bool).ravel())
