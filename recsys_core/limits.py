"""Bounds: how much is read of a table, how long a list may be.

What is beyond is refused in one line, so that no file and no number can take all the memory of the machine.

data/README.md tells users those of tables; a test compares the two.
"""

from __future__ import annotations

from recsys_core.errors import UserError

FILE_BYTES = 2 << 30  # of a text file, and of what a Parquet file unpacks to; ratings.csv of MovieLens 32M has 0.8 GiB
ROWS = 100_000_000
COLUMNS = 2_000
VALUES = 500_000_000  # cells of a Parquet file, entries of lists each for itself: it says their number before they are read
LETTERS = 1_000_000  # of a cell
ID_LETTERS = 1_000
UPLOAD_MB = 200  # megabytes of a file that is uploaded on the page Data
MOST_K = 10_000  # items of a list
MOST_EVALUATIONS = 1_000_000  # of a model, for one explanation


def check_k(k: int) -> None:
    """Raises UserError for a length that no list can have, or that nobody would read."""
    if k < 1:
        raise UserError(f"k must be 1 or more, not {k}")
    if k > MOST_K:
        raise UserError(f"k = {k} is more than {MOST_K:,}; nobody reads so long a list, set it lower")


def check_seed(seed: int) -> None:
    """Raises UserError for what no generator can begin with."""
    if seed < 0:
        raise UserError(f"seed = {seed} is negative; use 0 or more")
