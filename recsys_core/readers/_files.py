"""A file as a table of text columns, and the way from a row of the table back to a line of the file.

Arrow reads; plain Python looks again only where something is wrong, to say where.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from recsys_core.errors import UserError

DELIMITERS = (",", "\t", ";", "|", "::")
SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet")
STAND_IN = "\x1f"  # "unit separator", in place of a delimiter of several characters, which Arrow does not take


@dataclass(frozen=True)
class Layout:
    """How a text file is cut into fields; `names` are its columns where the file has no header line."""

    delimiter: str
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    quoted: bool = True

    @property
    def separator(self) -> str:  # the one character that stands for the delimiter after `_utf8`
        return self.delimiter if len(self.delimiter) == 1 else STAND_IN


@dataclass(frozen=True)
class Table:
    """Columns of one file by the names we use; `source` maps these to the names in the file.

    Args:
        data: (n_rows,) columns, text where the file is text; Parquet keeps its types.
        layout: None for Parquet, where a row is counted from 1 without a header.
    """

    path: Path
    data: Any  # pyarrow.Table
    layout: Layout | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self.data.column_names

    @property
    def names(self) -> list[str]:
        return list(self.data.column_names)

    def cells(self, name: str) -> NDArray[np.object_]:
        """(n_rows,) the column as text, "" where empty; a list of a Parquet file becomes a tuple of text."""
        values = self.data[name].to_pylist()
        return np.array([*map(_text, values), None], dtype=object)[:-1]  # None: or tuples of one length become a matrix

    def cell(self, name: str, row: int) -> object:
        return self.data[name][row].as_py()

    def renamed(self, names: Mapping[str, str]) -> Table:
        """`names` maps column -> new name; a column that already has a new name makes way."""
        keep = [c for c in self.names if c in names or c not in names.values()]
        source = {names.get(c, c): self.source.get(c, c) for c in keep}
        return replace(self, data=self.data.select(keep).rename_columns([names.get(c, c) for c in keep]), source=source)

    def select(self, names: Iterable[str]) -> Table:
        return replace(self, data=self.data.select([c for c in names if c in self]))

    def with_column(self, name: str, cells: Iterable[str]) -> Table:
        rest = self.data.drop_columns([name]) if name in self else self.data
        return replace(self, data=rest.append_column(name, pa.array(list(cells), pa.string())))

    def bad(self, row: int, name: str, problem: str) -> UserError:
        """The error for one cell; `row` counts from 0 in the table, the message from 1 in the file."""
        return UserError(f"{self.path}, row {self.line(row)}, {self.source.get(name, name)}: {problem}")

    def line(self, row: int) -> int:
        """The line of the file on which a row starts, from 1, the header being a line too."""
        if self.layout is None:
            return row + 1
        data, record = _utf8(self.path, self.layout), row + (0 if self.layout.names else 1)
        if not data.startswith((b"\n", b"\r")) and not any(mark in data for mark in (b'"', b"\n\n", b"\n\r")):
            return record + 1  # no record spans lines and no line is empty
        return next(line for n, (line, _) in enumerate(_records(data, self.layout)) if n == record)

    def lacks(self, name: str, fix: str) -> UserError:
        return UserError(f"{self.path}: no column {name!r}, only {', '.join(self.source.values())}; {fix}")


def near(name: str, names: Sequence[str]) -> str | None:
    """The name most like `name`, whatever the case and the underscores."""
    plain = {n.lower().replace("_", "").replace(" ", ""): n for n in names}
    hits = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1)
    return plain[hits[0]] if hits else None


def found(folder: Path) -> str:
    """What lies in a folder, in a few words."""
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"


def read_table(path: str | Path, *, delimiter: str | None = None, encoding: str = "utf-8", names: Sequence[str] = ()) -> Table:
    """Read CSV, TSV or Parquet, by the suffix.

    Args:
        delimiter: one or more characters; default: tab for .tsv and .dat, else comma.
        names: the columns of a file that has no header line.
    Raises:
        UserError: no such file, a folder, an empty file, a wrong delimiter or encoding, a row of the wrong length.
    """
    path, delimiter = Path(path), {"\\t": "\t", "tab": "\t"}.get(delimiter or "", delimiter)  # as a shell gives it
    _check_is_file(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        table = Table(path, _parquet(path))
    else:
        table = _text_table(path, Layout(delimiter or ("\t" if path.suffix in (".tsv", ".dat") else ","), encoding, tuple(names)))
    if not len(table):
        raise UserError(f"{path}: the file has no rows below its header; write it again with its data")
    return replace(table, source={c: c for c in table.names})


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        files = [p.name for p in sorted(path.iterdir()) if p.suffix in SUFFIXES]
        raise UserError(f"{path}: a folder, where a file is expected; give one of its files: {', '.join(files) or 'none fits'}")
    if not path.is_file():
        guess = near(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
        raise UserError(f"{path}: no such file; " + (f"did you mean {guess!r}?" if guess else "check the path"))


def _text_table(path: Path, layout: Layout) -> Table:
    data = _utf8(path, layout)
    if not data or data.isspace():
        raise UserError(f"{path}: the file is empty; write it again with a header and rows")
    head = data[: 1 << 20].lstrip(b"\r\n").splitlines()[0]  # 1 MiB holds any header
    # Tab-separated and header-less files of this field take a quote for a plain character ("Weird Al" Yankovic).
    quoted = head.startswith(b'"') or (layout.separator not in ("\t", STAND_IN) and not layout.names)
    layout = replace(layout, quoted=quoted)
    header = next(_records(head, layout))[1]
    _check_header(path, layout, header, head.decode())
    types = {c: pa.string() for c in layout.names or header}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            # 64 MiB holds any row; one thread, so that a broken row is reported in order
            pa.csv.ReadOptions(use_threads=False, block_size=1 << 26, column_names=layout.names or None),
            pa.csv.ParseOptions(
                delimiter=layout.separator, quote_char='"' if layout.quoted else False, newlines_in_values=layout.quoted
            ),
            pa.csv.ConvertOptions(check_utf8=False, column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(path, layout, data, len(types), error) from None
    _check_quotes(path, layout, data, table)
    return Table(path, table.rename_columns([c.strip() for c in table.column_names]), layout)


def _utf8(path: Path, layout: Layout) -> bytes:
    """The file in UTF-8 without byte order mark, its delimiter one character."""
    data = path.read_bytes()
    try:
        text = data.decode(layout.encoding)
    except LookupError:
        raise UserError(f"{path}: unknown encoding {layout.encoding!r}; use utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problem = f"byte {error.start} (0x{data[error.start]:02x}) is not {layout.encoding}"
        raise UserError(f"{path}, row {row}: {problem}; add --encoding latin-1, or save the file as UTF-8") from None
    if layout.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        data = text.encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    return data if len(layout.delimiter) == 1 else data.replace(layout.delimiter.encode(), STAND_IN.encode())


def _records(data: bytes, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """(line from 1, fields) of each record."""
    csv.field_size_limit(1 << 30)  # an unclosed quote makes one field of the rest of the file
    text = io.StringIO(data.decode(), newline="")
    reader = csv.reader(text, delimiter=layout.separator, quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE)
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def _check_header(path: Path, layout: Layout, header: list[str], line: str) -> None:
    wanted = len(layout.names) or 2
    if len(header) < wanted:
        counts = {d: len(line.split(d)) for d in DELIMITERS if d != layout.delimiter}
        best = max(counts, key=lambda d: counts[d])
        if counts[best] >= wanted:
            problem = f"one column with the delimiter {layout.delimiter!r}, but {best!r} splits it into {counts[best]}"
            raise UserError(f"{path}, row 1: {problem}; add --delimiter {best!r}")
    if layout.names and len(header) != len(layout.names):
        columns = ", ".join(layout.names)
        raise UserError(f"{path}, row 1: {len(header)} fields for the columns {columns}; is this file of the format?")
    twice = [c for n, c in enumerate(header) if c in header[:n]]
    if twice and not layout.names:
        raise UserError(f"{path}, row 1, {twice[0]}: the header names this column twice; rename one of them")


def _ragged(path: Path, layout: Layout, data: bytes, width: int, error: Exception) -> UserError:
    """The error for the first row that has too many or too few fields."""
    for line, fields in _records(data, layout):
        if len(fields) != width:
            problem = f"{len(fields)} fields where the header has {width}"
            return UserError(f"{path}, row {line}: {problem}; quote a field that holds {layout.delimiter!r}, or mend the row")
    return UserError(f"{path}: {str(error).splitlines()[0]}; write the file again")


def _check_quotes(path: Path, layout: Layout, data: bytes, table: Any) -> None:
    """An unclosed quote makes one long cell of all rows that follow, which no parser reports."""
    if layout.quoted and len(table) and data.count(b'"') % 2 and any("\n" in c[-1].as_py() for c in table.columns):
        start = Table(path, table, layout).line(len(table) - 1)
        raise UserError(f'{path}, row {start}: a quote (") opens here and is never closed; close it or take it out')


def _parquet(path: Path) -> Any:
    try:
        table = pa.parquet.read_table(path)
    except pa.ArrowInvalid:
        raise UserError(f"{path}: not a Parquet file; name it .csv or .tsv if it is text") from None
    for n, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        if pa.types.is_dictionary(kind):
            table = table.set_column(n, name, table[name].cast(kind.value_type))
    return table


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_text(v) for v in value if v is not None)
    if isinstance(value, float):  # whole numbers that a missing cell has made floats: 1995.0 is 1995
        value = None if value != value else int(value) if value.is_integer() else value
    return "" if value is None else str(value).strip()
