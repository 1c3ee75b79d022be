"""Orchestrate a training run: tune on validation, learn the blend, refit on train + validation, write the run whole.

Each fitted component is a stage kept beside the run (`.<name>.partial/`), so a killed training goes on with `resume`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import platform
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from recsys_core import candidates, learn, metrics, newcomers, rehearsal, run, splits
from recsys_core.candidates import Candidates
from recsys_core.card import render
from recsys_core.config import Settings, dump_settings
from recsys_core.data import Catalog, Dataset, Histories, Interactions
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend, Hybrid, constants, save_blend
from recsys_core.ranking import hide, marked, top_k
from recsys_core.scorers import scorer_class
from recsys_core.scorers.base import Scorer
from recsys_core.splits import TRAIN, VALID, Split
from recsys_core.whole import seal
from recsys_core.workshop import workshop

Say = Callable[[str], None]
DOUBT = 2.0  # standard errors: a tenth of the items is a small rehearsal, and what it does not show is left to warm items


@dataclass(frozen=True)
class Fitted:
    """A stage's result: the scorer, and facts about how it came to be (settings tried, epochs, seconds)."""

    scorer: Scorer
    facts: dict[str, Any]


@dataclass(frozen=True)
class Judge:
    """The users whose validation likes choose settings and weights; one row for each in every field."""

    users: NDArray[np.int64]
    histories: Histories
    hidden: Histories
    truth: Histories
    met_later: Histories
    held_out: float  # likes of the test part for each of the validation part: how many, not which
    k: int

    def at_most(self, n: int | None) -> Judge:
        """The same judge with n random users; for less than n, or None, the judge itself."""
        if n is None or n >= len(self.users):
            return self
        return self.of(np.sort(np.random.default_rng(0).permutation(len(self.users))[:n]))

    def of(self, rows: NDArray[np.int64]) -> Judge:
        """The same judge with some of its users, by row."""
        fields = {f: getattr(self, f)[rows] for f in ("users", "histories", "hidden", "truth", "met_later")}
        return replace(self, **fields)

    def shown(self, scorers: Mapping[str, Scorer], blend: Blend, histories: Histories, cold: NDArray[np.bool_]) -> Candidates:
        """The candidates of these users when their histories are those given."""
        return candidates.gather(scorers, blend, self.users, histories, self.hidden, self.truth, self.met_later, cold)

    def ndcg(self, scorer: Scorer) -> float:
        """Mean NDCG@k of a scorer over these users."""
        hits = []
        for rows, block in self.histories.blocks(256):  # as in `constants` and `gather`, so that remembered scores fit to the bit
            items = top_k(hide(scorer.score_beyond(block, self.hidden[rows]), self.hidden[rows]), self.k)
            hits.append(marked(items, self.truth[rows].csr().toarray() > 0))
        return float(np.nanmean(metrics.ndcg(np.concatenate(hits), self.truth.lengths)))


@dataclass(frozen=True)
class Materials:
    """What every step works on: the data as known in tuning (`early`) and at the end (`late`), and who judges."""

    dataset: Dataset
    split: Split
    early: Dataset
    late: Dataset
    judge: Judge


@dataclass(frozen=True)
class Parts:
    """What training fitted: on train (`tuned`), on train + valid (`final`), text readers without some items that play cold
    (`rehearsal`), and text readers on shuffled texts (`control_tuned`, `control_final`)."""

    tuned: Mapping[str, Fitted]
    final: Mapping[str, Fitted]
    rehearsal: Mapping[str, Fitted]
    control_tuned: Mapping[str, Fitted]
    control_final: Mapping[str, Fitted]


