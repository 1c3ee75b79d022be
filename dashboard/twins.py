"""A chart's twin: the same numbers as a table in a fold, and as a CSV file."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import tables
from dashboard.strings import plain


def twin(label: str, view: pd.DataFrame, columns: dict[str, Any], *, file: str, key: str, most: int = 12) -> None:
    """The table of `columns` in an expander, with a download of all of `view`."""
    with st.expander(label, icon=":material/table:"):
        table(view, columns, key=key, most=most)
        download(view, file)


def table(view: pd.DataFrame, columns: dict[str, Any], *, key: str, most: int = 12) -> None:
    st.dataframe(
        view,
        column_config=columns,
        column_order=[c for c in view.columns if c in columns],
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(view, most),
        placeholder=plain("missing"),
        key=f"frame {key}",
    )


def download(view: pd.DataFrame, name: str) -> None:
    file = f"{tables.file_name(name)}.csv"
    st.download_button(
        plain("twin.download"),
        lambda: tables.safe_csv(view),
        file,
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"download {name}",
    )
