"""What `whyrec explain` does: one pair, a whole list, a table of pairs, or the scoreboard of methods."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from recsys_core.errors import UserError
from recsys_core.explain.answer import answer, explain_subject, subject
from recsys_core.explain.game import Budget, Explanation

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from recsys_core.explain.subject import Subject
    from recsys_core.run import Run

Weights = dict[str, float]
Write = Callable[["pd.DataFrame", argparse.Namespace], None]
MOST_ROWS = 15  # players printed; the others are one line
SHOWN = ["user_id", "item_id", "rank", "label", "contribution", "base", "output"]  # of a table that is printed

ONE, LISTS, ALL = ("item",), ("top", "pairs"), ("item", "top", "pairs", "scoreboard")
FITS = {  # option -> what it can be asked of
    "user": ("item", "top"),
    "users": ("scoreboard",),
    "method": (*ONE, *LISTS),
    "weights": (*ONE, *LISTS),
    "what_if": ONE,
    "hide": ONE,
    "external": ONE,
    "html": ONE,
    "k": ("item", "top", "scoreboard"),
    "language": (*ONE, *LISTS),
    "out": LISTS,
}
ASKED = {"item": "--item", "top": "--top", "pairs": "--pairs", "scoreboard": "--scoreboard"}


class WhatIf(NamedTuple):
    """One answer: in a line, as plain values, and as rows."""

    told: str
    values: dict[str, Any]
    frame: pd.DataFrame


def explain(args: argparse.Namespace, weights: Weights, write: Write) -> None:
    """Run the command; `write` prints or saves a table as --out and --json say."""
    from recsys_core.run import Run

    _check(args)
    run = Run.load(args.run)
    if args.scoreboard:
        _scoreboard(run, args)
    elif args.top or args.pairs is not None:
        table = _many(run, args, weights)
        if args.out is None and not args.json:
            said = table[["user_id", "item_id", "sentence"]].drop_duplicates() if args.language else table[:0]
            print("".join(f"{user}, {item}: {text}\n" for user, item, text in said.itertuples(index=False)), end="")
            table = table[SHOWN]
        write(table, args)
    else:
        _one(run, args, weights)


def _check(args: argparse.Namespace) -> None:
    """Which options go together, in one line."""
    given = {name for name, value in vars(args).items() if value not in (None, False)}
    asked = [name for name in ASKED if name in given]
    if len(asked) != 1:
        raise UserError("give one of --item, --top, --pairs FILE or --scoreboard")
    if args.user is None and asked[0] in FITS["user"]:
        raise UserError(f"--{asked[0]} needs --user")
    for name, fits in FITS.items():
        if name in given and asked[0] not in fits:
            where = ", ".join(ASKED[mode] for mode in fits)
            raise UserError(f"--{name.replace('_', '-')} is for {where}; leave it out with --{asked[0]}")
    if args.k is not None and asked[0] == "item" and not args.what_if:
        raise UserError("--k is the length of the list that --what-if is about; add --what-if or leave it out")
    if args.html is not None and args.json:
        raise UserError("--html and --json are two ways to write it; give one of them")
    if args.k is None:
        args.k = 5 if args.scoreboard else 10


def _budget(args: argparse.Namespace) -> Budget:
    return Budget(args.budget, args.seconds)


def _scoreboard(run: Run, args: argparse.Namespace) -> None:
    from recsys_core.explain.faithfulness import FILES, scoreboard

    most = 5 if args.question == "history" else 3  # texts are short
    users = 100 if args.users is None else args.users
    how: dict[str, Any] = {"users": users, "k": args.k, "seed": args.seed, "budget": _budget(args), "most": most}
    board = scoreboard(run, question=args.question, **how, say=lambda line: print(line, file=sys.stderr))
    board.save(run)
    if args.json:
        print(board.rows.to_json(orient="records"))
        return
    print(board.text())
    print(f"the rows are in {run.path}/{FILES[args.question]}.parquet")


def _many(run: Run, args: argparse.Namespace, weights: Weights) -> pd.DataFrame:
    from recsys_core.explain.batch import explain_list, explain_pairs

    how: dict[str, Any] = {
        "question": args.question,
        "method": args.method or "",
        "language": args.language or "",
        "budget": _budget(args),
        "seed": args.seed,
        "weights": weights,
    }
    if args.top:
        return explain_list(run, args.user, k=args.k, **how)
    from recsys_core.readers.table import read_column

    known = {"user_id": run.dataset.users, "item_id": run.dataset.items}
    users, items = (read_column(args.pairs, name, ids) for name, ids in known.items())
    return explain_pairs(run, list(dict.fromkeys(zip(users, items, strict=True))), **how)


def _one(run: Run, args: argparse.Namespace, weights: Weights) -> None:
    about = subject(run, args.user, args.item, {} if args.external else weights, args.hide)
    if args.external:
        about = _with_table(run, about, args, weights)
    found = explain_subject(
        run, about, user=args.user, question=args.question, method=args.method or "", budget=_budget(args), seed=args.seed,
        language=args.language or "en", progress=_bar(args),
    )  # fmt: skip
    changes = _changes(about, args) if args.what_if else {}
    if args.html is not None:
        print(f"report in {_report(run, about, found, changes, args)}")
    elif args.json:
        plain = {name: {"told": change.told, **change.values} for name, change in changes.items()}
        print(json.dumps(found.as_dict() | ({"what_if": plain} if changes else {}), ensure_ascii=False, indent=1))
    else:
        print(_text(found))
        for name, change in changes.items():
            print(f"{name}: {change.told}")


def _with_table(run: Run, about: Subject, args: argparse.Namespace, weights: Weights) -> Subject:
    """The run's hybrid with a table of scores as one more component."""
    from pathlib import Path

    from recsys_core.explain.foreign import beside, table_row
    from recsys_core.readers.table import read_scores

    name, equals, file = args.external.partition("=")
    if not (name and equals and file):
        raise UserError(f"--external {args.external}: write it NAME=FILE")
    scores = read_scores(Path(file))
    try:
        row = table_row(scores, run.dataset, args.user)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    model = beside(about.model, name, row, about.history, weights.get(name, 1.0)).with_weights(weights)
    return replace(about, model=model)