def train(
    dataset: Dataset,
    settings: Settings,
    out: Path,
    *,
    test: Interactions | None = None,
    resume: bool = False,
    say: Say = lambda line: None,
) -> run.Run:
    """Train a hybrid into the new run directory `out`.

    Args:
        test: judge on these events instead of a split of the data.
        resume: go on from what an interrupted training of the same data and settings left.
        say: receives one line for each thing done.

    Raises:
        UserError: `out` exists, another training writes it, the data cannot be split, or there is nothing to resume.
    """
    started = time.perf_counter()
    if out.exists():
        raise UserError(f"{out} exists; choose another --out or remove it")
    rng = rng_of(settings, "split")
    dataset = replace(dataset, learn_from=settings.learn_from)
    if test is None:
        split = splits.make_split(dataset, settings.split, rng)
    else:
        dataset, split = splits.given_test(dataset, test, rng)
    settings = _usable(dataset, settings, say)
    with workshop(out, dataset, settings, resume) as folder:
        early, late = dataset.subset(split.rows(TRAIN)), dataset.subset(split.rows(TRAIN, VALID))
        data = Materials(dataset, split, early, late, make_judge(dataset, split, early, settings))
        parts = _fit_all(data, settings, folder, say)
        chosen = {n: dataclasses.asdict(f.scorer.config) for n, f in parts.tuned.items()}
        settings = replace(settings, scorers=chosen, tune=False)
        whole = folder / "run"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        _assemble(whole, data, settings, parts, say)
        fits = {n: {"tune": parts.tuned[n].facts["seconds"], "fit": f.facts["seconds"]} for n, f in parts.final.items()}
        write_manifest(whole, dataset, settings, {"total": time.perf_counter() - started, **fits})
        whole.rename(out)
    return run.Run.load(out)


def _usable(dataset: Dataset, settings: Settings, say: Say) -> Settings:
    """Leave out components that the data cannot feed, and say so."""
    if any(t.strip() for t in dataset.catalog.texts):
        return settings
    dropped = [n for n in settings.components if scorer_class(n).reads_text]
    for name in dropped:
        say(f"{name}: left out, no item has text")
    kept = tuple(n for n in settings.components if n not in dropped)
    return replace(settings, components=kept, scorers={n: c for n, c in settings.scorers.items() if n not in dropped})


def _fit_all(data: Materials, settings: Settings, folder: Path, say: Say) -> Parts:
    """Tune on train, refit on train + valid, and fit text readers both ways on shuffled texts (the control)."""
    early, late = data.early, data.late
    tuned = {}
    for name in settings.components:
        work = partial(_tune, name, early, data.judge, settings, folder / f"tuned-{name}.checkpoint")
        tuned[name] = _stage(folder / "tuned" / name, work)
        facts = tuned[name].facts
        tried = len(facts["trials"])
        say(f"{name}: NDCG@{settings.k} {facts['ndcg']:.4f} on validation, best of {tried} in {facts['seconds']:.1f} s")

    def fit_as(stage: str, names: Iterable[str], data: Dataset) -> dict[str, Fitted]:
        saved = {n: folder / f"{stage}-{n}.checkpoint" for n in names}
        fits = {n: partial(_fit, n, tuned[n].scorer.config, data, settings, path) for n, path in saved.items()}
        return {n: _stage(folder / stage / n, fit) for n, fit in fits.items()}

    once = [n for n in settings.components if scorer_class(n).fits_once]
    final = fit_as("final", [n for n in settings.components if n not in once], late)
    final |= {n: _stage(folder / "final" / n, partial(_extend, n, tuned[n], late, settings)) for n in once}
    final = {n: final[n] for n in settings.components}
    readers = [n for n in settings.components if scorer_class(n).reads_text and n != "cross_encoder"]
    out = rehearsal.players(early, rng_of(settings, "rehearsal"))
    rehearsed = fit_as("rehearsal", readers, early.subset(~np.isin(early.interactions.item, out)))
    controlled = readers if settings.control else []
    if controlled:
        say(f"control: fitting {', '.join(controlled)} again on shuffled texts")
    control = [fit_as(f"control-{s}", controlled, shuffle_texts(d, settings)) for s, d in (("tuned", early), ("final", late))]
    return Parts(tuned, final, rehearsed, *control)


