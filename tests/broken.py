"""Broken tables: what people bring instead of a good one.

`KINDS` maps a kind to how it is made and what must come of it. The good table has the columns that every command asks for and the
ids of data/tiny, so that a command which refuses a kind refuses it for its fault.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEAD = "user_id,item_id,rating,time,score"
ROWS = ("u01,h1,5,1704800000,0.5", "u01,s4,4,1704800001,0.4", "u02,h2,5,1704800002,0.3", "u02,s2,1,1704800003,0.2")
RTL, ZERO_WIDTH = "\u202e", "\u200b"
NFC, NFD = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))
READ, REFUSED = "read", "refused"


@dataclass(frozen=True)
class Kind:
    """`ends`: whether `whyrec prepare` reads it; `says`: part of the refusal; `always`: no command reads it; `heavy`: takes
    seconds or much memory."""

    make: Callable[[Path], Path]
    ends: str
    says: str = ""
    always: bool = False
    heavy: bool = False


KINDS: dict[str, Kind] = {}


def good(*more: str, head: str = HEAD, rows: Iterable[str] = ROWS) -> str:
    return "\n".join([head, *rows, *more]) + "\n"


def put(name: str, data: bytes | str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return folder / name

    return make


def kind(name: str, make: Callable[[Path], Path] | bytes | str, ends: str, says: str = "", **how: bool) -> None:
    assert name not in KINDS
    KINDS[name] = Kind(make if callable(make) else put("events.csv", make), ends, says, **how)


def row(user: str = "u01", item: str = "s1", rating: str = "5", time: str = "1704800009", score: str = "1") -> str:
    return ",".join([user, item, rating, time, score])


def refused(
    name: str, make: Callable[[Path], Path] | bytes | str, says: str, *, always: bool = True, heavy: bool = False
) -> None:
    kind(name, make, REFUSED, says, always=always, heavy=heavy)


def read(name: str, make: Callable[[Path], Path] | bytes | str) -> None:
    kind(name, make, READ)


# Structure.

refused("empty", "", "the file is empty")
refused("blank lines alone", "\n\r\n\n", "the file is empty")
refused("byte order mark alone", b"\xef\xbb\xbf", "the file is empty")
refused("header alone", HEAD + "\n", "no rows below its header")
refused("header alone, no line end", HEAD, "no rows below its header")
refused("no header", "\n".join(ROWS) + "\n", "no column 'user_id'", always=False)
refused("empty header", ",,,,\n" + "\n".join(ROWS), "no column 'user_id'", always=False)
read("a column without a name", good(head="," + HEAD, rows=[f"{n},{r}" for n, r in enumerate(ROWS)]))
refused("header twice the same", good(head=HEAD.replace("time", "rating")), "names this column twice")
refused("header twice the same but for blanks", good(head=HEAD.replace("time", " rating")), "names this column twice")
refused("header in the middle", good(HEAD), "row 6, rating: 'rating' is not a number", always=False)
refused("header with a line break", good(head='"user_id\nx",item_id,rating,time,score'), "row 1")
refused("quote in the header never closed", good(head='"user_id,item_id,rating,time,score'), "row 1")
refused("quote never closed", good('u02,"h2,5,1,1'), "row 6: a quote")
refused("quotes never closed, two", good('u02,"h2,5,1,1', *[f"u03,h{n},5,1,1" for n in range(1, 4)], 'u04,"h3,5,1,1'), "row ")
read("quotes within a field", good('u03,"h""1",5,1704800000,1'))
refused("row too short", good("u01,h1"), "row 6: 2 fields where the header has 5")
refused("row too long", good(row() + ",1,2"), "row 6: 7 fields where the header has 5")
refused("a wrong delimiter", good().replace(",", ";"), "add --delimiter ';'")
refused("a spreadsheet's sep line", "sep=;\n" + good().replace(",", ";"), "row 1")
read("line ends of all three kinds", good().replace("\n", "\r\n", 2).replace("0.3\n", "0.3\r"))
read("empty lines between rows", good().replace("\n", "\n\n"))
read("one row", good(rows=ROWS[:1]))

# Encodings.

read("byte order mark", b"\xef\xbb\xbf" + good().encode())
refused("latin-1", good(row("Jos\xe9")).encode("latin-1"), "add --encoding latin-1")
refused("UTF-16", good().encode("utf-16"), "add --encoding utf-16")
refused("UTF-16 without a mark", good().encode("utf-16-le"), "NUL")
refused("UTF-32", good().encode("utf-32"), "add --encoding utf-32")
refused("a NUL byte", good(row("u\x0001")), "row 6: a NUL byte")
refused("NUL bytes alone", b"\0" * 4096, "NUL")
refused("UTF-8 cut in the middle", good(row("Jos\xe9")).encode()[:-19], "row 6")
refused("a surrogate in UTF-8", good(row("a\ud800")).encode("utf-8", "surrogatepass"), "row 6")
refused("noise", bytes(range(1, 256)) * 64, "row 2: byte")

# Values.

for what, cell in {
    "NaN": "NaN", "infinite": "-inf", "1e400": "1e400", "1e39": "1e39", "empty": "", "text": "good", "a date": "2020-01-01",
    "thousands": '"1,000"', "true": "true", "a formula": "=1+1", "hexadecimal": "0x10", "underscored": "1_0", "percent": "80%",
}.items():  # fmt: skip
    refused(f"rating: {what}", good(row(rating=cell)), "row 6, rating", always=False)
refused("time: in the year 2100", good(row(time="4102444800")), "in the future", always=False)
refused("time: in the year 10^11", good(row(time="3e18")), "row 6, time", always=False)
refused("time: milliseconds", good(row(time="1704800000000")), "milliseconds", always=False)
refused("time: before the world", good(row(time="-1e300")), "row 6, time", always=False)
refused("time: NaN", good(row(time="nan")), "row 6, time", always=False)
refused("time: a date among numbers", good(row(time="2020-01-01")), "row 6, time", always=False)
refused("time: the 30th of February", good(rows=[row(time="2020-02-30")]), "row 2, time", always=False)
read("time: before 1970", good(row(time="-86400")))
read("rating: negative", good(row(rating="-5")))
read("rating: smaller than any number", good(row(rating="1e-400")))

# Ids.

read("ids apart by case", good(row("U01"), row("u1")))
refused("ids apart by blanks", good(row(item="h3"), row(" u01 ", "h3")), "were already in row 6", always=False)
read("ids apart by normal form", good(row(NFC), row(NFD)))
read("ids 1, 1.0 and 01", good(*[row(i) for i in ("1", "1.0", "01", "1e0", "+1")]))
read("ids that are formulas", good(row('=HYPERLINK("http://x")'.replace('"', "'")), row("@x"), row("-1"), row("+1")))
read("ids with reversed writing", good(row(f"u{RTL}10"), row(f"u{ZERO_WIDTH}01")))
read("ids that are markup", good(row("<script>alert(1)</script>"), row("`x` $y$ :red[z]")))
read("ids that are SQL and paths", good(row("'; DROP TABLE x; --"), row("../../etc/passwd"), row("%00")))
refused("an empty id", good(row("  ")), "row 6, user_id: the id is empty", always=False)
refused("an id of a million characters", good(row("x" * 1_000_000)), "row 6, user_id", always=False)
refused("an id with a line break", good(row('"a\nb"')), "row 6, user_id", always=False)
refused("an id with a carriage return", good(row('"a\rb"')), "row 6, user_id", always=False)
refused("a pair twice", good(ROWS[0]), "row 6, item_id", always=False)

# Sizes.

refused("a million columns", ",".join(f"c{n}" for n in range(1_000_000)) + "\n", "columns")
refused("a million columns and a row", (",".join(f"c{n}" for n in range(10**6)) + "\n" + "," * 999_999 + "\n"), "columns")
refused("a field of ten million characters", good(row('"' + "x" * 10_000_000 + '"')), "10,000,000 characters")
refused("a line without end", "x" * 80_000_000, "no line ends", heavy=True)
refused("a million commas", "," * 1_000_000, "columns, more than")


def sparse(name: str, size: int, start: bytes) -> Callable[[Path], Path]:
    """A file that says it has `size` bytes and takes none of them on the disk."""

    def make(folder: Path) -> Path:
        with (folder / name).open("wb") as file:
            file.write(start)
            file.truncate(size)
        return folder / name

    return make


refused("a text file of a terabyte", sparse("events.csv", 1 << 40, good().encode()), "GiB")
refused("a Parquet file of a terabyte", sparse("events.parquet", 1 << 40, b"PAR1"), "events.parquet")


# Something else instead of a table.


def packed(name: str, inner: str = "events.csv", fill: int = 0) -> Callable[[Path], Path]:
    """A ZIP archive of a table, or of `fill` MiB of nothing."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(inner, "w") as file:
            file.write(good().encode())
            for _ in range(fill):
                file.write(bytes(1 << 20))
        return folder / name

    return make


