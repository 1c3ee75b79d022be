"""The `whyrec` command. Each command parses, calls the core and prints; heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_core import __version__, cli_dashboard
from recsys_core.errors import UserError, one_line

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.data import Dataset, Interactions
    from recsys_core.run import Run

HIDES, HIDE_DEFAULT = ("met", "liked"), "(default: as the run was trained)"
Add = Callable[..., argparse.ArgumentParser]  # (name, function, help, example) -> the command's parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 = done, 2 = the input was wrong (one line on stderr says the fix), 130 = interrupted."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two spinning torch threads beside another process are 30 times slower
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    args = build_parser().parse_args(argv)
    try:
        args.command(args)
    except UserError as error:
        print(f"whyrec: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if error.filename is None:
            raise
        told = f"{error.filename}: {error.strerror}; check the path, its permissions and the space on the disk"
        print(f"whyrec: {one_line(told)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("whyrec: interrupted; nothing half-written is kept", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and options; every command's help ends with an example."""
    parser = argparse.ArgumentParser(prog="whyrec", description="Why was this recommended, and what happens if we change it?")
    parser.add_argument("--version", action="version", version=f"whyrec {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str, example: str) -> argparse.ArgumentParser:
        form = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=text, description=text, epilog=f"example:\n  {example}", formatter_class=form)
        command.set_defaults(command=run)
        return command

    for options in (_fetch_options, _prepare_options, _train_options, _recommend_options, _explain_options, _evaluate_options):
        options(add)
    _compare_options(add)
    _update_options(add)
    _feedback_options(add)
    _demo_options(add)
    return parser


def _fetch_options(add: Add) -> None:
    fetch = add("fetch", _fetch, "Bring a public data set, checksums verified.", "whyrec fetch ml-100k --out data/ml-100k")
    fetch.add_argument("name", help="ml-100k, ml-latest-small, ml-1m or ml-25m")
    fetch.add_argument("--out", type=Path, help="folder to make (default data/NAME)")


def _prepare_options(add: Add) -> None:
    example = "whyrec prepare --interactions ratings.csv --items movies.csv --map user_id=uid --threshold 4 --out data/mine"
    prepare = add("prepare", _prepare, "Read your own tables, check them, and write a prepared data folder.", example)
    option = prepare.add_argument
    option(
        "--interactions", type=Path, required=True, metavar="FILE", help="CSV, TSV or Parquet: user_id, item_id [, value, time]"
    )
    option("--items", type=Path, metavar="FILE", help="item_id, title and any attributes")
    option("--users", type=Path, metavar="FILE", help="user_id and any attributes")
    mapping = "names of your columns; items.item_id=movie for one file alone; time=- for none"
    option("--map", nargs="+", action="extend", default=[], metavar="NAME=COLUMN,...", dest="mapping", help=mapping)
    option("--text", metavar="COLUMNS", help="item columns that make the text, comma-separated")
    option("--lists", metavar="COLUMNS", help="list-valued item columns, comma-separated")
    option("--separator", help="between the entries of list-valued columns (default: as found)")
    option(
        "--attributes",
        metavar="COLUMNS",
        help="item columns kept as attributes, comma-separated (default: all that are not prose)",
    )
    option("--threshold", type=float, help="a value at or above it is a like; leave out for implicit data")
    option("--delimiter", help="column separator (default: by file name)")
    option("--encoding", default="utf-8", help="of text files (default utf-8)")
    option("--duplicates", choices=("error", "last", "sum"), default="error", help="what to do with a repeated (user, item)")
    option("--unknown-items", choices=("error", "keep", "drop"), default="error", help="interactions with items not in --items")
    option("--out", type=Path, required=True, help="folder to make")


def _train_options(add: Add) -> None:
    example = "whyrec train --data data/ml-100k --out runs/a --split random --seed 0"
    option = add("train", _train, "Train the hybrid into a new run directory.", example).add_argument
    option("--data", type=Path, required=True, help="a folder of a known format or a prepared one")
    option("--out", type=Path, required=True, help="run directory to make")
    option("--config", type=Path, help="TOML file; see configs/")
    settings = "e.g. k=20 ease.reg=100 components=ease,bert"
    option("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments", help=settings)
    option("--split", help="random, leave-last, time or cold-items")
    option("--test", type=Path, help="judge on this table instead of a split")
    option("--seed", type=int)
    option("--device", choices=("auto", "cpu", "cuda", "mps"))
    option("--resume", action="store_true", help="go on with an interrupted training")


