"""MovieLens-1M: ratings.dat, movies.dat, users.dat."""

from __future__ import annotations

from pathlib import Path

from recsys_core.data import Dataset
from recsys_core.readers._files import Table, read_table
from recsys_core.readers._movielens import movielens

CODES = (
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|doctor/health care|"
    "executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|retired|sales/marketing|scientist|"
    "self-employed|technician/engineer|tradesman/craftsman|unemployed|writer"
)
OCCUPATIONS = {str(code): name for code, name in enumerate(CODES.split("|"))}


def matches(folder: Path) -> bool:
    return (folder / "ratings.dat").is_file() and (folder / "movies.dat").is_file()


def read(folder: Path) -> Dataset:
    """Ages are the lower ends of the brackets 1-17, 18-24, 25-34, 35-44, 45-49, 50-55, 56 and more."""

    def table(file: str, *names: str) -> Table:
        return read_table(folder / file, delimiter="::", encoding="latin-1", names=names)

    users = table("users.dat", "user_id", "gender", "age", "occupation", "zip_code")
    users = users.with_column("occupation", (OCCUPATIONS.get(code, code) for code in users.cells("occupation")))
    events, movies = (
        table("ratings.dat", "user_id", "item_id", "value", "time"),
        table("movies.dat", "item_id", "title", "genres"),
    )
    return movielens("ml-1m", events, movies, users)
