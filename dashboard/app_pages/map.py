"""What does BERT think is alike? The catalogue on a plane, and an item's neighbours by text beside those by likes."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import lab_tables, map_charts, shared, state, state_explain, state_map, tables
from dashboard.state import Choice
from dashboard.strings import joined, plain, t
from recsys_core import catalogue_map
from recsys_core.catalogue_map import DECADE, Neighbours
from recsys_core.errors import UserError
from recsys_core.run import Run


def page(run: Run) -> None:
    now = state.choice(run)
    with st.sidebar:
        shared.settings(now)
        shared.hiding(run)
    listed = [str(i) for i in state.user_list(now).frame["item_id"]]
    item = state_explain.item(now, listed)
    st.title(t("map.title"), anchor=False)
    if not state_map.textual(run):
        st.info(t("map.none"), icon=":material/text_fields:")
        st.code("whyrec train --data data/ml-100k --set components=ease,bert --out runs/b", language="bash")
        return
    picture(now, listed, item)
    st.subheader(plain("map.near"), anchor=False)
    shared.pick_item(run, {})
    if item is not None:
        neighbours(run, item)
    with st.sidebar:
        shared.share()


def picture(now: Choice, listed: list[str], item: str | None) -> None:
    """The map, once it is asked for."""
    run = now.run
    if not state_map.asked(run):
        st.markdown(t("map.wait"))
        label = plain("map.draw")
        st.button(label, icon=":material/scatter_plot:", type="primary", on_click=state_map.ask, args=(run,))
        return
    try:
        with st.spinner(plain("map.drawing")):
            made = state_map.drawn(run)
    except UserError as error:
        st.error(t("map.failed"), icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)
        return
    by = colour(run)
    frame, names = state_map.points(run, made, by, now.person.user, listed, item)
    if by == state_map.CLUSTER:
        words = [plain("map.cluster.named" if name else "map.cluster.bare", n=n + 1, name=name) for n, name in enumerate(names)]
    else:
        words = [*names, *[""] * (catalogue_map.CLUSTERS - len(names)), plain("map.other")]
        frame["group"] = frame["group"].clip(upper=len(words) - 1)
    counts = frame["mark"].value_counts()
    past, top = int(counts.get("history", 0)), int(frame["item_id"].isin(listed).sum())
    how = plain("rerank.map", **lab_tables.reranking(now.reranker, now.strength)) if now.reranker else ""
    st.markdown(joined(t("map.says", n=len(frame), user=now.person.user, past=past, top=top), how))
    marks = [(key, plain(f"map.mark.{key}")) for key in map_charts.MARKS]
    shared.chart(map_charts.map_chart(frame, words, marks), "map", plain("map.title"))
    st.caption(
        t("map.caption", method=made.method, n=len(frame), of=made.of, seed=state_map.SEED, near=made.near, trust=made.trust)
    )
    if len(frame) < made.of:
        st.caption(t("map.sample"))
    said = dict(marks)
    view = frame.assign(group=[words[n] for n in frame["group"]], mark=[said.get(one, "") for one in frame["mark"]])
    heads = {"item_id": plain("map.column.item"), "title": plain("column.title")}
    heads |= {name: plain(f"map.column.{name}") for name in ("group", "mark")}
    columns = {name: st.column_config.TextColumn(head) for name, head in heads.items()}
    shared.twin(view, tables.file_name("map", run.path.name), "map", columns)


def colour(run: Run) -> str:
    """What the dots are coloured by: one of the attributes, or clusters."""
    catalog = run.dataset.catalog
    said = {name: name for name in catalogue_map.colourings(catalog)} | {state_map.CLUSTER: plain("map.cluster")}
    if DECADE in said and DECADE not in catalog.attributes:
        said[DECADE] = plain("map.decade")
    return str(st.selectbox(plain("map.colour"), list(said), format_func=said.get, key="map by", width=240))


def neighbours(run: Run, item: str) -> None:
    """Two lists side by side, and what they share."""
    text, likes = state_map.near(run, item)
    if len(text.items) and len(likes.items):
        st.markdown(t("map.shared", n=len(catalogue_map.shared(text, likes)), text=len(text.items), likes=len(likes.items)))
    left, right = st.columns(2, gap="medium")
    with left:
        side(state_map.told(run, text), text, "text", len(run.dataset.items))
    with right:
        side(state_map.told(run, likes), likes, "likes", len(run.dataset.items))
    st.page_link("app_pages/explain.py", label=plain("map.explain"), icon=":material/help_center:")


def side(view: pd.DataFrame, found: Neighbours, kind: str, of: int) -> None:
    st.markdown(f"**{plain(f'map.by.{kind}')}**")
    if view.empty:
        st.caption(t("map.near.none" if found.by else "map.near.unable"))
        return
    number = st.column_config.NumberColumn(plain(f"map.value.{found.by}"), format="%.3f")
    columns = {"title": st.column_config.TextColumn(plain("column.title")), "value": number}
    shared.table(view, f"near {kind}", columns, only=True)
    st.caption(t(f"map.near.{found.by}", n=len(view), of=of))
    shared.download(view, f"near-{kind}", f"near {kind}")


page(state.current_run())
