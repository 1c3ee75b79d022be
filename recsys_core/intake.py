"""Tables that a person brings: a look at the first rows, a guess which column is which, and the same said to `whyrec prepare`.

Nothing here reads a whole file but `read`, which is `readers.table.read_tables` with the words of a `Plan`.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recsys_core import errors, pictures
from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.readers import _parquet
from recsys_core.readers._border import PARQUET, check_is_file, check_is_text
from recsys_core.readers._catalog import GENRES, PROSE, PROSE_WORDS, as_tuples
from recsys_core.readers._columns import EPOCH
from recsys_core.readers._files import DELIMITERS, _text, _values, column_names
from recsys_core.readers.table import NONE, read_tables, settings

KINDS = ("interactions", "items", "users")
HEAD = 1 << 18  # bytes that are looked at before the file is read
SAMPLE = 1000  # rows of them
SEPARATORS = ("|", ",", ";", "/")  # offered for list-valued columns
TOPICS = (*GENRES, "class", "tags", "tag", "type", "keywords")  # short texts that tell what an item is about
SHORT = 4  # words: the most that an entry of a list has on average
NAMES = {  # of columns, without case and marks; the first that a file has is taken
    "user_id": ("userid", "user", "uid", "customerid", "customer", "memberid", "member", "reviewerid", "visitorid", "accountid"),
    "item_id": (
        *("itemid", "item", "iid", "movieid", "movie", "productid", "product", "parentasin", "asin", "bookid", "book", "trackid"),
        *("songid", "artistid", "articleid", "gameid", "businessid", "sku", "isbn", "contentid", "show", "id"),
    ),
    "value": ("value", "rating", "ratings", "score", "stars", "weight", "overall", "count", "plays", "playcount", "quantity"),
    "time": ("time", "timestamp", "datetime", "date", "ts", "unixreviewtime", "createdat", "ratedat", "when", "position"),
    "title": ("title", "movietitle", "itemtitle", "name", "itemname", "productname", "producttitle", "booktitle", "songtitle"),
}
WANTED = {"interactions": ("user_id", "item_id", "value", "time"), "items": ("item_id", "title"), "users": ("user_id",)}
OPTIONAL = ("value", "time")


@dataclass(frozen=True)
class Peek:
    """The beginning of a file.

    Args:
        rows: (at most SAMPLE,) its cells as text, under the names that the header gives.
        delimiter, encoding: as they look; None for Parquet.
    """

    path: Path
    rows: pd.DataFrame
    delimiter: str | None = None
    encoding: str = "utf-8"

    @property
    def names(self) -> list[str]:
        return list(self.rows.columns)


@dataclass(frozen=True)
class Plan:
    """What `whyrec prepare` is told about the files.

    Args:
        columns: `interactions.user_id` and so on -> a column of that file, "" for none.
        text, lists, attributes: columns of the items file; attributes None: those that `read_tables` takes.
        separator: of `lists`; "" where it is found by itself.
        delimiter: "" where the name of the file says it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    separator: str = ""
    threshold: float | None = None
    delimiter: str = ""
    encoding: str = "utf-8"
    duplicates: str = "error"
    unknown_items: str = "error"
    attributes: tuple[str, ...] | None = None


def peek(path: Path) -> Peek:
    """The first rows of a CSV, TSV or Parquet file, however large it is.

    Raises:
        UserError: empty, no header, or not of the kind that its name says.
    """
    return _peek_parquet(path) if path.suffix.lower() in PARQUET else _peek_text(path)


def _peek_parquet(path: Path) -> Peek:
    with _parquet.opened(path) as file:
        batch = next(file.iter_batches(batch_size=SAMPLE), None)
        if batch is None or not batch.num_rows:
            raise UserError(f"{path}: the file has no rows; write it again with its data")
        _parquet.check_unpacked(path, pa.Table.from_batches([batch]))
        columns = {name: [_shown(v) for v in _values(batch[n])] for n, name in enumerate(batch.schema.names)}
    return Peek(path, pd.DataFrame(columns, dtype=object))


