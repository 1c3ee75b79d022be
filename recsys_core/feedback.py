"""What people say of lists and explanations: verdicts with a note, and likes, dislikes and clicks; a SQLite file beside the runs.

Rows are only ever added (an undo is a row), but for `forget`. Any number of processes may write at once (write-ahead log). What
is read from the file is text of strangers: escape it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import W_OK, access
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core.browse import Person, person, person_of
from recsys_core.data import Histories, amended
from recsys_core.errors import UserError, unknown

if TYPE_CHECKING:
    from recsys_core.run import Run

VERDICTS = ("sense", "confusing", "wrong")
REACTIONS = ("like", "dislike", "click", "undo")
LONGEST = 2000  # letters of a note
SCHEMA = 1
OURS = 0x57485952  # "WHYR", SQLite's application_id
WAIT = 20.0  # seconds that a writer waits for the others
TABLES = """
CREATE TABLE verdict (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, run TEXT NOT NULL, user_id TEXT NOT NULL, item_id TEXT NOT NULL,
  title TEXT NOT NULL, verdict TEXT NOT NULL, note TEXT NOT NULL, shown TEXT NOT NULL, weights TEXT NOT NULL,
  rank INTEGER NOT NULL, probability REAL, author TEXT NOT NULL, of INTEGER);
CREATE INDEX verdict_pair ON verdict (run, user_id, item_id);
CREATE TABLE reaction (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, data TEXT NOT NULL, run TEXT NOT NULL, user_id TEXT NOT NULL,
  item_id TEXT NOT NULL, reaction TEXT NOT NULL, author TEXT NOT NULL);
CREATE INDEX reaction_user ON reaction (data, user_id);
"""


@dataclass(frozen=True)
class Verdict:
    """What a reviewer says of one explanation.

    Args:
        verdict: one of VERDICTS; note: at most LONGEST letters.
        shown: what the reviewer saw, as "question by method"; weights: the blend's, by component.
        rank: place in the list, 1 = best, 0 = not in it; probability: 0-1, None = not scored.
        author: who is signed in; "" if nobody is.
    """

    run: str
    user: str
    item: str
    verdict: str
    note: str = ""
    title: str = ""
    shown: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    rank: int = 0
    probability: float | None = None
    author: str = ""


def file_of(runs: Path) -> Path:
    """The one file of a folder of runs: beside it, as presets are."""
    return runs.resolve().parent / f"{runs.resolve().name}.feedback.sqlite"


# Writing.


def record(path: Path, said: Verdict) -> int:
    """Keep a verdict; its number. Raises UserError for an unknown verdict, too long a note, or a file that is not ours."""
    if said.verdict not in VERDICTS:
        raise unknown("verdict", said.verdict, VERDICTS)
    if len(said.note) > LONGEST:
        raise UserError(f"note has {len(said.note):,} letters; at most {LONGEST:,} are kept, shorten it")
    shown, weights = json.dumps([*said.shown]), json.dumps({k: round(float(v), 6) for k, v in said.weights.items()})
    values = (_now(), said.run, said.user, said.item, said.title, said.verdict, said.note, shown, weights)
    return _add(
        path,
        "INSERT INTO verdict (time, run, user_id, item_id, title, verdict, note, shown, weights, rank, probability, author)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, said.rank, said.probability, said.author),
    )


def withdraw(path: Path, number: int, author: str = "") -> None:
    """Take a verdict back, by a new row. Raises UserError if there is none of this number by this author."""
    text = (
        "INSERT INTO verdict (time, run, user_id, item_id, title, verdict, note, shown, weights, rank, author, of)"
        " SELECT ?, run, user_id, item_id, title, 'withdrawn', '', '[]', '{}', rank, author, id FROM verdict"
        " WHERE id = ? AND author = ? AND of IS NULL"
    )
    if not _add(path, text, (_now(), number, author)):
        raise UserError(f"verdict {number}: there is none of this number to withdraw")


def react(path: Path, *, data: str, run: str, user: str, item: str, reaction: str, author: str = "") -> int:
    """Keep a like, dislike, click, or the undo of an item's like or dislike; its number. `data` is the data set's name: a
    reaction counts in every run on it. Raises UserError for an unknown reaction."""
    if reaction not in REACTIONS:
        raise unknown("reaction", reaction, REACTIONS)
    text = "INSERT INTO reaction (time, data, run, user_id, item_id, reaction, author) VALUES (?, ?, ?, ?, ?, ?, ?)"
    return _add(path, text, (_now(), data, run, user, item, reaction, author))


def forget(path: Path, user: str) -> dict[str, int]:
    """Remove every row about a user, in all runs, so that no byte of them is left in the file; rows removed by table.

    Notes about other users that happen to name this one stay. Raises UserError if another program holds the file open.
    """
    if not path.exists():
        return {"verdict": 0, "reaction": 0}
    with _told(path), _open(path, write=True) as base:
        base.execute("PRAGMA secure_delete = ON")
        base.execute("BEGIN IMMEDIATE")
        gone = {
            "verdict": base.execute("DELETE FROM verdict WHERE user_id = ?", (user,)).rowcount,
            "reaction": base.execute("DELETE FROM reaction WHERE user_id = ?", (user,)).rowcount,
        }
        base.execute("COMMIT")
        base.execute("VACUUM")
        if base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # waits for readers as long as WAIT
            raise UserError(
                f"{path}: rows are removed, but a program that reads the file keeps old pages in its log; run it again"
            )
    return gone


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _add(path: Path, text: str, values: tuple[object, ...]) -> int:
    """One INSERT; the row's number, 0 if it added none."""
    with _told(path), _open(path, write=True) as base:
        done = base.execute(text, values)
        return int(done.lastrowid or 0) if done.rowcount else 0


