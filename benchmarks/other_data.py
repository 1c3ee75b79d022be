"""Other data sets at default settings: does the hybrid beat its best single component, and do richer texts help?

    python benchmarks/other_data.py --shared DATA [--only amazon lastfm movies]

DATA holds amazon_office_products, lastfm_hetrec2011 and ml100k_multimodal. Nothing is tuned by hand; the single component is the
best one on validation. Amazon: leave-last, by position in the user's sequence. Last.fm: random split of the artists that have
`--least` listeners or more, with their ten most frequent tags as text and attribute. Movies: the five random splits of warm.py,
with plots, directors, actors and writers, beside the same hybrid on titles alone and EASE tuned on validation.
Writes results/other_<name>.json.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import (
    EASE,
    ML_100K,
    Floats,
    Parts,
    arguments,
    by_user,
    difference,
    folder_of_runs,
    judged,
    mean,
    result_file,
    settings_facts,
    split_of,
    trained,
)

from recsys_core.config import Settings, load_settings
from recsys_core.data import Catalog, Dataset
from recsys_core.readers import load_dataset
from recsys_core.readers.table import read_tables

TAGS = 10


def amazon(shared: Path, least: int) -> Dataset:
    a = shared / "amazon_office_products"
    text = ["title", "brand", "description"]
    return read_tables(a / "interactions.csv", a / "items.csv", text=text, duplicates="last", name="amazon-office")


def lastfm(shared: Path, least: int) -> Dataset:
    """Artists with `least` listeners or more; their tags by how many users gave them, most frequent first."""
    folder = shared / "lastfm_hetrec2011"
    events, tagged, tags, artists = (
        pd.read_csv(folder / f"{n}.dat", sep="\t", encoding="latin-1", quoting=3)
        for n in ("user_artists", "user_taggedartists", "tags", "artists")
    )
    heard = events["artistID"].map(events["artistID"].value_counts()) >= least
    counts = tagged.merge(tags, on="tagID").groupby(["artistID", "tagValue"]).size().rename("n").reset_index()
    counts = counts.sort_values(["artistID", "n", "tagValue"], ascending=[True, False, True])
    top = counts.groupby("artistID").head(TAGS).groupby("artistID")["tagValue"].agg("|".join)
    items = artists[artists["id"].isin(events.loc[heard, "artistID"])].assign(tags=lambda t: t["id"].map(top).fillna(""))
    with TemporaryDirectory() as place:
        paths = [Path(place) / "events.tsv", Path(place) / "items.tsv"]
        for table, path in zip((events[heard], items[["id", "name", "tags"]]), paths, strict=True):
            table.to_csv(path, sep="\t", index=False)
        mapping = {"user_id": "userID", "item_id": "artistID", "items.item_id": "id", "title": "name"}
        told: dict[str, Any] = {"text": ["title", "tags"], "lists": ["tags"], "attributes": ["tags"]}
        return read_tables(*paths, mapping=mapping, name="lastfm", **told)


def movies(shared: Path) -> tuple[Dataset, Dataset]:
    """MovieLens-100K as the package reads it, and the same with the richer catalogue in its place."""
    m = shared / "ml100k_multimodal"
    mapping = {"item_id": "movie_id", "time": "unix_timestamp", "gender": "sex", "image": "poster"}
    rich = read_tables(
        m / "ratings.csv",
        m / "movies.csv",
        m / "users.csv",
        threshold=4,
        mapping=mapping,
        text=["title", "ml_genres", "plot"],
        lists=["director", "actors", "writer"],
        attributes=["ml_genres", "year", "director", "actors", "writer"],
    )
    plain = load_dataset(ML_100K)
    rows = rich.items.codes(plain.items.ids)
    table = rich.catalog.frame.iloc[rows].drop(columns="image", errors="ignore").reset_index(drop=True)
    return plain, replace(plain, name="ml-100k-rich", catalog=Catalog(table))


def best_component(valid: dict[str, float]) -> str:
    return max(valid, key=lambda name: valid[name])


def single(name: str, dataset: Dataset, settings: Settings, runs: Path) -> dict[str, Any]:
    """One data set, one seed: figures of every model and the hybrid's difference to each."""
    run, seconds = trained(dataset, settings, runs)
    report = judged(run)
    names = [c.rsplit(":", 1)[0] for c in report.per_user.columns if c.endswith(":ndcg")]
    values = {n: by_user(report, n, dataset) for n in names}
    parts = Parts.of(dataset, split_of(dataset, settings))
    values["EASE"], ease = EASE.tuned(parts, settings.seed)
    best = best_component(run.metrics["valid"]["components"])
    return {
        "settings": settings_facts(settings),
        "users_judged": len(report.per_user),
        "ndcg@10": {n: float(np.nanmean(v)) for n, v in values.items()},
        "valid": run.metrics["valid"],
        "best_component_on_validation": best,
        "hybrid_minus_best_component": difference([values["hybrid"]], [values[best]]),
        "hybrid_minus": {n: difference([values["hybrid"]], [v]) for n, v in values.items() if n != "hybrid"},
        "tuned_ease": ease,
        "weights": dict(zip(run.model.names, run.model.blend.weights, strict=True)),
        "calibration": {k: v for k, v in report.calibration.items() if k != "table"},
        "train_seconds": round(seconds, 1),
        "component_seconds": run.manifest["seconds"],
    }


