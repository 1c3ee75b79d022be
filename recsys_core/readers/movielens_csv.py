"""MovieLens latest, 20M, 25M, 32M: ratings.csv, movies.csv."""

from __future__ import annotations

from pathlib import Path

from recsys_core.data import Dataset
from recsys_core.readers._files import read_table
from recsys_core.readers._movielens import movielens


def matches(folder: Path) -> bool:
    """The header decides: other sets have files of these names too."""
    ratings, movies = folder / "ratings.csv", folder / "movies.csv"
    if not (ratings.is_file() and movies.is_file()):
        return False
    with ratings.open("rb") as file:
        return b"userId,movieId,rating" in file.readline(200)


def read(folder: Path) -> Dataset:
    names = {"userId": "user_id", "movieId": "item_id", "rating": "value", "timestamp": "time"}
    events = read_table(folder / "ratings.csv").renamed(names)
    return movielens(folder.resolve().name, events, read_table(folder / "movies.csv").renamed(names))
