"""Prepared folder: dataset.json and three Parquet tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from recsys_core.data import Dataset, load_prepared
from recsys_core.errors import UserError

BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, pa.ArrowException)


def matches(folder: Path) -> bool:
    return (folder / "dataset.json").is_file()


def read(folder: Path) -> Dataset:
    """Raises UserError if a file is missing or damaged, or does not match the fingerprint."""
    try:
        return load_prepared(folder)
    except UserError:
        raise
    except BROKEN as error:
        problem = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"{folder}: the prepared folder is damaged ({problem}); prepare it again") from None
