"""One row of a table by its name, and buttons for it: what the buttons inside the rows do, without a pointer.

A table's rows are drawn on a canvas, where buttons answer to a pointer alone; these answer to keys too, and are read out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import streamlit as st


@contextmanager
def row(label: str, names: Mapping[Any, str], key: str, *, narrow: bool = False) -> Iterator[Any]:
    """A picker of `names` (what they stand for -> what is shown), and beside it, or below if `narrow`, the buttons that the
    block draws. Gives what is chosen: the first at the beginning, and when the chosen one is gone."""
    how: dict[str, Any] = {"format_func": names.get, "key": key, "label_visibility": "collapsed"}
    if narrow:
        found = st.selectbox(label, list(names), **how)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"acts {key}"):
        yield found if narrow else st.selectbox(label, list(names), **how)
