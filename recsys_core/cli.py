"""The `whyrec` command. Each command parses, calls the core and prints; heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_core import __version__, cli_dashboard, cli_doctor, cli_help
from recsys_core.cli_help import Add, Parser
from recsys_core.errors import UserError, of_the_disk, one_line

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.beside import Reranking
    from recsys_core.data import Dataset, Interactions
    from recsys_core.run import Run

HIDES, HIDE_DEFAULT = ("met", "liked"), "(default: as the run was trained)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 = done, 1 = `doctor` found what blocks, 2 = the input was wrong or the disk failed (one line on stderr
    says the fix), 130 = interrupted."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # two spinning torch threads beside another process are 30 times slower
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:  # whyrec help train
        words = [*words[1:2], "--help"]
    try:
        args = build_parser().parse_args(words or ["--help"])
        _check_names(words, args)
        return args.command(args) or 0
    except UserError as error:
        print(f"whyrec: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if (told := of_the_disk(error)) is None and error.filename is None:
            raise
        fix = "check the path, its permissions and the space on the disk"
        print(f"whyrec: {told or one_line(f'{error.filename}: {error.strerror}; {fix}')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("whyrec: interrupted; nothing half-written is kept", file=sys.stderr)
        return 130
    return 0


def _check_names(words: Sequence[str], args: argparse.Namespace) -> None:
    """Raises UserError for what could not be printed, or written into a file, at the end of all the work."""
    for word in words:
        if any("\ud800" <= sign <= "\udfff" for sign in word):  # bytes that are not UTF-8
            raise UserError(f"{word!a}: not a name in UTF-8; rename the file or folder, or set the terminal to UTF-8")
    for option, value in vars(args).items():
        if isinstance(value, Path) and not str(value).isprintable():
            fix = "rename it, or choose another name"
            raise UserError(f"--{option} {str(value)!r}: a name with a line break or a sign that cannot be seen; {fix}")


def build_parser() -> Parser:
    """All commands and options; every command's help ends with examples."""
    parser = Parser(prog="whyrec")
    parser.add_argument("--version", action="version", version=f"whyrec {__version__}")
    add = parser.commands()
    for options in (_begin_options, _fetch_options, _prepare_options, _train_options, _recommend_options, _explain_options,
                    _evaluate_options, _compare_options, _update_options, _feedback_options):  # fmt: skip
        options(add)
    return parser


def _begin_options(add: Add) -> None:
    cli_doctor.options(add)
    demo = add("demo", _demo, "Fetch MovieLens-100K, train, and open the dashboard; reuses what is there.", "whyrec demo",
               "whyrec demo --no-dashboard       # train and judge only", "whyrec demo --port 8600")  # fmt: skip
    demo.add_argument("--no-dashboard", action="store_true", help="stop after training and evaluating")
    cli_dashboard.listening(demo)
    text = "Print the script that completes commands, options, runs and files on the tab key."
    examples = [f"{line.partition(';')[0]}" for line in cli_help.INSTALL.values()]
    add("completion", _completion, text, *examples).add_argument("shell", choices=tuple(cli_help.INSTALL))


def _fetch_options(add: Add) -> None:
    examples = "whyrec fetch ml-100k", "whyrec fetch ml-1m --out data/movies"
    fetch = add("fetch", _fetch, "Bring a public data set, checksums verified.", *examples)
    fetch.add_argument("name", help="ml-100k, ml-latest-small, ml-1m or ml-25m")
    fetch.add_argument("--out", type=Path, help="folder to make (default: data/NAME)")