def _bar(args: argparse.Namespace) -> Callable[[int, int], None] | None:
    """A progress line on a terminal, none where output is read by a machine."""
    if args.json or not sys.stderr.isatty():
        return None
    return lambda done, most: print(
        f"\r{done} of {max(done, most)} evaluations", end="\n" if done >= most else "", file=sys.stderr
    )


def _text(e: Explanation) -> str:
    """What a terminal shows: the sentence, the players, and how far it can be trusted."""
    frame = e.frame()
    lines = [e.sentence] if e.sentence else []
    place = f"rank {e.rank}" if e.rank > 0 else "not in the list: met already, or nobody can score it"
    lines.append(f"{e.title} ({e.item}) for user {e.user}: {e.output:+.4f} log-odds, probability {e.probability:.1%}, {place}")
    width = max([4, *(len(str(label)) for label in frame["label"][:MOST_ROWS])])
    lines.append(f"  {'base':<{width}} {e.base:+.4f}")
    for label, value, error in zip(frame["label"], frame["contribution"], frame["standard_error"], strict=True):
        if len(lines) > MOST_ROWS + 2:
            rest = frame["contribution"][MOST_ROWS:]
            lines.append(f"  {f'{len(rest)} others':<{width}} {rest.sum():+.4f}")
            break
        lines.append(f"  {label!s:<{width}} {value:+.4f}" + (f" (standard error {error:.4f})" if error > 0 else ""))
    trust = f"{e.question} by {e.method}: gap {e.gap:+.1e}, {e.evaluations} evaluations, {e.seconds:.2f} s"
    lines.append(
        trust + (f", R2 {e.fidelity:.3f}" if e.fidelity == e.fidelity else "") + (", from the cache" if e.cached else "")
    )
    return "\n".join([*lines, *e.notes])


def _changes(about: Subject, args: argparse.Namespace) -> dict[str, WhatIf]:
    """The smallest removals that take a listed item out, of words too if these are asked about; or what would bring it in."""
    from recsys_core.explain import told
    from recsys_core.explain._ranks import rank_of
    from recsys_core.explain.counterfactual import remove_history, remove_words
    from recsys_core.explain.why_not import why_not

    how = args.language or "en"
    if not 0 < int(rank_of(about)[0]) <= args.k:
        lacking = why_not(about, args.k)
        return {"why not": WhatIf(told.why_not(lacking, how), lacking.as_dict(), lacking.frame())}
    found = {f"to leave the top {args.k}": remove_history(about, args.k)}
    if args.question == "words":
        found[f"to leave the top {args.k}, by words"] = remove_words(about, args.k, _budget(args), seed=args.seed)
    return {name: WhatIf(told.counterfactual(change, how), change.as_dict(), change.frame()) for name, change in found.items()}


def _report(run: Run, about: Subject, found: Explanation, changes: dict[str, WhatIf], args: argparse.Namespace) -> Path:
    """Every question that can be asked of this pair, and the tree, on one page."""
    from dashboard.report import of_pair, write_report
    from dashboard.strings import plain, speaking
    from recsys_core.explain import questions

    sections = [found]
    for question in questions.names():
        if question == found.question:
            continue
        try:
            more = answer(run, about, question, "", _budget(args), args.seed)
        except UserError:
            continue  # no words, no attributes: the page has no such section
        sections.append(more)
    with speaking(args.language or "en"):
        leave = plain("why.changes.leave", k=args.k)
        heads = {"why not": plain("why.changes"), f"to leave the top {args.k}": leave}
        words = f"{leave} ({plain('explain.column.words')})"
        what_if = {heads.get(name, words): (change.told, change.frame) for name, change in changes.items()}
        return write_report(args.html, **of_pair(run, about, sections, what_if))
