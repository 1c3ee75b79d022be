"""Tables: interactions.csv or .tsv [, items, users, dataset.toml].

`read_tables` reads any CSV, TSV or Parquet file; what the columns are called is told by a mapping. A folder is read with the
arguments in its dataset.toml.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_core.data import Dataset, Interactions, Vocabulary
from recsys_core.errors import UserError, unknown
from recsys_core.readers._border import content, near
from recsys_core.readers._build import build, events_in, more_events
from recsys_core.readers._columns import ids, numbers
from recsys_core.readers._files import Table, read_table

REQUIRED = {"interactions": ("user_id", "item_id"), "items": ("item_id", "title"), "users": ("user_id",)}
NONE = "-"  # mapped to this, a column of ours is left out though the file may have it
TEXT = ("a text", lambda value: isinstance(value, str))
LIST = ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value))
WORDS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # what a key of dataset.toml must be; others are texts
    "mapping": ("a table of texts", lambda value: isinstance(value, dict) and LIST[1](list(value.values()))),
    "threshold": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    **dict.fromkeys(("text", "lists", "attributes"), LIST),
}
ALIASES = {"value": ("rating", "weight"), "time": ("timestamp", "position")}  # of interactions


def matches(folder: Path) -> bool:
    return _file(folder, "interactions") is not None


def read(folder: Path) -> Dataset:
    """Raises UserError on an unknown key in dataset.toml, and as `read_tables` does."""
    told = settings(folder / "dataset.toml")
    files = {kind: _file(folder, kind) for kind in REQUIRED}
    return read_tables(**{"name": folder.resolve().name, **files, **told})


def read_tables(
    interactions: str | Path,
    items: str | Path | None = None,
    users: str | Path | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    text: Sequence[str] | None = None,
    threshold: float | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    lists: Sequence[str] = (),
    attributes: Sequence[str] | None = None,
    duplicates: str = "error",
    unknown_items: str = "error",
    separator: str | None = None,
    name: str | None = None,
) -> Dataset:
    """Read any interactions file, with item and user files if there are.

    Columns: user_id, item_id, value (or rating, weight), time (or timestamp, position; seconds since epoch, ISO dates or
    any number that grows) | item_id, title, anything else | user_id, anything else.

    Args:
        mapping: our column -> column in the files, for each file that has it; `items.item_id` for that file alone;
            `-` for none: value and time are then not read.
        text: item columns that BERT reads, joined by ". "; default: title, year, genres and description-like ones.
        threshold: a value at or above it is a like; None: every interaction is one.
        delimiter: of all text files; default: tab for .tsv and .dat, else comma.
        lists: item columns with several entries a cell (`|`, JSON lists and Python lists are seen without being told).
        attributes: item columns to keep as attributes; default: all but the title and prose.
        separator: between the entries of such columns; default: the first of `|`, `, `, `,` and `;` that occurs.
        duplicates: error, last (the latest counts) or sum (values are added) for a (user, item) pair that comes again.
        unknown_items: error, keep or drop for interactions with items that the items file does not have.
    Raises:
        UserError: one line with file, row (line of the file, from 1), field and fix.
    """
    paths = {"interactions": interactions, "items": items, "users": users}
    mapping = dict(mapping or {})
    tables = {k: read_table(p, delimiter=delimiter, encoding=encoding) for k, p in paths.items() if p is not None}
    _check_mapping(mapping, tables)
    tables = {kind: _canonical(kind, table, mapping) for kind, table in tables.items()}
    return build(
        name or Path(interactions).stem,
        tables["interactions"],
        tables.get("items"),
        tables.get("users"),
        threshold=threshold,
        text=text,
        lists=lists,
        attributes=attributes,
        duplicates=duplicates,
        unknown_items=unknown_items,
        separator=separator,
    )


def read_events(path: str | Path, dataset: Dataset) -> Interactions:
    """Interactions, as a held-out test file, in the internal ids of a data set; columns as for `read_tables`.

    Raises UserError as `read_tables` does, and on a user or item that the data set does not have.
    """
    return events_in(dataset, _canonical("interactions", read_table(path), {}))


def read_more(
    path: str | Path, dataset: Dataset, mapping: Mapping[str, str] | None = None
) -> tuple[Interactions, Vocabulary, int]:
    """Events of known and new users to add to a data set: these, the users with the new ones last, and repeated rows merged.

    Raises UserError as `read_tables` does, on unknown items, and without a value or time that the data set has.
    """
    table, mapping = read_table(path), dict(mapping or {})
    _check_mapping(mapping, {"interactions": table})
    return more_events(dataset, _canonical("interactions", table, mapping))


def read_column(path: str | Path, name: str, known: Vocabulary | None = None) -> list[str]:
    """The ids in one column of a file, row by row. Raises UserError if it is not there, or an id is empty or not `known`."""
    table = read_table(path)
    if name not in table:
        raise table.lacks(name, f"name its column {name}")
    codes, values = ids(table, name)
    if known is not None and (strange := np.flatnonzero(known.find(values) < 0)).size:
        problem = unknown(name.partition("_")[0], values[strange[0]], known.ids)
        raise table.bad(int(np.argmax(codes == strange[0])), name, str(problem))
    return [values[c] for c in codes]


def read_scores(path: str | Path) -> pd.DataFrame:
    """user_id, item_id and score of a table of another model. Raises UserError naming file, row and field."""
    table = read_table(path)
    for name in ("user_id", "item_id", "score"):
        if name not in table:
            raise table.lacks(name, f"name its column {name}")
    found = {name: np.array(values, object)[codes] for name in ("user_id", "item_id") for codes, values in [ids(table, name)]}
    return pd.DataFrame(found | {"score": numbers(table, "score")})


def _check_mapping(mapping: Mapping[str, str], tables: Mapping[str, Table]) -> None:
    for key, column in mapping.items():
        scope = key.rpartition(".")[0]
        if scope and scope not in REQUIRED:
            raise unknown("table in --map", scope, REQUIRED)
        places = [t for kind, t in tables.items() if scope in ("", kind)]
        if column != NONE and not any(column in t for t in places):
            known = dict.fromkeys(c for t in places for c in t.names)
            where = (
                str(places[0].path)
                if len(places) == 1
                else ", ".join(t.path.name for t in places) or f"the {scope} file, which is not given"
            )
            raise UserError(f"--map {key}={column}: not in {where}: {unknown('column', column, known)}")


def _canonical(kind: str, table: Table, mapping: Mapping[str, str]) -> Table:
    """The table under our column names: the mapping first, then the aliases."""
    shared = {k: c for k, c in mapping.items() if "." not in k and (c in table or c == NONE)}
    own = {k.rpartition(".")[2]: c for k, c in mapping.items() if k.rpartition(".")[0] == kind}
    chosen = shared | own
    left_out: set[str] = set()
    if kind == "interactions":
        left_out = {k for k in ALIASES if chosen.get(k) == NONE and NONE not in table}
        chosen = {k: c for k, c in chosen.items() if k not in left_out}
        for target, aliases in ALIASES.items():
            alias = next((a for a in aliases if a in table and a not in chosen.values()), None)
            if alias and target not in table and target not in left_out:
                chosen.setdefault(target, alias)
    table = table.select([c for c in table.names if c not in left_out or c in chosen.values()])
    table = table.renamed({column: target for target, column in chosen.items()})
    for name in REQUIRED[kind]:
        _require(table, name, f"--map {name if kind == 'interactions' else f'{kind}.{name}'}=")
    return table


def _require(table: Table, name: str, fix: str) -> None:
    if name not in table:
        guess = near(name, table.names)
        raise table.lacks(name, f"did you mean {guess!r}? Add {fix}{guess}" if guess else f"add {fix}COLUMN")


def _file(folder: Path, kind: str) -> Path | None:
    return next((p for p in (folder / f"{kind}{s}" for s in (".csv", ".tsv")) if p.is_file()), None)


def settings(path: Path) -> dict[str, Any]:
    """What a dataset.toml says, {} if there is none. Raises UserError on an unknown key, or if it is not TOML."""
    if not path.is_file():
        return {}
    try:
        told = tomllib.loads(content(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: {error}; mend the line") from None
    known = [p for p in inspect.signature(read_tables).parameters if p not in REQUIRED]
    for key, value in told.items():
        if key not in known:
            raise UserError(f"{path}: {unknown('key', key, known)}")
        what, fits = WORDS.get(key, TEXT)
        if not fits(value):
            raise UserError(f"{path}, {key}: must be {what}, not {str(value)[:80]!r}; mend the line")
    return told
