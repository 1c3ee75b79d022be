"""Readers: each known format, what the catalogue says about an item, and the same data through two formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_core import registry
from recsys_core.data import Dataset, load_prepared
from recsys_core.errors import UserError
from recsys_core.readers import load_dataset
from recsys_core.readers._catalog import as_tuples, clean, item_text
from recsys_core.readers.table import read_column, read_events, read_tables

TINY = Path(__file__).parents[1] / "data" / "tiny"


def write(folder: Path, **files: str) -> Path:
    """Write `u_data="..."` as the file u.data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_bytes(text.encode("latin-1" if name.startswith("u_") else "utf-8"))
    return folder


def original_100k(folder: Path) -> Path:
    rows = [  # id, title, genres (positions of the 19 flags)
        ("1", "Toy Story (1995)", (3, 4, 5)),
        ("2", "Misérables, Les (1995)", (8, 10, 12, 18)),
        ("3", "unknown", (0,)),
    ]
    items = "".join(
        f"{i}|{t}|01-Jan-1995||http://x|{'|'.join('1' if n in flags else '0' for n in range(19))}\n" for i, t, flags in rows
    )
    return write(
        folder,
        u_data="2\t1\t5\t881250949\n1\t2\t3\t881250950\n1\t1\t4\t881250940\n",
        u_item=items,
        u_user="1|24|M|technician|85711\n2|53|F|other|94043\n",
    )


def recbole_100k(folder: Path) -> Path:
    return write(
        folder,
        **{
            "ml-100k_inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            "2\t1\t5\t881250949\n1\t2\t3\t881250950\n1\t1\t4\t881250940\n",
            "ml-100k_item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tToy Story\t1995\tAnimation Children's Comedy\n"
            "2\tMisérables, Les\t1995\tDrama Film-Noir Musical Western\n3\tunkonwn\tunkonwn\tunknown\n",
            "ml-100k_user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
            "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t94043\n",
        },
    )


def movielens_1m(folder: Path) -> Path:
    return write(
        folder,
        ratings_dat="1::1::5::978300760\n2::2::3::978300761\n",
        movies_dat="1::Star Wars: Episode IV - A New Hope (1977)::Action|Sci-Fi\n2::Heat (1995)::Crime\n",
        users_dat="1::F::1::10::48067\n2::M::56::16::70072\n",
    )


def movielens_csv(folder: Path) -> Path:
    return write(
        folder,
        ratings_csv="userId,movieId,rating,timestamp\n1,1,4.5,964982703\n1,20,0.5,964982704\n",
        movies_csv='movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n20,"Net, The (1995)",(no genres listed)\n',
    )


def prepared(folder: Path) -> Path:
    load_dataset(TINY).save(folder)
    return folder


def tables(folder: Path) -> Path:
    return write(folder, interactions_csv="user_id,item_id\na,x\nb,y\n")


FORMATS: dict[str, Callable[[Path], Path]] = {
    "movielens_100k": original_100k,
    "movielens_1m": movielens_1m,
    "movielens_csv": movielens_csv,
    "prepared": prepared,
    "recbole": recbole_100k,
    "table": tables,
}


def assert_same(a: Dataset, b: Dataset) -> None:
    for name in ("user", "item", "value", "time"):
        np.testing.assert_array_equal(getattr(a.interactions, name), getattr(b.interactions, name))
    assert a.users.ids.tolist() == b.users.ids.tolist()
    assert a.items.ids.tolist() == b.items.ids.tolist()
    assert a.threshold == b.threshold


def test_every_reader_has_a_fixture() -> None:
    assert sorted(FORMATS) == registry.names("recsys_core.readers")


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_by_its_reader_alone_and_survives_saving(name: str, tmp_path: Path) -> None:
    folder = FORMATS[name](tmp_path / "set")
    matching = [n for n in FORMATS if registry.get("recsys_core.readers", n, "reader").matches(folder)]
    assert matching == [name]
    dataset = load_dataset(folder)
    dataset.save(tmp_path / "saved")
    again = load_prepared(tmp_path / "saved")
    assert again.fingerprint == dataset.fingerprint
    assert_same(again, dataset) if dataset.interactions.time is not None else None


def test_original_and_recbole_files_give_the_same_interactions(tmp_path: Path) -> None:
    original, atomic = load_dataset(original_100k(tmp_path / "a")), load_dataset(recbole_100k(tmp_path / "b"))
    assert_same(original, atomic)
    pd.testing.assert_frame_equal(original.catalog.frame.iloc[:2], atomic.catalog.frame[original.catalog.frame.columns].iloc[:2])
    assert original.user_table.to_dict() == atomic.user_table[original.user_table.columns].to_dict()


