"""Do 1,000 sentences hold? MovieLens-100K at default settings: every clause is computed again another way.

    python benchmarks/sentences.py [--run RUN]

RUN is a trained run (else one is trained, or taken from --runs). Sentences are about random users and items: half from the user's
list, half from anywhere. Shares are checked against explanations by the shap package, losses against the lists that `recommend`
makes of the history without the past item. Also what 1,000 explained pairs cost as one table. Writes results/sentences.json.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from _common import ML_100K, arguments, folder_of_runs, result_file, trained

from recsys_core.config import load_settings
from recsys_core.explain import questions
from recsys_core.explain.answer import subject
from recsys_core.explain.batch import explain_pairs
from recsys_core.explain.explainers import attribute
from recsys_core.explain.game import Budget
from recsys_core.explain.sentence import Clause, sentence
from recsys_core.explain.subject import Subject
from recsys_core.readers import load_dataset
from recsys_core.recommend import recommend
from recsys_core.run import Run

SENTENCES = 1000
TOLERANCE = 1e-4  # of a share: float32 scores behind the shap package


def place(about: Subject, without: str = "") -> int:
    """Rank in the whole list that `recommend` makes, 0 = not in it."""
    kept = about.items.ids[about.history.items] != without
    items = recommend(about.model, about.history.keep(kept), about.hidden, k=len(about.items)).items[0]
    at = np.flatnonzero(items == about.item)
    return int(at[0]) + 1 if len(at) else 0


def holds(clause: Clause, about: Subject) -> bool:
    """Computed another way than the sentence was."""
    if clause.kind in ("without", "still"):
        return (place(about), place(about, clause.players[0])) == (clause.before, clause.value)
    past = attribute(questions.ask("history", about), "shap_permutation", Budget(2 * len(about.history.items) + 1))
    total = past.contributions[past.contributions > 0].sum()
    if clause.kind == "against":
        worst = past.players[int(past.contributions.argmin())]
        return clause.players == (worst,) and abs(past.contributions.sum() - clause.value) < TOLERANCE
    if clause.kind in ("history", "past"):
        if (clause.kind == "history") != (set(clause.players) <= set(about.items.ids[about.history.likes.items])):
            return False
        credit = dict(zip(past.players, past.contributions, strict=True))
        return abs(sum(credit[p] for p in clause.players) / total - clause.value) < TOLERANCE
    if clause.kind == "attribute":
        found = attribute(questions.ask("attributes", about), "shap_permutation", Budget(1000))
        credit = dict(zip(found.players, found.contributions, strict=True))
        return abs(credit[clause.players[0]] / total - clause.value) < TOLERANCE
    if clause.kind == "apart":
        c, nothing = about.model.names.index(clause.players[0]), np.zeros((1, len(about.history.items)), bool)
        rows, item = (about.history, about.masked(nothing)), np.array([about.item])
        parts = [about.weights[c] * float(about.model.z(row, item, about.hidden)[0, 0, c]) for row in rows]
        return max(abs(part - clause.value) for part in parts) < TOLERANCE
    if clause.kind == "component":
        parts = attribute(questions.ask("components", about), "shap_permutation", Budget(1000))
        return total <= TOLERANCE and abs(parts.contributions.max() - clause.value) < TOLERANCE
    return total <= TOLERANCE and abs(about.base - clause.value) < TOLERANCE


def numbers(text: str, titles: list[str]) -> int:
    """How many numbers the sentence says, titles taken out (they may hold numbers)."""
    for title in sorted(titles, key=len, reverse=True):
        text = text.replace(title, "")
    return len(re.findall(r"[+-]?\d+(?:\.\d+)?%?", text))


SAID = {
    "history": 1,
    "past": 1,
    "against": 1,
    "attribute": 1,
    "apart": 1,
    "component": 1,
    "nothing": 1,
    "without": 2,
    "still": 1,
}  # numbers a clause says


def pairs(run: Run, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    out = []
    for user in rng.choice(np.flatnonzero(run.histories.lengths > 0), n):
        listed = recommend(run.model, run.histories[[user]], run.hidden[[user]], k=10).items[0]
        item = rng.choice(listed[listed >= 0]) if len(out) % 2 == 0 else rng.integers(len(run.dataset.items))
        out.append((str(run.dataset.users.ids[user]), str(run.dataset.items.ids[item])))
    return out


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path)
    args = parser.parse_args()
    started = time.perf_counter()
    with folder_of_runs(args.runs) as runs:
        settings = load_settings(None, ["control=false", *args.assignments])
        run = Run.load(args.run) if args.run else trained(load_dataset(ML_100K), settings, runs)[0]
        asked = pairs(run, SENTENCES, np.random.default_rng(0))
        said, wrong, unbacked = Counter(), [], []
        for user, item in asked:
            about = subject(run, user, item)
            told = sentence(about)
            names = [str(t) for t in about.catalog.titles[about.history.items]]
            names += [p for c in told.clauses if c.kind == "attribute" for p in c.players]
            if numbers(told.text, names) != sum(SAID[c.kind] for c in told.clauses):
                unbacked.append(told.text)
            for clause in told.clauses:
                said[clause.kind] += 1
                if not holds(clause, about):
                    wrong.append({"user": user, "item": item, "kind": clause.kind, "text": told.text})
        begun = time.process_time()
        table = explain_pairs(run, asked)
        seconds = time.process_time() - begun
        with tempfile.TemporaryDirectory() as folder:
            table.to_parquet(Path(folder) / "why.parquet", index=False)
            size = (Path(folder) / "why.parquet").stat().st_size
        facts = {
            "sentences": len(asked),
            "clauses": dict(said),
            "clauses_that_do_not_hold": wrong,
            "sentences_with_a_number_that_no_clause_backs": unbacked,
            "pairs_as_one_table": {
                "cpu_seconds": seconds,
                "rows": len(table),
                "bytes": size,
                "largest_gap": table["gap"].abs().max(),
            },
        }
        print(facts)
        result_file("sentences", run.dataset, started, facts)


if __name__ == "__main__":
    main()