def make_judge(dataset: Dataset, split: Split, early: Dataset, settings: Settings) -> Judge:
    """A random sample of the users with validation likes, at most `tune_users`; `early` is the training part."""
    valid = split.rows(VALID)
    truth = dataset.subset(valid).likes()
    users = np.flatnonzero(truth.lengths > 0)
    users = np.sort(rng_of(settings, "judge").permutation(users)[: settings.tune_users])
    histories = early.histories()
    later = dataset.subset(valid & ~dataset.liked & (settings.hide == "met")).met()
    counts = split.counts(dataset)
    held_out = counts["test"] / counts["valid"] if split.how in ("random", "leave-last") else 0.0
    return Judge(users, histories[users], early.hidden(settings.hide)[users], truth[users], later[users], held_out, settings.k)


def _tune(name: str, data: Dataset, judge: Judge, settings: Settings, checkpoint: Path | None = None) -> Fitted:
    """One key of the scorer's `search` after the other, each value judged by validation NDCG with the best of the others.

    Where an edge of three values or more wins, the grid grows on that side (a narrow grid makes a model look weak).
    """
    started = time.perf_counter()
    cls, config, whole = scorer_class(name), settings.scorer_config(name), data
    data, judge = data if cls.fits_once else _some_users(data, settings), judge.at_most(_most_judges([config]))
    given = set(settings.scorers.get(name, {}))
    if settings.tune:
        config = cls.choose(config, data, given, rng_of(settings, f"choose {name}"))
    best = _fit(name, config, data, settings, checkpoint)
    best_ndcg = judge.ndcg(best.scorer)
    trials = [{"config": dataclasses.asdict(config), "ndcg": best_ndcg}]
    keys = [k for k in cls.search if k not in given] if settings.tune else []
    for key in keys:
        waiting, seen = list(cls.search[key]), {getattr(config, key)}
        while waiting:
            value = waiting.pop(0)
            if value in seen:
                continue
            seen.add(value)
            trial = replace(best.scorer.config, **{key: value})
            fitted = _rescored(best, trial) if key in cls.only_scoring else _fit(name, trial, data, settings)
            ndcg = judge.ndcg(fitted.scorer)
            trials.append({"config": dataclasses.asdict(trial), "ndcg": ndcg})
            if ndcg > best_ndcg:
                best, best_ndcg = fitted, ndcg
            if not waiting and len(seen) < 8 and key not in cls.only_scoring:
                waiting = _wider(sorted(seen), getattr(best.scorer.config, key))
    if data is not whole:
        best = _fit(name, best.scorer.config, whole, settings)
    facts = {"ndcg": best_ndcg, "users": len(judge.users), "trials": trials, "epochs": best.facts["epochs"]}
    return Fitted(best.scorer, facts | {"seconds": time.perf_counter() - started})


def _some_users(data: Dataset, settings: Settings) -> Dataset:
    """The data of at most `search_users` random users: enough to choose settings by."""
    if len(data.users) <= settings.search_users:
        return data
    users = rng_of(settings, "search").permutation(len(data.users))[: settings.search_users]
    return data.subset(np.isin(data.interactions.user, users))


def _rescored(fitted: Fitted, config: Any) -> Fitted:
    """The same fit under a config that differs only in how it scores."""
    scorer = copy.copy(fitted.scorer)
    scorer.config = config
    return Fitted(scorer, fitted.facts)


def _wider(tried: list[Any], best: Any) -> list[Any]:
    """The next value beyond the winning edge of a geometric grid, or nothing."""
    if len(tried) < 3 or not all(isinstance(v, int | float) and v > 0 for v in tried):
        return []
    ratio = tried[-1] / tried[-2] if best == tried[-1] else tried[0] / tried[1] if best == tried[0] else None
    return [] if ratio is None else [type(best)(best * ratio)]