def test_a_changed_rating_is_seen(tmp_path: Path) -> None:  # the check above can fail
    folder = recbole_100k(tmp_path / "b")
    path = folder / "ml-100k.inter"
    path.write_text(path.read_text().replace("\t3\t", "\t2\t"))
    with pytest.raises(AssertionError):
        assert_same(load_dataset(original_100k(tmp_path / "a")), load_dataset(folder))


def test_movielens_100k_by_hand(tmp_path: Path) -> None:
    data = load_dataset(original_100k(tmp_path))
    assert data.catalog.titles.tolist() == ["Toy Story", "Misérables, Les", "unknown"]
    assert data.catalog.texts == [
        "Toy Story (1995). Animation, Children's, Comedy",
        "Misérables, Les (1995). Drama, Film-Noir, Musical, Western",
        "unknown",
    ]
    assert data.catalog.frame["genres"].tolist() == [
        ("Animation", "Children's", "Comedy"),
        ("Drama", "Film-Noir", "Musical", "Western"),
        (),
    ]
    assert data.catalog.frame["year"].tolist() == [("1995",), ("1995",), ()]
    assert data.user_table.to_dict("list") == {"gender": ["M", "F"], "age": [24, 53], "occupation": ["technician", "other"]}
    assert data.liked.tolist() == [True, False, True]
    assert data.interactions.time is not None
    assert data.interactions.time.tolist() == [881250949, 881250950, 881250940]


def test_movielens_1m_by_hand(tmp_path: Path) -> None:
    data = load_dataset(movielens_1m(tmp_path))
    assert data.catalog.titles.tolist() == ["Star Wars: Episode IV - A New Hope", "Heat"]
    assert data.user_table["occupation"].tolist() == ["K-12 student", "self-employed"]


def test_movielens_csv_by_hand(tmp_path: Path) -> None:
    data = load_dataset(movielens_csv(tmp_path / "ml-latest-small"))
    assert data.name == "ml-latest-small"
    assert data.catalog.texts == ["Toy Story (1995). Adventure, Animation", "Net, The (1995)"]
    assert data.interactions.value.tolist() == [4.5, 0.5]


def test_recbole_without_items_and_with_counts(tmp_path: Path) -> None:
    write(tmp_path, **{"music_inter": "user_id:token\titem_id:token\trating:float\na\tx\t120\nb\ty\t3\n"})
    data = load_dataset(tmp_path)
    assert data.threshold is None
    assert data.catalog.titles.tolist() == ["x", "y"]


def test_two_recbole_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, **{"a_inter": "user_id:token\titem_id:token\n1\t1\n", "b_inter": "user_id:token\titem_id:token\n1\t1\n"})
    with pytest.raises(UserError, match="2 sets in one folder"):
        load_dataset(tmp_path)


def test_unknown_folder_lists_what_is_known_and_what_was_found(tmp_path: Path) -> None:
    write(tmp_path, notes_txt="hello")
    with pytest.raises(UserError) as error:
        load_dataset(tmp_path)
    for part in (str(tmp_path), "only notes.txt", "MovieLens-100K: u.data, u.item, u.user", "RecBole", "interactions.csv"):
        assert part in str(error.value)


def test_tiny_holds_what_its_readme_says() -> None:
    data = load_dataset(TINY)
    assert (len(data.users), len(data.items), len(data.interactions), int(data.liked.sum())) == (24, 18, 192, 160)
    assert len(set(np.asarray(data.interactions.time).tolist())) == 192
    rows = [line.strip("| ").split(" | ") for line in (TINY / "README.md").read_text().splitlines() if line.startswith("| u")]
    answers = {user: set(films.split(", ")) for user, films in rows if user != "user"}
    liked = data.subset(data.liked).interactions
    for user, code in zip(data.users.ids, range(24), strict=True):
        films = set(data.items.ids[liked.item[liked.user == code]])
        group = "h" if code < 12 else "s"
        assert {f"{group}{n}" for n in range(1, 9)} - films == answers[user], user
        assert {f[0] for f in films} == {group}
        assert not answers[user] & set(data.items.ids[data.interactions.item[data.interactions.user == code]])
    counts = dict(zip(data.items.ids, np.bincount(liked.item, minlength=18), strict=True))
    assert counts == {i: 0 if i.endswith("9") else 10 for i in data.items.ids}
    genres = data.catalog.frame["genres"]
    assert not set(genres[:9].explode()) & set(genres[9:].explode())


