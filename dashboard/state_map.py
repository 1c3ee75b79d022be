"""The page Catalogue map: has it been asked for, and what was drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.runs import history, open_run, stamp
from dashboard.state import touched
from recsys_core import catalogue_map
from recsys_core.catalogue_map import Map, Neighbours
from recsys_core.errors import UserError
from recsys_core.run import Run

SEED = 0
CLUSTER = ""  # what items are coloured by beside attributes: no attribute has that name


@st.cache_resource(max_entries=2, show_spinner=False)
def _drawn(path: str, stamp: str) -> Map:
    return catalogue_map.draw(open_run(Path(path)), SEED)


def drawn(run: Run) -> Map:
    """Seconds, once a run. Raises UserError if too few items have a text."""
    return _drawn(str(run.path), stamp(run.path))


def textual(run: Run) -> bool:
    """Does the run keep text vectors?"""
    try:
        catalogue_map.known_vectors(run)
    except UserError:
        return False
    return True


def asked(run: Run) -> bool:
    return st.session_state.get("map asked") == run.path.name


def ask(run: Run) -> None:
    touched()
    st.session_state["map asked"] = run.path.name


def points(run: Run, made: Map, by: str, user: str, listed: list[str], item: str | None) -> tuple[pd.DataFrame, list[str]]:
    """x, y, item_id, title, group, mark of each point, and the names of the groups, "" for those that have none."""
    catalog = run.dataset.catalog
    if by == CLUSTER:
        group, names = made.cluster, list(made.names)
    else:
        labels = catalogue_map.labels_by(catalog, by)[made.items]
        group, names = catalogue_map.coloured(labels, sort=by == catalogue_map.DECADE)
    ids = [str(i) for i in run.dataset.items.ids[made.items]]
    marks = dict.fromkeys(map(str, history(run, user)[0]["item_id"]), "history") | dict.fromkeys(listed, "list")
    marks |= {} if item is None else {item: "chosen"}
    frame = pd.DataFrame({"item_id": ids, "title": catalog.titles[made.items], "x": made.xy[:, 0], "y": made.xy[:, 1]})
    return frame.assign(group=group, mark=[marks.get(i, "") for i in ids]), names


def near(run: Run, item: str) -> tuple[Neighbours, Neighbours]:
    """Neighbours by text and by likes."""
    at = int(run.dataset.items.find([item])[0])
    return catalogue_map.by_text(run, at), catalogue_map.by_likes(run, at)


def told(run: Run, found: Neighbours) -> pd.DataFrame:
    items = run.dataset.items.ids[found.items]
    return pd.DataFrame({"item_id": items, "title": run.dataset.catalog.titles[found.items], "value": found.values})
