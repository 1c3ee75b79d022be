"""Bad input: one line that names the file, the row, the field and the fix; and the good version of each file is read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.readers import load_dataset
from recsys_core.readers.table import read_tables

GOOD = {
    "events.csv": "user_id,item_id,rating,time\n1,a,5,1700000000\n1,b,3,1700000001\n2,a,4,1700000002\n",
    "items.csv": "item_id,title\na,Heat\nb,Big\n",
    "users.csv": "user_id,gender\n1,F\n2,M\n",
}


def read(folder: Path, files: dict[str, str | bytes], **options: Any) -> Dataset:
    for name, text in {**GOOD, **files}.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_tables(folder / "events.csv", folder / "items.csv", folder / "users.csv", **options)


def events(*rows: str, header: str = "user_id,item_id,rating,time") -> dict[str, str | bytes]:
    return {"events.csv": "\n".join([header, *rows]) + "\n"}


ROW = "1,a,5,1700000000"
E, ITEMS, USERS = "events.csv", "items.csv", "users.csv"
CASES: dict[str, tuple[dict[str, str | bytes], dict[str, Any], tuple[str, ...]]] = {
    "missing column": (
        events("1,a,5", header="uid,item_id,rating"),
        {},
        (f"{E}: no column 'user_id', only uid, item_id, rating; did you mean 'uid'? Add --map user_id=uid",),
    ),
    "missing column, nothing like it": (
        events("1,a,5", header="user_id,xxx,rating"),
        {},
        (f"{E}: no column 'item_id'", "add --map item_id=COLUMN"),
    ),
    "missing title": (
        {ITEMS: "item_id,Titel\na,Heat\nb,Big\n"},
        {},
        (f"{ITEMS}: no column 'title'", "Add --map items.title=Titel"),
    ),
    "mapped column that is not there": (
        {},
        {"mapping": {"value": "ratng"}},
        ("--map value=ratng: not in events.csv, items.csv, users.csv", "Did you mean 'rating'?"),
    ),
    "mapping of no table": ({}, {"mapping": {"item.title": "title"}}, ("unknown table in --map 'item'", "Did you mean 'items'?")),
    "unknown item": (
        events(ROW, "1,zz,5,1700000000", "2,yy,5,1700000000"),
        {},
        (f"{E}, row 3, item_id: item 'zz' is not in items.csv; add it there, or use --unknown-items keep or drop (2 such",),
    ),
    "no known item": (
        events("1,x,5,1700000000"),
        {"unknown_items": "drop"},
        (f"{E}: no item is in items.csv", "--map items.item_id="),
    ),
    "repeated pair": (
        events(ROW, "2,a,5,1700000000", ROW),
        {},
        (f"{E}, row 4, item_id: user '1' and item 'a' were already in row 2; take one out, or use --duplicates last or sum",),
    ),
    "NaN rating": (events(ROW, "1,b,NaN,1700000000"), {}, (f"{E}, row 3, rating: NaN where a number is needed; fill it in",)),
    "empty rating": (events(ROW, "1,b,,1700000000"), {}, (f"{E}, row 3, rating: an empty cell where a number is needed",)),
    "infinite rating": (
        events("1,b,-inf,1700000000", ROW),
        {},
        (f"{E}, row 2, rating: -inf is not a finite number; correct it",),
    ),
    "rating too large": (
        events("1,b,1e39,1700000000", ROW),
        {},
        (f"{E}, row 2, rating: 1e39 is beyond what is kept (3.4e+38); correct it",),
    ),
    "text as rating": (
        events(ROW, "1,b,good,1700000000"),
        {},
        (f"{E}, row 3, rating: 'good' is not a number; correct it, or name another column with --map",),
    ),
    "future": (events(ROW, "1,b,5,4102444800"), {}, (f"{E}, row 3, time: 4102444800 (2100-01-01) is in the future; correct it",)),
    "future date": (events("1,b,5,2100-01-01"), {}, (f"{E}, row 2, time: 2100-01-01 (2100-01-01) is in the future",)),
    "milliseconds": (
        events("1,b,5,1700000000000"),
        {},
        (f"{E}, row 2, time: 1700000000000 looks like milliseconds, seconds are needed; divide the column by 1,000",),
    ),
    "text as time": (events(ROW, "1,b,5,soon"), {}, (f"{E}, row 3, time: 'soon' is not a number of seconds or an ISO date",)),
    "text as date": (events("1,b,5,2020-01-01", "2,b,5,soon"), {}, (f"{E}, row 3, time: 'soon' is not a number",)),
    "empty file": ({E: ""}, {}, (f"{E}: the file is empty; write it again",)),
    "header alone": (events(), {}, (f"{E}: the file has no rows below its header",)),
    "wrong delimiter": (
        events("1;a;5", header="user_id;item_id;rating"),
        {},
        (f"{E}, row 1: one column with the delimiter ',', but ';' splits it into 3; add --delimiter ';'",),
    ),
    "wrong delimiter given": (
        {},
        {"delimiter": "\t"},
        (f"{E}, row 1: one column with the delimiter '\\t'", "add --delimiter ','"),
    ),
    "broken UTF-8": (
        {ITEMS: b"item_id,title\na,Caf\xe9\nb,Big\n"},
        {},
        (f"{ITEMS}, row 2: byte 19 (0xe9) is not utf-8; add --encoding latin-1, or save the file as UTF-8",),
    ),
    "unknown encoding": ({}, {"encoding": "utf-9"}, (f"{E}: unknown encoding 'utf-9'; use utf-8, latin-1",)),
    "no likes": ({}, {"threshold": 8}, (f"{E}, rating: no value reaches the threshold 8, the largest is 5; use --threshold 5",)),
    "threshold without values": (
        events("1,a", header="user_id,item_id"),
        {"threshold": 4},
        (f"{E}: no column 'value', only user_id, item_id; which --threshold 4 needs",),
    ),
    "item twice": (
        {ITEMS: "item_id,title\na,Heat\nb,Big\na,Ran\n"},
        {},
        (f"{ITEMS}, row 4, item_id: id 'a' was already in row 2; keep one of the two rows",),
    ),
    "user twice": ({USERS: "user_id,gender\n1,F\n1,M\n2,F\n"}, {}, (f"{USERS}, row 3, user_id: id '1' was already in row 2",)),
    "empty user": (events(ROW, " ,a,5,1700000000"), {}, (f"{E}, row 3, user_id: the id is empty; fill it in",)),
    "empty item": (events(ROW, "1,,5,1700000000"), {}, (f"{E}, row 3, item_id: the id is empty",)),
    "row too short": (events(ROW, "1,b"), {}, (f"{E}, row 3: 2 fields where the header has 4; quote a field that holds ','",)),
    "row too long": ({ITEMS: "item_id,title\na,Heat\nb,Big, 2\n"}, {}, (f"{ITEMS}, row 3: 3 fields where the header has 2",)),
    "open quote": (
        {ITEMS: 'item_id,title\na,"Heat\nb,Big\n'},
        {},
        (f'{ITEMS}, row 2: a quote (") opens here and is never closed',),
    ),
    "column twice": (events("1,a,5", header="user_id,item_id,user_id"), {}, (f"{E}, row 1, user_id: the header names this",)),
    "unknown text column": ({}, {"text": ["titel"]}, (f"{ITEMS}: unknown column 'titel'", "Did you mean 'title'?")),
    "unknown rule": ({}, {"duplicates": "first"}, ("unknown rule for duplicates 'first'; known: error, last, sum",)),
}


def test_the_good_files_are_read(tmp_path: Path) -> None:
    data = read(tmp_path, {}, threshold=4)
    assert len(data.interactions) == 3
    assert data.notes == ()


@pytest.mark.parametrize("case", CASES)
def test_bad_input_says_where_and_how(case: str, tmp_path: Path) -> None:
    files, options, parts = CASES[case]
    read(tmp_path, {})
    with pytest.raises(UserError) as error:
        read(tmp_path, files, **options)
    message = str(error.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    read(tmp_path, {})  # and all is well again without the fault


CURES: dict[str, tuple[str, dict[str, Any]]] = {  # the fix that the message offers, taken
    "missing column": ("missing column", {"mapping": {"user_id": "uid"}}),
    "missing title": ("missing title", {"mapping": {"items.title": "Titel"}}),
    "keep": ("unknown item", {"unknown_items": "keep"}),
    "drop": ("unknown item", {"unknown_items": "drop"}),
    "last": ("repeated pair", {"duplicates": "last"}),
    "sum": ("repeated pair", {"duplicates": "sum"}),
    "encoding": ("broken UTF-8", {"encoding": "latin-1"}),
    "threshold": ("no likes", {"threshold": 5}),
}


@pytest.mark.parametrize("cure", CURES)
def test_the_offered_fix_works(cure: str, tmp_path: Path) -> None:
    case, options = CURES[cure]
    assert len(read(tmp_path, CASES[case][0], **options).interactions)


def test_the_offered_delimiter_works(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user_id;item_id\n1;a\n")
    assert len(read_tables(tmp_path / "e.csv", delimiter=";").interactions) == 1


def test_rows_are_lines_of_the_file(tmp_path: Path) -> None:
    """Empty lines and line breaks within quotes count, as an editor counts them."""
    items = 'item_id,title\n\na,"Heat\nII"\n\nb,Big\nb,Ran\n'
    with pytest.raises(UserError, match=r"items\.csv, row 7, item_id: id 'b' was already in row 6"):
        read(tmp_path, {ITEMS: items})


def test_small_times_are_positions_and_may_be_any(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user_id,item_id,position\n1,a,0\n1,b,99999999\n")
    assert read_tables(tmp_path / "e.csv").interactions.time is not None


def test_now_is_not_the_future(tmp_path: Path) -> None:
    assert len(read(tmp_path, events(f"1,a,5,{time.time()}")).interactions) == 1


def test_no_such_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(GOOD["events.csv"])
    with pytest.raises(UserError, match=r"event\.csv: no such file; did you mean 'events\.csv'\?"):
        read_tables(tmp_path / "event.csv")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(GOOD["events.csv"])
    with pytest.raises(UserError, match=r"a folder, where a file is expected; give one of its files: events\.csv"):
        read_tables(tmp_path)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(GOOD["events.csv"])
    with pytest.raises(UserError, match=r"events\.csv: not a folder; give the folder it lies in"):
        load_dataset(tmp_path / "events.csv")
    with pytest.raises(UserError, match="nowhere: not a folder"):
        load_dataset(tmp_path / "nowhere")


def test_text_is_not_parquet(tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_text(GOOD["events.csv"])
    with pytest.raises(UserError, match=r"e\.parquet: not a whole Parquet file; write it again, or name it \.csv"):
        read_tables(tmp_path / "e.parquet")


@pytest.mark.parametrize(("toml", "part"), [("treshold = 4", "Did you mean 'threshold'?"), ("threshold 4", "mend the line")])
def test_bad_settings(toml: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(GOOD["events.csv"])
    (tmp_path / "dataset.toml").write_text("threshold = 4")
    assert load_dataset(tmp_path).threshold == 4
    (tmp_path / "dataset.toml").write_text(toml)
    with pytest.raises(UserError) as error:
        load_dataset(tmp_path)
    assert "dataset.toml: " in str(error.value)
    assert part in str(error.value)


def test_errors_in_known_formats_name_the_row_too(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t1\t5\t881250949\n1\t1\tx\t881250949\n")
    (tmp_path / "u.item").write_text("1|Heat (1995)|||" + "|0" * 19 + "\n")
    (tmp_path / "u.user").write_text("1|24|M|other|85711\n")
    with pytest.raises(UserError, match=r"u\.data, row 2, value: 'x' is not a number"):
        load_dataset(tmp_path)