def test_mapping_scopes_lists_and_notes(tmp_path: Path) -> None:
    write(
        tmp_path,
        plays_csv="uid,movie,weight\n7,10,3\n7,2,1\n8,99,2\n7,10,4\n",
        films_csv='id,movie,name,cast,plot,image\n10,x,Heat,"A, B","[""One."", ""<b>Two</b> &amp; three""]",h.jpg\n2,y,Big,,,\n',
        people_csv="uid,age\n8,31\n",
    )
    data = read_tables(
        tmp_path / "plays.csv",
        tmp_path / "films.csv",
        tmp_path / "people.csv",
        mapping={"user_id": "uid", "item_id": "movie", "items.item_id": "id", "title": "name"},
        lists=["cast"],
        duplicates="sum",
        unknown_items="keep",
    )
    assert data.items.ids.tolist() == ["10", "2", "99"]
    assert data.users.ids.tolist() == ["8", "7"]
    assert data.interactions.value.tolist() == [3 + 4, 1, 2]
    assert data.catalog.titles.tolist() == ["Heat", "Big", "99"]
    assert data.catalog.texts == ["Heat. One. Two & three", "Big", ""]
    assert data.catalog.attributes == ["movie", "cast"]
    assert data.catalog.frame["cast"].tolist() == [("A", "B"), (), ()]
    assert data.catalog.frame["image"].tolist() == ["h.jpg", "", ""]
    assert data.user_table["age"].tolist()[0] == 31
    assert [n.split(" ")[0] for n in data.notes] == ["1", "1", "1"]  # a stranger, a merged pair, a user without attributes


def test_latest_of_a_repeated_pair_counts(tmp_path: Path) -> None:
    write(tmp_path, i_csv="user_id,item_id,rating,time\na,x,5,2020-01-02\na,y,1,2020-01-01\na,x,2,2020-01-01T12:00:00Z\n")
    data = read_tables(tmp_path / "i.csv", duplicates="last")
    assert data.interactions.value.tolist() == [5, 1]
    assert np.asarray(data.interactions.time).tolist() == [pd.Timestamp("2020-01-02").timestamp(), 1577836800]
    assert "merged" in data.notes[0]


def test_strangers_can_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, i_csv="user_id,item_id\na,x\na,z\nb,x\n", items_csv="item_id,title\nx,X\n")
    data = read_tables(tmp_path / "i.csv", tmp_path / "items.csv", unknown_items="drop")
    assert data.items.ids.tolist() == ["x"]
    assert data.interactions.user.tolist() == [0, 1]
    assert "1 interactions were dropped" in data.notes[0]


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    events = pd.DataFrame({"user_id": [1, 2, 10], "item_id": [5, 5, 6], "rating": [1.0, 5.0, 4.5], "time": [3, 2, 1]})
    items = pd.DataFrame({"item_id": [5, 6], "title": ["A", "B"], "genres": [["x", "y"], []]})
    events.to_parquet(tmp_path / "e.parquet")
    items.to_parquet(tmp_path / "i.parquet")
    events.to_csv(tmp_path / "e.csv", index=False)
    items.assign(genres=["x|y", ""]).to_csv(tmp_path / "i.csv", index=False)
    a, b = (read_tables(tmp_path / f"e.{s}", tmp_path / f"i.{s}", threshold=4, name="n") for s in ("parquet", "csv"))
    assert a.fingerprint == b.fingerprint
    assert a.users.ids.tolist() == ["1", "2", "10"]  # 2 before 10


def test_whole_floats_of_parquet_are_whole_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [7.0], "item_id": [1]}).to_parquet(tmp_path / "e.parquet")
    pd.DataFrame({"item_id": [1, 2], "title": ["A", "B"], "year": [1995.0, None]}).to_parquet(tmp_path / "i.parquet")
    data = read_tables(tmp_path / "e.parquet", tmp_path / "i.parquet")
    assert data.users.ids.tolist() == ["7"]
    assert data.catalog.texts == ["A (1995)", "B"]
    assert data.catalog.frame["year"].tolist() == [("1995",), ()]


def test_recbole_prose_stays_one_text(tmp_path: Path) -> None:
    items = "item_id:token\tname:token_seq\tdescription:token_seq\ttags:token_seq\nx\tBig Tab\tIt is big.\tred blue\n"
    write(tmp_path, **{"shop_inter": "user_id:token\titem_id:token\na\tx\n", "shop_item": items})
    data = load_dataset(tmp_path)
    assert data.catalog.texts == ["Big Tab. It is big."]
    assert data.catalog.frame["tags"].tolist() == [("red", "blue")]


