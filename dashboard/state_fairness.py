"""What Diversity and fairness has loaded: attributes of the items as shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from dashboard import state_lab
from dashboard.runs import open_run, stamp
from recsys_core import fairness
from recsys_core.fairness import Mass
from recsys_core.run import Run


@st.cache_resource(max_entries=16, show_spinner=False)
def _mass(path: str, stamp: str, attribute: str) -> Mass:
    run = open_run(Path(path))
    if attribute == fairness.FAME:
        return Mass.fame(state_lab.analytics(run).inputs["counts"])
    return Mass.of(run.dataset.catalog, attribute.removeprefix("attribute "))


def fame(run: Run) -> Mass:
    """Items by how well liked they are."""
    return _mass(str(run.path), stamp(run.path), fairness.FAME)


def mass(run: Run, attribute: str) -> Mass:
    return _mass(str(run.path), stamp(run.path), f"attribute {attribute}")


def row_of(run: Run, user: str) -> int | None:
    """The user's row among those who are judged; None if not among them."""
    found = np.flatnonzero(state_lab.analytics(run).user_ids.astype(str) == user)
    return int(found[0]) if len(found) else None
