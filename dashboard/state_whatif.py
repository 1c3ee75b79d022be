"""The page What-if: edits to a history as a stack, picks of somebody new, an item that is not in the data; to and from the URL.

Two histories are edited apart: that of the current user after what they reacted to, and the empty one of somebody new.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import runs
from dashboard.state import Choice, current_run, link, touched, write_url
from dashboard.strings import t
from recsys_core import new_item, whatif
from recsys_core.browse import Found, Person
from recsys_core.errors import UserError
from recsys_core.new_item import Arrival, Crowd, NewItem
from recsys_core.run import Run
from recsys_core.whatif import NONE, Edits, Effect, Reactions

VIEWS = ("history", "new", "item")
MOST = 200  # edits that a link may hold; also steps that can be undone
STARTERS = 12
REMOVE, RENEW, DOUBLE, BACK, LIKE = "whatif remove", "whatif renew", "whatif double", "whatif back", "whatif like"  # of buttons
PAST, GONE, STARTER = "whatif past", "whatif dropped", "whatif starter"  # keys of the pickers below their tables
FIELDS = {"title": "whatif title", "text": "whatif text", "attributes": "whatif attributes"}
URL = {"add": "add", "drop": "drop", "twice": "double"}  # parameters, and the edits they hold


@st.cache_resource(max_entries=64, show_spinner=False)
def _person(path: str, stamp: str, user: str, edits: Edits, hide: str, reacted: Reactions) -> Person:
    return whatif.person(runs.open_run(Path(path)), user, edits, hide or None, reacted)


@st.cache_resource(max_entries=16, show_spinner=False)
def _effects(path: str, stamp: str, user: str, edits: Edits, hide: str, reacted: Reactions) -> list[Effect]:
    return whatif.effects(runs.open_run(Path(path)), user, edits, hide or None, reacted)


@st.cache_data(max_entries=4, show_spinner=False)
def _starters(path: str, stamp: str) -> pd.DataFrame:
    run = runs.open_run(Path(path))
    return whatif.starters(run, runs.features(run), STARTERS)


@st.cache_resource(max_entries=1, show_spinner=False)
def _crowd(path: str, stamp: str) -> Crowd:
    return Crowd.of(runs.open_run(Path(path)))


@st.cache_resource(max_entries=2, show_spinner=False)
def _arrival(path: str, stamp: str, item: NewItem) -> Arrival:
    return new_item.arrive(runs.open_run(Path(path)), item)


def reacted(run: Run, user: str) -> Reactions:
    """Likes and dislikes that count before any edit, as on the pages User and Explain; somebody new has none."""
    return runs.reactions(run, user) if user else NONE


def person(run: Run, user: str, edits: Edits, hide: str = "") -> Person:
    return _person(str(run.path), runs.stamp(run.path), user, edits, hide, reacted(run, user))


def effects(run: Run, user: str, edits: Edits, hide: str = "") -> list[Effect]:
    return _effects(str(run.path), runs.stamp(run.path), user, edits, hide, reacted(run, user))


def past(run: Run, user: str) -> list[str]:
    return whatif.past(run, user, reacted(run, user))


def history(run: Run, user: str) -> pd.DataFrame:
    """As edited now."""
    return whatif.history(run, user, edits(run), reacted(run, user))


def starters(run: Run) -> pd.DataFrame:
    return _starters(str(run.path), runs.stamp(run.path))


def crowd(run: Run) -> Crowd:
    return _crowd(str(run.path), runs.stamp(run.path))


def arrival(run: Run, item: NewItem) -> Arrival:
    """Raises UserError as `new_item.arrive`."""
    return _arrival(str(run.path), runs.stamp(run.path), item)


# Which view, and the edits.


def begin(run: Run) -> None:
    """The view and the edits of this history: from the session, else from the URL, else none; a note says what did not fit."""
    if "whatif view" not in st.session_state:
        asked = st.session_state.get("whatif kept", st.query_params.get("view", VIEWS[0]))
        st.session_state["whatif view"] = asked if asked in VIEWS else VIEWS[0]
        if asked not in VIEWS:
            st.session_state["whatif note"] = t("whatif.note", value=str(asked)[:80])
    st.session_state["whatif view"] = st.session_state["whatif kept"] = st.session_state["whatif view"] or VIEWS[0]
    kept = st.session_state.setdefault("whatif fields", {})
    for key in FIELDS.values():
        st.session_state[key] = kept[key] = st.session_state.get(key, kept.get(key, ""))
    if "whatif begun" not in st.session_state:
        st.session_state["whatif begun"] = True
        _from_url(run)


def _from_url(run: Run) -> None:
    given = {field: _ids(st.query_params.get(name, "")) for name, field in URL.items()}
    edits, bad = whatif.checked(run, user(), Edits(**given), reacted(run, user()))
    if bad:
        st.session_state["whatif note"] = t("whatif.note", value=", ".join(bad)[:80])
    if edits:
        _stack(run).append(edits)


def _ids(text: str) -> tuple[str, ...]:
    """Ids separated by commas; a comma in an id is %2C, a percent sign %25."""
    pieces = [piece for piece in text[: 100 * MOST].split(",") if piece][:MOST]
    return tuple(piece.replace("%2C", ",").replace("%25", "%") for piece in pieces)


def _text(ids: tuple[str, ...]) -> str:
    return ",".join(i.replace("%", "%25").replace(",", "%2C") for i in ids)


def view() -> str:
    return str(st.session_state["whatif view"])


def user() -> str:
    """Whose history is edited; "" for somebody new."""
    return "" if view() == "new" else str(st.session_state["user"])


def _stack(run: Run) -> list[Edits]:
    """All states of this history's edits, the present one last; the first is none."""
    stacks: dict[tuple[str, str], list[Edits]] = st.session_state.setdefault("whatif edits", {})
    return stacks.setdefault((run.path.name, user()), [Edits()])


