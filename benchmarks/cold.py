"""Cold items on MovieLens-100K: a tenth of all items is taken out of training and must be recommended from text and attributes.

    python benchmarks/cold.py --draws 45 46 47 48 49

Per draw a tenth of each user's warm likes is taken out too, so that what cold items cost warm ones can be seen (the run's
validation likes are warm as well; no test like chooses anything). Questions: how well are cold items ranked among themselves,
among all that a user has not met on the hybrid's one scale, and what do warm users lose. Beside it: the same model with the scale
of `unmet=left`, which counts on no more likes of a new item than are left of a warm one; a simple prototype (EASE, mapped by
ridge from BERT, genres and year, half and half with the cosine of BERT), BERT's cosine, genres and year alone, texts dealt to the
wrong items (the run's control, and a run of its own that learns its scale), chance. Means over draws; differences paired by user.
Writes results/cold.json.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    ML_100K,
    Floats,
    arguments,
    difference,
    folder_of_runs,
    hits_ndcg,
    mean,
    result_file,
    scores_of,
    settings_facts,
    split_of,
    trained,
)

from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories
from recsys_core.evaluate import models_of
from recsys_core.features import attribute_blocks, scaled
from recsys_core.hybrid import Hybrid, sigmoid
from recsys_core.ranking import hide, top_k
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.scorers import scorer_class
from recsys_core.scorers.base import gram
from recsys_core.scorers.ease import closed_form
from recsys_core.splits import TEST
from recsys_core.text import encode_cached
from recsys_core.train import shuffle_texts

SHIFTS = tuple(np.arange(-3.0, 2.01, 0.5).tolist())
SCALES = {"hybrid": "hybrid, unmet=left", "all on shuffled texts": "all on shuffled texts, unmet=left"}
ON_ONE_SCALE = {*SCALES, *SCALES.values(), "shuffled texts", "without bert", "without cold", "BERT cosine", "component bert"}


@dataclass(frozen=True)
class Draw:
    """What one draw is judged on; every field has one row a user."""

    known: Dataset
    histories: Histories
    cold: Floats  # (n_items,) bool: taken out
    cold_likes: Histories
    warm_likes: Histories

    @property
    def both(self) -> Histories:
        return joined(self.cold_likes, self.warm_likes)


def joined(a: Histories, b: Histories) -> Histories:
    """The entries of both; no pair is in both."""
    rows = [[*a.items[a.indptr[n] : a.indptr[n + 1]], *b.items[b.indptr[n] : b.indptr[n + 1]]] for n in range(len(a))]
    return Histories.of(rows, a.n_items)


def take_out(dataset: Dataset, settings: Settings) -> tuple[Dataset, Dataset]:
    """The data without a tenth of each user's warm likes (at least one of three), and those likes alone."""
    cold = np.zeros(len(dataset.items), bool)
    cold[dataset.interactions.item[split_of(dataset, settings).rows(TEST)]] = True  # the same items whatever else is taken out
    rng = np.random.default_rng([settings.seed, 1])
    liked = np.flatnonzero(dataset.liked & ~cold[dataset.interactions.item])
    liked = rng.permutation(liked)
    user = dataset.interactions.user[liked]
    order = np.argsort(user, kind="stable")
    counts = np.bincount(user, minlength=len(dataset.users))
    rank = np.arange(len(liked)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = np.where(counts >= 3, np.maximum(1, np.rint(counts / 10)), 0)
    out = np.zeros(len(dataset.interactions), bool)
    out[liked[order][rank < share[user[order]]]] = True
    return dataset.subset(~out), dataset.subset(out)


def draw_of(run: Run, warm: Dataset) -> Draw:
    test = run.dataset.subset(run.split.rows(TEST))
    cold = np.zeros(len(run.dataset.items), bool)
    cold[test.interactions.item] = True
    return Draw(run.known, run.likes, cold, test.likes(), warm.likes())


def among_cold(scores: Floats, draw: Draw) -> Floats:
    """NDCG@10 by user of the cold items among themselves."""
    return hits_ndcg(top_k(np.where(draw.cold, scores, -np.inf).astype(np.float32), 10), draw.cold_likes)


def on_one_scale(scores: Floats, draw: Draw) -> dict[str, Floats]:
    """NDCG@10 by user: cold likes among all unseen items (warm test likes hidden: they are not what is sought); warm likes with
    cold items in the list (liked ones count as misses, or are set aside) and without; both kinds of like together; and both with
    a tenth of the cold likes, the share of warm likes that was taken out."""
    known = draw.histories
    no_cold = np.where(draw.known.unmet, -np.inf, scores).astype(np.float32)
    rare = np.random.default_rng(0).random(len(draw.cold_likes.items)) < 1 / 10
    return {
        "cold": hits_ndcg(top_k(hide(scores, joined(known, draw.warm_likes)), 10), draw.cold_likes),
        "warm": hits_ndcg(top_k(hide(scores, known), 10), draw.warm_likes),
        "warm, cold likes set aside": hits_ndcg(top_k(hide(scores, joined(known, draw.cold_likes)), 10), draw.warm_likes),
        "warm, no cold items": hits_ndcg(top_k(hide(no_cold, known), 10), draw.warm_likes),
        "both": hits_ndcg(top_k(hide(scores, known), 10), draw.both),
        "both, a tenth of cold likes": hits_ndcg(
            top_k(hide(scores, known), 10), joined(draw.cold_likes.keep(rare), draw.warm_likes)
        ),
    }


def in_lists(scores: Floats, draw: Draw) -> dict[str, float | None]:
    """Of the ten best of each user's list: the share of cold items, the probability that they show, and how many are liked; and
    the share of cold likes among the likes that are sought. None where no list has a cold item."""
    lists = top_k(hide(scores, draw.histories), 10)
    cold = draw.cold[lists]
    liked = np.take_along_axis(draw.cold_likes.csr().toarray() > 0, lists, axis=1)
    said = sigmoid(np.take_along_axis(scores, lists, axis=1))
    return {
        "share_of_places": float(cold.mean()),
        "share_of_likes": len(draw.cold_likes.items) / len(draw.both.items),
        "probability": float(said[cold].mean()) if cold.any() else None,
        "liked": float(liked[cold].mean()) if cold.any() else None,
    }


def both_scales(run: Run, name: str) -> dict[str, Floats]:
    """Scores on the scale that the run learned, and on that of `unmet=left`."""
    left = replace(run.model, blend=replace(run.model.blend, **run.metrics["unmet"]["as_left"]))
    return {n: scores_of(m, run.histories) for n, m in ((name, run.model), (SCALES[name], left))}


def prototype(draw: Draw, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Scores of EASE mapped by ridge, half and half with BERT's cosine, and of the cosine alone. L2 of ridge and EASE are chosen
    by ranking a tenth of the warm items, played cold, among themselves."""
    catalog, likes = draw.known.catalog, draw.histories
    vectors = np.nan_to_num(encode_cached(catalog.texts, "minilm").astype(np.float64))
    counts = np.bincount(likes.items, minlength=likes.n_items)
    warm = np.flatnonzero(counts)
    out = np.sort(rng.permutation(warm)[: len(warm) // 10])
    left = likes.keep(~np.isin(likes.items, out))
    truth = likes.keep(np.isin(likes.items, out))
    played = np.zeros(likes.n_items, bool)
    played[out] = True

    def scores(histories: Histories, reg: float, ridge: float) -> tuple[Floats, Floats]:
        kept = np.flatnonzero(np.bincount(histories.items, minlength=histories.n_items))
        told = attribute_blocks(catalog, kept).values()
        features = [scaled(vectors, kept, unit_rows=True), *(scaled(b, kept, unit_rows=False) for b in told)]
        a = np.concatenate([*features, np.ones((len(vectors), 1))], axis=1)
        x = histories.csr()
        b = closed_form(gram(histories, kept), reg)
        left_hand = a[kept].T @ a[kept] + ridge * np.eye(a.shape[1])
        mapped = (x[:, kept] @ b) @ a[kept] @ np.linalg.solve(left_hand, a.T)
        return mapped, (x @ features[0]) @ features[0].T

    def blended(pair: tuple[Floats, Floats], columns: Floats) -> Floats:
        size = np.sqrt(np.maximum(likes.lengths, 1))[:, None]
        z = [(s / size - (s / size)[:, columns].mean()) / (s / size)[:, columns].std() for s in pair]
        return np.asarray((z[0] + z[1]) / 2)

    def rehearsed(setting: tuple[float, float]) -> float:
        mix = np.where(played, blended(scores(left, *setting), played), -np.inf).astype(np.float32)
        return float(np.nanmean(hits_ndcg(top_k(mix, 10), truth)))

    best = max(((reg, ridge) for reg in (150.0, 300.0, 600.0) for ridge in (1.0, 5.0, 20.0, 80.0)), key=rehearsed)
    mapped, cosine = scores(likes, *best)
    return blended((mapped, cosine), draw.cold), cosine


def models(run: Run, draw: Draw) -> dict[str, Floats]:
    """(n_users, n_items) scores by model."""
    mine, rng = run.histories, np.random.default_rng(run.settings.seed)
    found = both_scales(run, "hybrid")
    compared = models_of(run)
    for name in ("shuffled texts", "without bert", "without cold"):
        if name in compared:
            scorers, blend = compared[name]
            found[name] = scores_of(Hybrid(scorers, blend, run.model.cold), mine)
    for name in ("bert", "cold"):
        if name in run.model.components:
            found[f"component {name}"] = scores_of(run.model.components[name], mine)
    cls = scorer_class("cold")
    blind = replace(run.settings.scorer_config("cold"), title=0.0, text=0.0)
    blind = cls.choose(blind, draw.known, {"title", "text"}, rng)
    found["genres and year alone"] = scores_of(cls(blind).fit(draw.known, rng), mine)
    found["prototype"], found["BERT cosine"] = prototype(draw, rng)
    found["chance"] = rng.random(mine.shape).astype(np.float32)
    return found


def curve(run: Run, draw: Draw) -> list[dict[str, Any]]:
    """What moving `cold_shift` by some log-odds does."""
    rows = []
    scores = scores_of(run.model, run.histories)
    for shift in SHIFTS:
        figures = on_one_scale(np.where(run.model.cold, scores + shift, scores), draw)
        rows.append({"shift": shift} | {n: float(np.nanmean(v)) for n, v in figures.items()})
    return rows


def one_draw(dataset: Dataset, settings: Settings, runs: Path) -> tuple[dict[str, dict[str, Floats]], dict[str, Any]]:
    """{question: {model: NDCG by user}}, and facts of this draw."""
    rest, warm = take_out(dataset, settings)
    run, seconds = trained(rest, settings, runs)
    draw = draw_of(run, warm)
    shuffled, _ = trained(shuffle_texts(rest, settings), replace(settings, control=False), runs)
    scored = models(run, draw) | both_scales(shuffled, "all on shuffled texts")
    found: dict[str, dict[str, Floats]] = {"cold among cold": {n: among_cold(s, draw) for n, s in scored.items()}}
    for name, scores in scored.items():
        if name in ON_ONE_SCALE:
            for question, values in on_one_scale(scores, draw).items():
                found.setdefault(f"all unseen: {question}", {})[name] = values
    blend = run.model.blend
    facts = {
        "draw": settings.seed,
        "cold_items_with_likes": int((np.bincount(draw.cold_likes.items, minlength=len(draw.cold)) > 0).sum()),
        "users": int((draw.cold_likes.lengths > 0).sum()),
        "train_seconds": round(seconds, 1),
        "weights": dict(zip(blend.names, blend.weights, strict=True)),
        "cold_factors": dict(zip(blend.names, blend.cold_factors, strict=False)),
        "cold_shift": blend.cold_shift,
        "unmet": run.metrics["unmet"],
        "cold": run.settings.scorers.get("cold"),
        "cold_in_lists": {n: in_lists(scored[n], draw) for pair in SCALES.items() for n in pair},
        "curve": curve(run, draw),
    }
    return found, facts


def summary(found: list[dict[str, dict[str, Floats]]], facts: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for question, models_ in found[0].items():
        values = {n: [f[question][n] for f in found] for n in models_}
        out[question] = {
            n: {"ndcg@10": mean(v), "hybrid_minus": difference(values["hybrid"], v) if n != "hybrid" else None}
            for n, v in sorted(values.items(), key=lambda pair: -mean(pair[1]))
        }
    keys = [k for k in facts[0]["curve"][0] if k != "shift"]
    rows = [[f["curve"][n] for f in facts] for n in range(len(SHIFTS))]
    moved = [{"shift": r[0]["shift"]} | {k: float(np.mean([x[k] for x in r])) for k in keys} for r in rows]
    asked = [q for q in found[0] if q.startswith("all unseen")]
    gain = {n: {q: difference(*([f[q][m] for f in found] for m in (n, left))) for q in asked} for n, left in SCALES.items()}
    shown: dict[str, dict[str, float | None]] = {}
    for n, told in facts[0]["cold_in_lists"].items():
        known = {k: [v for f in facts if (v := f["cold_in_lists"][n][k]) is not None] for k in told}
        shown[n] = {k: float(np.mean(v)) if v else None for k, v in known.items()}
    return {"questions": out, "gain_by_scale": gain, "cold_in_lists": shown, "cold_shift_moved_by": moved}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[45, 46, 47, 48, 49], help="seeds")
    args = parser.parse_args()
    started = time.perf_counter()
    dataset = load_dataset(ML_100K)
    found, facts = [], []
    with folder_of_runs(args.runs) as runs:
        for seed in args.draws:
            settings = load_settings(None, [*args.assignments, "hide=liked"], split="cold-items", seed=seed)
            values, told = one_draw(dataset, settings, runs)
            found.append(values)
            facts.append(told)
            content = {"settings": settings_facts(settings), **summary(found, facts), "draws": facts}
            result_file("cold", dataset, started, content)
            print(f"draw {seed}: {np.nanmean(values['cold among cold']['hybrid']):.4f} among the cold", flush=True)
    table = summary(found, facts)
    for question, rows in table["questions"].items():
        print(question)
        for name, row in rows.items():
            d = row["hybrid_minus"]
            print(f"  {name:22} {row['ndcg@10']:.4f}" + ("" if d is None else f"  {d['mean']:+.4f} {np.round(d['by_user'], 4)}"))
    for name, gains in table["gain_by_scale"].items():
        for question, d in gains.items():
            print(f"{name}, over unmet=left, {question}: {d['mean']:+.4f} {np.round(d['by_user'], 4)}")
    for name, told in table["cold_in_lists"].items():
        print(f"{name}: " + "  ".join(f"{k} {v:.4f}" for k, v in told.items() if v is not None))
    for row in table["cold_shift_moved_by"]:
        print("  ".join(f"{k} {v:+.4f}" if k != "shift" else f"shift {v:+.1f}" for k, v in row.items()))


if __name__ == "__main__":
    main()
