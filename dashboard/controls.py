"""Controls that several pages share: the sliders of the blend and the length of the list. What they set is kept by `state`."""

from __future__ import annotations

import streamlit as st

from dashboard import state, style, tables
from dashboard.state import Choice
from dashboard.strings import plain, t
from recsys_core import browse


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


def length() -> None:
    """K."""
    st.number_input(plain("k"), 1, state.MOST, key="k", on_change=state.touched)
