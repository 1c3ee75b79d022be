"""The page Explain: which item, what was asked about it, and the answers."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import streamlit as st

from dashboard import runs, state_reactions
from dashboard.state import Choice, current_run, link, near, options, touched, write_url
from recsys_core.browse import Found
from recsys_core.explain import answer
from recsys_core.explain.game import Budget, Explanation
from recsys_core.explain.pair import Pair
from recsys_core.explain.subject import Subject
from recsys_core.run import Run

WHY_CLICK = "why click"  # key of the buttons in the list
ANSWERS = 32  # that a session keeps


def item(now: Choice, listed: list[str]) -> str | None:
    """The item that the page is about: as chosen, else the first of the list; None if that is empty. It goes into the URL."""
    chosen_for = st.session_state.get("why for", "")  # the user whose list gave it; "" if a person chose it
    if "why" not in st.session_state or chosen_for not in ("", now.person.user):
        st.session_state.pop("why", None)
        if listed:
            st.session_state["why"], st.session_state["why for"] = listed[0], now.person.user
    found = chosen()
    st.session_state["item"] = found  # the picker shows it, under today's label
    write_url(link(now, found))
    return found


def chosen() -> str | None:
    """The item that the pages are about."""
    found: str | None = st.session_state.get("why")
    return found


def choose_item(item: object) -> None:
    """From now on the pages are about this item, if the run has it."""
    touched()
    if current_run().dataset.items.find([item])[0] >= 0:
        st.session_state["why"], st.session_state["why for"] = str(item), ""


def item_picked() -> None:
    choose_item(st.session_state["item"])


def item_searched() -> None:
    """The first match becomes the item."""
    matches = found_items(current_run()).frame["item_id"]
    if len(matches):
        choose_item(matches.iloc[0])


def why_clicked(ids: tuple[str, ...]) -> None:
    """A button in the list: its item is asked about, on the page Explain."""
    click = st.session_state[WHY_CLICK]
    if click is not None and 0 <= click["row"] < len(ids):
        _ask_why(ids[click["row"]])


def why_chosen() -> None:
    """The same beside the picker below the list."""
    if (item := st.session_state.get(state_reactions.LISTED)) is not None:
        _ask_why(str(item))


def _ask_why(item: str) -> None:
    choose_item(item)
    st.session_state["why asked"] = item
    state_reactions.react("click", item)


def addresses(now: Choice, items: Iterable[str]) -> dict[str, str]:
    """Of the page Explain about each of these items, seen from the first page; a fresh tab shows the same numbers there."""
    here = urlsplit(st.context.url or "").path.rstrip("/")
    return {item: f"{here}/explain?{urlencode(link(now, item))}" for item in map(str, items)}


def why_asked() -> str | None:
    """The item whose button was just pressed; asking takes it away."""
    asked: str | None = st.session_state.pop("why asked", None)
    return asked


def item_query() -> str:
    return str(st.session_state.get("item query", ""))


def found_items(run: Run) -> Found:
    """Items that match what is typed in the search field; none for an empty one."""
    return runs.search_items(run, item_query())


def pair(now: Choice, item: str) -> Pair:
    return runs.pair(now.run, now.person.user, item, now.hide)


Asked = tuple[object, ...]
Answers = dict[Asked, Any]


def about(now: Choice, item: str, *more: object) -> Asked:
    """What an answer depends on; other weights are another question, and so are what lists leave out and a reaction."""
    path, row = now.run.path, now.person.row
    past = (row.items.tobytes(), row.ages.tobytes(), now.person.hidden.items.tobytes())
    return (str(path), runs.stamp(path), now.person.user, item, now.blend.weights, past, *more)


def ask(section: str, what: Asked) -> None:
    """A button of a section: from now on its answer to this question is shown."""
    st.session_state.setdefault("asked", {})[section] = what


def asked(section: str, what: Asked) -> bool:
    return bool(st.session_state.get("asked", {}).get(section) == what)


def answers() -> Answers:
    """What the session has been told, by what was asked."""
    found: Answers = st.session_state.setdefault("answers", {})
    return found


def answered(what: Asked, compute: Callable[[], Any]) -> Any:
    """The answer to a question, computed once a session; the last few are kept."""
    kept = answers()
    if what not in kept:
        kept[what] = compute()
        while len(kept) > ANSWERS:
            del kept[next(iter(kept))]
    return kept[what]


def of(answers: Answers, now: Choice, item: str) -> list[Any]:
    """Those about an item under these weights."""
    head = about(now, item)
    return [found for what, found in list(answers.items()) if what[: len(head)] == head]


def explained(
    now: Choice, subject: Subject, question: str, method: str, evaluations: int, progress: Callable[[int, int], None]
) -> Explanation:
    """Raises UserError as `recsys_core.explain.answer.explain` does."""
    found = answer.answer(now.run, subject, question, method, Budget(evaluations), 0, progress)
    title = str(subject.catalog.titles[subject.item])
    return replace(found, user=now.person.user, item=str(subject.items.ids[subject.item]), title=title)


def scoreboard_command(now: Choice) -> str:
    return shlex.join(["whyrec", "explain", "--run", near(now.run.path), "--scoreboard"])


def explain_command(now: Choice, item: str) -> str:
    """The shell command that says the same about an item."""
    words = ["whyrec", "explain", "--run", near(now.run.path), "--user", now.person.user, "--item", item, "--k", str(now.k)]
    return shlex.join([*words, *options(now), "--what-if"])
