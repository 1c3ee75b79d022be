"""Columns of text into ids, numbers and times, checked all at once; the error names the first bad cell."""

from __future__ import annotations

import time as clock
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys_core import limits
from recsys_core.errors import UserError
from recsys_core.readers._files import Table

MISSING = ("", "nan", "na", "n/a", "null", "none")
WHOLE = 2.0**53  # beyond, a float is not every whole number
BEGIN = -62135596800.0  # seconds: the year 1, the first that a date can be in
EPOCH = 1e8  # a larger number is taken for seconds since 1970 (it is in 1973), a smaller one for a position
FINER = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def ids(table: Table, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Codes (n_rows,) into the distinct ids, and these in order of appearance. Raises UserError on an empty id."""
    text = pc.utf8_trim_whitespace(_as_text(table, name))
    encoded = pc.dictionary_encode(pc.fill_null(text, "")).unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # older Arrow
        encoded = encoded.chunk(0)
    codes, values = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()
    for n, value in enumerate(values):
        if not value:
            raise table.bad(_first(codes == n), name, "the id is empty; fill it in or take the row out")
        if "\n" in value or "\r" in value:
            raise table.bad(_first(codes == n), name, "the id holds a line break, so a quote is not closed; mend the row")
        if len(value) > limits.ID_LETTERS:
            problem = f"an id of {len(value):,} characters, more than {limits.ID_LETTERS:,}; is this the column of the ids?"
            raise table.bad(_first(codes == n), name, problem)
    return codes, values


def keys(table: Table, name: str) -> list[str]:
    """Ids of a table that has one row an id. Raises UserError on a second row."""
    codes, values = ids(table, name)
    if len(values) < len(codes):
        row = _first(pd.Series(codes).duplicated().to_numpy())
        first = table.line(_first(codes == codes[row]))
        raise table.bad(row, name, f"id {values[codes[row]]!r} was already in row {first}; keep one of the two rows")
    return values


def numbers(table: Table, name: str) -> NDArray[np.float64]:
    """(n_rows,) finite numbers. Raises UserError on text, on an empty cell, on NaN and infinity."""
    values = _floats(table, name)
    with np.errstate(over="ignore"):
        fine = np.isfinite(values.astype(np.float32))
    if not fine.all():
        row = _first(~fine)
        raise table.bad(row, name, _number_problem(table.cell(name, row), "number"))
    return values


def times(table: Table, name: str) -> NDArray[np.int64]:
    """(n_rows,) seconds since epoch, or positions as they are; ISO dates are read as UTC.

    Raises:
        UserError: neither a number nor a date, or a time in the future (milliseconds and finer are recognised).
    """
    values = _floats(table, name)
    if np.isnan(values).all():
        values = _dates(table, name)
    if not np.isfinite(values).all():
        row = _first(~np.isfinite(values))
        raise table.bad(row, name, _number_problem(table.cell(name, row), "number of seconds or an ISO date"))
    if (values < BEGIN).any():
        row = _first(values < BEGIN)
        raise table.bad(row, name, f"{str(table.cell(name, row))[:80]} is before the year 1; correct it or take the row out")
    _check_past(table, name, values)
    return np.floor(values).astype(np.int64)


def _check_past(table: Table, name: str, values: NDArray[np.float64]) -> None:
    now = clock.time() + 86400  # a day of grace for other clocks
    if not (values > max(now, EPOCH)).any():
        return
    row = _first(values > now)
    shown = str(table.cell(name, row))[:80]
    for unit, factor in FINER.items():
        if EPOCH < values[row] / factor <= now:
            raise table.bad(row, name, f"{shown} looks like {unit}, seconds are needed; divide the column by {factor:,.0f}")
    date = f" ({datetime.fromtimestamp(values[row], UTC):%Y-%m-%d})" if values[row] < 2e11 else ""  # 2e11: year 8307
    raise table.bad(row, name, f"{shown}{date} is in the future; correct it or take the row out")


def _number_problem(cell: object, wanted: str) -> str:
    text = "" if cell is None else str(cell).strip()[:80]
    if text.lower() in MISSING:
        return f"{text or 'an empty cell'} where a {wanted} is needed; fill it in or take the row out"
    if text.lower().lstrip("+-") in ("inf", "infinity") or pd.notna(pd.to_numeric(text, errors="coerce")):
        large = pd.notna(number := pd.to_numeric(text, errors="coerce")) and np.isfinite(number)
        told = f"is beyond what is kept ({np.finfo(np.float32).max:.1e})" if large else "is not a finite number"
        return f"{text} {told}; correct it or take the row out"
    return f"{text!r} is not a {wanted}; correct it, or name another column with --map"


def _as_text(table: Table, name: str) -> Any:
    """The column as text. Raises UserError for lists and other kinds that are no ids, for NaN and infinity."""
    column = table.data[name]
    if pa.types.is_floating(column.type):  # whole numbers that a missing cell has made floats: 7.0 is the id 7
        values = np.asarray(column.cast(pa.float64()).fill_null(0).to_numpy(), np.float64)
        if not np.isfinite(values).all():
            row = _first(~np.isfinite(values))
            raise table.bad(row, name, f"{table.cell(name, row)} is no id; fill it in or take the row out")
        whole = (values == np.floor(values)) & (np.abs(values) <= WHOLE)
        column = column.cast(pa.int64(), safe=False) if whole.all() else column
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise _unfit(table, name, "ids") from None


def _unfit(table: Table, name: str, wanted: str) -> UserError:
    """The error for a column of a kind that cannot be what it is for."""
    kind = str(table.data[name].type)[:40]
    return UserError(
        f"{table.path}, {table.source.get(name, name)[:80]}: a column of {kind} cannot be {wanted}; name another with --map"
    )


def _floats(table: Table, name: str) -> NDArray[np.float64]:
    """(n_rows,) NaN where the cell is no number. Raises UserError for lists and other kinds that are no numbers."""
    column = table.data[name]
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return np.full(len(table), np.nan)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_integer(column.type):  # not `safe`: beyond 2^53 the nearest number is near enough
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowInvalid:  # some cell is no number, or has blanks around it
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise _unfit(table, name, "numbers") from None
        return np.asarray(pd.to_numeric(column.to_pandas(), errors="coerce"), np.float64)
    except pa.ArrowException:
        raise _unfit(table, name, "numbers") from None


def _dates(table: Table, name: str) -> NDArray[np.float64]:
    """(n_rows,) seconds since epoch, NaN where the cell is no date."""
    column = table.data[name]
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        seconds = column.cast(pa.timestamp("s", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
        return np.asarray(seconds.cast(pa.float64()).to_numpy(), np.float64)
    stamps = pd.to_datetime(column.to_pandas(), errors="coerce", utc=True, format="ISO8601")
    return np.asarray((stamps - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), np.float64)


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.argmax(mask))