def edits(run: Run) -> Edits:
    """As they are; what an id no longer stands for (a run trained anew) is left out."""
    return whatif.checked(run, user(), _stack(run)[-1], reacted(run, user()))[0]


def steps(run: Run) -> int:
    """How many steps can be undone."""
    return len(_stack(run)) - 1


def to_url(now: Choice) -> None:
    own: dict[str, str] = {} if view() == "history" else {"view": view()}
    if view() != "item":
        found = edits(now.run)
        own |= {name: _text(getattr(found, field)) for name, field in URL.items() if getattr(found, field)}
    write_url(link(now) | own)


def note() -> str:
    """What the link asked for and could not be had; told until the next edit."""
    return str(st.session_state.get("whatif note", ""))


# What the widgets call.


def _push(run: Run, made: Edits) -> None:
    touched()
    st.session_state.pop("whatif note", None)
    stack = _stack(run)
    if made != stack[-1]:
        stack.append(made)
        del stack[1 : len(stack) - MOST]


def clicked(what: str, ids: tuple[str, ...]) -> None:
    """A button in a table was pressed: one edit of that row's item."""
    click = st.session_state[what]
    if click is None or not 0 <= click["row"] < len(ids):
        return
    _edit(what, ids[click["row"]])


def chosen(what: str, where: str) -> None:
    """The same beside the picker of this key: one edit of the item that is chosen there."""
    if (item := st.session_state.get(where)) is not None:
        _edit(what, str(item))


def _edit(what: str, item: str) -> None:
    run = current_run()
    own, now = set(past(run, user())), _stack(run)[-1]
    made = {
        REMOVE: lambda: now.remove(item, own),
        RENEW: lambda: now.renew(item, own),
        DOUBLE: lambda: now.twice(item),
        BACK: lambda: now.like(item, own),
        LIKE: lambda: now.like(item, own),
    }
    _push(run, made[what]())


def picked() -> None:
    """A match of the search is liked."""
    item, run = st.session_state["whatif match"], current_run()
    if item is not None and run.dataset.items.find([item])[0] >= 0:
        _push(run, _stack(run)[-1].like(str(item), set(past(run, user()))))
    st.session_state["whatif match"], st.session_state["whatif query"] = None, ""


def undone() -> None:
    """One step back."""
    touched()
    stack = _stack(current_run())
    if len(stack) > 1:
        stack.pop()


def reset() -> None:
    """No edits; this is a step too, so that it can be undone."""
    run = current_run()
    _push(run, Edits())


def query() -> str:
    return str(st.session_state.get("whatif query", ""))


def found(run: Run) -> Found:
    """Items that match what is typed; none for an empty field."""
    return runs.search_items(run, query())


# The new item.


def example() -> None:
    """The most liked item that has a text, as an example of what such a text looks like here."""
    run = current_run()
    row = run.dataset.catalog.frame.iloc[int(run.fame.argmax())]
    told = [f"{name}: {', '.join(map(str, row[name]))}" for name in run.dataset.catalog.attributes if len(row[name])]
    values = {"title": str(row["title"]), "text": str(row["text"]), "attributes": "\n".join(told)}
    for name, key in FIELDS.items():
        st.session_state[key] = values[name]


def written(run: Run) -> NewItem | None:
    """What the form holds as an item; None if nothing is written. Raises UserError as `new_item.write`."""
    title, text, attributes = (str(st.session_state.get(key, "")) for key in FIELDS.values())
    if not (title.strip() or text.strip() or attributes.strip()):
        return None
    return new_item.write(run.dataset.catalog, title, text, attributes)


def refused(run: Run) -> str:
    """Why the form cannot be read; "" if it can."""
    try:
        written(run)
    except UserError as error:
        return str(error)
    return ""
