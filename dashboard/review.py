"""What a reviewer says of an explanation: a block on the page Explain, and the table of verdicts that it shares with Reviews."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dashboard import state, state_review, tables
from dashboard.state import Choice
from dashboard.strings import plain, t
from recsys_core import feedback
from recsys_core.explain.pair import Why


@st.fragment
def block(now: Choice, why: Why) -> None:
    """Verdict, note and save; then the earlier ones on this pair."""
    st.subheader(plain("review"), anchor=False)
    found, failed = state_review.verdicts(run=now.run.path.name, user_id=now.person.user, item_id=why.item)
    if failed:
        problem(failed)
    locked = state.read_only()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.segmented_control(
            plain("review.verdict"),
            feedback.VERDICTS,
            format_func=lambda name: plain(f"review.{name}"),
            key=state_review.key(now, why.item, "verdict"),
            label_visibility="collapsed",
            disabled=locked,
        )
        st.button(
            plain("review.save"),
            key="review save",
            icon=":material/save:",
            on_click=state_review.save,
            args=(now, why),
            disabled=locked or chosen is None,
            help=t("read_only") if locked else t("review.choose") if chosen is None else None,
        )
    st.text_area(
        plain("review.note"),
        key=state_review.key(now, why.item, "note"),
        max_chars=feedback.LONGEST,
        height=80,
        placeholder=plain("review.note.hint"),
        disabled=locked,
    )
    if locked:
        st.caption(t("read_only"))
    number = state_review.mine(now, why.item)
    if number is not None and number in set(found["id"]):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.success(t("review.saved"), icon=":material/check:")
            st.button(plain("review.withdraw"), key="review withdraw", icon=":material/undo:", on_click=state_review.withdraw)
    if found.empty:
        st.caption(t("review.none"))
        return
    st.caption(t("review.earlier.one" if len(found) == 1 else "review.earlier", n=len(found)))
    shown(found, ["verdict", "note", "when", "author"], "earlier")


def problem(failed: str) -> None:
    st.error(t("review.failed"), icon=":material/error:")
    st.code(failed, language=None, wrap_lines=True)


def view_of(found: pd.DataFrame) -> pd.DataFrame:
    """Verdicts for the eye: the verdict in words, the time as a time, the probability in percent."""
    columns: dict[str, Any] = {
        "verdict": [plain(f"review.{name}") for name in found["verdict"]],
        "when": pd.to_datetime(found["time"], utc=True, format="ISO8601"),
        "percent": 100 * found["probability"].astype(float),
        "place": [tables.place(int(rank)) for rank in found["rank"]],
        "open": [plain("review.open")] * len(found),
    }
    return found.assign(**columns)


def shown(found: pd.DataFrame, order: list[str], key: str, opens: dict[str, Any] | None = None) -> None:
    """A table of verdicts; cells are plain text."""
    config = st.column_config
    columns = {
        "verdict": config.TextColumn(plain("review.verdict"), width=92),
        "user_id": config.TextColumn(plain("user"), width=60),
        "title": config.TextColumn(plain("column.title"), width=170),
        "note": config.TextColumn(plain("review.note"), width=215),
        "place": config.TextColumn(plain("column.rank"), width=45),
        "percent": config.NumberColumn(plain("column.percent"), format="%.0f%%", width=54),
        "when": config.DatetimeColumn(plain("column.when"), format="YYYY-MM-DD HH:mm", timezone="UTC", width=128),
        "author": config.TextColumn(plain("review.author"), width=110),
        "run": config.TextColumn(plain("run"), width=60),
    } | (opens or {})
    st.dataframe(
        view_of(found),
        column_config=columns,
        column_order=[name for name in order if name != "author" or (found["author"] != "").any()],
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(found, 12),
        placeholder=plain("missing"),
        key=f"frame {key}",
    )
