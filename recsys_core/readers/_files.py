"""A file as a table of text columns, and the way from a row of the table back to a line of the file.

Arrow reads; plain Python looks again only where something is wrong, to say where.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from recsys_core import limits
from recsys_core.errors import UserError
from recsys_core.readers import _parquet
from recsys_core.readers._border import PARQUET, content, too_long, too_wide

DELIMITERS = (",", "\t", ";", "|", "::")
MARKS = (  # byte order marks of what is not UTF-8, the longer first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WIDE = re.compile(r"(?i)utf[_-]?(16|32)")
OPEN = 'a quote (") opens here and is never closed; close it or take it out'
HEADER = 1 << 20  # bytes that hold any header
BLOCK = 1 << 26  # bytes that hold any row
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
        return self.delimiter if len(self.delimiter.encode()) == 1 else STAND_IN


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
        values = _values(self.data[name])
        return np.array([*map(_text, values), None], dtype=object)[:-1]  # None: or tuples of one length become a matrix

    def cell(self, name: str, row: int) -> object:
        return _values(self.data[name].slice(row, 1))[0]

    def renamed(self, names: Mapping[str, str]) -> Table:
        """`names` maps column -> new name; a column that already has a new name makes way."""
        taken = set(names.values())
        keep = [c for c in self.names if c in names or c not in taken]
        if twice := [name for name, times in Counter(names.get(c, c) for c in keep).items() if times > 1]:
            raise UserError(f"{self.path}, row 1: two columns are the {twice[0]}; rename one of them")
        source = {names.get(c, c): self.source.get(c, c) for c in keep}
        return replace(self, data=self.data.select(keep).rename_columns([names.get(c, c) for c in keep]), source=source)

    def select(self, names: Iterable[str]) -> Table:
        there = set(self.names)
        return replace(self, data=self.data.select([c for c in names if c in there]))

    def with_column(self, name: str, cells: Iterable[str]) -> Table:
        rest = self.data.drop_columns([name]) if name in self else self.data
        return replace(self, data=rest.append_column(name, pa.array(list(cells), pa.string())))

    def bad(self, row: int, name: str, problem: str) -> UserError:
        """The error for one cell; `row` counts from 0 in the table, the message from 1 in the file."""
        return UserError(f"{self.path}, row {self.line(row)}, {self.source.get(name, name)[:80]}: {problem}")

    def line(self, row: int) -> int:
        """The line of the file on which a row starts, from 1, the header being a line too."""
        if self.layout is None:
            return row + 1
        data, record = _utf8(self.path, self.layout), row + (0 if self.layout.names else 1)
        if not data.startswith((b"\n", b"\r")) and not any(mark in data for mark in (b'"', b"\n\n", b"\n\r")):
            return record + 1  # no record spans lines and no line is empty
        return next(line for n, (line, _) in enumerate(_records(data, self.layout)) if n == record)

    def require(self, *names: str) -> Self:
        """The table, which has these columns. Raises UserError if not."""
        for name in names:
            if name not in self:
                raise self.lacks(name, "is this file of the format? If so, add the column")
        return self

    def lacks(self, name: str, fix: str) -> UserError:
        there = [column[:80] for column in self.source.values()]
        named = ", ".join(there[:20]) + (f" and {len(there) - 20:,} more" if len(there) > 20 else "")
        return UserError(f"{self.path}: no column {name!r}, only {named}; {fix}")


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
    if path.suffix.lower() in PARQUET:
        table = Table(path, _parquet.read(path))
    else:
        table = _text_table(path, Layout(delimiter or ("\t" if path.suffix in (".tsv", ".dat") else ","), encoding, tuple(names)))
    if not len(table):
        raise UserError(f"{path}: the file has no rows below its header; write it again with its data")
    if len(table) > limits.ROWS:
        raise too_long(path, len(table))
    return replace(table, source={c: c for c in table.names})


def _text_table(path: Path, layout: Layout) -> Table:
    if layout.delimiter in ('"', "\n", "\r", "\0"):
        raise UserError(
            f"--delimiter {layout.delimiter!r}: cannot separate columns; use one of {', '.join(map(repr, DELIMITERS))}"
        )
    data = _utf8(path, layout)
    if not data or data.isspace():
        raise UserError(f"{path}: the file is empty; write it again with a header and rows")
    head = data[:HEADER].lstrip(b"\r\n").splitlines()[0]
    # Tab-separated and header-less files of this field take a quote for a plain character ("Weird Al" Yankovic).
    quoted = head.startswith(b'"') or (layout.separator not in ("\t", STAND_IN) and not layout.names)
    layout = replace(layout, quoted=quoted)
    header = _header(path, layout, head)
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            # one thread, so that a broken row is reported in order
            pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=header),
            pa.csv.ParseOptions(
                delimiter=layout.separator, quote_char='"' if layout.quoted else False, newlines_in_values=layout.quoted
            ),
            pa.csv.ConvertOptions(check_utf8=False, column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(path, layout, data, len(header), error) from None
    table = table if layout.names else table.slice(1)  # the header was read as a row, under names that are told apart
    _check_quotes(path, layout, data, table)
    _check_cells(path, layout, table)
    return Table(path, table, layout)


def _utf8(path: Path, layout: Layout) -> bytes:
    """The file in UTF-8 without byte order mark, its delimiter one character."""
    data, name = content(path), layout.encoding.lower().replace("_", "-")
    plain = name in ("utf-8", "utf8", "utf-8-sig")
    if plain and (other := next((encoding for mark, encoding in MARKS if data.startswith(mark)), "")):
        raise UserError(f"{path}, row 1: begins as {other.upper()}, not {layout.encoding}; add --encoding {other}")
    if not (plain and _is_utf8(data)):
        data = _decoded(path, data, layout.encoding).encode()
    if (at := data.find(b"\0")) >= 0:
        fix = "take it out, or add --encoding utf-16-le if the file is UTF-16"
        raise UserError(f"{path}, row {_row(data, at)}: a NUL byte, so this is no text in {layout.encoding}; {fix}")
    data = data.removeprefix(codecs.BOM_UTF8)
    return data if layout.delimiter == layout.separator else data.replace(layout.delimiter.encode(), STAND_IN.encode())


def _is_utf8(data: bytes) -> bool:
    """Without a second copy of the data, which `decode` would make."""
    ends = pa.array([0, len(data)], pa.int64()).buffers()[1]
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    """Raises UserError for an unknown encoding, or naming the first byte that is not in it."""
    if WIDE.match(encoding) and b"\0" not in data:  # in it every comma and line end has one
        raise UserError(f"{path}: not {encoding}, as another file may be; save all of them in one encoding, such as UTF-8")
    try:
        text = data.decode(encoding)
        text.encode()  # some encodings let halves of characters through
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} (0x{data[error.start]:02x}) is not {encoding}"
        raise UserError(
            f"{path}, row {_row(data, error.start)}: {problem}; add --encoding latin-1, or save the file as UTF-8"
        ) from None
    except UnicodeError:
        raise UserError(f"{path}: not {encoding}; save the file as UTF-8") from None
    except (LookupError, ValueError, TypeError):
        raise UserError(f"{path}: unknown encoding {encoding!r}; use utf-8, latin-1 or cp1252") from None
    return text


def _row(data: bytes, at: int) -> int:
    """The line of the file, from 1, in which the byte at `at` is."""
    return data.count(b"\n", 0, at) + 1


def _records(data: bytes, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """(line from 1, fields) of each record."""
    csv.field_size_limit(1 << 30)  # an unclosed quote makes one field of the rest of the file
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
    reader = csv.reader(text, delimiter=layout.separator, quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE)
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def _header(path: Path, layout: Layout, head: bytes) -> list[str]:
    """The names of the columns. Raises UserError for a header that is none, or of another number of columns."""
    if layout.quoted and head.count(b'"') % 2:
        raise UserError(f'{path}, row 1: a quote (") opens here and is not closed in this line; close it or take it out')
    header, line = next(_records(head, layout))[1], head.decode(errors="replace")
    if len(head) >= HEADER and len(header) <= limits.COLUMNS:
        raise UserError(f"{path}, row 1: no line ends in the first {HEADER:,} bytes; is this a table?")
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
    if layout.names:
        return list(layout.names)
    return column_names(path, header)


def column_names(path: Path, header: Sequence[str]) -> list[str]:
    """The names in a header; a column without one is called by its number. Raises UserError for one that comes twice."""
    if len(header) > limits.COLUMNS:
        raise too_wide(path, len(header))
    names = [name.strip() or f"column {n}" for n, name in enumerate(header, 1)]
    if twice := next((name for name, times in Counter(names).items() if times > 1), ""):
        raise UserError(f"{path}, row 1, {twice[:80]}: the header names this column twice; rename one of them")
    return names


def _ragged(path: Path, layout: Layout, data: bytes, width: int, error: Exception) -> UserError:
    """The error for the first row that has too many or too few fields."""
    for line, fields in _records(data, layout):
        if len(fields) != width and layout.quoted and data.count(b'"') % 2 and any("\n" in f for f in fields):
            return UserError(f"{path}, row {line}: {OPEN}")
        if len(fields) != width:
            problem = f"{len(fields):,} fields where the header has {width:,}"
            return UserError(f"{path}, row {line}: {problem}; quote a field that holds {layout.delimiter!r}, or mend the row")
        if len(longest := max(fields, key=len)) > limits.LETTERS:
            return UserError(f"{path}, row {line}: {_too_many_letters(len(longest))}")
    return UserError(f"{path}: {str(error).splitlines()[0][:200]}; write the file again")


def _check_quotes(path: Path, layout: Layout, data: bytes, table: Any) -> None:
    """An unclosed quote makes one long cell of all rows that follow, which no parser reports."""
    if layout.quoted and len(table) and data.count(b'"') % 2 and any("\n" in c[-1].as_py() for c in table.columns):
        start = Table(path, table, layout).line(len(table) - 1)
        raise UserError(f"{path}, row {start}: {OPEN}")


def _check_cells(path: Path, layout: Layout, table: Any) -> None:
    for name in table.column_names:
        lengths = pc.binary_length(table[name])
        if len(table) and (most := pc.max(lengths).as_py()) > limits.LETTERS:
            row = pc.index(lengths, most).as_py()
            raise Table(path, table, layout).bad(row, name, _too_many_letters(len(table[name][row].as_py())))


def _too_many_letters(n: int) -> str:
    return f"a cell of {n:,} characters, more than {limits.LETTERS:,}; shorten it"


def _values(column: Any) -> list[Any]:
    """The cells of an Arrow column; text of those that Python cannot hold, as a date in the year 20000."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return [str(value) for value in column.cast(pa.string()).to_pylist()]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        texts = [_text(v) for v in value if v is not None]
        return tuple(t for text in texts for t in (text if isinstance(text, tuple) else (text,)))
    if isinstance(value, float):  # whole numbers that a missing cell has made floats: 1995.0 is 1995
        value = None if value != value else int(value) if value.is_integer() else value
    return "" if value is None else str(value).strip()
