"""What the MovieLens formats share: titles that end in a year, four stars and more as a like."""

from __future__ import annotations

from recsys_core.data import Dataset
from recsys_core.readers._build import build
from recsys_core.readers._catalog import split_year
from recsys_core.readers._files import Table

LIKE = 4.0  # of 5 stars
NO_GENRE = ("unknown", "(no genres listed)")


def movielens(name: str, events: Table, movies: Table, users: Table | None = None) -> Dataset:
    """Args: movies: item_id, title and genres, these separated by `|`; a title's year becomes the column `year`."""
    movies.require("item_id", "title", "genres")
    if "year" not in movies:
        titles, years = zip(*map(split_year, movies.cells("title")), strict=True)
        movies = movies.with_column("title", titles).with_column("year", years)
    genres = ("|".join(g for g in cell.split("|") if g not in NO_GENRE) for cell in movies.cells("genres"))
    movies = movies.with_column("genres", genres).select(("item_id", "title", "year", "genres"))
    users = users and users.require("user_id").select(("user_id", "gender", "age", "occupation"))
    return build(name, events, movies, users, threshold=LIKE, lists=("genres",))