def _recommend_options(add: Add) -> None:
    example = "whyrec recommend --run runs/a --users all --k 10 --out topk.csv"
    option = add("recommend", _recommend, "Write top-K lists.", example).add_argument
    option("--run", type=Path, required=True, help="run directory")
    option("--users", help="all, or ids separated by commas")
    option("--history", type=Path, help="a table with a column item_id, oldest first: recommend for this history instead")
    option("--k", type=int, default=10)
    option("--weights", help="e.g. ease=1,bert=0.5; the others keep what was learned")
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}; a --history is left out in any case")
    option("--out", type=Path, help=".csv or .parquet (default: print)")
    option("--json", action="store_true", help="print JSON rows")


def _explain_options(add: Add) -> None:
    example = "whyrec explain --run runs/a --user 196 --item 242 --question history"
    option = add("explain", _explain, "Say why an item stands where it does in a user's list.", example).add_argument
    option("--run", type=Path, required=True, help="run directory")
    option("--user", help="user id")
    option("--item", help="item id; leave out with --top, --pairs or --scoreboard")
    option("--question", default="history", help="history, components, words or attributes (default history)")
    option("--method", default="", help="exact, shap, lime, loo, ig, ... (default: exact where it can be had, else shap)")
    option("--budget", type=int, default=100, help="model evaluations of a sampled method (default 100)")
    option("--seconds", type=float, help="time limit of a sampled method")
    option("--seed", type=int, default=0)
    option("--k", type=int, default=10, help="length of the list that what-ifs are about (default 10)")
    option("--weights", help="e.g. ease=1,bert=0.5; the others keep what was learned")
    option(
        "--external",
        metavar="NAME=FILE",
        help="a table user_id,item_id,score as one more component, weight 1 unless in --weights",
    )
    option("--language", default="en", help="of the sentence, the what-ifs and the report: en or zh")
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}; for one --item")
    option("--what-if", action="store_true", help="also: the smallest change that takes the item out of the list, or into it")
    option("--top", action="store_true", help="explain the user's whole top-k")
    option("--pairs", type=Path, metavar="FILE", help="a table user_id,item_id: explain each pair")
    option("--scoreboard", action="store_true", help="measure how faithful every method is on a sample of users; kept in the run")
    option("--users", type=int, default=100, help="users of the scoreboard (default 100)")
    option("--out", type=Path, help="of --top and --pairs: .csv or .parquet (default: print)")
    option("--json", action="store_true", help="print JSON")
    option("--html", type=Path, metavar="FILE", help="write a report that opens offline")


def _evaluate_options(add: Add) -> None:
    example = "whyrec evaluate --run runs/a --k 10 --segments gender,activity"
    option = add("evaluate", _evaluate, "Judge a run on its test set; the run counts how often.", example).add_argument
    option("--run", type=Path, required=True, help="run directory")
    option("--test", type=Path, help="judge on this table instead of the run's own test part")
    option("--k", type=int, default=10)
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}")
    option("--segments", default="", help="user columns or activity, comma-separated")
    option("--json", action="store_true", help="print JSON rows")


def _compare_options(add: Add) -> None:
    example = "whyrec compare --runs runs/a runs/b"
    option = add("compare", _compare, "Paired differences between runs on one test set.", example).add_argument
    option("--runs", type=Path, nargs="+", required=True, help="the first is what the others are compared with")
    option("--k", type=int, default=10)
    option("--json", action="store_true", help="print JSON rows")


def _update_options(add: Add) -> None:
    example = "whyrec update --run runs/a --interactions new.csv --out runs/b"
    option = add(
        "update", _update, "Bring new events into a new run without training anew; the old run stays.", example
    ).add_argument
    option("--run", type=Path, required=True, help="run directory to go out from")
    option("--interactions", type=Path, metavar="FILE", help="new events of known or new users on known items")
    mapping = "names of your columns, as in prepare"
    option("--map", nargs="+", action="extend", default=[], metavar="NAME=COLUMN,...", dest="mapping", help=mapping)
    option("--feedback", action="store_true", help="take the likes and dislikes that were given in the dashboard")
    option("--epochs", type=int, default=3, help="of factors and bert, from what they have learned (default 3)")
    option("--out", type=Path, help="run directory to make (default: the next free name, a-2 for a)")
    option("--json", action="store_true", help="print JSON")