def _shown(value: Any) -> str:
    found = _text(value)
    return "|".join(map(str, found)) if isinstance(found, tuple) else str(found)


def _peek_text(path: Path) -> Peek:
    check_is_file(path)
    with path.open("rb") as file:
        data = file.read(HEAD)
        whole = not file.read(1)
    check_is_text(path, data)
    text, encoding = _decoded(data)
    lines = list(io.StringIO(text.lstrip("\r\n"), newline=None))
    if not text.strip():
        raise UserError(f"{path}: the file is empty; write it again with a header and rows")
    if "\0" in text:
        raise UserError(f"{path}: not a text file; save it as CSV (UTF-8) or Parquet")
    if len(lines) == 1 and not whole:
        raise UserError(f"{path}, row 1: no line ends in the first {HEAD:,} bytes; is this a table?")
    counts = {d: len(next(csv.reader([lines[0]], delimiter=d))) if len(d) == 1 else len(lines[0].split(d)) for d in DELIMITERS}
    own = "\t" if path.suffix.lower() in (".tsv", ".dat") else ","
    delimiter = own if counts[own] > 1 else max(counts, key=lambda d: counts[d])
    csv.field_size_limit(HEAD)  # nothing longer was read
    if len(delimiter) > 1:
        records = [line.rstrip("\n").split(delimiter) for line in lines]
    else:
        records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
    records = records if whole or len(records) < 2 else records[:-1]  # the last row may be cut off
    header = column_names(path, records[0])
    rows = [(row + [""] * len(header))[: len(header)] for row in records[1 : SAMPLE + 1]]
    return Peek(path, pd.DataFrame(rows, columns=pd.Index(header), dtype=object), delimiter, encoding)


def _decoded(data: bytes) -> tuple[str, str]:
    """Text and its encoding; the last character may be cut off."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "ignore"), "utf-16"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # the cut itself
            return data[: error.start].decode("utf-8-sig"), "utf-8"
        return data.decode("latin-1"), "latin-1"


def guess(peeks: Mapping[str, Peek]) -> Plan:
    """Which column is which, by its name and by what is in the first rows."""
    columns = {f"{kind}.{ours}": found for kind, seen in peeks.items() for ours, found in _columns(kind, seen).items()}
    events, items = peeks["interactions"], peeks.get("items")
    if items is not None and columns["interactions.item_id"] in items.names:
        columns["items.item_id"] = columns["interactions.item_id"]
    text, lists = ((), ()) if items is None else _texts(items, columns["items.item_id"], columns["items.title"])
    own = "\t" if events.path.suffix.lower() in (".tsv", ".dat") else ","
    value = columns["interactions.value"]
    delimiter = events.delimiter if events.delimiter not in (own, None) else ""
    encoding = next((p.encoding for p in peeks.values() if p.encoding != "utf-8"), "utf-8")
    threshold = _threshold(events.rows[value]) if value else None
    return Plan(columns, text, lists, threshold=threshold, delimiter=delimiter or "", encoding=encoding)


def with_settings(plan: Plan, folder: Path) -> Plan:
    """The plan as the folder's dataset.toml corrects it. Raises UserError as `readers.table.settings` does."""
    told = settings(folder / "dataset.toml")
    columns, title = dict(plan.columns), plan.columns.get("items.title", "")
    for key, column in told.get("mapping", {}).items():
        columns |= {ours: column for ours in columns if key in (ours, ours.partition(".")[2])}
    same = ("threshold", "delimiter", "encoding", "duplicates", "unknown_items", "separator")
    found: dict[str, Any] = {k: told[k] for k in same if k in told}
    found |= {k: tuple(title if c == "title" else c for c in told[k]) for k in ("text", "lists", "attributes") if k in told}
    return replace(plan, columns=columns, **found)


