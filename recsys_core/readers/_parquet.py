"""A Parquet file as an Arrow table. A small one can unpack to any size, so that is reckoned before it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys_core import limits
from recsys_core.errors import UserError
from recsys_core.readers._border import check_is_file, check_is_text, too_large, too_long, too_wide

BROKEN = (pa.ArrowException, OSError, ValueError, TypeError, KeyError)  # what Arrow raises on bytes that are no Parquet


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, its text still as dictionaries. Raises UserError if it is no Parquet file, or larger than `limits` allow."""
    check_is_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if not head.startswith(b"PAR1"):
            check_is_text(path, head)
        meta = pa.parquet.read_metadata(path)
        texts = [meta.schema.column(n).path for n in range(meta.num_columns) if _is_text(meta.schema.column(n))]
        file = pa.parquet.ParquetFile(path, read_dictionary=texts, memory_map=False)
    except UserError:
        raise
    except BROKEN:
        raise _broken(path) from None
    _check(path, file)
    try:
        yield file
    except UserError:
        raise
    except BROKEN:
        raise _broken(path) from None
    finally:
        file.close()


def read(path: Path) -> Any:
    """The whole file (pyarrow.Table); what a dictionary or a list of dictionaries was is plain text again.

    Raises UserError as `opened` does, and for a text of more than `limits.LETTERS`.
    """
    with opened(path) as file:
        table = file.read()
        check_unpacked(path, table)
        for n, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
            if pa.types.is_dictionary(kind):
                table = table.set_column(n, name, table[name].cast(kind.value_type))
        return table


def check_unpacked(path: Path, table: Any) -> None:
    """Raises UserError if the table (pyarrow) would be larger than `limits` allow, its dictionaries written out."""
    size = 0
    for name in table.column_names:
        for chunk in table[name].chunks:
            more, longest = _weight(chunk)
            size += more
            if longest > limits.LETTERS:
                problem = f"a cell of {longest:,} characters, more than {limits.LETTERS:,}; shorten it"
                raise UserError(f"{path}, {name}: {problem}")
    if size > limits.FILE_BYTES:
        raise too_large(path, size, " when unpacked")


def _weight(array: Any) -> tuple[int, int]:
    """Bytes of an array written out, and of its longest text."""
    kind = array.type
    if pa.types.is_dictionary(kind) and not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        return 8 * len(array), 0
    if pa.types.is_dictionary(kind):
        lengths = pc.fill_null(pc.binary_length(array.dictionary), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        used = array.indices.drop_null().to_numpy(zero_copy_only=False)
        return int((np.bincount(used, minlength=len(lengths)) * lengths).sum()), int(lengths.max(initial=0))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _weight(array.values)
    if pa.types.is_struct(kind):
        parts = [_weight(array.field(n)) for n in range(kind.num_fields)]
        return sum(size for size, _ in parts), max((longest for _, longest in parts), default=0)
    return int(array.nbytes), 0


def _is_text(column: Any) -> bool:
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type in ("STRING", "NONE", "JSON", "ENUM")


def _check(path: Path, file: Any) -> None:
    """Raises UserError for what the footer says already."""
    meta, names = file.metadata, file.schema_arrow.names
    if meta.num_rows > limits.ROWS:
        raise too_long(path, meta.num_rows)
    if max(meta.num_columns, len(names)) > limits.COLUMNS:
        raise too_wide(path, meta.num_columns)
    if twice := next((name for name, times in Counter(names).items() if times > 1), ""):
        raise UserError(f"{path}, {twice}: the header names this column twice; rename one of them")
    chunks = [meta.row_group(g).column(c) for g in range(meta.num_row_groups) for c in range(meta.num_columns)]
    if (values := sum(chunk.num_values for chunk in chunks)) > limits.VALUES:
        raise UserError(f"{path}: {values:,} values, more than {limits.VALUES:,}; take fewer rows or columns")
    if (size := sum(chunk.total_uncompressed_size for chunk in chunks)) > limits.FILE_BYTES:
        raise too_large(path, size, " when unpacked")


def _broken(path: Path) -> UserError:
    return UserError(f"{path}: not a whole Parquet file; write it again, or name it .csv or .tsv if it is text")
