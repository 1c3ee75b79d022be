"""Likes, dislikes and clicks: recorded from a session, and seen by all."""

from __future__ import annotations

import streamlit as st

from dashboard import runs
from dashboard.state import current_run, read_only, reader, touched
from recsys_core import feedback
from recsys_core.errors import UserError
from recsys_core.run import Run

CLICKS = {"like": "like click", "dislike": "dislike click"}  # keys of the buttons in the list
LISTED = "listed item"  # key of the picker below it


def react(reaction: str, item: str) -> None:
    """Record one about the chosen user; what goes wrong is shown with the list."""
    st.session_state.pop("reaction failed", None)
    if read_only():
        return
    run = current_run()
    said = {"data": run.dataset.name, "run": run.path.name, "user": st.session_state["user"], "author": reader()}
    try:
        feedback.react(runs.feedback_file(), item=item, reaction=reaction, **said)
    except UserError as error:
        st.session_state["reaction failed"] = str(error)


def clicked(reaction: str, ids: tuple[str, ...]) -> None:
    """A button in the list."""
    touched()
    click = st.session_state[CLICKS[reaction]]
    if click is not None and 0 <= click["row"] < len(ids):
        react(reaction, ids[click["row"]])


def chosen(reaction: str) -> None:
    """A button beside the picker."""
    touched()
    if (item := st.session_state.get(LISTED)) is not None:
        react(reaction, str(item))


def undo(items: tuple[str, ...]) -> None:
    touched()
    for item in items:
        react("undo", item)


def standing(run: Run, user: str) -> tuple[dict[str, str], str]:
    """Of each item that the user reacted to, how, the latest first; and what failed ("" = nothing)."""
    failed = str(st.session_state.get("reaction failed", ""))
    try:
        net = feedback.reactions(runs.feedback_file(), user, data=run.dataset.name)
    except UserError as error:
        return {}, str(error)
    return {i: r for i, r in reversed(net.items()) if run.dataset.items.find([i])[0] >= 0}, failed