def _columns(kind: str, seen: Peek) -> dict[str, str]:
    names = {_bare(name): name for name in reversed(seen.names)}
    found: dict[str, str] = {}
    for ours in WANTED[kind]:
        hits = (names[n] for n in NAMES[ours] if n in names and names[n] not in found.values())
        found[ours] = next(hits, "")
    rest = [name for name in seen.names if name not in found.values()]
    if not found.get("time", "-"):
        found["time"] = next((name for name in rest if _is_time(seen.rows[name])), "")
    rest = [name for name in rest if name not in found.values()]
    for ours in WANTED[kind]:  # what a file must have: the first column that is left
        if not found[ours] and ours not in OPTIONAL:
            found[ours] = rest.pop(0) if rest else seen.names[0]
    return found


def _bare(name: str) -> str:
    """`user_id:token`, `userId` and `User ID` are one name."""
    return "".join(c for c in name.partition(":")[0].lower() if c.isalnum())


def _is_time(cells: pd.Series[str]) -> bool:
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().all():
        return bool(len(numbers)) and bool(numbers.between(EPOCH, datetime.now(UTC).timestamp()).all())
    return bool(cells.str.match(r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$").all())


def _threshold(cells: pd.Series[str]) -> float | None:
    """A like is four fifths of the scale (4 of 5, 8 of 10); None for counts and where all values are one."""
    values = pd.to_numeric(cells, errors="coerce").dropna()
    if values.empty or values.nunique() < 2 or values.min() < 0:
        return None
    top = next((t for t in (1, 5, 10, 100) if values.max() <= t), None)
    return None if top is None or values.max() < top / 2 else float(top if top == 1 else 0.8 * top)


def _texts(items: Peek, item: str, title: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that BERT should read (title, year, genres, prose), and those with several entries a cell."""
    shots = {name for name in items.names if pictures.is_column(name, items.rows[name])}
    rest = [name for name in items.names if name not in (item, title, *shots)]
    lists = tuple(name for name in rest if _is_list(name, items.rows[name]))
    told = [name for name in rest if _bare(name) in ("year", *TOPICS, *PROSE) or _is_prose(items.rows[name], name in lists)]
    return (title, *told), lists


def _is_list(name: str, cells: pd.Series[str]) -> bool:
    if name.lower() in GENRES or cells.str.contains("|", regex=False).any():
        return True
    found = [entries for entries in as_tuples(list(cells), is_list=True) if entries]
    several = [entries for entries in found if len(entries) > 1]
    words = sum(len(e.split()) for entries in found for e in entries)
    return 3 * len(several) > len(found) and words < SHORT * sum(map(len, found))


def _is_prose(cells: pd.Series[str], is_list: bool) -> bool:
    filled = cells[cells != ""]
    return not is_list and bool(len(filled)) and bool(filled.map(lambda cell: len(cell.split())).mean() > PROSE_WORDS)


def arguments(plan: Plan) -> dict[str, Any]:
    """The plan as `read_tables` takes it."""
    title = plan.columns.get("items.title", "")
    ours = {title: "title"} if title else {}
    optional = {f"interactions.{name}" for name in OPTIONAL}
    mapping = {key: column or NONE for key, column in plan.columns.items() if column or key in optional}
    return {
        "mapping": {key: column for key, column in mapping.items() if column != key.partition(".")[2]},
        "text": [ours.get(c, c) for c in plan.text] or None,
        "lists": [ours.get(c, c) for c in plan.lists],
        "threshold": plan.threshold,
        "delimiter": plan.delimiter or None,
        "encoding": plan.encoding,
        "duplicates": plan.duplicates,
        "unknown_items": plan.unknown_items,
        "separator": plan.separator or None,
        "attributes": plan.attributes and list(plan.attributes),
    }


def read(paths: Mapping[str, Path], plan: Plan, name: str) -> Dataset:
    """The files as a data set. Raises UserError as `read_tables` does, and where one is UTF-8 and is to be read as latin-1."""
    for path in paths.values() if plan.encoding != "utf-8" else ():
        look = peek(path)
        if look.delimiter is not None and look.encoding == "utf-8" and not _is_ascii(look):
            raise UserError(f"{path}: looks like UTF-8, not {plan.encoding}, as another file may be; save all of them as UTF-8")
    return read_tables(paths["interactions"], paths.get("items"), paths.get("users"), name=name, **arguments(plan))


def _is_ascii(look: Peek) -> bool:
    cells = look.rows.to_numpy().ravel()
    return all(name.isascii() for name in look.names) and all(cell.isascii() for cell in cells)


def command(names: Mapping[str, str], plan: Plan, out: str) -> str | None:
    """The shell command that reads files of these names (by kind) in the same way; None where a column's name has a comma."""
    told = arguments(plan)
    lists = [("--map", [f"{k}={c}" for k, c in told["mapping"].items()])]
    lists += [(f"--{name}", told[name]) for name in ("text", "lists", "attributes")]
    if any("," in word for _, words in lists for word in words or ()):
        return None
    words = ["whyrec", "prepare"]
    for kind in KINDS:
        words += [f"--{kind}", names[kind]] if kind in names else []
    for flag, values in lists:
        words += [flag, ",".join(values)] if values else []
    plain = {"separator": plan.separator, "delimiter": {"\t": "tab"}.get(plan.delimiter, plan.delimiter)}
    plain |= {"threshold": "" if plan.threshold is None else f"{plan.threshold:g}"}
    plain |= {"encoding": "" if plan.encoding == "utf-8" else plan.encoding}
    plain |= {"duplicates": "" if plan.duplicates == "error" else plan.duplicates}
    plain |= {"unknown-items": "" if plan.unknown_items == "error" else plan.unknown_items}
    return shlex.join([*words, *(f"--{key}={value}" for key, value in plain.items() if value), "--out", out])


def facts(data: Dataset) -> dict[str, Any]:
    """What an analyst asks first: `Dataset.summary` and `timed`, `first` and `last` (dates; "" where times are positions or
    missing), `median_likes` (of users with any), `notes`."""
    time, likes = data.interactions.time, data.likes().lengths
    dated = time is not None and len(time) and time.max() > EPOCH
    span = [_date(float(t)) for t in (time.min(), time.max())] if dated and time is not None else ["", ""]
    median = float(pd.Series(likes[likes > 0]).median())
    return data.summary() | {
        "timed": time is not None,
        "first": span[0],
        "last": span[1],
        "median_likes": median,
        "notes": list(data.notes),
    }


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def one_line(error: BaseException, instead: Mapping[str, str]) -> str:
    """What went wrong in one line; where a file has another name for people than for us, `instead` says which."""
    told = str(error) if isinstance(error, UserError) else f"the files cannot be read ({type(error).__name__}: {error})"
    if instead:
        known = "|".join(re.escape(text) for text in sorted(instead, key=len, reverse=True))
        told = re.sub(known, lambda hit: instead[hit[0]], told)
    return errors.one_line(" ".join(told.split()))


def kinds_of(names: Sequence[str]) -> dict[str, str]:
    """Which of the files in a folder is which: interactions first by its own name, then by likely ones."""
    likely = {
        "interactions": ("interactions", "ratings", "events", "reviews", "clicks", "plays", "transactions"),
        "items": ("items", "movies", "products", "books", "catalog", "articles", "tracks"),
        "users": ("users", "customers", "members"),
    }
    found: dict[str, str] = {}
    for kind, stems in likely.items():
        rest = [n for n in names if n not in found.values()]
        hits = (n for stem in stems for n in rest if Path(n).stem.lower() == stem)
        if hit := next(hits, ""):
            found[kind] = hit
    if names and "interactions" not in found:
        found["interactions"] = next((n for n in names if n not in found.values()), names[0])
    return found
