"""A second list beside the first: picker, both tables with moves, how far they are apart; and a list in words."""

from __future__ import annotations

import streamlit as st

from dashboard import lab_tables, runs, shared, state_beside, tables
from dashboard.state import Choice
from dashboard.state_beside import Wanted
from dashboard.strings import code, joined, language, plain, t
from recsys_core import rerank
from recsys_core.beside import Beside
from recsys_core.errors import UserError

TITLE = 134  # pixels of a column of titles
WORDED = 20  # items of a list that are put into words at most: each costs a scored history


def show(now: Choice) -> bool:
    """Picker, and the two lists if something is chosen; False if the list stands alone."""
    state_beside.begin(now.run)
    if text := state_beside.note():
        st.info(text, icon=":material/link_off:")
    pick(now)
    wanted = state_beside.wanted(now)
    if wanted.kind == "none":
        return False
    try:
        second = state_beside.other(now, wanted)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # a run of another version
        st.error(t("beside.failed", name=wanted.name), icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)
        return False
    if second is None:
        key = "beside.user.none" if wanted.kind == "user" and wanted.name.strip() else "beside.user.ask"
        st.caption(t("beside.run.none", name=wanted.name) if wanted.kind == "run" else t(key, name=wanted.name))
        return False
    found = state_beside.compared(now, second)
    st.markdown(joined(says(found, now.k), about(now, wanted)))
    two_lists(found, (first(now), head(now, wanted)), plain("beside.table"))
    return True


def pick(now: Choice) -> None:
    names = state_beside.kinds(now.run)
    labels = {kind: plain(f"beside.kind.{kind}") for kind in names}
    labels |= {"rerank": plain("rerank.beside.kind")} if now.reranker else {}
    with st.container(key="pair-pick"):
        left, middle, right = st.columns(3, gap="small", vertical_alignment="bottom")
    touched = state_beside.touched
    left.selectbox(plain("beside"), names, format_func=labels.get, key="beside kind", on_change=touched)
    kind = state_beside.chosen().kind
    if kind == "run":
        middle.selectbox(plain("run"), state_beside.others(now.run), key="beside run", on_change=touched)
    elif kind == "user":
        middle.text_input(plain("beside.user"), key="beside user", placeholder=plain("beside.user.hint"), on_change=touched)
    elif kind == "rerank":
        known = {name: lab_tables.reranker(name) for name in runs.features(now.run).rerankers}
        middle.selectbox(plain("rerank"), list(known), format_func=known.get, key="beside reranker", help=t("rerank.help"))
        right.slider(plain("rerank.strength"), 0.0, 1.0, step=0.05, key="beside strength")


def says(found: Beside, k: int) -> str:
    """How far two lists are apart."""
    if found.second.empty or found.first.empty:
        return t("beside.says.empty")
    if found.same:
        return t("beside.says.same", n=len(found.second))
    facts = {"new": found.n_new, "n": len(found.second), "moved": found.n_moved, "overlap": found.overlap, "rbo": found.rbo}
    return t("beside.says", k=k, **facts)


def about(now: Choice, wanted: Wanted) -> str:
    """What must be known of the second list."""
    if wanted.kind == "learned" and not now.moved and not now.reranker:
        return t("beside.about.learned")
    if wanted.kind == "rerank":
        return t("beside.about.rerank", formula=plain(f"reranker.{rerank.get(wanted.name).name}.formula"))
    if wanted.kind == "run":
        h = runs.headline(runs.open_run(runs.run_paths()[wanted.name]))
        return joined(t("beside.about.run"), t(f"run.{h.part}", k=h.k, mean=h.mean, half=h.half, n=h.n))
    return ""


def first(now: Choice) -> str:
    """Heading of the list itself, Markdown."""
    if now.reranker:
        return plain("rerank.beside.first", **lab_tables.reranking(now.reranker, now.strength))
    return t("beside.first")


def head(now: Choice, wanted: Wanted) -> str:
    """Heading of the second list, Markdown."""
    if wanted.kind == "rerank":
        return t("beside.second.rerank", label=lab_tables.reranker(wanted.name), strength=wanted.strength)
    found = t(f"beside.second.{wanted.kind}", name=wanted.name.strip())
    alone = now.reranker and wanted.kind in ("learned", "run")
    return plain("rerank.beside.alone", head=found) if alone else found


def two_lists(found: Beside, heads: tuple[str, str], download: str, key: str = "beside") -> None:
    """Both lists as tables, each under its heading (Markdown), and a file of both."""
    sides = (found.first, found.second)
    with st.container(key=f"pair-{key}"):
        columns = st.columns(2, gap="small")
    for column, frame, title, where in zip(columns, sides, heads, ("first", "second"), strict=True):
        with column:
            st.markdown(title)
            if frame.empty:
                st.caption(t("beside.empty"))
            else:
                one_list(frame, where, key)
    st.caption(t("beside.caption"))
    both = {"first": found.first, "second": found.second}
    shared.download(lambda: tables.both_lists(both), key, key, download)


def one_list(frame: tables.Frame, where: str, key: str) -> None:
    config, second = st.column_config, where == "second"
    columns = {
        "rank": config.NumberColumn(plain("column.rank"), format="#%d", width=34),
        "title": config.TextColumn(plain("column.title"), width=TITLE),
        "move": config.TextColumn(plain("column.move" if second else "beside.there"), width=74),
        "percent": config.NumberColumn(plain("column.percent"), format="%.0f%%", width=46),
    }
    view = tables.beside_view(frame, second)
    row = tables.row_for(view["title"], TITLE)
    height = tables.height(view, 20, row)
    order = list(columns)
    st.dataframe(
        view,
        column_config=columns,
        column_order=order,
        hide_index=True,
        height=height,
        row_height=row,
        key=f"{key} {where}",
    )


def in_words(now: Choice, items: list[str], titles: list[str]) -> None:
    """One sentence an item, when asked."""
    if not st.toggle(plain("beside.words"), key="in words", help=t("beside.words.help")):
        return
    with st.spinner(plain("beside.words.busy")):
        told = state_beside.sentences(now, items[:WORDED], language())
    with st.container(gap=None):
        for n, (title, text) in enumerate(zip(titles, told, strict=False), 1):
            st.markdown(f"{n}. {code(title)}")
            st.text(text)  # titles are in it: plain text
    st.caption(t("beside.words.caption", n=len(told)))
    table = tables.Frame({"item_id": items[: len(told)], "title": titles[: len(told)], "sentence": told})
    name = tables.file_name("words", now.run.path.name, now.person.user)
    shared.download(table, name, "beside words", plain("beside.words.download"))
