"""What is let in as a table: a plain file of a bearable size, and not something else that was given its name."""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from recsys_core import limits
from recsys_core.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet")
PARQUET = (".parquet", ".pq")
UNPACK, EXPORT = "unpack it and give the table in it", "export a table from it as CSV or Parquet"
KINDS: tuple[tuple[bytes, str, str], ...] = (  # first bytes of a file, what it is then, what to do
    (rb"PK\x03\x04", "a ZIP archive or a workbook", "unpack it, or save the sheet as CSV (UTF-8)"),
    (rb"\x1f\x8b", "a gzip file", UNPACK),
    (rb"BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a packed file", UNPACK),
    (rb"(?s).{257}ustar", "a tar archive", UNPACK),
    (rb"SQLite format 3\0", "a SQLite database", EXPORT),
    (rb"PAR1", "a Parquet file", "name it .parquet"),
    (rb"%PDF-", "a PDF", EXPORT),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*", "a picture", "give a table"),
    (rb"\xd0\xcf\x11\xe0", "an old workbook", "save the sheet as CSV (UTF-8)"),
    (rb"\x7fELF|MZ\x90", "a program", "give a table"),
    (rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*"|\[\s*[\[{"])', "JSON", "write it as CSV or Parquet, one row an event or item"),
    (rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml)", "HTML or XML", "give the table itself; was a login page saved?"),
)


def near(name: str, names: Sequence[str]) -> str | None:
    """The name most like `name`, whatever the case and the underscores."""
    plain = {n.lower().replace("_", "").replace(" ", ""): n for n in names}
    hits = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1)
    return plain[hits[0]] if hits else None


def check_is_file(path: Path) -> None:
    """Raises UserError for what is not there, a folder, a pipe or a device (they may have no end), and too large a file."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        raise _absent(path) from None
    if stat.S_ISDIR(found.st_mode):
        files = [p.name for p in sorted(path.iterdir()) if p.suffix in SUFFIXES]
        named = ", ".join(files[:8]) + (", ..." if len(files) > 8 else "")
        raise UserError(f"{path}: a folder, where a file is expected; give one of its files: {named or 'none fits'}")
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: not a plain file but a pipe or a device; write what it gives into a file")
    if found.st_size > limits.FILE_BYTES:
        raise too_large(path, found.st_size)


def _absent(path: Path) -> UserError:
    try:
        if path.is_symlink():
            return UserError(f"{path}: a link to something that is not there; mend the link, or give the file itself")
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError):
        names = []
    guess = near(path.name, names)
    return UserError(f"{path}: no such file; " + (f"did you mean {guess!r}?" if guess else "check the path"))


def content(path: Path) -> bytes:
    """The bytes of a file. Raises UserError as `check_is_file` does, if it may not be read, and if it is no text."""
    check_is_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    check_is_text(path, data)
    return data


def check_is_text(path: Path, data: bytes) -> None:
    """Raises UserError if the first bytes `data` are those of an archive, a workbook, JSON, ..."""
    for first, what, fix in KINDS:
        if re.match(first, data):
            raise UserError(f"{path}: {what}, not a table as text; {fix}")


def too_large(path: Path, size: int, unpacked: str = "") -> UserError:
    """The error for more bytes than are read."""
    most = f"more than {limits.FILE_BYTES / 2**30:g} GiB"
    return UserError(f"{path}: {size / 2**30:,.1f} GiB{unpacked}, {most}; take fewer rows or columns")


def too_wide(path: Path, width: int) -> UserError:
    """The error for more columns than are read."""
    return UserError(f"{path}: {width:,} columns, more than {limits.COLUMNS:,}; keep what is needed, one row an event or item")


def too_long(path: Path, rows: int) -> UserError:
    """The error for more rows than are read."""
    return UserError(f"{path}: {rows:,} rows, more than {limits.ROWS:,}; take a part of them")
