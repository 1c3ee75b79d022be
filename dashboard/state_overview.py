"""What the page Overview has loaded: the stored report, training curves and facts of the data, cached by path and stamp."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.runs import open_run, stamp
from dashboard.state import near
from recsys_core import overview
from recsys_core.errors import UserError
from recsys_core.overview import DataFacts, Judged
from recsys_core.run import Run


@st.cache_resource(max_entries=8, show_spinner=False)
def _judged(path: str, stamp: str) -> Judged | str | None:
    try:
        return overview.judged(open_run(Path(path)))
    except UserError as error:
        return str(error)


@st.cache_data(max_entries=8, show_spinner=False)
def _facts(path: str, stamp: str) -> DataFacts:
    return overview.data_facts(open_run(Path(path)))


@st.cache_data(max_entries=8, show_spinner=False)
def _curves(path: str, stamp: str) -> pd.DataFrame:
    try:
        return overview.curves(open_run(Path(path)))
    except UserError:
        return pd.DataFrame({"component": []})


def judged(run: Run) -> Judged | str | None:
    """The stored report; None if there is none, the reason if it cannot be read."""
    return _judged(str(run.path), stamp(run.path))


def facts(run: Run) -> DataFacts:
    return _facts(str(run.path), stamp(run.path))


def curves(run: Run) -> pd.DataFrame:
    """Epochs of the components that train in epochs; empty if none does."""
    return _curves(str(run.path), stamp(run.path))


def card(run: Run) -> str:
    """The run's card as it stands on disk; "" if it cannot be read."""
    try:
        return (run.path / "card.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def evaluate_command(run: Run) -> str:
    return shlex.join(["whyrec", "evaluate", "--run", near(run.path)])