# The file.


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite has against a file, as the one line that a user can act on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(f"{path}: cannot be used now ({error}); check its permissions and who else writes to it") from None
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: damaged or not a feedback file ({error}); move it away or restore a copy") from None


@contextmanager
def _open(path: Path, *, write: bool) -> Iterator[sqlite3.Connection]:
    """A connection of this call's own, each statement its own transaction; the tables are there."""
    if write and not access(path.parent, W_OK):  # else SQLite tries until WAIT is over
        raise sqlite3.OperationalError("its folder cannot be written to")
    if path.exists() and not path.is_file():  # of a pipe SQLite would wait for ever
        raise UserError(f"{path}: not a plain file, so no feedback file; move it away")
    how = "rwc" if write else "ro"
    still = "" if write or access(path.parent, W_OK) else "&immutable=1"  # a log cannot be opened in a folder of somebody else's
    base = sqlite3.connect(f"{path.absolute().as_uri()}?mode={how}{still}", uri=True, timeout=WAIT, isolation_level=None)
    try:
        if not _is_ours(path, base) and write:
            _create(path, base)
        yield base
    finally:
        base.close()


def _is_ours(path: Path, base: sqlite3.Connection) -> bool:
    """False for an empty file. Raises UserError for a file of somebody else or of another version."""
    owner, version = (int(base.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version"))
    if owner == OURS and version == SCHEMA:
        return True
    if owner == OURS:
        raise UserError(f"{path}: feedback schema {version}, this version reads {SCHEMA}; update Whyrec or move the file away")
    if owner or version or base.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise UserError(f"{path}: a database of another program, not a feedback file; move it away")
    return False


def _create(path: Path, base: sqlite3.Connection) -> None:
    """Tables and write-ahead log. Several processes may try at once: one makes them, the others see that they are there."""
    end = time.monotonic() + WAIT
    while base.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            base.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # SQLite does not wait for this lock by itself
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    base.execute("BEGIN IMMEDIATE")
    if not _is_ours(path, base):
        for statement in filter(str.strip, TABLES.split(";")):
            base.execute(statement)
        base.execute(f"PRAGMA application_id = {OURS}")
        base.execute(f"PRAGMA user_version = {SCHEMA}")
    base.execute("COMMIT")


# Reading.

_PAIR = ("user_id", "item_id")
COLUMNS = {
    "verdict": (
        "id",
        "time",
        "run",
        *_PAIR,
        "title",
        "verdict",
        "note",
        "shown",
        "weights",
        "rank",
        "probability",
        "author",
        "of",
    ),
    "reaction": ("id", "time", "data", "run", *_PAIR, "reaction", "author"),
}


def rows(path: Path, table: str, **where: str) -> pd.DataFrame:
    """Every row of "verdict" or "reaction", oldest first, undone ones too; `where` by column. Empty if there is no file."""
    names = COLUMNS[table]
    if bad := set(where) - set(names):
        raise ValueError(f"no column {bad}")  # names are ours, values are bound
    if not path.exists():
        return pd.DataFrame(columns=list(names))
    condition = " AND ".join(f"{name} = ?" for name in where) or "1"
    with _told(path), _open(path, write=False) as base:
        if not _is_ours(path, base):
            return pd.DataFrame(columns=list(names))
        text = f"SELECT {', '.join(names)} FROM {table} WHERE {condition} ORDER BY id"  # nosec B608
        found = base.execute(text, tuple(where.values()))
        return pd.DataFrame(found.fetchall(), columns=list(names))


def verdicts(path: Path, **where: str) -> pd.DataFrame:
    """Verdicts that stand, latest first: not withdrawn, and of a named author only the last on each pair.

    Columns: id, time (UTC, ISO 8601), run, user_id, item_id, title, verdict, note, shown, weights (JSON), rank,
    probability, author.
    """
    found = rows(path, "verdict", **where)
    standing = found[found["of"].isna() & ~found["id"].isin(found["of"].dropna())]
    named = standing[standing["author"] != ""].drop_duplicates(["run", "user_id", "item_id", "author"], keep="last")
    kept = pd.concat([standing[standing["author"] == ""], named]) if len(named) else standing
    return kept.drop(columns="of").sort_values("id", ascending=False).reset_index(drop=True)


def reactions(path: Path, user: str, *, data: str) -> dict[str, str]:
    """Of each item that a user of a data set likes or dislikes by now, which; in the order of the last word on it."""
    return net(rows(path, "reaction", data=data, user_id=user))


def net(log: pd.DataFrame) -> dict[str, str]:
    """The same of rows of one user, oldest first."""
    standing: dict[str, str] = {}
    for item, reaction in zip(log["item_id"], log["reaction"], strict=True):
        if reaction != "click":
            standing.pop(item, None)
        if reaction in ("like", "dislike"):
            standing[item] = reaction
    return standing


def export(path: Path) -> pd.DataFrame:
    """Everything in the file as one table: `kind` is "verdict" or "reaction", `what` the verdict or reaction."""
    said = rows(path, "verdict").rename(columns={"verdict": "what"}).assign(kind="verdict")
    done = rows(path, "reaction").rename(columns={"reaction": "what"}).assign(kind="reaction")
    names = ["kind", "id", "time", "data", "run", "user_id", "item_id", "title", "what", "note", "shown", "weights"]
    names += ["rank", "probability", "author", "of"]
    parts = [part.reindex(columns=list(names)).astype(object) for part in (said, done) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(names))


def filtered(found: pd.DataFrame, *, run: str = "", verdict: str = "", author: str = "", text: str = "") -> pd.DataFrame:
    """Those of a run, a verdict, an author, and with a text in user, item, title or note (case ignored); "" = any."""
    kept = np.ones(len(found), bool)
    for name, wanted in (("run", run), ("verdict", verdict), ("author", author)):
        kept &= (found[name] == wanted).to_numpy() | (not wanted)
    words = text.strip().casefold()
    held = [words in f"{row.user_id}\n{row.item_id}\n{row.title}\n{row.note}".casefold() for row in found.itertuples()]
    frame: pd.DataFrame = found[kept & np.array(held, bool)]
    return frame.reset_index(drop=True)


# Counting.


@dataclass(frozen=True)
class Agreement:
    """How far reviewers agree, over (run, user, item) with two verdicts or more; NaN = not defined.

    Args:
        n_pairs: such pairs; n_comparisons: pairs of verdicts in them; share: of these, how many are the same, 0-1.
        fleiss: Fleiss' kappa, -1 to 1, 1 = always agree, 0 = as by chance.
        cohen: Cohen's kappa of the two reviewers, if exactly two are named, on the n_cohen pairs that both have judged.
    """

    n_pairs: int
    n_comparisons: int
    share: float
    fleiss: float
    cohen: float
    n_cohen: int


def agreement(found: pd.DataFrame) -> Agreement:
    """Of `verdicts`. Fleiss (1971), Measuring nominal scale agreement among many raters, eq. 1 to 7; pairs may have different
    numbers of verdicts, each pair counts alike. Cohen's kappa by scikit-learn."""
    counts = found.assign(pair=_pair_of(found)).pivot_table(index="pair", columns="verdict", values="id", aggfunc="count")
    table = counts.reindex(columns=list(VERDICTS)).fillna(0).to_numpy(np.float64)  # (pairs, verdicts)
    table = table[table.sum(axis=1) > 1]
    cohen, n_cohen = _cohen(found)
    if not len(table):
        return Agreement(0, 0, np.nan, np.nan, cohen, n_cohen)
    size = table.sum(axis=1)
    same, all_ = (table * (table - 1)).sum(axis=1), size * (size - 1)
    chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    mean = float((same / all_).mean())
    fleiss = (mean - chance) / (1 - chance) if chance < 1 else np.nan
    return Agreement(len(table), int(all_.sum() / 2), float(same.sum() / all_.sum()), fleiss, cohen, n_cohen)


def _pair_of(found: pd.DataFrame) -> list[str]:
    return [json.dumps(key) for key in zip(found["run"], found["user_id"], found["item_id"], strict=True)]


def _cohen(found: pd.DataFrame) -> tuple[float, int]:
    named = found[found["author"] != ""].assign(pair=_pair_of(found[found["author"] != ""]))
    if named["author"].nunique() != 2:
        return np.nan, 0
    both = named.pivot_table(index="pair", columns="author", values="verdict", aggfunc="first").dropna().to_numpy()
    if not len(both) or len(np.unique(both)) < 2:  # one answer throughout: chance alone agrees as much
        return np.nan, len(both)
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(both[:, 0], both[:, 1])), len(both)


def sense(found: pd.DataFrame) -> tuple[float, float, float, int]:
    """Share of verdicts that are "makes sense", with its Wilson 95% interval (low, high) and n; NaN of none.

    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    n, hits = len(found), int((found["verdict"] == "sense").sum())
    if not n:
        return np.nan, np.nan, np.nan, 0
    from scipy.stats import binomtest

    low, high = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return hits / n, float(low), float(high), n


# What a reaction does.


def applied(
    row: Histories, hidden: Histories, likes: Sequence[int], dislikes: Sequence[int], *, timed: bool
) -> tuple[Histories, Histories]:
    """A history row and what its list hides, after likes and dislikes (internal ids, the latest last).

    Likes become the latest events, unless they are liked already; dislikes leave the history. Both are hidden, and so is what
    was. Ages and the row's size are counted anew, as if the data had been so.
    """
    new = np.array([i for i in likes if i not in set(row.likes.items.tolist())], np.int64)
    made = amended(row, dislikes, new, timed=timed)
    gone: NDArray[np.int64] = np.unique(np.concatenate([hidden.items, row.items, new, np.asarray(dislikes, np.int64)]))
    return made, Histories.of([gone.astype(np.int64).tolist()], row.n_items)


def usable(run: Run, standing: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of `reactions`, the likes and dislikes that are about items of the run."""
    known = {item: reaction for item, reaction in standing.items() if run.dataset.items.find([item])[0] >= 0}
    likes, dislikes = (tuple(i for i, r in known.items() if r == kind) for kind in ("like", "dislike"))
    return likes, dislikes


def rows_after(
    run: Run, user: str, likes: Sequence[str], dislikes: Sequence[str], hide_as: str | None = None
) -> tuple[Histories, Histories]:
    """`applied` to a user of the run; without reactions the run's own rows. Raises UserError for unknown ids."""
    codes = run.dataset.users.codes([user], "user")
    row, hidden = run.histories[codes], run.hidden_by(hide_as)[codes]
    if not likes and not dislikes:
        return row, hidden
    liked, disliked = (list(run.dataset.items.codes(list(ids), "item")) for ids in (likes, dislikes))
    return applied(row, hidden, liked, disliked, timed=run.known.interactions.time is not None)


def reacted(run: Run, user: str, likes: Sequence[str], dislikes: Sequence[str], hide_as: str | None = None) -> Person:
    """The user as the model sees them after their reactions; nothing is trained. Raises UserError for unknown ids."""
    if not likes and not dislikes:
        return person(run, user, hide_as=hide_as)
    return person_of(run, user, *rows_after(run, user, likes, dislikes, hide_as))


def histories(run: Run, user: str, path: Path) -> list[Histories]:
    """Every history that the user has had in a run: that of the data, and what it was after each reaction."""
    codes = run.dataset.users.codes([user], "user")
    found, timed = [run.histories[codes]], run.known.interactions.time is not None
    log = rows(path, "reaction", data=run.dataset.name, user_id=user)
    for n in range(1, len(log) + 1):
        likes, dislikes = (list(run.dataset.items.codes(list(i), "item")) for i in usable(run, net(log.head(n))))
        found.append(applied(run.histories[codes], run.hidden[codes], likes, dislikes, timed=timed)[0])
    return found


# What to review next.


def queue(run: Run, done: pd.DataFrame, n: int) -> pd.DataFrame:
    """The first of the list of n users in a random order that the run's seed fixes, where that pair has no verdict yet.

    Columns: user_id, item_id, title, rank, probability. `done`: verdicts that stand.
    """
    from recsys_core.recommend import recommend_users

    known = run.histories.lengths > 0
    order = np.random.default_rng(run.settings.seed).permutation(np.flatnonzero(known))
    seen = set(zip(done["user_id"], done["item_id"], strict=True))
    found: list[dict[Any, Any]] = []
    for start in range(0, len(order), n):
        users = [str(u) for u in run.dataset.users.ids[order[start : start + n]]]
        lists = recommend_users(run, users, k=1)[["user_id", "item_id", "rank", "probability"]]
        found += [row for row in lists.to_dict("records") if (row["user_id"], row["item_id"]) not in seen]
        if len(found) >= n:
            break
    frame = pd.DataFrame(found[:n], columns=["user_id", "item_id", "rank", "probability"])
    return frame.assign(title=run.dataset.catalog.titles[run.dataset.items.codes(list(frame["item_id"]), "item")])
