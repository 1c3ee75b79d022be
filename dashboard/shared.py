"""What pages share: the blend in the sidebar, how sure a probability is, charts and their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from dashboard import lab_tables, light, runs, state, state_explain, state_lab, style, tables
from dashboard.lab_tables import Tile
from dashboard.state import Choice
from dashboard.strings import joined, plain, t
from recsys_core import browse
from recsys_core.analytics import Analytics
from recsys_core.data import Histories
from recsys_core.hybrid import Blend
from recsys_core.run import Run


@st.fragment
def blend(run: Run, draw: Callable[[Choice], None]) -> None:
    """Sliders in the sidebar; a move draws the page's answer again, and nothing else. What `draw` writes without a place of its
    own comes below them."""
    choice = state.choice(run)  # the session knows a move before its slider is drawn
    sliders = st.container()
    draw(choice)  # before the sliders, which the reader sees move anyway
    with sliders:
        settings(choice)
        hiding(run)
    share()


def everybody(run: Run, title: str) -> Analytics | None:
    """Head of a page about all users: its title, and what was gathered of them; None, said on the page, if there is nobody."""
    st.title(title, anchor=False)
    with st.spinner(plain("lab.preparing")):
        known = state_lab.analytics(run)
    if not len(known):
        st.info(t("lab.nobody"), icon=":material/group_off:")
        return None
    return known


def settings(now: Choice) -> None:
    """What changes every list: weights, re-ranker and K."""
    weights(now)
    reranker(now.run)
    length()


def own_hiding(now: Choice) -> None:
    """On pages about all users, whose lists were gathered as the run has them: that a choice for single users is not followed."""
    if now.rehidden:
        own = plain(f"hide.{now.run.settings.hide}")
        st.info(t("list.not_rehidden", own=own, chosen=plain(f"hide.{now.hide}")), icon=":material/visibility_off:")


def pick_item(run: Run, labels: dict[str, str]) -> None:
    """One picker of `labels` (by item id) and of whatever the search beside it finds; the session's item is chosen."""
    matches = state_explain.found_items(run)
    found = {r["item_id"]: plain("why.item.other", **r) for r in matches.frame.to_dict("records")}
    options, item = labels | {i: label for i, label in found.items() if i not in labels}, state_explain.chosen()
    if item is not None and item not in options:
        title = str(run.dataset.catalog.titles[run.dataset.items.find([item])[0]])
        options[item] = plain("why.item.other", title=title, item_id=item)
    left, right = st.columns([3, 2], gap="small")
    picked = state_explain.item_picked
    left.selectbox(plain("why.item"), list(options), format_func=options.get, key="item", on_change=picked)
    hint = plain("why.search.hint")
    right.text_input(plain("why.search"), key="item query", on_change=state_explain.item_searched, placeholder=hint)
    if state_explain.item_query().strip():
        many = "none" if not matches.total else "one" if matches.total == 1 else "many"
        st.caption(t(f"why.search.{many}", query=state_explain.item_query(), n=matches.total, shown=len(matches.frame)))


def sureness(now: Choice) -> str:
    """What the probability is of, and how far it has been checked."""
    words = [t("list.probability")]
    checked = runs.calibration(now.run)
    if now.rehidden:
        words.append(t(f"list.rehidden.{now.hide}"))
    if now.moved:
        words.append(t("list.uncalibrated"))
    elif now.reranker:
        words.append(t("rerank.sure"))
    elif now.rehidden:
        pass  # what was checked were other lists
    elif checked is None:
        words.append(t("list.untested"))
    else:
        words.append(t("list.tested", ece=checked[0], n=checked[1]))
    return joined(*words)


def of_short(blend: Blend, row: Histories) -> str:
    """How much weights count of a short history; nothing where that is within a tenth of what they say."""
    trust = blend.trust(row.full_sizes)[0]
    first = next((n for n, more in enumerate(blend.newcomers) if more), None)
    rest = next((n for n, more in enumerate(blend.newcomers) if not more), None)
    if first is None or rest is None or np.abs(trust - 1).max() < 0.1:
        return ""
    return t("parts.short", n=int(row.lengths[0]), name=blend.names[first], times=float(trust[first]), rest=float(trust[rest]))


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """A bar that is there while something is computed; it is told (done, most). Who does something else ends it."""
    bar = st.progress(0.0, text=plain("why.begin"))
    try:
        yield lambda done, most: bar.progress(
            min(done / max(most, 1), 1.0), text=plain("why.working", done=done, most=max(done, most))
        )
    finally:
        bar.empty()


