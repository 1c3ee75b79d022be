"""What `whyrec feedback` and `whyrec forget` do: count and export what people said, and remove what is kept of one user."""

from __future__ import annotations

import argparse

from recsys_core.errors import UserError
from recsys_core.whole import writing


def feedback(args: argparse.Namespace) -> None:
    """Counts by run, agreement, and on demand every row as CSV."""
    from recsys_core import feedback as core

    if args.export is not None and args.export.suffix != ".csv":
        raise UserError(f"--export {args.export}: the name must end in .csv")
    if not args.runs.is_dir():
        raise UserError(f"--runs {args.runs}: no such folder; name the one that holds your runs")
    path = core.file_of(args.runs)
    found, log = core.verdicts(path), core.rows(path, "reaction")
    share, low, high, n = core.sense(found)
    for run, verdicts in found.groupby("run", sort=True):
        counts = verdicts["verdict"].value_counts()
        print(f"{run}: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in core.VERDICTS))
    if n:
        print(f"makes sense: {share:.1%} (95% Wilson interval {low:.1%} to {high:.1%}, n = {n} verdicts)")
        agreed = core.agreement(found)
        if agreed.n_pairs:
            told = f"{agreed.share:.1%} of {agreed.n_comparisons} comparisons on {agreed.n_pairs} pairs"
            print(f"agreement: {told}, Fleiss' kappa {agreed.fleiss:.2f}")
    made = log["reaction"].value_counts()
    print("reactions: " + ", ".join(f"{made.get(name, 0)} {name}" for name in core.REACTIONS))
    if args.export is not None:
        from dashboard.tables import safe_csv

        table = core.export(path)
        with writing(args.export) as fresh:
            fresh.write_text(safe_csv(table), encoding="utf-8")
        print(f"{len(table):,} rows in {args.export}")


def forget(args: argparse.Namespace) -> None:
    """Rows of the feedback file, and explanations kept of the histories that the user has or had in any run of the folder."""
    from recsys_core import feedback as core
    from recsys_core.explain import answer
    from recsys_core.run import Run, find_runs

    path = core.file_of(args.runs)
    if not args.runs.is_dir():
        raise UserError(f"--runs {args.runs}: no such folder")
    histories, holding, damaged = [], [], []
    for place in find_runs(args.runs):
        try:
            run = Run.load(place)
            knows = run.dataset.users.find([args.user])[0] >= 0
        except UserError as error:  # the others are searched all the same
            damaged.append(str(error))
            continue
        if knows:
            histories += core.histories(run, args.user, path)
            holding.append(place.name)
    gone = core.forget(path, args.user)
    kept = answer.forget(histories)
    print(f"user {args.user}: removed {gone['verdict']} verdicts, {gone['reaction']} reactions, {kept} kept explanations")
    if holding:
        told = "still hold this user's interactions, as they were trained: train again without them to remove those"
        print(f"{', '.join(holding)} {told}")
    elif not damaged:
        print(f"no run under {args.runs} knows user {args.user}; forget before a run is deleted: it leads to what is kept of it")
    if damaged:
        raise UserError(f"not searched for histories of user {args.user}: {'; '.join(damaged)}")