def tarred(folder: Path) -> Path:
    with tarfile.open(folder / "events.csv", "w") as archive:
        info = tarfile.TarInfo("../../events.csv")
        info.size = len(good())
        archive.addfile(info, io.BytesIO(good().encode()))
    return folder / "events.csv"


def database(folder: Path) -> Path:
    base = sqlite3.connect(folder / "events.csv")
    base.execute("CREATE TABLE events (user_id, item_id)")
    base.commit()
    base.close()
    return folder / "events.csv"


JSON = json.dumps([dict(zip(HEAD.split(","), r.split(","), strict=True)) for r in ROWS])
refused("a ZIP archive", packed("events.csv"), "a ZIP archive")
refused("a ZIP archive as Parquet", packed("events.parquet"), "a ZIP archive")
refused("a ZIP bomb", packed("events.csv", fill=40), "a ZIP archive")
refused("a workbook", packed("events.csv", "xl/workbook.xml"), "a ZIP archive")
refused("a gzip file", gzip.compress(good().encode()), "a gzip file")
refused("a tar archive", tarred, "a tar archive")
refused("a database", database, "a SQLite database")
refused("JSON", JSON, "JSON")
refused("JSON, indented", json.dumps(json.loads(JSON), indent=1), "JSON")
refused("JSON lines", "\n".join(map(json.dumps, json.loads(JSON))), "JSON")
refused("a page of the web", "<!DOCTYPE html>\n<html><body>Log in, please</body></html>\n", "HTML")
refused("a PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF")
refused("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture")


