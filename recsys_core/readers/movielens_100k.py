"""MovieLens-100K: u.data, u.item, u.user."""

from __future__ import annotations

from pathlib import Path

from recsys_core.data import Dataset
from recsys_core.readers._files import read_table
from recsys_core.readers._movielens import movielens

FLAGS = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|"
    "Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
GENRES = FLAGS.split("|")  # in the order of the flag columns


def matches(folder: Path) -> bool:
    return (folder / "u.data").is_file() and (folder / "u.item").is_file()


def read(folder: Path) -> Dataset:
    events = read_table(folder / "u.data", delimiter="\t", names=("user_id", "item_id", "value", "time"))
    columns = ("item_id", "title", "released", "video_released", "url", *GENRES)
    movies = read_table(folder / "u.item", delimiter="|", encoding="latin-1", names=columns)
    flags = zip(*(movies.cells(g) for g in GENRES), strict=True)  # (n_items, 19) "0" or "1"
    genres = ["|".join(g for g, flag in zip(GENRES, row, strict=True) if flag == "1") for row in flags]
    columns = ("user_id", "age", "gender", "occupation", "zip_code")
    users = read_table(folder / "u.user", delimiter="|", encoding="latin-1", names=columns)
    return movielens("ml-100k", events, movies.with_column("genres", genres), users)
