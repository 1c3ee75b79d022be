"""The pages do what they say: every command and Python block of each, in order, on a tiny world."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from pages import QUICK, ROOT, carry_out, furnish

from recsys_core.cli import main

PAGES = ["README.md", "data/README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def furnished(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reader's files, and one trained run."""
    folder = tmp_path_factory.mktemp("reader")
    furnish(folder)
    extra = ["--set", *QUICK, f"bert.encoder={tiny}"]
    assert main(["train", "--data", str(folder / "data/ml-100k"), "--out", str(folder / "runs/demo"), *extra]) == 0
    return folder


@pytest.fixture
def reader(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, the working directory, with the run under the names that pages give to theirs."""
    folder = tmp_path / "reader"
    shutil.copytree(furnished, folder)
    shutil.copytree(folder / "runs/demo", folder / "runs/a")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page: str, reader: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out((ROOT / page).read_text("utf-8"), tiny, monkeypatch)
