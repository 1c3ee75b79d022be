"""Prepared folder: dataset.json and three Parquet tables."""

from __future__ import annotations

from pathlib import Path

from recsys_core.data import Dataset, load_prepared


def matches(folder: Path) -> bool:
    return (folder / "dataset.json").is_file()


def read(folder: Path) -> Dataset:
    return load_prepared(folder)
