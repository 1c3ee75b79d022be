"""Three checked tables into one Dataset: vocabularies, unknown items, repeated pairs, the threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys_core import pictures
from recsys_core.data import Catalog, Dataset, Interactions, Vocabulary
from recsys_core.errors import UserError, unknown
from recsys_core.readers._catalog import catalog_of
from recsys_core.readers._columns import ids, keys, numbers, times
from recsys_core.readers._files import Table

DUPLICATES = ("error", "last", "sum")
UNKNOWN_ITEMS = ("error", "keep", "drop")


def build(
    name: str,
    events: Table,
    items: Table | None = None,
    users: Table | None = None,
    *,
    threshold: float | None = None,
    text: Sequence[str] | None = None,
    lists: Sequence[str] = (),
    attributes: Sequence[str] | None = None,
    duplicates: str = "error",
    unknown_items: str = "error",
    separator: str | None = None,
) -> Dataset:
    """Tables with the columns user_id, item_id, value, time | item_id, title, ... | user_id, ... -> Dataset.

    Raises UserError with file, row, field and fix; what is dropped or merged is counted in `Dataset.notes`.
    """
    for rule, choice, known in (("duplicates", duplicates, DUPLICATES), ("unknown_items", unknown_items, UNKNOWN_ITEMS)):
        if choice not in known:
            raise unknown(f"rule for {rule}", choice, known)
    for table, columns in ((events, ("user_id", "item_id")), (items, ("item_id", "title")), (users, ("user_id",))):
        if table is not None:
            table.require(*columns)
    notes: list[str] = []
    user_codes, seen_users = ids(events, "user_id")
    item_codes, seen_items = ids(events, "item_id")
    user_ids, item_ids = _vocabulary(users, "user_id", seen_users), _vocabulary(items, "item_id", seen_items)
    frame = _frame(events, user_ids.find(seen_users)[user_codes], item_ids.find(seen_items)[item_codes])
    if items is not None and len(item_ids) > len(items):
        frame, item_ids, note = _strangers(events, items, frame, item_ids, unknown_items)
        notes.append(note)
    if _repeats(frame, len(item_ids)):
        frame, note = _merge(events, frame, duplicates)
        notes.append(note)
    if users is not None and len(user_ids) > len(users):
        notes.append(f"{len(user_ids) - len(users):,} users of {events.path.name} are not in {users.path.name}: no attributes.")
    catalog = _catalog(items, item_ids, text, lists, attributes, separator)
    if "image" in catalog.frame and (note := pictures.told(catalog.frame["image"])):
        notes.append(note)
    _check_threshold(events, frame["value"], threshold)
    return Dataset(
        name=name,
        users=user_ids,
        items=item_ids,
        interactions=_interactions(frame),
        catalog=catalog,
        user_table=_user_table(users, len(user_ids)),
        threshold=None if threshold is None else float(threshold),
        notes=tuple(notes),
    )


def events_in(dataset: Dataset, events: Table) -> Interactions:
    """More interactions of the users and items of a data set. Raises UserError on one that it does not have."""
    codes = []
    for name, vocabulary in (("user_id", dataset.users), ("item_id", dataset.items)):
        rows, seen = ids(events, name)
        codes.append(vocabulary.find(seen)[rows])
        if (codes[-1] < 0).any():
            row = int(np.argmax(codes[-1] < 0))
            raise events.bad(row, name, f"{seen[rows[row]]!r} is not in the data set {dataset.name}; take the row out")
    frame = _frame(events, *codes)
    return _interactions(_merge(events, frame, "error")[0] if _repeats(frame, len(dataset.items)) else frame)


def more_events(dataset: Dataset, events: Table) -> tuple[Interactions, Vocabulary, int]:
    """Events to add to a data set, (user, item) once each; the users, known ones first; how many rows a later one replaced.

    Raises UserError on an item that the data set does not have, or on a missing column that it needs.
    """
    rows, seen = ids(events, "item_id")
    codes = dataset.items.find(seen)
    if (strange := np.flatnonzero(codes < 0)).size:
        named = ", ".join(repr(seen[n]) for n in strange[:5]) + (", ..." if len(strange) > 5 else "")
        what = f"{len(strange):,} unknown item{'s' if len(strange) > 1 else ''} ({named}): only known items can be updated"
        row = int(np.argmax(codes[rows] < 0))
        raise events.bad(row, "item_id", f"{what}; train anew with them in the items file, or take their rows out")
    if dataset.threshold is not None and "value" not in events:
        raise events.lacks("value", f"which the run's threshold {dataset.threshold:g} needs; add --map value=COLUMN")
    timed = dataset.interactions.time is not None
    if timed and "time" not in events:
        raise events.lacks("time", "which the run's data have; add --map time=COLUMN")
    user_rows, user_ids = ids(events, "user_id")
    users = with_users(dataset.users, user_ids)
    frame = _frame(events, users.find(user_ids)[user_rows], codes[rows])
    merged = _merge(events, frame, "last")[0]
    found = _interactions(merged if timed else merged.drop(columns="time", errors="ignore"))
    return found, users, len(frame) - len(merged)


def with_users(users: Vocabulary, seen: Iterable[str]) -> Vocabulary:
    """The same users and, behind them, those seen who are new."""
    return Vocabulary.of([*users.ids, *sorted(set(seen).difference(users.ids), key=lambda i: (len(i), i))])


def _frame(events: Table, user: NDArray[np.int64], item: NDArray[np.int64]) -> pd.DataFrame:
    """user, item, value [, time] of each row of the file; the index stays the row in the file."""
    value = numbers(events, "value").astype(np.float32) if "value" in events else np.ones(len(events), np.float32)
    frame = pd.DataFrame({"user": user.astype(np.int32), "item": item.astype(np.int32), "value": value})
    return frame.assign(time=times(events, "time")) if "time" in events else frame


def _vocabulary(table: Table | None, name: str, seen: Iterable[str]) -> Vocabulary:
    """Ids of the table in its order, then those only seen in interactions: 2 before 10, a before b."""
    known = [] if table is None else keys(table, name)
    return Vocabulary.of([*known, *sorted(set(seen).difference(known), key=lambda i: (len(i), i))])


def _strangers(
    events: Table, items: Table, frame: pd.DataFrame, item_ids: Vocabulary, rule: str
) -> tuple[pd.DataFrame, Vocabulary, str]:
    """Interactions with items that the items file does not have."""
    strange = frame["item"].to_numpy() >= len(items)
    n_ids, n_rows = len(item_ids) - len(items), int(strange.sum())
    if rule == "error":
        row = int(np.argmax(strange))
        item = item_ids.ids[frame["item"].iloc[row]]
        more = f" ({n_ids:,} such items)" if n_ids > 1 else ""
        fix = f"add it there, or use --unknown-items keep or drop{more}"
        raise events.bad(row, "item_id", f"item {item!r} is not in {items.path.name}; {fix}")
    which = f"{n_ids:,} items of {events.path.name} are not in {items.path.name}"
    if rule == "keep":
        return frame, item_ids, f"{which}: kept, with the id as title and no text."
    if strange.all():
        raise UserError(
            f"{events.path}: no item is in {items.path.name}; map the id column of each file with --map items.item_id="
        )
    return frame[~strange], Vocabulary(item_ids.ids[: len(items)]), f"{which}: {n_rows:,} interactions were dropped."


def _repeats(frame: pd.DataFrame, n_items: int) -> bool:
    """Whether some (user, item) comes twice; sorting one number a row is much faster than hashing two."""
    pair = np.sort(frame["user"].to_numpy(np.int64) * n_items + frame["item"].to_numpy())
    return bool((pair[1:] == pair[:-1]).any())


def _merge(events: Table, frame: pd.DataFrame, rule: str) -> tuple[pd.DataFrame, str]:
    """One row for each (user, item). `last`: the latest by time, else by row; `sum`: values added, latest time."""
    pair = ["user", "item"]
    repeated = frame.duplicated(pair).to_numpy()
    note = f"{int(repeated.sum()):,} repeated (user, item) rows of {events.path.name} were merged ({rule})."
    if rule == "last":
        order = frame.sort_values("time", kind="stable") if "time" in frame else frame
        return order.drop_duplicates(pair, keep="last").sort_index(), note
    if rule == "sum":
        rest = {"value": "sum", **({"time": "max"} if "time" in frame else {})}
        return frame.groupby(pair, sort=False, as_index=False).agg(rest), note
    n = int(np.argmax(repeated))
    same = (frame["user"] == frame["user"].iloc[n]) & (frame["item"] == frame["item"].iloc[n])
    row, first = int(frame.index[n]), int(frame.index[int(np.argmax(same))])
    what = f"user {str(events.cell('user_id', row))!r} and item {str(events.cell('item_id', row))!r}"
    fix = "take one out, or use --duplicates last or sum"
    raise events.bad(row, "item_id", f"{what} were already in row {events.line(first)}; {fix}")


def _check_threshold(events: Table, value: pd.Series[float], threshold: float | None) -> None:
    if threshold is None:
        return
    if "value" not in events:
        raise events.lacks("value", f"which --threshold {threshold:g} needs; add --map value=COLUMN or leave the threshold out")
    if not (value >= threshold).any():
        name = events.source.get("value", "value")
        problem = f"no value reaches the threshold {threshold:g}, the largest is {value.max():g}"
        raise UserError(f"{events.path}, {name}: {problem}; use --threshold {value.max():g} or less")


def _interactions(frame: pd.DataFrame) -> Interactions:
    time = frame["time"].to_numpy(np.int64) if "time" in frame else None
    user, item = frame["user"].to_numpy(np.int32), frame["item"].to_numpy(np.int32)
    return Interactions(user, item, frame["value"].to_numpy(np.float32), time)


def _catalog(
    items: Table | None,
    item_ids: Vocabulary,
    text: Sequence[str] | None,
    lists: Sequence[str],
    attributes: Sequence[str] | None,
    separator: str | None,
) -> Catalog:
    if items is not None:
        return catalog_of(items, list(item_ids.ids), text=text, lists=lists, attributes=attributes, separator=separator)
    if text or lists or attributes:
        raise UserError("text, lists and attributes are columns of the items file, which is not given; add --items FILE")
    return Catalog(pd.DataFrame({"title": item_ids.ids, "text": ""}))


def _user_table(users: Table | None, n_users: int) -> pd.DataFrame:
    """(n_users,) attributes as text, "" where not known; `age` as a number where every filled cell is one."""
    columns = [] if users is None else [c for c in users.names if c != "user_id"]
    cells = {c: users.cells(c) for c in columns if users is not None}
    for name, column in cells.items():
        cells[name] = np.array(["|".join(v) if isinstance(v, tuple) else v for v in column], dtype=object)
    frame = pd.DataFrame(cells).reindex(range(n_users), fill_value="")
    if "age" in frame:
        age = pd.to_numeric(frame["age"], errors="coerce")
        frame["age"] = age if (age.notna() | (frame["age"] == "")).all() else frame["age"]
    return frame