def _prepare_options(add: Add) -> None:
    examples = (
        "whyrec prepare --interactions ratings.csv --items movies.csv --threshold 4 --out data/mine",
        "whyrec prepare --interactions clicks.parquet --map user_id=uid,item_id=sku --duplicates sum --out data/shop",
        "whyrec prepare --interactions r.csv --items m.csv --map items.item_id=movie --text title,plot --out data/films",
    )
    prepare = add("prepare", _prepare, "Read your own tables, check them, and write a prepared data folder.", *examples)
    table = prepare.add_argument_group("tables").add_argument
    told = "CSV, TSV or Parquet: user_id, item_id [, value, time]"
    table("--interactions", type=Path, required=True, metavar="FILE", help=told)
    table("--items", type=Path, metavar="FILE", help="item_id, title and any attributes")
    table("--users", type=Path, metavar="FILE", help="user_id and any attributes")
    table("--out", type=Path, required=True, help="folder to make")
    column = prepare.add_argument_group("columns").add_argument
    mapping = "names of your columns; items.item_id=movie for one file alone; time=- for none"
    column("--map", nargs="+", action="extend", default=[], metavar="NAME=COLUMN,...", dest="mapping", help=mapping)
    column("--text", metavar="COLUMNS", help="item columns that make the text, comma-separated")
    column("--lists", metavar="COLUMNS", help="list-valued item columns, comma-separated")
    column("--separator", help="between the entries of list-valued columns (default: as found)")
    told = "item columns kept as attributes, comma-separated (default: all that are not prose)"
    column("--attributes", metavar="COLUMNS", help=told)
    option = prepare.add_argument_group("reading").add_argument
    option("--threshold", type=float, help="a value at or above it is a like; leave out for implicit data")
    option("--delimiter", help="column separator (default: by file name)")
    option("--encoding", default="utf-8", help="of text files")
    option("--duplicates", choices=("error", "last", "sum"), default="error", help="what to do with a repeated (user, item)")
    option("--unknown-items", choices=("error", "keep", "drop"), default="error", help="interactions with items not in --items")


def _train_options(add: Add) -> None:
    examples = (
        "whyrec train --data data/ml-100k --out runs/a",
        "whyrec train --data data/mine --out runs/mine --split leave-last --seed 1",
        "whyrec train --data data/mine --out runs/quick --config configs/quick.toml --set ease.reg=300",
    )
    train = add("train", _train, "Train the hybrid into a new run directory.", *examples)
    option = train.add_argument
    option("--data", type=Path, required=True, help="a folder of a known format or a prepared one")
    option("--out", type=Path, required=True, help="run directory to make")
    option("--resume", action="store_true", help="go on with an interrupted training")
    option = train.add_argument_group("settings").add_argument
    option("--config", type=Path, metavar="FILE", help="TOML; configs/ has some, and default.toml every key")
    settings = "over those of --config, e.g. k=20 ease.reg=100 components=ease,bert"
    option("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="assignments", help=settings)
    option("--seed", type=int, help="of all that is random (default: that of the settings, 0)")
    option("--device", choices=("auto", "cpu", "cuda", "mps"), help="where BERT runs (default: auto, the fastest there is)")
    option = train.add_argument_group("judging").add_argument
    option("--split", help="random, leave-last, time or cold-items (default: that of the settings, random)")
    option("--test", type=Path, metavar="FILE", help="judge on this table instead of a split")


def _recommend_options(add: Add) -> None:
    examples = (
        "whyrec recommend --run runs/demo --users 196 --k 10",
        "whyrec recommend --run runs/demo --users all --out topk.csv",
        "whyrec recommend --run runs/demo --users 196 --weights bert=1,popularity=0 --rerank mmr=0.3",
    )
    recommend = add("recommend", _recommend, "Write top-K lists.", *examples)
    recommend.add_argument("--run", type=Path, required=True, help="run directory")
    option = recommend.add_argument_group("for whom (one of the two)").add_argument
    option("--users", help="all, or ids separated by commas")
    option("--history", type=Path, metavar="FILE", help="a table with a column item_id, oldest first: as if it were a user")
    option = recommend.add_argument_group("lists").add_argument
    option("--k", type=int, default=10, help="length of each list")
    option("--weights", help="e.g. ease=1,bert=0.5; the others keep what was learned")
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}; a --history is left out in any case")
    option("--rerank", metavar="NAME=STRENGTH", help="mmr, calibration, popularity_penalty or dpp, strength from 0 to 1")
    option = recommend.add_argument_group("output").add_argument
    option("--out", type=Path, help=".csv or .parquet (default: print)")
    option("--json", action="store_true", help="print JSON rows")


