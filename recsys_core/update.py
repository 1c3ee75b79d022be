"""New events into a new run, without training anew: closed forms exactly, learned arrays a few epochs on, the blend as it was.

In: a Run and what came in since. Out: a run of its own, written whole beside; what came in, what it changed and what it cost.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import metrics
from recsys_core.card import render
from recsys_core.config import Settings, dump_settings
from recsys_core.data import Dataset, Histories, Interactions, Vocabulary, rank_in_group
from recsys_core.differences import rank_biased_overlap
from recsys_core.errors import UserError
from recsys_core.hybrid import Hybrid, load_blend, save_blend
from recsys_core.ranking import hide, marked, top_k
from recsys_core.readers._build import with_users
from recsys_core.readers.table import read_more
from recsys_core.run import Run
from recsys_core.splits import TEST, TRAIN, UNUSED, VALID, Split
from recsys_core.train import rng_of, write_manifest
from recsys_core.whole import sha256
from recsys_core.workshop import workshop

EPOCHS = 3  # of what learns in steps: benchmarks/update.py
Say = Callable[[str], None]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Incoming:
    """Events to bring in, (user, item) once each, in the positions of `users`: the run's users, then new ones. `counts` and
    `sources` say where they are from."""

    events: Interactions
    users: Vocabulary
    counts: dict[str, int]
    sources: tuple[dict[str, str], ...]

    def then(self, other: Incoming, n_items: int) -> Incoming:
        """Both, a pair that is in both as it is in the later one; `other` was read with this one's users."""
        both = self.events.joined(other.events)
        rows = _latest(both, n_items)
        counts = {k: self.counts.get(k, 0) + other.counts.get(k, 0) for k in {**self.counts, **other.counts}}
        counts["repeated"] = counts.get("repeated", 0) + len(both) - len(rows)
        return Incoming(both[rows], other.users, counts, (*self.sources, *other.sources))


@dataclass(frozen=True)
class Merged:
    """The enlarged data and split; `new` (n_interactions,) true for the pairs that nobody knew of before."""

    dataset: Dataset
    split: Split
    new: Bools
    counts: dict[str, int]

    @property
    def known(self) -> Bools:
        """(n_interactions,) what the model may know."""
        return self.split.rows(TRAIN, VALID)


def from_file(run: Run, path: Path, mapping: Mapping[str, str] | None = None) -> Incoming:
    """Read a table of events. Raises UserError naming file, row, field and fix."""
    events, users, repeated = read_more(path, run.dataset, mapping)
    counts = {"rows": len(events) + repeated, "repeated": repeated}
    return Incoming(events, users, counts, ({"file": path.name, "sha256": sha256(path)},))


def feedback_events(runs: Path, data: str) -> pd.DataFrame:
    """What people said of lists of the data set `data`, in the file beside a folder of runs: user, item, reaction ("like" or
    "dislike", the last word on each pair; what was undone is not there), time. Raises UserError if nothing is kept there."""
    try:
        kept = importlib.import_module("recsys_core.feedback")
    except ImportError:
        raise UserError("--feedback: this installation keeps no feedback; install whyrec again") from None
    path = kept.file_of(runs)
    if not path.exists():
        raise UserError(f"--feedback: {path} is not there; nobody has liked or disliked anything yet")
    log = kept.rows(path, "reaction", data=data)
    last = log[log["reaction"] != "click"].drop_duplicates(["user_id", "item_id"], keep="last")
    last = last[last["reaction"].isin(["like", "dislike"])].reset_index(drop=True)
    found: pd.DataFrame = last[["user_id", "item_id", "reaction", "time"]].rename(columns={"user_id": "user", "item_id": "item"})
    return found


