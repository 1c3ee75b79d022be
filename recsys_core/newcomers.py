"""Short histories: how much more what reads no history counts of them, and how sure they are.

Judges are shown again as if little were known of them. In: candidates for histories that are cut to their latest few events, and
the weights of a calibrated blend. Out: its `newcomers`, `half` and `damp`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.candidates import Candidates
from recsys_core.data import Histories, rank_in_group
from recsys_core.hybrid import Blend, sigmoid, trust
from recsys_core.learn import ndcg_of
from recsys_core.ranking import top_k

LENGTHS = (1, 2, 4, 8)  # events that are left
JUDGES = 500  # as many are enough, and each is asked for every length
MORE = tuple(10 ** (n / 4) for n in range(2, 13))  # 3 to 1000
HALVES = (1.0, 2.0, 4.0)
DAMPS = (0.0, *(10 ** (n / 8) for n in range(17)))  # and 1 to 100
NEAR = 0.005  # of a probability: as good as right, and the least damping that is so near is taken
DOUBT = 2.0  # standard errors that a gain must exceed
NONE = (0.0, 1.0)  # more, half

Floats = NDArray[np.float64]


def latest(histories: Histories, n: int) -> Histories:
    """The same rows with their latest n events (any n of those that are of one time), as if there had been no others: sizes are
    counted anew."""
    turn = np.random.default_rng(0).random(len(histories.items)) / 2  # ages are halves
    return replace(histories.keep(rank_in_group(histories.rows, histories.ages + turn) < n), sizes=None)


@dataclass(frozen=True)
class Cut:
    """What judges are shown when `events` of their history are left (0: all of it).

    Args:
        shown: candidates, standardised with t = 1.
        sizes: (n,) of these histories.
        read, rest: (n, m) what readers of histories, and what the others add to the logit; -inf in the first behind a row's end.
    """

    events: int
    shown: Candidates
    sizes: NDArray[np.float32]
    read: Floats
    rest: Floats

    @classmethod
    def of(cls, events: int, shown: Candidates, sizes: NDArray[np.float32], blend: Blend, open_to: NDArray[np.bool_]) -> Cut:
        """`open_to`: (n_components,) true for what reads no history."""
        z, weights = np.nan_to_num(shown.z).astype(np.float64), np.array(blend.weights)
        nothing = (shown.items < 0) | np.isnan(shown.z).all(axis=2)
        read, rest = z[..., ~open_to] @ weights[~open_to], z[..., open_to] @ weights[open_to]
        return cls(events, shown, sizes, np.where(nothing, -np.inf, read), np.where(nothing, 0.0, rest))

    def score(self, more: float, half: float) -> Floats:
        """(n, m) the sum of the parts, not damped."""
        return np.asarray(self.read + self.rest * trust(more, self.sizes[:, None], half))

    def ndcg(self, more: float, half: float, k: int) -> Floats:
        """(n,) of each judge."""
        return ndcg_of(self.score(more, half).astype(np.float32), self.shown, k)

    def top(self, more: float, half: float, k: int) -> tuple[Floats, NDArray[np.float32], NDArray[np.bool_]]:
        """Of the k best of each row: the sum of the parts, the row's size, and whether it is liked."""
        score = self.score(more, half)
        best = top_k(score.astype(np.float32), k)
        row, rank = np.nonzero(best >= 0)
        return score[row, best[row, rank]], self.sizes[row], self.shown.relevant[row, best[row, rank]]


def fit(whole: Cut, cuts: Sequence[Cut], bias: float, k: int) -> dict[str, Any]:
    """What serves short histories best, as fields of a blend with this bias; nothing if there are none to learn from.

    With a few events it is chance which items are near to them, and in some data what is popular is the safer guess. `newcomers`
    and `half` are those that rank best on the mean of the cuts, if beyond doubt better than without, and for whole histories not
    worse by more than a standard error. `damp`, which moves no rank of what was met, lets the probabilities come true.

    Returns `more`, the value in `newcomers` for what reads no history, 0 if it brings nothing, `half`, `damp`, and by events:
    `counts` [of what reads no history, of the others] in times their weight, `ndcg` [without it, with it], `chance` [told, come
    true] of what is recommended.
    """
    cuts = [cut for cut in cuts if np.isfinite(cut.read).any()]
    if not cuts:
        return {}
    users = np.unique(np.concatenate([cut.shown.users for cut in cuts]), return_inverse=True)[1]

    before = whole.ndcg(*NONE, k)
    as_good = [s for s in itertools.product(MORE, HALVES) if _sure(whole.ndcg(*s, k) - before) >= -1.0]
    found = {setting: [cut.ndcg(*setting, k) for cut in cuts] for setting in (NONE, *as_good)}
    by_user = {setting: np.bincount(users, np.concatenate(each)) / np.bincount(users) for setting, each in found.items()}
    best = max(found, key=lambda setting: float(by_user[setting].mean()))
    more, half = best if _sure(by_user[best] - by_user[NONE]) > DOUBT else NONE
    tops = [cut.top(more, half, k) for cut in cuts]

    def chances(damp: float) -> list[list[float]]:
        """Of each cut: the mean probability of what is recommended, and the share that is liked."""
        said = [sigmoid(bias + score * trust(0.0, sizes, half, damp)) for score, sizes, _ in tops]
        return [[float(told.mean()), float(liked.mean())] for told, (_, _, liked) in zip(said, tops, strict=True)]

    off = [float(np.mean([abs(told - true) for told, true in chances(d)])) for d in DAMPS]
    damp = next(d for d, gap in zip(DAMPS, off, strict=True) if gap <= min(off) + NEAR)
    pairs = zip(found[NONE], found[more, half], strict=True)
    events = [cut.events for cut in cuts]
    each = trust(np.array([more, 0.0]), np.array([0, *events])[:, None], half, damp)
    return {
        "more": more,
        "half": half,
        "damp": damp,
        "counts": dict(zip(map(str, (0, *events)), each.tolist(), strict=True)),
        "ndcg": {str(n): [float(a.mean()), float(b.mean())] for n, (a, b) in zip(events, pairs, strict=True)},
        "chance": dict(zip(map(str, events), chances(damp), strict=True)),
    }


def _sure(gain: Floats) -> float:
    """The mean in standard errors; 0 where there is nothing to tell."""
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
    return float(gain.mean()) / error if error else 0.0