def _feedback_options(add: Add) -> None:
    from recsys_core.cli_feedback import feedback, forget

    example = "whyrec feedback --runs runs --export feedback.csv"
    option = add("feedback", feedback, "Count and export what people said in the dashboard.", example).add_argument
    option("--runs", type=Path, default=Path("runs"), help="folder of runs (default runs)")
    option("--export", type=Path, metavar="FILE", help=".csv: every row, cells that a spreadsheet would run guarded")
    example = "whyrec forget --runs runs --user 196"
    option = add("forget", forget, "Remove what was recorded of a user, and explanations kept of them.", example).add_argument
    option("--runs", type=Path, default=Path("runs"), help="folder of runs (default runs)")
    option("--user", required=True, help="user id")


def _demo_options(add: Add) -> None:
    cli_dashboard.serving(add("dashboard", cli_dashboard.dashboard, "Open the dashboard in a browser.", cli_dashboard.EXAMPLE))
    demo = add("demo", _demo, "Fetch MovieLens-100K, train, and open the dashboard; reuses what is there.", "whyrec demo")
    demo.add_argument("--no-dashboard", action="store_true", help="stop after training and evaluating")
    cli_dashboard.listening(demo)


def _fetch(args: argparse.Namespace) -> None:
    from recsys_core.fetch import LICENCE, fetch

    out = fetch(args.name, args.out or Path("data") / args.name)
    print(f"{LICENCE}\n{args.name} is in {out}")


def _prepare(args: argparse.Namespace) -> None:
    from recsys_core.readers.table import read_tables

    if args.out.exists():
        raise UserError(f"{args.out} exists; choose another --out or remove it")
    data = read_tables(
        args.interactions,
        args.items,
        args.users,
        mapping=_mapping(args.mapping),
        text=_names(args.text),
        lists=_names(args.lists) or [],
        attributes=_names(args.attributes),
        threshold=args.threshold,
        delimiter=args.delimiter,
        encoding=args.encoding,
        duplicates=args.duplicates,
        unknown_items=args.unknown_items,
        separator=args.separator,
        name=args.out.name,
    )
    fresh = args.out.with_name(f".{args.out.name}.writing")
    _replace_folder(data, fresh, args.out)
    _print_facts(data)


def _replace_folder(data: Dataset, fresh: Path, out: Path) -> None:
    """Write beside, then rename: `out` is whole or absent."""
    import shutil

    shutil.rmtree(fresh, ignore_errors=True)
    try:
        data.save(fresh)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # what a full disk has left


def _print_facts(data: Dataset) -> None:
    facts = data.summary()
    print("{name}: {users:,} users, {items:,} items, {interactions:,} interactions, {likes:,} likes".format(**facts))
    for note in data.notes:
        print(f"  {note}")


def _train(args: argparse.Namespace) -> None:
    from recsys_core.config import load_settings
    from recsys_core.readers import load_dataset
    from recsys_core.train import train

    settings = load_settings(args.config, args.assignments, split=args.split, seed=args.seed, device=args.device)
    if args.out.exists():
        raise UserError(f"{args.out} exists; choose another --out or remove it")
    data = load_dataset(args.data)
    _print_facts(data)
    test = None if args.test is None else _events(data, args.test)
    run = train(data, settings, args.out, test=test, resume=args.resume, say=_say)
    seconds = run.manifest["seconds"]["total"]
    print(f"{args.out}: hybrid NDCG@{settings.k} {run.metrics['valid']['hybrid']:.4f} on validation; {seconds:.0f} s")
    print(f"next: whyrec evaluate --run {args.out}")


