"""What do reviewers say of the explanations, and what should be looked at next? Counts, a queue, and every verdict."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import chosen, review, review_report, runs, shared, state, state_review, strings, tables
from dashboard.state import Choice
from dashboard.strings import plain, t
from recsys_core import feedback
from recsys_core.run import Run


def page(run: Run) -> None:
    now = state.choice(run)
    st.title(t("reviews.title"), anchor=False)
    found, failed = state_review.verdicts()
    if failed:
        review.problem(failed)
    if name := state_review.gone():
        st.info(t("reviews.gone", name=name), icon=":material/link_off:")
    if not len(found):
        state.write_url(state.link(now))
        st.info(t("reviews.empty"), icon=":material/rate_review:")
    else:
        kept = picked(now, found)
        answer(kept)
        listed(now, kept)
    waiting(now, found)
    if asked := state_review.asked(now):
        st.switch_page("app_pages/explain.py", query_params=asked)


def picked(now: Choice, found: pd.DataFrame) -> pd.DataFrame:
    """The verdicts that the filters leave."""
    options, all_ = state_review.begin_filters(now, found), plain("reviews.all")
    if text := state_review.note():
        st.info(text, icon=":material/link_off:")
    columns = st.columns([2, 2, 2, 3], gap="small")
    said = {"": all_} | {name: plain(f"review.{name}") for name in feedback.VERDICTS}
    heads = {"run": plain("run"), "verdict": plain("review.verdict"), "author": plain("review.author")}
    for column, (name, head) in zip(columns, heads.items(), strict=False):
        column.selectbox(
            head,
            options[name],
            format_func=said.get if name == "verdict" else lambda value: value or all_,
            key=f"reviews {name}",
            on_change=state_review.picked,
            disabled=len(options[name]) == 1,
        )
    columns[3].text_input(
        plain("reviews.find"),
        key="reviews text",
        placeholder=plain("reviews.find.hint"),
        max_chars=state_review.LONGEST,
        on_change=state_review.picked,
    )
    return feedback.filtered(found, **state_review.filters())


def answer(kept: pd.DataFrame) -> None:
    """Counts, the share that makes sense, and agreement."""
    with st.container(key="figures", horizontal=True, gap="large"):
        for label, value in review_report.figures(kept).items():
            st.metric(label, value, width="content")
    st.caption(review_report.agreed(kept))


def listed(now: Choice, kept: pd.DataFrame) -> None:
    st.subheader(plain("reviews.table"), anchor=False)
    if kept.empty:
        st.caption(t("reviews.nothing"))
        return
    order = ["verdict", "title", "user_id", "note", "open", "place", "percent", "when", "author", "run"]
    review.shown(kept, order, "verdicts", button("verdicts", kept))
    below("verdicts", kept)
    with st.container(horizontal=True, gap="small"):
        name, language = tables.file_name("reviews", now.run.path.name), strings.language()
        shared.download(kept, name, "reviews", plain("reviews.csv"))
        st.download_button(
            plain("reviews.html"),
            partial(written, kept, language),
            f"{name}.html",
            "text/html",
            icon=":material/download:",
            on_click="ignore",
        )
    st.caption(t("reviews.caption", n=len(kept)))


def button(table: str, rows: pd.DataFrame) -> dict[str, Any]:
    """A column of buttons that open a row on the page Explain."""
    pairs = tuple(zip(rows["run"], rows["user_id"], rows["item_id"], strict=True))
    how: dict[str, Any] = {"on_click": state_review.opened, "args": (table, pairs), "key": state_review.OPEN[table]}
    return {"open": st.column_config.ButtonColumn("", width=74, **how)}


def below(table: str, rows: pd.DataFrame) -> None:
    """A row by its name, and what its button does."""
    names = {(r["run"], r["user_id"], r["item_id"]): plain("reviews.pair", **r) for r in rows.to_dict("records")}
    with chosen.row(plain("reviews.chosen"), names, state_review.PICKED[table]):
        label = plain("review.do" if table == "queue" else "review.open")
        st.button(label, key=f"open {table}", on_click=state_review.chosen, args=(table,))


def waiting(now: Choice, found: pd.DataFrame) -> None:
    """Pairs without a verdict."""
    st.subheader(plain("reviews.queue"), anchor=False)
    with st.spinner(plain("reviews.queue.busy")):
        rows = state_review.queue(now.run, found)
    if rows.empty:
        st.info(t("reviews.queue.none"), icon=":material/done_all:")
        return
    st.markdown(t("reviews.queue.says", n=len(rows), seed=now.run.settings.seed))
    rows = rows.assign(run=now.run.path.name, open=plain("review.do"), percent=100 * rows["probability"])
    config = st.column_config
    columns = {
        "user_id": config.TextColumn(plain("user"), width=110),
        "title": config.TextColumn(plain("column.title"), width=300),
        "rank": config.NumberColumn(plain("column.rank"), format="#%d", width=50),
        "percent": config.NumberColumn(plain("column.percent"), format="%.0f%%", width=70),
    } | button("queue", rows)
    st.dataframe(
        rows,
        column_config=columns,
        column_order=["user_id", "title", "open", "rank", "percent"],
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(rows, state_review.NEXT),
        key="frame queue",
    )
    below("queue", rows)


def written(kept: pd.DataFrame, language: str) -> bytes:
    """The report, made when its button is pressed, where no session is."""
    with strings.speaking(language):
        facts = {
            plain("reviews.fact.file"): runs.feedback_file().name,
            plain("reviews.fact.runs"): ", ".join(kept["run"].unique()),
        }
        return review_report.report_html(kept, facts).encode("utf-8", "replace")


page(state.current_run())
