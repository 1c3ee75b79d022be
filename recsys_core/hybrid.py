"""The model: logit(h, i) = b + sum_c w_c z_c(h, i), z_c = t_c(n) (s_c - mu_c) / sigma_c, probability = sigmoid(logit).

t_c is 1 but for short histories, whose size n is small.

In: fitted scorers by name and a Blend. Out: scores, and their parts, which add up to the score at every item.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Histories
from recsys_core.errors import UserError, unknown
from recsys_core.scorers import scorer_class
from recsys_core.scorers.base import Scorer, Scores


@dataclass(frozen=True)
class Blend:
    """Fixed constants and weights, one a component; the same for every user, so the blend stays linear.

    Args:
        names: component names, the order of the last axis of `parts`.
        mu, sigma: mean and standard deviation of each raw score over training users and the items it can score.
        weights: log-odds per standard deviation.
        bias: log-odds where every part is zero.
        cold_factors, cold_shift: for items that nobody has met yet each weight is multiplied by its factor (none: by 1), and
            `cold_shift` is added to the logit. Training leaves factors at 1 and learns the shift by taking liked items out and
            pretending they are new, so that warm and cold items share one scale of probability.
        newcomers, half, damp: t_c(n) = `trust`(newcomers_c, n, half, damp): of a short history what reads none counts for more,
            and all for less, as probabilities are nearer to the mean where little is known.
    """

    names: tuple[str, ...]
    mu: tuple[float, ...]
    sigma: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float = 0.0
    cold_factors: tuple[float, ...] = ()
    cold_shift: float = 0.0
    newcomers: tuple[float, ...] = ()
    half: float = 1.0
    damp: float = 0.0

    def with_weights(self, weights: Mapping[str, float]) -> Blend:
        """The same blend with some weights replaced. Unknown names and non-finite numbers raise UserError."""
        for name, value in weights.items():
            if name not in self.names:
                raise unknown("component", name, self.names)
            if not abs(value) < 1e32:  # scores are single precision
                raise UserError(f"weight of {name!r} must be a finite number below 1e32, not {value}")
        return replace(self, weights=tuple(float(weights.get(n, w)) for n, w in zip(self.names, self.weights, strict=True)))

    def with_constants(self, other: Blend) -> Blend:
        """The same weights with another blend's mu and sigma."""
        return replace(self, mu=other.mu, sigma=other.sigma)

    def only(self, components: NDArray[np.int64]) -> Blend:
        """The blend of some of the components, by position."""
        fields = ("names", "mu", "sigma", "weights", *(f for f in ("cold_factors", "newcomers") if getattr(self, f)))
        picked: dict[str, Any] = {f: tuple(getattr(self, f)[c] for c in components) for f in fields}
        return replace(self, **picked)

    def trust(self, sizes: NDArray[np.float32]) -> Scores:
        """(n_rows, n_components) t_c of histories of these sizes (`Histories.full_sizes`)."""
        more = _row(self.newcomers or (0.0,) * len(self.names))
        return np.asarray(trust(more, np.asarray(sizes, np.float64)[:, None], self.half, self.damp), np.float32)

    def scale(self, sizes: NDArray[np.float32]) -> Scores:
        """(n_rows, n_components) t_c / sigma_c: what a difference of raw scores counts in z."""
        return np.asarray(self.trust(sizes) / _row(self.sigma), np.float32)

    def standardise(self, raw: Scores, sizes: NDArray[np.float32]) -> Scores:
        """Raw scores (n_rows, n_items, n_components) of histories of these sizes to z; NaN stays NaN."""
        return (raw - _row(self.mu)) * self.scale(sizes)[:, None, :]

    def weights_at(self, cold: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The weights of each item, (*cold.shape, n_components)."""
        factors = _row(self.cold_factors or (1.0,) * len(self.names))
        return np.where(cold[..., None], _row(self.weights) * factors, _row(self.weights))

    def parts(self, z: Scores, cold: NDArray[np.bool_]) -> Scores:
        """w_c z_c, (rows, items, n_components); `cold` (items,) or (rows, items) tells which items are cold."""
        return z * self.weights_at(cold)

    def base(self, cold: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The logit of an item whose parts are all zero, shape of `cold`."""
        return np.where(cold, self.bias + self.cold_shift, self.bias).astype(np.float32)

    def logit(self, z: Scores, cold: NDArray[np.bool_]) -> Scores:
        """base + sum of the parts, missing parts counted as zero; (rows, items), NaN where no component can score."""
        missing = np.isnan(z)
        total: Scores = np.einsum("...c,...c->...", np.where(missing, 0, z), self.weights_at(cold))
        total[missing.all(axis=-1)] = np.nan
        return total + self.base(cold)


def trust(more: NDArray[Any] | float, sizes: NDArray[Any], half: float, damp: float = 0.0) -> NDArray[Any]:
    """(1 + more e) / (1 + damp e), e = 1 / (1 + (size / half)^2): 1 of an empty history, 1/2 at size `half`, 0 of a long one."""
    e = 1 / (1 + (sizes / half) ** 2)
    return np.asarray((1 + more * e) / (1 + damp * e))


def _row(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)  # (n_components,)


@dataclass(frozen=True)
class Hybrid:
    """Components by name and the blend that joins them; a pure function of histories.

    Args:
        cold: (n_items,) true for items without any interaction in training.
    """

    components: Mapping[str, Scorer]
    blend: Blend
    cold: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if tuple(self.components) != self.blend.names:
            raise ValueError(f"components {tuple(self.components)} are not those of the blend {self.blend.names}")

    def with_weights(self, weights: Mapping[str, float]) -> Hybrid:
        """The same components under other weights; those not named stay. Raises as `Blend.with_weights`."""
        return replace(self, blend=self.blend.with_weights(weights))

    def z(self, histories: Histories, items: NDArray[np.int64] | None = None, hidden: Histories | None = None) -> Scores:
        """Standardised scores (n_rows, n_items, n_components); NaN where a component cannot score. `hidden`: see `raw_scores`."""
        return self.blend.standardise(raw_scores(self.components, histories, items, hidden), histories.full_sizes)

    def parts(self, histories: Histories, items: NDArray[np.int64] | None = None) -> Scores:
        """(n_rows, n_items, n_components); with `base`, NaN as zero, they add up to `score`."""
        return self.blend.parts(self.z(histories, items), self._cold(items))

    def base(self, items: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """(n_items,) the logit where every part is zero."""
        return self.blend.base(self._cold(items))

    def score(self, histories: Histories, items: NDArray[np.int64] | None = None, hidden: Histories | None = None) -> Scores:
        """Logits (n_rows, n_items), higher is better; NaN where no component can score. `hidden`: see `raw_scores`."""
        return self.blend.logit(self.z(histories, items, hidden), self._cold(items))

    def _cold(self, items: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        return self.cold if items is None else self.cold[items]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components, in the order of the last axis of `parts`."""
        return self.blend.names

    def save(self, folder: Path) -> None:
        """Write `scorers/NAME/` and `blend/` under `folder`."""
        for name, scorer in self.components.items():
            scorer.save(folder / "scorers" / name)
        save_blend(self.blend, self.cold, folder / "blend")

    @classmethod
    def load(cls, folder: Path) -> Hybrid:
        """What `save` wrote."""
        blend, cold = load_blend(folder / "blend")
        components = {n: scorer_class(n).load(folder / "scorers" / n) for n in blend.names}
        return cls(components, blend, cold)


def save_blend(blend: Blend, cold: NDArray[np.bool_], folder: Path) -> None:
    """blend.json, readable; cold.npy."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blend.json").write_text(json.dumps(asdict(blend), indent=1) + "\n", encoding="utf-8")
    np.save(folder / "cold.npy", cold, allow_pickle=False)


def load_blend(folder: Path) -> tuple[Blend, NDArray[np.bool_]]:
    """The blend in `folder`, and (n_items,) which items nobody has met."""
    settings = json.loads((folder / "blend.json").read_text(encoding="utf-8"))
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return Blend(**values), np.load(folder / "cold.npy", allow_pickle=False)


def raw_scores(
    components: Mapping[str, Scorer],
    histories: Histories,
    items: NDArray[np.int64] | None = None,
    hidden: Histories | None = None,
) -> Scores:
    """Every component's raw scores, (n_rows, n_items, n_components) float32.

    `hidden` (same rows; default the history) is what lists leave out: a component with a short-list spends none of it there.
    What is `silent` is NaN.
    """
    hidden = histories if hidden is None else hidden
    return joined([c.score_beyond(histories, hidden, items) for c in components.values()], components, histories)


def joined(scores: Sequence[Scores], components: Mapping[str, Scorer], histories: Histories) -> Scores:
    """Each component's scores (n_rows, n_items) side by side, (n_rows, n_items, n_components); NaN where it is `silent`."""
    raw = np.stack(scores, axis=-1)
    rows, mute = np.nonzero(silent(components, histories))
    raw[rows, :, mute] = np.nan
    return raw


def silent(components: Mapping[str, Scorer], histories: Histories) -> NDArray[np.bool_]:
    """(n_rows, n_components) which components cannot score for whom: of somebody of whom nothing is known those that read
    histories, if another does not need one. What they would give is the same for all that was met, and would put what nobody has
    met before it."""
    reads = np.array([c.reads_history for c in components.values()])
    return np.asarray((histories.full_sizes == 0)[:, None] & reads & (not reads.all()))


def constants(
    components: Mapping[str, Scorer], histories: Histories, hidden: Histories | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """mu and sigma of each component over all (row, item) pairs it can score; sigma of a constant score is 1."""
    count = np.zeros(len(components))
    total, squares = count.copy(), count.copy()
    hidden = histories if hidden is None else hidden
    for rows, block in histories.blocks(256):
        raw = raw_scores(components, block, hidden=hidden[rows]).astype(np.float64).reshape(-1, len(components))
        count += np.isfinite(raw).sum(axis=0)
        total += np.nansum(raw, axis=0)
        squares += np.nansum(raw**2, axis=0)
    mu = total / np.maximum(count, 1)
    sigma = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mu**2, 0))
    sigma[sigma < 1e-9] = 1.0
    return tuple(float(m) for m in mu), tuple(float(s) for s in sigma)


def sigmoid(logit: NDArray[Any]) -> NDArray[np.float64]:
    """Probability of a logit, 0-1, without overflow."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logit, np.float64), -60, 60)))