def rich_movies(shared: Path, seeds: list[int], assignments: list[str], runs: Path, started: float) -> None:
    plain, rich = movies(shared)
    found: list[dict[str, Floats]] = []
    facts = []
    for seed in seeds:
        settings = load_settings(None, [*assignments, "hide=liked"], seed=seed)
        runs_of = {n: trained(d, settings, runs)[0] for n, d in (("titles", plain), ("rich", rich))}
        reports = {n: judged(r) for n, r in runs_of.items()}
        values = {f"hybrid, {n}": by_user(r, "hybrid", plain) for n, r in reports.items()}
        for name in ("bert", "ease", "without bert", "without cold", "shuffled texts"):
            if f"{name}:ndcg" in reports["rich"].per_user:
                values |= {f"{name}, {n}": by_user(r, name, plain) for n, r in reports.items()}
        values["EASE"], _ = EASE.tuned(Parts.of(plain, split_of(plain, settings)), seed)
        found.append(values)
        weights = {n: dict(zip(r.model.names, r.model.blend.weights, strict=True)) for n, r in runs_of.items()}
        calibration = {k: v for k, v in reports["rich"].calibration.items() if k != "table"}
        facts.append({"seed": seed, "weights": weights, "ease": runs_of["rich"].settings.scorers.get("ease"), **calibration})
        rich_values = [f["hybrid, rich"] for f in found]
        content = {
            "settings": settings_facts(settings),
            "ndcg@10": {n: mean([f[n] for f in found]) for n in values},
            "rich_hybrid_minus": {n: difference(rich_values, [f[n] for f in found]) for n in values if n != "hybrid, rich"},
            "seeds": facts,
        }
        result_file("other_movies", rich, started, content)
        print(f"movies, seed {seed}:", {n: round(v, 4) for n, v in content["ndcg@10"].items()}, flush=True)
    for name, d in content["rich_hybrid_minus"].items():
        print(f"rich hybrid - {name:20} {d['mean']:+.4f} {np.round(d['by_user'], 4)}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--shared", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=("amazon", "lastfm", "movies"), default=["amazon", "lastfm", "movies"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of movies")
    parser.add_argument("--least", type=int, default=5, help="listeners that an artist needs")
    args = parser.parse_args()
    if args.shared is None:
        print("skipped: give --shared, the folder of the data sets")
        return
    with folder_of_runs(args.runs) as runs:
        for name, read, split in (("amazon", amazon, "leave-last"), ("lastfm", lastfm, "random")):
            if name in args.only:
                started = time.perf_counter()
                dataset = read(args.shared, args.least)
                content = single(name, dataset, load_settings(None, args.assignments, split=split), runs)
                result_file(f"other_{name}", dataset, started, content)
                print(name, {n: round(v, 4) for n, v in content["ndcg@10"].items()}, flush=True)
                print("  hybrid -", content["best_component_on_validation"], content["hybrid_minus_best_component"])
        if "movies" in args.only:
            rich_movies(args.shared, args.seeds, args.assignments, runs, time.perf_counter())


if __name__ == "__main__":
    main()
