"""Verdicts: what a session says of an explanation, and which it looks at, from and to the URL."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import runs, state_explain
from dashboard.state import Choice, current_run, link, read_only, reader, touched, write_url
from dashboard.strings import t
from recsys_core import feedback
from recsys_core.errors import UserError
from recsys_core.explain.game import Explanation
from recsys_core.explain.pair import Why
from recsys_core.feedback import Verdict
from recsys_core.run import Run

OPEN = {"queue": "queue click", "verdicts": "verdicts click"}  # keys of buttons in tables
PICKED = {"queue": "queue pair", "verdicts": "verdicts pair"}  # keys of the pickers below them
NEXT = 10  # pairs that are shown to be reviewed
LONGEST = 200  # letters of a search
FILTERS = {"run": "of", "verdict": "verdict", "author": "by", "text": "find"}  # arguments of `feedback.filtered`, and the URL


def key(now: Choice, item: str, what: str) -> str:
    return f"review {what} {now.run.path.name} {now.person.user} {item}"


def save(now: Choice, why: Why) -> None:
    """The verdict that is chosen, with its note; both fields are empty again."""
    touched()
    chosen = st.session_state.get(key(now, why.item, "verdict"))
    st.session_state.pop("review failed", None)
    if read_only() or chosen is None:
        return
    note = str(st.session_state.get(key(now, why.item, "note"), ""))
    try:
        number = feedback.record(runs.feedback_file(), _verdict(now, why, chosen, note))
    except UserError as error:
        st.session_state["review failed"] = str(error)
        return
    st.session_state["reviewed"] = (now.run.path.name, now.person.user, why.item, number)
    st.session_state[key(now, why.item, "verdict")] = None
    st.session_state[key(now, why.item, "note")] = ""


def _verdict(now: Choice, why: Why, chosen: str, note: str) -> Verdict:
    exact = [e for e in (why.components, why.history, why.attributes) if e is not None]
    asked = [e for e in state_explain.of(state_explain.answers(), now, why.item) if isinstance(e, Explanation)]
    return Verdict(
        run=now.run.path.name,
        user=now.person.user,
        item=why.item,
        verdict=chosen,
        note=note.strip(),
        title=why.title,
        shown=[f"{e.question} by {e.method}" for e in (*exact, *asked)],
        weights=dict(zip(now.blend.names, now.blend.weights, strict=True)),
        rank=why.rank,
        probability=None if why.components is None else why.components.probability,
        author=reader(),
    )


def mine(now: Choice, item: str) -> int | None:
    """The verdict that this session has just given of a pair."""
    found = st.session_state.get("reviewed")
    return int(found[3]) if found is not None and found[:3] == (now.run.path.name, now.person.user, item) else None


def withdraw() -> None:
    touched()
    st.session_state.pop("review failed", None)
    found = st.session_state.pop("reviewed", None)
    if read_only() or found is None:
        return
    try:
        feedback.withdraw(runs.feedback_file(), found[3], reader())
    except UserError as error:
        st.session_state["review failed"] = str(error)


def verdicts(**where: str) -> tuple[pd.DataFrame, str]:
    """Those that stand, latest first; and what is wrong with the file or the last write ("" = nothing)."""
    failed = str(st.session_state.get("review failed", ""))
    try:
        return feedback.verdicts(runs.feedback_file(), **where), failed
    except UserError as error:
        return pd.DataFrame(columns=list(feedback.COLUMNS["verdict"])), str(error)


def begin_filters(now: Choice, found: pd.DataFrame) -> dict[str, list[str]]:
    """Choose the filters: from the session, the URL, or none; they go into the URL, and what cannot be used leaves a note.

    Returns what can be chosen of each, by argument of `feedback.filtered`; "" is all. A filter whose verdicts are gone is all.
    """
    options = {name: ["", *(v for v in found[name].unique() if v)] for name in ("run", "author")}
    options["verdict"] = ["", *feedback.VERDICTS]
    first = "reviews filters" not in st.session_state
    kept = st.session_state.setdefault("reviews filters", {n: st.query_params.get(u, "") for n, u in FILTERS.items()})
    bad = []
    for name in FILTERS:
        wanted = str(st.session_state.get(f"reviews {name}", kept[name]))
        good = len(wanted) <= LONGEST if name == "text" else wanted in options[name]
        bad += [] if good else [wanted[:40]]
        st.session_state[f"reviews {name}"] = kept[name] = wanted if good else ""
    if first and bad:
        st.session_state["reviews note"] = t("reviews.note", value=", ".join(bad))
    write_url(link(now) | {FILTERS[name]: value for name, value in kept.items() if value})
    return options


def filters() -> dict[str, str]:
    """Arguments of `feedback.filtered`."""
    return {name: str(st.session_state[f"reviews {name}"]) for name in FILTERS}


def picked() -> None:
    touched()
    st.session_state.pop("reviews note", None)


def note() -> str:
    """What the link asked for and is not here; told until a filter is chosen."""
    return str(st.session_state.get("reviews note", ""))


@st.cache_data(max_entries=32, show_spinner=False)
def _queue(path: str, stamp: str, done: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    return feedback.queue(current_run(), pd.DataFrame(done, columns=["user_id", "item_id"]), NEXT)


def queue(run: Run, found: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a run to review next, beside the verdicts that stand."""
    done = found[found["run"] == run.path.name]
    return _queue(str(run.path), runs.stamp(run.path), tuple(sorted(zip(done["user_id"], done["item_id"], strict=True))))


def opened(table: str, pairs: tuple[tuple[str, str, str], ...]) -> None:
    """A button in a table of (run, user, item): they become the chosen ones, if they are still there."""
    touched()
    click = st.session_state[OPEN[table]]
    if click is None or not 0 <= click["row"] < len(pairs):
        return
    _open(*pairs[click["row"]])


def chosen(table: str) -> None:
    """The same beside the picker below a table."""
    touched()
    if (pair := st.session_state.get(PICKED[table])) is not None:
        _open(*pair)


def _open(name: str, user: str, item: str) -> None:
    if name not in runs.run_paths():
        st.session_state["review gone"] = name
        return
    try:
        run = runs.open_run(runs.run_paths()[name])
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        st.session_state["review gone"] = name  # the page of that run says what is wrong with it
        return
    if run.dataset.users.find([user])[0] < 0 or run.dataset.items.find([item])[0] < 0:
        st.session_state["review gone"] = name
        return
    st.session_state["run"], st.session_state["user"] = name, user
    st.session_state["why"], st.session_state["why for"] = item, ""
    st.session_state["review asked"] = {"run": name, "user": user, "item": item}


def asked(now: Choice) -> dict[str, str] | None:
    """The address of what was just opened; asking takes it away."""
    found: dict[str, str] | None = st.session_state.pop("review asked", None)
    return None if found is None else link(now, found["item"]) | found


def gone() -> str:
    """The run of a verdict that could not be opened; asking takes it away."""
    return str(st.session_state.pop("review gone", ""))
