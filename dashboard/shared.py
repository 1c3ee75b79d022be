"""What pages share: the blend in the sidebar, and how sure a probability is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from dashboard import runs, state, style, tables
from dashboard.state import Choice
from dashboard.strings import plain, t
from recsys_core import browse, rerank
from recsys_core.run import Run


@st.fragment
def blend(run: Run, draw: Callable[[Choice], None]) -> None:
    """Sliders in the sidebar; a move draws the page's answer again, and nothing else. What `draw` writes without a place of its
    own comes below them."""
    choice = state.choice(run)  # the session knows a move before its slider is drawn
    weights(choice)
    length()
    if choice.reranker:
        st.caption(t("list.not_reranked"))
    draw(choice)
    st.caption(t("link"))


def sureness(now: Choice) -> str:
    """What the probability is of, and how far it has been checked."""
    words = [t("list.probability")]
    checked = runs.calibration(now.run)
    if now.moved:
        words.append(t("list.uncalibrated"))
    elif checked is None:
        words.append(t("list.untested"))
    else:
        words.append(t("list.tested", ece=checked[0], n=checked[1]))
    return " ".join(words)


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
            with st.container(key=f"weight-{style.slug(name)}"):
                track, share = st.columns([5, 1], vertical_alignment="center", gap="small")
                key = state.weight_key(run, name)
                track.slider(name, low, high, step=step, format="%.2f", key=key, on_change=state.touched)
                share.caption(t("blend.share", share=shares[name]))
    st.button(plain("blend.reset"), icon=":material/undo:", on_click=state.reset_weights, args=(run,), width="stretch")


def reranker(now: Choice, rerankers: list[str]) -> None:
    """Which re-ranker, and its strength."""
    names = {"": plain("rerank.none")} | {name: rerank.get(name).label for name in rerankers}
    left, right = st.columns(2, gap="small", vertical_alignment="bottom")
    left.selectbox(
        plain("rerank"), list(names), format_func=names.get, key="reranker", help=t("rerank.help"), on_change=state.touched
    )
    right.slider(
        plain("rerank.strength"), 0.0, 1.0, step=0.05, key="strength", disabled=not now.reranker, on_change=state.touched
    )


def length() -> None:
    """K."""
    st.number_input(plain("k"), 1, state.MOST, key="k", on_change=state.touched)
