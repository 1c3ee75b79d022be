"""How much is read of a table. Beyond these it is refused in one line, so that no file can take all the memory of the machine.

data/README.md tells users; a test compares the two.
"""

from __future__ import annotations

FILE_BYTES = 2 << 30  # of a text file, and of what a Parquet file unpacks to; ratings.csv of MovieLens 32M has 0.8 GiB
ROWS = 100_000_000
COLUMNS = 2_000
VALUES = 500_000_000  # cells of a Parquet file, entries of lists each for itself: it says their number before they are read
LETTERS = 1_000_000  # of a cell
ID_LETTERS = 1_000
UPLOAD_MB = 200  # megabytes of a file that is uploaded on the page Data
MOST_K = 10_000  # items of a list
