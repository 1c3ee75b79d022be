"""Likes and dislikes on the page User: buttons in each row of the list and below it, what counts by now, and the way back."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import chosen, state, state_explain, state_reactions
from dashboard.charts import cut
from dashboard.state import Choice
from dashboard.strings import plain, t

ICONS = {"like": ":material/thumb_up:", "dislike": ":material/thumb_down:"}
MOST = 20  # reactions that are listed, the latest ones


def columns(ids: tuple[str, ...]) -> dict[str, Any]:
    """Buttons for `st.dataframe`; none where nothing can be saved."""
    if state.read_only():
        return {}
    how: dict[str, Any] = {"width": 36, "type": "tertiary", "on_click": state_reactions.clicked}
    return {
        kind: st.column_config.ButtonColumn("", args=(kind, ids), key=key, help=t(f"react.{kind}"), **how)
        for kind, key in state_reactions.CLICKS.items()
    }


def labels(view: pd.DataFrame) -> pd.DataFrame:
    """The list with the buttons' signs."""
    if state.read_only():
        return view
    return view.assign(**{kind: [icon] * len(view) for kind, icon in ICONS.items()})


def below(listed: pd.DataFrame) -> None:
    """An item of the list by its name, and what the buttons of its row do."""
    names = {row["item_id"]: plain("why.item.listed", **row) for row in listed[["item_id", "rank", "title"]].to_dict("records")}
    with chosen.row(plain("react.item"), names, state_reactions.LISTED):
        st.button(plain("why.button"), key="why chosen", on_click=state_explain.why_chosen)
        for kind, icon in ({} if state.read_only() else ICONS).items():
            st.button(
                plain(f"react.{kind}.do"),
                key=f"{kind} chosen",
                icon=icon,
                on_click=state_reactions.chosen,
                args=(kind,),
                help=t(f"react.{kind}"),
            )


def note(now: Choice) -> None:
    """How many reactions count here, which, and a button to undo each or all."""
    with st.container(gap="small"):  # there even if empty: what is below keeps its place, and a button there the focus
        _note(now)


def _note(now: Choice) -> None:
    found, failed = state_reactions.standing(now.run, now.person.user)
    if failed:
        st.error(t("react.failed"), icon=":material/error:")
        st.code(failed, language=None, wrap_lines=True)
    if state.read_only():
        st.caption(t("react.read_only"))
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="reactions"):
        n = {kind: list(found.values()).count(kind) for kind in ICONS}
        how: dict[str, Any] = {"on_click": state_reactions.undo, "icon": ":material/undo:", "disabled": state.read_only()}
        st.markdown(t("react.count.one" if len(found) == 1 else "react.count", n=len(found), **n))
        st.button(plain("react.undo"), key="undo all", args=(tuple(found),), **how)
        with st.popover(plain("react.which"), icon=":material/list:"):
            st.caption(t("react.says"))
            for item, (kind, title) in shown(now, found).items():
                left, right = st.columns([4, 1], vertical_alignment="center")
                left.text(plain(f"react.{kind}.of", title=cut(title, 60)))
                right.button("", key=f"undo {item}", help=t("react.undo.one"), args=((item,),), **how)
            if len(found) > MOST:
                st.caption(t("react.more", n=len(found) - MOST))


def shown(now: Choice, found: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Kind and title of the latest reactions, by item."""
    ids = list(found)[:MOST]
    titles = now.run.dataset.catalog.titles[now.run.dataset.items.codes(ids, "item")]
    return {item: (found[item], str(title)) for item, title in zip(ids, titles, strict=True)}