def _recommend(args: argparse.Namespace) -> None:
    from recsys_core.recommend import recommend_history, recommend_users
    from recsys_core.run import Run

    if (args.users is None) == (args.history is None):
        raise UserError("give either --users (all, or ids separated by commas) or --history FILE")
    run = Run.load(args.run)
    weights = _weights(args.weights)
    if args.history is not None:
        table = recommend_history(run, _history(run, args.history), k=args.k, weights=weights)
    else:
        users = None if args.users == "all" else [u.strip() for u in args.users.split(",")]
        table = recommend_users(run, users, k=args.k, weights=weights, hide_as=args.hide)
    _write_table(table, args)


def _explain(args: argparse.Namespace) -> None:
    from recsys_core.cli_explain import explain

    explain(args, _weights(args.weights), _write_table)


def _weights(text: str | None) -> dict[str, float]:
    return {name: _number(value, name) for name, value in _pairs(_names(text) or [], "--weights").items()}


def _evaluate(args: argparse.Namespace) -> None:
    from recsys_core.evaluate import evaluate, times_opened
    from recsys_core.run import Run

    run = Run.load(args.run)
    test = None if args.test is None else _events(run.dataset, args.test)
    times_opened(run)  # a count that cannot be read is told before anything is written
    try:
        report = evaluate(run, k=args.k, hide_as=args.hide, test=test, segments=_names(args.segments) or [])
    except UserError as error:
        raise UserError(f"{args.test}: {error}") if str(error).startswith("test events") else error from None
    if test is None:
        report.save(run)
    if args.json:
        print(report.rows.to_json(orient="records"))
        return
    print("\n".join(f"{key}: {text}" for key, text in report.convention.items()))
    print(report.text())
    if test is None:
        print(f"test set opened {times_opened(run)} times for this run; the rows are in {run.path}/report.parquet")


def _compare(args: argparse.Namespace) -> None:
    from recsys_core.evaluate import compare
    from recsys_core.run import Run

    if len(args.runs) < 2:
        raise UserError("--runs needs two run directories or more")
    table = compare([Run.load(path) for path in args.runs], k=args.k)
    print(table.to_json(orient="records") if args.json else table.to_string(index=False, float_format="%.4f"))


def _update(args: argparse.Namespace) -> None:
    from recsys_core.cli_update import update

    update(args, _mapping(args.mapping))


def _mapping(texts: Sequence[str]) -> dict[str, str]:
    return _pairs([pair for text in texts for pair in _names(text) or []], "--map")


def _demo(args: argparse.Namespace) -> None:
    data, run = Path("data/ml-100k"), Path("runs/demo")
    if not run.exists():
        if not data.exists():
            main_or_raise(["fetch", "ml-100k", "--out", str(data)])
        partial = run.with_name(f".{run.name}.partial") / "key.json"
        main_or_raise(["train", "--data", str(data), "--out", str(run), *(["--resume"] if partial.exists() else [])])
        main_or_raise(["evaluate", "--run", str(run)])
    if not args.no_dashboard:
        cli_dashboard.serve(run.parent, run, args)


def main_or_raise(argv: Sequence[str]) -> None:
    """Run a command inside another one; its UserError passes through."""
    args = build_parser().parse_args(argv)
    args.command(args)


def _events(data: Dataset, path: Path) -> Interactions:
    from recsys_core.readers.table import read_events

    return read_events(path, data)


def _history(run: Run, path: Path) -> list[str]:
    from recsys_core.readers.table import read_column

    return read_column(path, "item_id", run.dataset.items)


def _write_table(table: pd.DataFrame, args: argparse.Namespace) -> None:
    if args.json:
        print(table.to_json(orient="records"))
    elif args.out is None:
        print(table.to_string(index=False, float_format="%.4f"))
    elif args.out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {args.out}: the name must end in .csv or .parquet")
    else:
        fresh = args.out.with_name(f".{args.out.name}.writing")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(fresh, index=False) if args.out.suffix == ".csv" else table.to_parquet(fresh, index=False)
        fresh.replace(args.out)
        print(f"{len(table):,} rows in {args.out}")


def _pairs(items: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise UserError(f"{option} {item!r}: write name=value")
        found[name.strip()] = value.strip()
    return found


def _names(text: str | None) -> list[str] | None:
    return [t.strip() for t in text.split(",") if t.strip()] if text else None


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--weights {name}={text}: not a number") from None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