def from_feedback(run: Run, frame: pd.DataFrame, users: Vocabulary | None = None) -> Incoming:
    """Likes count as the threshold (1 without one), dislikes as the highest known value below it; where there is none they are
    not used. Reactions to items of other data are left out, both counted.

    Args:
        frame: as `feedback_events` gives it, the oldest first: that order holds even if the clock went back in between.
        users: the run's users and those of a file that came before; default the run's.
    """
    data, found = run.dataset, frame
    values, cut = data.interactions.value, data.threshold
    below = values[values < cut] if cut is not None else np.zeros(0)
    worth = {"like": 1.0 if cut is None else cut} | ({"dislike": float(below.max())} if len(below) else {})
    unusable, strange = ~found["reaction"].isin(worth), data.items.find(found["item"]) < 0
    used = found[~unusable & ~strange].reset_index(drop=True)
    known = with_users(data.users if users is None else users, [str(u) for u in used["user"]])
    events = Interactions(
        known.find(used["user"]).astype(np.int32),
        data.items.find(used["item"]).astype(np.int32),
        np.array([worth[r] for r in used["reaction"]], np.float32),
        None if data.interactions.time is None else _forward(_seconds(used["time"])),
    )
    rows = _latest(events, len(data.items))
    counts = {"rows": len(found), "repeated": len(used) - len(rows), "other_items": int(strange.sum())}
    counts["unusable"] = int((unusable & ~strange).sum())
    digest = pd.util.hash_pandas_object(found.astype(str), index=False).to_numpy().tobytes().hex()[:64]
    return Incoming(events[rows], known, counts, ({"file": "feedback", "rows": str(len(found)), "hash": digest},))


def _seconds(column: pd.Series[Any]) -> NDArray[np.int64]:
    """(n,) seconds since epoch of numbers or ISO dates."""
    number = pd.to_numeric(column, errors="coerce")
    if number.notna().all():
        return number.to_numpy(np.int64)
    stamps = pd.to_datetime(column, utc=True, format="ISO8601")
    return np.asarray((stamps - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1), np.int64)