def folder_of(folder: Path) -> Path:
    (folder / "events.csv").mkdir()
    return folder / "events.csv"


def link(to: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "events.csv").symlink_to(to)
        return folder / "events.csv"

    return make


def link_outside(folder: Path) -> Path:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    (outside / "real.csv").write_text(good())
    (folder / "events.csv").symlink_to(outside / "real.csv")
    return folder / "events.csv"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "events.csv")
    return folder / "events.csv"


refused("a folder", folder_of, "a folder, where a file is expected")
refused("a link to nothing", link("nowhere.csv"), "a link to something that is not there")
refused("a link to itself", link("events.csv"), "a link")
refused("a pipe", pipe, "not a plain file")
refused("a device", lambda folder: Path("/dev/zero"), "not a plain file")
refused("the device of nothing", lambda folder: Path("/dev/null"), "not a plain file")
refused("a path through a file", lambda folder: put("x.csv", "")(folder) / "events.csv", "no such file")
refused("a name of a thousand letters", lambda folder: folder / ("x" * 1000 + ".csv"), "no such file")
read("a link to a file outside", link_outside)


# Parquet.


def columns(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = dict(zip(HEAD.split(","), map(list, zip(*(r.split(",") for r in ROWS), strict=True)), strict=True))
    made |= {"rating": [5.0, 4.0, 5.0, 1.0], "time": [int(t) for t in made["time"]], "score": [0.5, 0.4, 0.3, 0.2]}
    return {name: changes.get(name, cells) for name, cells in made.items()}


def parquet(**changes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pq.write_table(pa.table(columns(**changes)), folder / "events.parquet")
        return folder / "events.parquet"

    return make


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = parquet()(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def many_rows(n: int, text: str = "") -> Callable[[Path], Path]:
    """Few bytes on the disk, n rows in memory: every cell is the same; `text` is one more column."""

    def make(folder: Path) -> Path:
        path, step = folder / "events.parquet", 1 << (14 if text else 20)
        zeros, texts = pa.array([0] * step, pa.int32()), {"user_id": "u01", "item_id": "h2"} | ({"note": text} if text else {})
        names, made = list(texts), [pa.DictionaryArray.from_arrays(zeros, pa.array([cell])) for cell in texts.values()]
        table = pa.table(made, names=names)
        with pq.ParquetWriter(path, table.schema) as writer:
            for _ in range(-(-n // step)):
                writer.write_table(table)
        return path

    return make


U = ["u01", "u01", "u02", "u02"]
read("Parquet", parquet())
refused("Parquet: cut off", damaged(lambda data: data[: len(data) // 2]), "not a whole Parquet file")
refused("Parquet: without its end", damaged(lambda data: data[:-4]), "not a whole Parquet file")
refused(
    "Parquet: a wrong length of the footer",
    damaged(lambda data: data[:-8] + b"\xff\xff\xff\x7f" + b"PAR1"),
    "not a whole Parquet file",
)
refused(
    "Parquet: a footer of noise", damaged(lambda data: data[:-200] + bytes(192 * [7]) + data[-8:]), "not a whole Parquet file"
)
refused(
    "Parquet: pages of noise",
    damaged(lambda data: data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :]),
    "events.parquet",
)
refused("Parquet: called CSV", lambda folder: parquet()(folder).rename(folder / "events.csv"), "a Parquet file")
refused("CSV called Parquet", put("events.parquet", good()), "not a whole Parquet file")
refused("Parquet: no rows", parquet(**{n: pa.array([], pa.string()) for n in HEAD.split(",")}), "no rows")
refused("Parquet: lists as ids", parquet(user_id=[["u01"], ["u02"], [], None]), "user_id", always=False)
refused("Parquet: structs as ids", parquet(user_id=[{"a": 1}] * 4), "user_id", always=False)
refused("Parquet: bytes as ids", parquet(user_id=[b"\xff\xfe"] * 4), "user_id", always=False)
refused("Parquet: nothing as ids", parquet(user_id=pa.nulls(4)), "user_id", always=False)
refused("Parquet: NaN as an id", parquet(user_id=[1.0, float("nan"), 2.0, 3.0]), "row 2, user_id", always=False)
refused("Parquet: infinity as an id", parquet(user_id=[1.0, float("inf"), 2.0, 3.0]), "row 2, user_id", always=False)
refused("Parquet: structs as ratings", parquet(rating=[{"a": 1}] * 4), "rating", always=False)
refused("Parquet: lists as ratings", parquet(rating=[[1.0]] * 4), "rating", always=False)
refused("Parquet: bytes as ratings", parquet(rating=[b"\xff"] * 4), "rating", always=False)
refused("Parquet: times of a day", parquet(time=pa.array([1] * 4, pa.time32("s"))), "time", always=False)
refused("Parquet: spans of time", parquet(time=pa.array([1] * 4, pa.duration("s"))), "time", always=False)
refused("Parquet: times without bounds", parquet(time=pa.array([2**64 - 1] * 4, pa.uint64())), "row 1, time", always=False)
refused(
    "Parquet: stamps in the year 20000",
    parquet(time=pa.array([568971820800000] * 4, pa.timestamp("ms"))),
    "row 1, time",
    always=False,
)
refused("Parquet: a column twice", lambda folder: twice(folder), "names this column twice")
refused("Parquet: a hundred million rows", many_rows(101_000_000), "rows", heavy=True)
refused("Parquet: a text of a million characters in every row", many_rows(1 << 20, "x" * 1_000_000), "unpacked", heavy=True)
read("Parquet: decimals, dates, categories", parquet(
    rating=pa.array([5, 4, 5, 1], pa.decimal128(3, 1)), time=pa.array([19000] * 4, pa.date32()),
    user_id=pa.array(U).dictionary_encode(), item_id=pa.array(["h1", "s4", "h2", "s2"], pa.large_string()),
))  # fmt: skip
read("Parquet: whole floats and great numbers as ids", parquet(user_id=[1.0, 1.0, 2.0, 2.0**60]))


def twice(folder: Path) -> Path:
    table = pa.table(list(columns().values()), names=["user_id", "item_id", "rating", "rating", "score"])
    pq.write_table(table, folder / "events.parquet")
    return folder / "events.parquet"