def _explain_options(add: Add) -> None:
    examples = (
        "whyrec explain --run runs/demo --user 196 --item 50 --what-if",
        "whyrec explain --run runs/demo --user 196 --item 50 --question words --html why.html",
        "whyrec explain --run runs/demo --user 196 --top --out why.csv",
    )
    explain = add("explain", _explain, "Say why an item stands where it does in a user's list.", *examples)
    explain.add_argument("--run", type=Path, required=True, help="run directory")
    option = explain.add_argument_group("what (--item, --top, --pairs or --scoreboard)").add_argument
    option("--user", help="user id")
    option("--item", help="item id")
    option("--top", action="store_true", help="explain the user's whole top-k")
    option("--pairs", type=Path, metavar="FILE", help="a table user_id,item_id: explain each pair, once")
    option("--scoreboard", action="store_true", help="measure how faithful every method is on a sample of users; kept in the run")
    option("--users", type=int, help="users of the scoreboard (default: 100)")
    option = explain.add_argument_group("how").add_argument
    option("--question", default="history", help="history, components, words or attributes")
    option("--method", help="exact, shap, lime, loo, ig, ... (default: exact where closed form or within the budget, else shap)")
    option("--budget", type=int, default=100, help="model evaluations of a sampled method")
    option("--seconds", type=float, help="time limit of a sampled method (default: none)")
    option("--seed", type=int, default=0, help="of what is sampled")
    option("--what-if", action="store_true", help="also: the smallest change that takes the item out of the list, or into it")
    option("--k", type=int, help="length of the list: of --top and --what-if (default: 10), of the --scoreboard (default: 5)")
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}; for one --item")
    option("--weights", help="e.g. ease=1,bert=0.5; the others keep what was learned")
    told = "a table user_id,item_id,score as one more component, weight 1 unless in --weights"
    option("--external", metavar="NAME=FILE", help=told)
    option = explain.add_argument_group("output").add_argument
    option("--language", help="of sentence, what-ifs and report: en (default) or zh; with --top and --pairs: add sentences")
    option("--out", type=Path, help="of --top and --pairs: .csv or .parquet (default: print)")
    option("--json", action="store_true", help="print JSON")
    option("--html", type=Path, metavar="FILE", help="write a report that opens offline")


def _evaluate_options(add: Add) -> None:
    examples = "whyrec evaluate --run runs/demo", "whyrec evaluate --run runs/demo --k 20 --segments gender,activity --json"
    option = add("evaluate", _evaluate, "Judge a run on its test set; the run counts how often.", *examples).add_argument
    option("--run", type=Path, required=True, help="run directory")
    option("--test", type=Path, metavar="FILE", help="judge on this table instead of the run's own test part")
    option("--k", type=int, default=10, help="length of the lists that are judged")
    option("--hide", choices=HIDES, help=f"what lists leave out {HIDE_DEFAULT}")
    option("--segments", default="", help="user columns or activity, comma-separated: the same for each group")
    option("--json", action="store_true", help="print JSON rows")


def _compare_options(add: Add) -> None:
    examples = "whyrec compare --runs runs/a runs/b", "whyrec compare --runs runs/a runs/b runs/c --k 20 --json"
    option = add("compare", _compare, "Paired differences between runs on one test set.", *examples).add_argument
    option("--runs", type=Path, nargs="+", required=True, help="the first is what the others are compared with")
    option("--k", type=int, default=10, help="length of the lists that are judged")
    option("--json", action="store_true", help="print JSON rows")


def _update_options(add: Add) -> None:
    examples = "whyrec update --run runs/a --interactions new.csv --out runs/b", "whyrec update --run runs/a --feedback"
    text = "Bring new events into a new run without training anew; the old run stays."
    option = add("update", _update, text, *examples).add_argument
    option("--run", type=Path, required=True, help="run directory to go out from")
    option("--interactions", type=Path, metavar="FILE", help="new events of known or new users on known items")
    mapping = "names of your columns, as in prepare"
    option("--map", nargs="+", action="extend", default=[], metavar="NAME=COLUMN,...", dest="mapping", help=mapping)
    option("--feedback", action="store_true", help="take the likes and dislikes that were given in the dashboard")
    option("--epochs", type=int, default=3, help="of factors and bert, from what they have learned")
    option("--out", type=Path, help="run directory to make (default: the next free name, a-2 for a)")
    option("--json", action="store_true", help="print JSON")


