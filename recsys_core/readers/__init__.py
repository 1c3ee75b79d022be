"""Files in, `Dataset` out. One file a format; each has `matches(folder) -> bool` and `read(folder) -> Dataset`.

The first line of a reader's docstring says which files it knows; a new format is a new file here and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from recsys_core import registry
from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.readers._files import found


def load_dataset(path: str | Path) -> Dataset:
    """Recognise the data set in a folder and read it.

    Raises:
        UserError: no such folder, a format that no reader knows, or a bad cell (with its file, row, field and fix).
    """
    folder = Path(path)
    if not folder.is_dir():
        fix = "give the folder it lies in, or prepare it as a table" if folder.is_file() else "give the folder of a data set"
        raise UserError(f"{folder}: not a folder; {fix}")
    if name := recognise(folder):
        dataset: Dataset = registry.get(__name__, name, "reader").read(folder)
        return dataset
    readers = [registry.get(__name__, name, "reader") for name in registry.names(__name__)]
    known = "; ".join((reader.__doc__ or "").splitlines()[0].rstrip(".") for reader in readers)
    raise UserError(f"{folder}: no known data set here, only {found(folder)}; known: {known}")


def recognise(folder: Path) -> str | None:
    """Name of the reader that knows the folder, None if none does."""
    names = registry.names(__name__)
    return next((name for name in names if registry.get(__name__, name, "reader").matches(folder)), None)