def weights(choice: Choice) -> None:
    """One slider a component with its share of the total, and the way back to the learned weights."""
    run, learned = choice.run, choice.run.model.blend
    low, high, step = browse.weight_range(learned)
    shares = browse.weight_shares(choice.blend)
    st.subheader(plain("blend"), help=t("blend.help", learned=tables.weights(learned)), anchor=False)
    with st.container(key="weights"):
        for name in learned.names:
            label, key = plain("blend.share", name=name, share=shares[name]), state.weight_key(run, name)
            with st.container(key=f"weight-{style.slug(name)}"):
                st.slider(label, low, high, state.held(key), step=step, format="%.2f", key=key, on_change=state.touched)
    st.button(plain("blend.reset"), icon=":material/undo:", on_click=state.reset_weights, args=(run,), width="stretch")


def reranker(run: Run) -> None:
    """Which re-ranker, of those that the run can feed, and its strength."""
    names = {"": plain("rerank.none")} | {name: lab_tables.reranker(name) for name in runs.features(run).rerankers}
    st.selectbox(
        plain("rerank"),
        list(names),
        index=list(names).index(state.held("reranker", "")),
        format_func=names.get,
        key="reranker",
        help=t("rerank.help"),
        on_change=state.touched,
    )
    st.slider(
        plain("rerank.strength"),
        0.0,
        1.0,
        state.held("strength"),
        step=0.05,
        key="strength",
        disabled=not state.reranker(),
        on_change=state.touched,
    )


def length() -> None:
    """K."""
    st.number_input(plain("k"), 1, state.MOST, state.held("k", "min"), key="k", on_change=state.touched)


def hiding(run: Run) -> None:
    """What lists leave out; nothing to choose where all that was met was liked."""
    if not state.rates(run):
        return
    names = {hide: plain(f"hide.{hide}") for hide in state.HIDES}
    help_ = t("hide.help", own=names[run.settings.hide])
    st.segmented_control(
        plain("hide"),
        list(names),
        format_func=names.get,
        default=state.held("hide"),
        required=True,
        key="hide",
        on_change=state.touched,
        help=help_,
        width="stretch",
    )


def share() -> None:
    """The address of this view, with a button that copies it. It is drawn last: what is above may still write it."""
    with st.popover(plain("link.button"), icon=":material/link:", width="stretch"):
        st.caption(t("link"))
        st.code(state.address(), language=None, wrap_lines=True)


def folded(label: str, key: str, icon: str, draw: Callable[[], None]) -> None:
    """A part that is closed at first and costs nothing, neither the server nor the browser, until somebody opens it."""
    part = st.expander(label, icon=f":material/{icon}:", key=f"folded {key}", on_change="rerun")
    if part.open:
        with part:
            draw()


def tiles(made: Sequence[Tile]) -> None:
    """Figures with their change, five in a row: one element, as they are drawn again at every move."""
    st.html(light.tiles(made))


def chart(figure: Figure, key: str, alt: str) -> None:
    """A chart without a tool bar; `alt` is read out in its place."""
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)


def twin(
    view: pd.DataFrame, name: str, key: str, columns: Mapping[str, object] | None = None, *, label: str = "", only: bool = False
) -> None:
    """The numbers of a chart: a folded table, and all of `view` as a CSV."""
    with st.expander(label or plain("twin"), icon=":material/table:"):
        table(view, key, columns, only=only)
        download(view, name, key)


def table(
    view: pd.DataFrame, key: str, columns: Mapping[str, object] | None = None, *, most: int = 20, only: bool = False
) -> None:
    """A frame as high as its first `most` rows; figures with four places unless `columns` says else; `only` those columns."""
    given = dict(columns or {})
    floats = {c: st.column_config.NumberColumn(format="%.4f") for c in view.columns if pd.api.types.is_float_dtype(view[c])}
    st.dataframe(
        view,
        column_config=floats | given,
        column_order=[c for c in view.columns if c in given] if only else None,
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(view, most),
        placeholder=plain("missing"),
        key=f"frame {key}",
    )


def download(
    view: pd.DataFrame | Callable[[], pd.DataFrame],
    name: str,
    key: str,
    label: str = "",
    *,
    width: Literal["content", "stretch"] = "content",
) -> None:
    """A frame, or what makes it, as a CSV that no spreadsheet can run; written when it is asked for."""
    st.download_button(
        label or plain("twin.download"),
        lambda: tables.safe_csv(view() if callable(view) else view),
        f"{tables.file_name(name)}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=f"csv {key}",
        width=width,
    )