def _fit(name: str, config: Any, data: Dataset, settings: Settings, checkpoint: Path | None = None) -> Fitted:
    """Fit one scorer; one that trains in epochs saves each of them in `checkpoint` and goes on from there."""
    started = time.perf_counter()
    scorer = scorer_class(name)(config)
    if hasattr(scorer, "checkpoint"):
        scorer.checkpoint = checkpoint
    scorer.fit(data, rng_of(settings, name))
    return Fitted(scorer, {"epochs": list(getattr(scorer, "history", [])), "seconds": time.perf_counter() - started})


def _extend(name: str, tuned: Fitted, data: Dataset, settings: Settings) -> Fitted:
    """A scorer that is fitted once takes in what has become known; its epochs are those of the one fit."""
    started = time.perf_counter()
    scorer = tuned.scorer.extend(data, rng_of(settings, name))
    return Fitted(scorer, {"epochs": tuned.facts["epochs"], "seconds": time.perf_counter() - started})


def _most_judges(configs: Iterable[Any]) -> int | None:
    """How many users may judge scorers of these configs: the fewest that any of them allows, None where all allow any number."""
    return min((c.judges for c in configs if hasattr(c, "judges")), default=None)


def _stage(folder: Path, work: Callable[[], Fitted]) -> Fitted:
    """Load a finished stage, or do the work and keep it; a folder under its final name is whole."""
    if not folder.exists():
        result = work()
        fresh = folder.with_name(f".{folder.name}.writing")
        shutil.rmtree(fresh, ignore_errors=True)
        result.scorer.save(fresh / "scorer")
        (fresh / "facts.json").write_text(json.dumps(result.facts), encoding="utf-8")
        fresh.rename(folder)
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return Fitted(scorer_class(folder.name).load(folder / "scorer"), facts)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: this kept stage is damaged ({type(error).__name__}); train again without --resume") from None


def shuffle_texts(data: Dataset, settings: Settings) -> Dataset:
    """The same data with item texts and attributes dealt to the wrong items: what a text reader must not profit from."""
    order = rng_of(settings, "shuffle").permutation(len(data.items))
    return replace(data, catalog=Catalog(data.catalog.frame.iloc[order].reset_index(drop=True)))