def test_parquet_dates_become_seconds(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": ["a"], "item_id": ["x"], "time": pd.to_datetime(["2020-01-01"])}).to_parquet(tmp_path / "e.parquet")
    assert np.asarray(read_tables(tmp_path / "e.parquet").interactions.time).tolist() == [1577836800]


def test_tabs_keep_quotes_and_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "e.dat").write_text("user_id\titem_id\n1\t1\n")
    (tmp_path / "i.dat").write_bytes('item_id\ttitle\n1\t"Weird Al" Café\n'.encode("cp1252"))
    data = read_tables(tmp_path / "e.dat", tmp_path / "i.dat", encoding="cp1252")
    assert data.catalog.titles.tolist() == ['"Weird Al" Café']


def test_order_of_interaction_rows_does_not_change_the_vocabularies(tmp_path: Path) -> None:
    rows = ["b,10", "a,9", "c,10", "a,z"]
    for n, order in enumerate((rows, rows[::-1])):
        (tmp_path / f"{n}.csv").write_text("user_id,item_id\n" + "\n".join(order))
    a, b = (read_tables(tmp_path / f"{n}.csv") for n in (0, 1))
    assert a.users.ids.tolist() == b.users.ids.tolist() == ["a", "b", "c"]
    assert a.items.ids.tolist() == b.items.ids.tolist() == ["9", "z", "10"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("plain", "plain"),
        ("a < b and c > d", "a < b and c > d"),
        ("<p>One<br/>two</p>", "One two"),
        ("x <!-- .h {a:b} --> y", "x y"),
        ("<style>.a{}</style>z", "z"),
        ("['', '']", ""),
        ("[not a list]", "[not a list]"),
    ],
)
def test_clean(cell: str, text: str) -> None:
    assert clean(cell) == text


def test_item_text_joins_what_is_there() -> None:
    assert item_text("Heat (1995)", (), "", year="1995") == "Heat (1995)"
    assert item_text("", "A plot.") == "A plot."


def test_lists_in_json_and_python() -> None:
    assert as_tuples(['["a", "b"]', "['c']", ""]) == [("a", "b"), ("c",), ()]


def test_more_events_in_the_ids_of_a_data_set(tmp_path: Path) -> None:
    data = load_dataset(TINY)
    (tmp_path / "test.csv").write_text("user_id,item_id,rating\nu02,h2,5\nu01,h1,4\n")
    events = read_events(tmp_path / "test.csv", data)
    assert (events.user.tolist(), events.item.tolist(), events.value.tolist()) == ([1, 0], [1, 0], [5, 4])
    assert read_column(tmp_path / "test.csv", "item_id") == ["h2", "h1"]
    (tmp_path / "test.csv").write_text("user_id,item_id\nu01,h1\nu01,h10\n")
    with pytest.raises(UserError, match=r"test\.csv, row 3, item_id: 'h10' is not in the data set tiny; take the row out"):
        read_events(tmp_path / "test.csv", data)
    with pytest.raises(UserError, match=r"test\.csv: no column 'item', only user_id, item_id; name its column item"):
        read_column(tmp_path / "test.csv", "item")


@pytest.mark.parametrize("delimiter", ["\t", "\\t", "tab"])
def test_a_tab_may_be_given_as_a_shell_gives_it(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user_id\titem_id\na\tx\n")
    assert len(read_tables(tmp_path / "e.csv", delimiter=delimiter).interactions) == 1


@pytest.mark.parametrize(
    ("file", "text"), [("dataset.json", "{"), ("dataset.json", '{"schema": 1}'), ("items.parquet", "x"), ("items.parquet", None)]
)
def test_a_damaged_prepared_folder_is_refused(file: str, text: str | None, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "saved")
    load_dataset(folder)
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(UserError, match="prepare it again") as error:
        load_dataset(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_of_spreadsheets(ending: str, encoding: str, tmp_path: Path) -> None:
    text = ending.join(["user_id,item_id,rating", "007,é,1", "01,y,2", "01,é,oops", ""])
    (tmp_path / "e.csv").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match="row 4, rating: 'oops'"):
        read_tables(tmp_path / "e.csv", encoding=encoding.removesuffix("-sig"))
    (tmp_path / "e.csv").write_bytes(text.replace("oops", "3").encode(encoding))
    assert read_tables(tmp_path / "e.csv", encoding=encoding.removesuffix("-sig")).users.ids.tolist() == ["01", "007"]


def test_a_column_called_text_is_the_text_and_a_missing_title_is_the_id(tmp_path: Path) -> None:
    write(tmp_path, e_csv="user_id,item_id\na,x\n", i_csv="item_id,title,text,brand\nx,,Some words,B\ny,Y,More words,\n")
    for attributes in (None, ["brand", "text"]):
        data = read_tables(tmp_path / "e.csv", tmp_path / "i.csv", attributes=attributes)
        assert data.catalog.titles.tolist() == ["x", "Y"]
        assert data.catalog.texts == ["Some words", "Y. More words"]
        assert data.catalog.attributes == ["brand"]
