"""What the Blend lab has chosen and measured: all users at once, the sweep of settings, presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dashboard import presets
from dashboard.presets import Preset
from dashboard.runs import folder, open_run, stamp
from dashboard.state import STEP, STRENGTH, Choice, link, read_only, reranking, touched, weight_key
from dashboard.strings import t
from recsys_core import browse, tradeoffs
from recsys_core.analytics import Analytics, Measured, measure
from recsys_core.errors import UserError
from recsys_core.metrics import EXACT
from recsys_core.run import Run


@st.cache_resource(max_entries=2, show_spinner=False)
def _analytics(path: str, stamp: str) -> Analytics:
    made = Analytics.of(open_run(Path(path)))
    _ = made.draws.weights if len(made) <= EXACT else None  # made now, not at the first slider
    return made


@st.cache_resource(max_entries=32, show_spinner=False)
def _learned(path: str, stamp: str, k: int) -> Measured:
    return measure(_analytics(path, stamp), k=k)


@st.cache_data(max_entries=32, show_spinner=False)
def _sweep(path: str, stamp: str, k: int) -> pd.DataFrame:
    known = _analytics(path, stamp)
    points = tradeoffs.sweep(known, browse.weight_range(known.blend)[1])
    return tradeoffs.pareto(known, points, k=k)


def analytics(run: Run) -> Analytics:
    return _analytics(str(run.path), stamp(run.path))


def learned(run: Run, k: int) -> Measured:
    """All lists under the learned weights, not re-ranked."""
    return _learned(str(run.path), stamp(run.path), k)


def sweep(run: Run, k: int) -> pd.DataFrame:
    """Many settings and what each is worth; seconds, once a run and K."""
    return _sweep(str(run.path), stamp(run.path), k)


def swept() -> bool:
    """Has this session asked for the sweep?"""
    return bool(st.session_state.get("swept"))


def ask_sweep() -> None:
    st.session_state["swept"] = True


def measured(now: Choice) -> Measured:
    """All lists under the choices as they are."""
    return measure(analytics(now.run), now.blend, k=now.k, reranker=now.reranker, strength=now.strength)


def apply(run: Run, weights: Mapping[str, float], reranker: str, strength: float) -> None:
    """Set sliders and re-ranker, and so the URL; what the run cannot use stays as it was learned, with a note."""
    touched()
    low, high, _ = browse.weight_range(run.model.blend)
    usable = {name: value for name, value in weights.items() if low - STEP <= value <= high + STEP}
    for name, learned in zip(run.model.blend.names, run.model.blend.weights, strict=True):
        st.session_state[weight_key(run, name)] = min(max(usable.get(name, learned), low), high)
    good = reranker in ("", *analytics(run).rerankers)
    st.session_state["reranker"] = reranker if good else ""
    st.session_state["strength"] = strength if good and reranker else STRENGTH
    bad = [*(name for name in weights if name not in run.model.blend.names or name not in usable), *([] if good else [reranker])]
    if bad:
        st.session_state["lab_note"] = t("note.apply", value=", ".join(bad)[:80])


def picked() -> None:
    """A point of the chart was clicked: it becomes the chosen one."""
    points = st.session_state["pareto"]["selection"]["points"]
    if points:
        st.session_state["point"] = int(points[0]["customdata"][0])


def point(options: list[int], first: int) -> int:
    """The chosen point of the sweep; `first` if none, or one that is not among the options."""
    if st.session_state.get("point") not in options:
        st.session_state["point"] = first
    return int(st.session_state["point"])


def chosen_point() -> int | None:
    found = st.session_state.get("point")
    return None if found is None else int(found)


def lab_note() -> str:
    """What the last preset or point could not do; shown by the page, since a fragment does not draw the frame again."""
    return str(st.session_state.get("lab_note", ""))


def _presets_file() -> Path:
    where = folder()
    assert where is not None  # there is a run, so there is a folder
    return where.parent / f"{where.name}.presets.json"


def preset_names() -> list[str]:
    return list(presets.load(_presets_file()))


def save_preset(run: Run) -> None:
    """The sliders as they are, under the name that is typed; a name in use gets the new settings."""
    touched()
    if read_only():
        return
    weights = {name: float(st.session_state[weight_key(run, name)]) for name in run.model.blend.names}
    try:
        st.session_state["preset"] = presets.save(_presets_file(), st.session_state["preset_name"], Preset(weights, *reranking()))
        st.session_state["preset_name"] = ""
    except (UserError, OSError) as error:
        st.session_state["lab_note"] = t("note.preset", error=str(error))


def apply_preset(run: Run) -> None:
    found = presets.load(_presets_file()).get(st.session_state["preset"])
    if found is not None:
        apply(run, found.weights, found.reranker, found.strength)


def delete_preset() -> None:
    touched()
    if read_only():
        return
    try:
        presets.delete(_presets_file(), st.session_state["preset"])
    except OSError as error:
        st.session_state["lab_note"] = t("note.preset", error=str(error))


def user_link(now: Choice, user: str) -> str:
    """Address of the User page for somebody else, under the same weights."""
    return "./?" + urlencode(link(replace(now, person=replace(now.person, user=user))))