def _assemble(whole: Path, data: Materials, settings: Settings, parts: Parts, say: Say) -> None:
    """Learn the blends from the tuned components' candidates and write everything but the manifest."""
    late = data.late
    judge = data.judge.at_most(_most_judges(f.scorer.config for f in parts.tuned.values()))
    store, learned, told = _learn(data, judge, parts.tuned, parts.rehearsal, settings)
    blend = _carry_over(learned, late, parts.final, settings)
    say("weights: " + ", ".join(f"{n} {w:.2f}" for n, w in zip(blend.names, blend.weights, strict=True)))
    model = Hybrid(_scorers(parts.final), blend, late.unmet)
    data.dataset.save(whole / "data")
    np.save(whole / "split.npy", data.split.part, allow_pickle=False)
    (whole / "config.toml").write_text(dump_settings(settings), encoding="utf-8")
    model.save(whole)
    store.save(whole / "candidates")
    for n, name in enumerate(blend.names if len(blend.names) > 1 else ()):
        rest = np.delete(np.arange(len(blend.names)), n)
        without = learn.fit_blend(store.keep(rest), learned.only(rest), settings.k, judge.held_out)
        without = learn.like_cold(without, learned)
        save_blend(without.with_constants(blend.only(rest)), model.cold, whole / "without" / name)
    if parts.control_final:
        _, shuffled, _ = _learn(data, judge, {**parts.tuned, **parts.control_tuned}, {}, settings)
        shuffled = learn.like_cold(shuffled, learned)
        mixed = {**parts.final, **parts.control_final}
        save_blend(_carry_over(shuffled, late, mixed, settings), model.cold, whole / "control" / "blend")
        for name, fitted in parts.control_final.items():
            fitted.scorer.save(whole / "control" / "scorers" / name)
    epochs = [{"component": n, **line} for n, f in parts.final.items() for line in f.facts["epochs"]]
    (whole / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in epochs), encoding="utf-8")
    hybrid = float(np.mean(learn.ndcg_of(store.logit(learned), store, settings.k)))
    facts = _facts(data.dataset, data.split, settings, parts, {"users": len(store), "hybrid": hybrid}, told)
    (whole / "metrics.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (whole / "card.md").write_text(render(facts, settings, blend), encoding="utf-8")


def _facts(
    dataset: Dataset, split: Split, settings: Settings, parts: Parts, valid: dict[str, Any], learned: dict[str, Any]
) -> dict[str, Any]:
    """metrics.json: everything that training measured. Validation figures chose the settings, so they flatter."""
    judged = {
        name: {n: f.facts[key] for n, f in parts.tuned.items()} for name, key in (("components", "ndcg"), ("judges", "users"))
    }
    return {
        "data": dataset.summary(),
        "notes": dataset.notes,
        "split": split.counts(dataset),
        "valid": {"k": settings.k, **valid, **judged},
        **learned,
        "trials": {n: f.facts["trials"] for n, f in parts.tuned.items()},
    }


def _learn(
    data: Materials, judge: Judge, fitted: Mapping[str, Fitted], rehearsed: Mapping[str, Fitted], settings: Settings
) -> tuple[Candidates, Blend, dict[str, Any]]:
    """The candidate store of these components, the blend learned on it and on the rehearsal of new items, and facts of that."""
    scorers = _scorers(fitted)
    mu, sigma = constants(scorers, judge.histories, judge.hidden)
    start = Blend(tuple(scorers), mu, sigma, (1.0,) * len(scorers))
    if rehearsed:
        out = rehearsal.players(data.early, rng_of(settings, "rehearsal"))
        raw = rehearsal.raw_scores(judge.histories, start.names, _scorers(rehearsed), out)
        if "cold" in scorers:  # its scores of real cold items may be too few to tell their spread
            c = list(scorers).index("cold")
            mu = (*mu[:c], float(np.nanmean(raw[..., c])), *mu[c + 1 :])
            sigma = (*sigma[:c], float(np.nanstd(raw[..., c])) or 1.0, *sigma[c + 1 :])
            start = replace(start, mu=mu, sigma=sigma)
    store = judge.shown(scorers, start, judge.histories, data.early.unmet)
    blend = learn.fit_blend(store, start, settings.k, judge.held_out)
    blend, told = _learn_newcomers(data, judge, scorers, start, store, blend, settings.k)
    if blend.newcomers:
        store = store.scaled(blend.trust(judge.histories.full_sizes))
        blend = learn.recalibrated(blend, store, settings.k, judge.held_out)
    if rehearsed:
        z = blend.standardise(raw, judge.histories.full_sizes)
        blend, told["unmet"] = _learn_cold(data, judge, blend, out, z, settings)
    return store, blend, told


def _learn_newcomers(
    data: Materials, judge: Judge, scorers: Mapping[str, Scorer], start: Blend, store: Candidates, blend: Blend, k: int
) -> tuple[Blend, dict[str, Any]]:
    """How much more than of long histories what reads none counts of short ones, from judges whose histories are cut; what is too
    costly to ask so often stays aside. `store`: what judges are shown under `start`."""
    asked = np.flatnonzero([_most_judges([s.config]) is None for s in scorers.values()])
    open_to = np.array([not s.reads_history for s in scorers.values()])
    these, plain, light = {n: scorers[n] for n in start.only(asked).names}, start.only(asked), blend.only(asked)
    some = judge.at_most(newcomers.JUDGES)

    def cut(n: int, shown: Candidates, histories: Histories) -> newcomers.Cut:
        return newcomers.Cut.of(n, shown.warm(), histories.full_sizes, light, open_to[asked])

    cuts = []
    for n in newcomers.LENGTHS:
        those = some.of(np.flatnonzero(some.histories.lengths > n))
        if len(those.users):
            short = newcomers.latest(those.histories, n)
            cuts.append(cut(n, those.shown(these, plain, short, data.early.unmet), short))
    whole = cut(0, store[np.isin(store.users, some.users)].keep(asked), some.histories)
    facts = newcomers.fit(whole, cuts, light.bias, k)
    if not facts:
        return blend, {}
    more = tuple(np.where(open_to, facts["more"], 0.0).tolist())
    return replace(blend, newcomers=more, half=facts["half"], damp=facts["damp"]), {"newcomers": facts}


def _learn_cold(
    data: Materials, judge: Judge, blend: Blend, out: NDArray[np.int64], z: NDArray[np.float32], settings: Settings
) -> tuple[Blend, dict[str, Any]]:
    """The scale of items that nobody has met, from the scores z of the players `out`, and what it would be if all unmet items
    were passed over."""
    new = settings.unmet == "new" or (settings.unmet == "auto" and data.split.how == "cold-items")
    free = blend.names.index("cold") if "cold" in blend.names else None

    def fitted(new: bool) -> Blend:
        shown = rehearsal.shown(z, out, judge.histories.likes, judge.hidden, judge.truth, 2 * settings.k, new)
        return learn.fit_cold(shown, blend, free, doubt=DOUBT if new else 0.0)

    learned, passed_over = fitted(new), fitted(False)
    as_left = {f: getattr(passed_over, f) for f in ("weights", "cold_factors", "cold_shift")}
    told = {"items": int(data.late.unmet.sum()), "new": new, "cold_shift": learned.cold_shift, "as_left": as_left}
    return replace(learned, cold_shift=learned.cold_shift + settings.cold_boost), told


def _carry_over(learned: Blend, late: Dataset, final: Mapping[str, Fitted], settings: Settings) -> Blend:
    """The learned weights on the refitted components, whose scores have constants of their own.

    But for `cold`, which has too few, and for what is fitted once, whose scale is as it was.
    """
    histories = late.histories()
    users = np.flatnonzero(histories.lengths > 0)
    users = np.sort(rng_of(settings, "constants").permutation(users)[: settings.tune_users])
    hidden = late.hidden(settings.hide)
    found = {n: (m, s) for n, m, s in zip(learned.names, learned.mu, learned.sigma, strict=True)}
    refitted = {n: f.scorer for n, f in final.items() if n != "cold" and not f.scorer.fits_once}
    if refitted:
        found |= zip(refitted, zip(*constants(refitted, histories[users], hidden[users]), strict=True), strict=True)
    mu, sigma = zip(*found.values(), strict=True)
    return replace(learned, mu=mu, sigma=sigma)


def _scorers(fitted: Mapping[str, Fitted]) -> dict[str, Scorer]:
    return {name: f.scorer for name, f in fitted.items()}


def rng_of(settings: Settings, name: str) -> np.random.Generator:
    """A generator of its own for each named step, so that a resumed training draws the same numbers."""
    return np.random.default_rng([settings.seed, zlib.crc32(name.encode())])


def write_manifest(
    whole: Path, dataset: Dataset, settings: Settings, seconds: dict[str, Any], more: Mapping[str, Any] | None = None
) -> None:
    """Written last; with one seed two trainings differ in its date, versions and seconds, and nowhere else."""
    manifest = {
        "schema": run.SCHEMA,
        "fingerprint": dataset.fingerprint,
        "seed": settings.seed,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": seconds,
        "git": run.commit(),
        "versions": {"python": platform.python_version()}
        | {n: run.version_of(n) for n in ("whyrec", "numpy", "torch", "transformers")},
        **(more or {}),
        "files": run.checksums(whole),
    }
    (whole / "manifest.json").write_text(seal(manifest, indent=1), encoding="utf-8")