def _feedback_options(add: Add) -> None:
    from recsys_core.cli_feedback import feedback, forget

    examples = "whyrec feedback", "whyrec feedback --runs runs --export feedback.csv"
    option = add("feedback", feedback, "Count and export what people said in the dashboard.", *examples).add_argument
    option("--runs", type=Path, default=Path("runs"), help="folder of runs")
    option("--export", type=Path, metavar="FILE", help=".csv: every row, cells that a spreadsheet would run guarded")
    text = "Remove what was recorded of a user, and explanations kept of them."
    option = add("forget", forget, text, "whyrec forget --runs runs --user 196").add_argument
    option("--runs", type=Path, default=Path("runs"), help="folder of runs")
    option("--user", required=True, help="user id")
    cli_dashboard.serving(add)


def _completion(args: argparse.Namespace) -> None:
    print(cli_help.script(build_parser(), args.shell))


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
        shutil.rmtree(fresh, ignore_errors=True)


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
    from recsys_core.limits import MOST_K, check_k
    from recsys_core.recommend import list_of, lists_of, row_of
    from recsys_core.run import Run

    if (args.users is None) == (args.history is None):
        raise UserError("give either --users (all, or ids separated by commas) or --history FILE")
    _check_out(args)
    run, weights = Run.load(args.run), _weights(args.weights)
    again = None if args.rerank is None else _reranking(run, args.rerank)
    check_k(args.k)
    depth = args.k if again is None else min(again.pool * args.k, MOST_K)
    if args.history is not None:
        items = _history(run, args.history)
        lists, likes = list_of(run, items, k=depth, weights=weights), row_of(run, items)
    else:
        users = None if args.users == "all" else [u.strip() for u in args.users.split(",")]
        if users and (twice := [u for u in users if users.count(u) > 1]):
            raise UserError(f"--users {twice[0]}: given twice; give it once")
        lists = lists_of(run, users, k=depth, weights=weights, hide_as=args.hide)
        likes = run.likes if users is None else run.likes[run.dataset.users.codes(users, "user")]
    if again is not None:
        lists = again.lists(lists, likes, k=args.k)
    _write_table(lists.frame(), args)


def _reranking(run: Run, text: str) -> Reranking:
    from recsys_core.beside import Features, Reranking

    ((name, strength),) = _pairs([text], "--rerank").items()
    return Reranking(Features.of(run), name, _number(strength, name, "--rerank"))


def _explain(args: argparse.Namespace) -> None:
    from recsys_core.cli_explain import explain

    _check_out(args)
    explain(args, _weights(args.weights), _write_table)


def _weights(text: str | None) -> dict[str, float]:
    return {name: _number(value, name) for name, value in _pairs(_names(text) or [], "--weights").items()}


def _evaluate(args: argparse.Namespace) -> None:
    from recsys_core.evaluate import evaluate
    from recsys_core.opened import times_opened
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
    from recsys_core import ready

    run = ready.run("data/ml-100k", "runs/demo", say=_say)
    if not args.no_dashboard:
        cli_dashboard.serve(run.path.parent, run.path, args)


def _events(data: Dataset, path: Path) -> Interactions:
    from recsys_core.readers.table import read_events

    return read_events(path, data)


def _history(run: Run, path: Path) -> list[str]:
    from recsys_core.readers.table import read_column

    return read_column(path, "item_id", run.dataset.items)


def _check_out(args: argparse.Namespace) -> None:
    """Raises UserError for what `_write_table` could not do, before anything is computed."""
    if args.out is not None and args.json:
        raise UserError("--out and --json are two ways to write it; give one of them")
    if args.out is not None and args.out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {args.out}: the name must end in .csv or .parquet")


def _write_table(table: pd.DataFrame, args: argparse.Namespace) -> None:
    if args.json:
        print(table.to_json(orient="records"))
    elif args.out is None:
        print(table.to_string(index=False, float_format="%.4f"))
    else:
        from recsys_core.whole import writing

        with writing(args.out) as fresh:
            table.to_csv(fresh, index=False) if args.out.suffix == ".csv" else table.to_parquet(fresh, index=False)
        print(f"{len(table):,} rows in {args.out}")


def _pairs(items: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise UserError(f"{option} {item!r}: write name=value")
        if name.strip() in found:
            raise UserError(f"{option} {name.strip()}: given twice; give it once")
        found[name.strip()] = value.strip()
    return found


def _names(text: str | None) -> list[str] | None:
    return [t.strip() for t in text.split(",") if t.strip()] if text else None


def _number(text: str, name: str, option: str = "--weights") -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{option} {name}={text}: not a number") from None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