def _forward(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of events in their order, made to rise if the clock that wrote them went back somewhere."""
    if not (np.diff(times) < 0).any():
        return times
    steps = np.arange(len(times))
    return np.asarray(np.maximum.accumulate(times - steps) + steps, np.int64)


def _latest(events: Interactions, n_items: int) -> NDArray[np.int64]:
    """Rows of the latest event of each pair, by time, else by row; ascending."""
    time_ = np.zeros(len(events), np.int64) if events.time is None else events.time
    order = np.lexsort((np.arange(len(events)), time_))
    pair = events.user[order].astype(np.int64) * n_items + events.item[order]
    _, last = np.unique(pair[::-1], return_index=True)
    return np.asarray(np.sort(order[::-1][last]), np.int64)


def merge(run: Run, incoming: Incoming) -> Merged:
    """The run's data with the new events as training ones.

    A pair that is known keeps its place and part and takes the later value. A pair that is held out (tested or set aside) stays
    as it was and the event is left out, or the test would be known. Raises UserError if nothing is left to bring in.
    """
    data, events, n_items = run.dataset, incoming.events, len(run.dataset.items)
    old = data.interactions
    pair = events.user.astype(np.int64) * n_items + events.item
    at = _places(old.user.astype(np.int64) * n_items + old.item, pair)
    held = np.isin(run.split.part[at], (TEST, UNUSED)) & (at >= 0)
    older = (at >= 0) & ~held
    older &= False if old.time is None or events.time is None else events.time < old.time[at]
    same = (at >= 0) & ~held & ~older & (old.value[at] == events.value)
    changed, added = (at >= 0) & ~held & ~older & ~same, at < 0
    value, time_ = old.value.copy(), None if old.time is None else old.time.copy()
    value[at[changed]] = events.value[changed]
    if time_ is not None and events.time is not None:
        time_[at[changed]] = events.time[changed]
    joined = Interactions(old.user, old.item, value, time_).joined(events[added])
    counts = incoming.counts | {"added": int(added.sum()), "changed": int(changed.sum()), "same": int(same.sum())}
    counts |= {"older": int(older.sum()), "left_out": int(held.sum())}
    if not counts["added"] + counts["changed"]:
        raise UserError(f"nothing to bring in: {_told_events(counts)}; the run is as it was")
    users, counts["new_users"] = incoming.users, len(incoming.users) - len(data.users)
    table = data.user_table.reindex(range(len(users))) if len(data.user_table) else data.user_table
    text = [c for c in table.columns if table[c].dtype == object]
    notes = (*data.notes, f"An update brought {counts['added']:,} new events and {counts['changed']:,} changed values.")
    dataset = replace(data, users=users, interactions=joined, user_table=table.fillna(dict.fromkeys(text, "")), notes=notes)
    new = np.arange(len(joined)) >= len(old)
    counts["likes"] = int((dataset.liked & new).sum())
    part = np.concatenate([run.split.part, np.full(len(joined) - len(old), TRAIN, np.int8)])
    return Merged(dataset, replace(run.split, part=part), new, counts)


def _places(known: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each asked number is among the known ones (in the last place, if in several), -1 where it is not."""
    if not len(known):
        return np.full(len(asked), -1)
    order = np.argsort(known, kind="stable")
    at = order[np.maximum(np.searchsorted(known[order], asked, side="right") - 1, 0)]
    return np.asarray(np.where(known[at] == asked, at, -1), np.int64)


def renew(model: Hybrid, data: Dataset, settings: Settings, epochs: int = EPOCHS) -> tuple[Hybrid, dict[str, dict[str, Any]]]:
    """The model with every component renewed on `data`, weights and constants as they were; of each `how` and `seconds`.

    Components draw the numbers that a training would, so a closed form is to the bit what a training with these settings fits.
    """
    components, facts = {}, {}
    for name, scorer in model.components.items():
        started = time.perf_counter()
        components[name] = scorer.renew(data, rng_of(settings, name), epochs)
        facts[name] = {"how": scorer.renewal, "seconds": time.perf_counter() - started}
    return Hybrid(components, model.blend, data.unmet), facts


def lists(model: Hybrid, histories: Histories, hidden: Histories, k: int) -> NDArray[np.int64]:
    """(n_rows, k) items, best first, -1 behind the end."""
    blocks = [top_k(hide(model.score(b, hidden=hidden[r]), hidden[r]), k) for r, b in histories.blocks(256)]
    return np.concatenate([np.zeros((0, k), np.int64), *blocks])


def held_back(merged: Merged) -> Bools:
    """(n_interactions,) the last new like of each user who brings two or more: what an update can be judged by, as neither the
    old model nor one that is updated without it has seen it. Equal times are ordered by the file."""
    data = merged.dataset
    rows = np.flatnonzero(data.liked & merged.new)
    user, time_ = data.interactions.user[rows].astype(np.int64), data.interactions.time
    key = np.arange(len(rows)) if time_ is None else np.argsort(np.lexsort((rows, time_[rows])))
    counts = np.bincount(user, minlength=len(data.users))[user]
    last = (rank_in_group(user, key) == counts - 1) & (counts >= 2)
    mask = np.zeros(len(data.interactions), bool)
    mask[rows[last]] = True
    return mask


def judge(run: Run, merged: Merged, epochs: int = EPOCHS) -> dict[str, Any]:
    """Update with all but the likes that are `held_back`, and look for these in three lists: `before` the old model on the old
    histories, `folded_in` the old model that is shown the new ones, `after` the updated model; all hide the same.

    NDCG and hit rate at k by name and, paired by user with 95% bootstrap intervals, `after - before` and `after - folded_in`.
    `before` of new users has an empty history. With less than two users only `users` is given.
    """
    out = held_back(merged)
    truth = merged.dataset.subset(out).likes()
    users = np.flatnonzero(truth.lengths)
    if len(users) < 2:
        return {"users": len(users)}
    k, truth = run.settings.k, truth[users]
    rest = merged.dataset.subset(merged.known & ~out)
    wide = replace(run.known, users=merged.dataset.users, user_table=merged.dataset.user_table)  # new users have no past there
    old = wide.histories()[users]
    now, hidden = rest.histories()[users], rest.hidden(run.settings.hide)[users]
    updated, _ = renew(run.model, rest, run.settings, epochs)
    arms = {"before": (run.model, old), "folded_in": (run.model, now), "after": (updated, now)}
    found: dict[str, Any] = {"users": len(users), "k": k}
    for name in ("ndcg", "hit_rate"):
        by = {}
        for arm, (model, rows) in arms.items():
            hits = marked(lists(model, rows, hidden, k), truth.csr().toarray() > 0)
            by[arm] = getattr(metrics, name)(hits, truth.lengths)
        found[name] = {arm: float(v.mean()) for arm, v in by.items()}
        for other in ("before", "folded_in"):
            interval = metrics.bootstrap_interval(by["after"] - by[other], np.random.default_rng(run.settings.seed))
            found[name][f"after - {other}"] = interval._asdict()
    return found


def churn(run: Run, merged: Merged, model: Hybrid) -> dict[str, dict[str, float | None]]:
    """How far lists moved, each as served: `touched` users with new events, `others`; `rbo` mean rank-biased overlap, `changed`
    share of lists that are not the same, `users`. Those who had no history are left out: they had no list of their own."""
    late = merged.dataset.subset(merged.known)
    users = np.flatnonzero(run.histories.lengths)
    now, hidden = late.histories(), late.hidden(run.settings.hide)
    a = lists(run.model, run.histories[users], run.hidden[users], run.settings.k)
    b = lists(model, now[users], hidden[users], run.settings.k)
    old, data = run.dataset.interactions, merged.dataset.interactions
    came = merged.new.copy()
    came[: len(old)] |= data.value[: len(old)] != old.value
    touched = np.isin(users, data.user[came])
    rbo, moved = rank_biased_overlap(a, b), (a != b).any(axis=1)
    return {
        name: {"users": int(rows.sum()), "rbo": _mean(rbo[rows]), "changed": _mean(moved[rows].astype(float))}
        for name, rows in (("touched", touched), ("others", ~touched))
    }


def _mean(values: NDArray[Any]) -> float | None:
    """Mean of the defined values; None if there is none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None


def next_name(path: Path) -> Path:
    """a -> a-2 -> a-3: the next name beside a run that is free."""
    stem, number = found.groups() if (found := re.fullmatch(r"(.+)-(\d+)", path.name)) else (path.name, "1")
    n = int(number) + 1
    while (path.parent / f"{stem}-{n}").exists():
        n += 1
    return path.parent / f"{stem}-{n}"


def update(run: Run, incoming: Incoming, out: Path, *, epochs: int = EPOCHS, say: Say = lambda line: None) -> Run:
    """Write the updated run into the new directory `out`; `run` is never touched.

    The facts are in metrics.json under "update", with seconds in manifest.json. Weights, calibration, constants, `candidates/`,
    `history.jsonl` and validation figures are copied: they tell of the training. `control/` is left out, being of the old data.

    Raises:
        UserError: `out` exists or is being written, `epochs` is below 1, or there is nothing to bring in.
    """
    started = time.perf_counter()
    if out.exists():
        raise UserError(f"{out} exists; choose another --out or remove it")
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: must be 1 or more")
    merged = merge(run, incoming)
    settings = replace(run.settings, control=False)
    with workshop(out, merged.dataset, settings, resume=False) as folder:
        whole = folder / "run"
        whole.mkdir()
        model, components = renew(run.model, merged.dataset.subset(merged.known), settings, epochs)
        judged_from = time.perf_counter()
        facts: dict[str, Any] = {
            "parent": run.path.resolve().name,
            "parent_fingerprint": run.manifest["fingerprint"],
            "generation": 1 + int(run.manifest.get("update", {}).get("generation", 0)),
            "sources": list(incoming.sources),
            "epochs": epochs,
            "events": merged.counts | {"after_the_test": _after_the_test(merged)},
            "judged": judge(run, merged, epochs),
            "churn": churn(run, merged, model),
            "components": {n: f["how"] for n, f in components.items()},
        }
        facts["told"] = told(facts)
        _write(whole, run, merged, settings, model, facts)
        ended = time.perf_counter()
        fits = {n: {"fit": f["seconds"]} for n, f in components.items()}
        seconds = {"total": ended - started, **fits}
        write_manifest(whole, merged.dataset, settings, seconds, {"update": facts | {"judging_seconds": ended - judged_from}})
        whole.rename(out)
    for line in facts["told"]:
        say(line)
    for name, fact in components.items():
        say(f"{name}: {fact['how']}, {fact['seconds']:.2f} s")
    say(f"{ended - started:.1f} s in all, {ended - judged_from:.1f} s of them to judge and to write")
    return Run.load(out)


def _write(whole: Path, run: Run, merged: Merged, settings: Settings, model: Hybrid, facts: dict[str, Any]) -> None:
    """Everything but the manifest."""
    data = merged.dataset
    data.save(whole / "data")
    np.save(whole / "split.npy", merged.split.part, allow_pickle=False)
    (whole / "config.toml").write_text(dump_settings(settings), encoding="utf-8")
    model.save(whole)
    for folder in sorted((run.path / "without").glob("*")):
        save_blend(load_blend(folder)[0], model.cold, whole / "without" / folder.name)
    shutil.copytree(run.path / "candidates", whole / "candidates")
    shutil.copy(run.path / "history.jsonl", whole / "history.jsonl")
    own = {"data": data.summary(), "notes": data.notes, "split": merged.split.counts(data), "update": facts}
    found = run.metrics | own
    (whole / "metrics.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (whole / "card.md").write_text(render(found, settings, model.blend), encoding="utf-8")


def _after_the_test(merged: Merged) -> int:
    """New events later than a tested like of the same user, where the split keeps the future out of training."""
    data, time_ = merged.dataset, merged.dataset.interactions.time
    if not merged.split.timed or time_ is None:
        return 0
    first = np.full(len(data.users), np.iinfo(np.int64).max)
    tested = merged.split.rows(TEST) & data.liked
    np.minimum.at(first, data.interactions.user[tested], time_[tested])
    return int((merged.new & (time_ > first[data.interactions.user])).sum())


def told(facts: Mapping[str, Any]) -> list[str]:
    """What came in, what it is worth and how far lists moved, in lines."""
    events, judged = facts["events"], facts["judged"]
    lines = [_told_events(events)]
    if events["after_the_test"]:
        n = f"{events['after_the_test']:,} new events are later than what this run tests"
        lines.append(f"{n}: its test figures would know the future; judge it on new data (whyrec evaluate --test)")
    if "ndcg" in judged:
        for name, label in (("hit_rate", "hit rate"), ("ndcg", "NDCG")):
            by, d, f = judged[name], judged[name]["after - before"], judged[name]["after - folded_in"]
            means = (
                f"{by['before']:.4f} before, {by['folded_in']:.4f} by the old model shown the new events, {by['after']:.4f} after"
            )
            gain = f"{d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
            lines.append(
                f"{label}@{judged['k']} on the last new like of {judged['users']:,} users, held back from all three: {means}; "
                f"after - before {gain}, after - shown {f['mean']:+.4f} [{f['low']:+.4f}, {f['high']:+.4f}]"
            )
    else:
        lines.append(f"not judged: {judged['users']} users bring two new likes, two such users are needed")
    for name, label in (("touched", "with new events"), ("others", "without")):
        moved = facts["churn"][name]
        if moved["users"]:
            rbo = "no list" if moved["rbo"] is None else f"rank-biased overlap {moved['rbo']:.3f}"
            lines.append(f"{moved['users']:,} users {label}: {moved['changed']:.1%} of lists changed, {rbo}")
    return lines


def _told_events(counts: Mapping[str, int]) -> str:
    parts = [f"{counts['rows']:,} rows came in: {counts['added']:,} new events ({counts.get('likes', 0):,} likes)"]
    parts.append(f"{counts.get('new_users', 0):,} new users")
    words = {
        "changed": "known pairs with a new value (the latest wins)",
        "same": "known already",
        "older": "older than what is known",
        "left_out": "left out, as the pair is held out for the test",
        "repeated": "repeated, the latest of a pair taken",
        "other_items": "reactions to items that these data do not have, left out",
        "unusable": "reactions not used, as the data have no value for them",
    }
    return ", ".join([*parts, *(f"{counts[k]:,} {text}" for k, text in words.items() if counts.get(k))])
