"""What if the history were different, or the item new? Edits at the left; the list before and after, or who gets it, beside."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Literal

import streamlit as st

from dashboard import beside, chosen, lab_tables, reactions, shared, state, state_whatif, tables, whatif_item
from dashboard.state import Choice
from dashboard.strings import joined, plain, t
from recsys_core import whatif
from recsys_core.beside import Beside, ranked, side_by_side
from recsys_core.run import Run
from recsys_core.whatif import Edits, Effect

Place = st.delta_generator.DeltaGenerator
PICKS = 5  # likes with which somebody new is known well enough for a first list


def page(run: Run) -> None:
    state_whatif.begin(run)
    st.title(t("whatif.title"), anchor=False)
    if text := state_whatif.note():
        st.info(text, icon=":material/link_off:")
    labels = {name: plain(f"whatif.view.{name}") for name in state_whatif.VIEWS}
    st.segmented_control(
        plain("whatif.view"),
        list(labels),
        format_func=labels.get,
        required=True,
        key="whatif view",
        label_visibility="collapsed",
        on_change=state.touched,
    )
    with st.container(key="stacked"):
        left, right = st.columns([1, 2], gap="medium")
    with left:
        {"history": past, "new": somebody, "item": whatif_item.form}[state_whatif.view()](run)
    with right:
        place = st.container(gap="small")
    with st.sidebar:
        shared.blend(run, partial(answer, place))


def answer(place: Place, now: Choice) -> None:
    """What the edits or the new item come to; the link follows the sliders too."""
    state_whatif.to_url(now)
    (whatif_item.answer if state_whatif.view() == "item" else lists)(place, now)


# What is edited.


def past(run: Run) -> None:
    """The current user's history, each item with what can be done to it."""
    edits, user = state_whatif.edits(run), state_whatif.user()
    n = len(state_whatif.past(run, user))
    st.subheader(plain("history"), anchor=False)
    st.markdown(joined(t("whatif.past", n=n, user=user), edited(edits)))
    search(run)
    steps(run)
    editable(run, edits)
    gone(run, edits)


def somebody(run: Run) -> None:
    """Somebody new: picks from a short-list or by search."""
    edits = state_whatif.edits(run)
    st.subheader(plain("whatif.new"), anchor=False)
    n = len(edits.add)
    st.markdown(t("whatif.new.none", most=PICKS) if not n else t("whatif.new.some", n=n, most=PICKS))
    search(run)
    steps(run)
    if n:
        editable(run, edits)
    st.subheader(plain("whatif.starters"), anchor=False)
    shortlist(run, edits)
    st.caption(t("whatif.starters.caption"))


def edited(edits: Edits) -> str:
    kinds = [kind for kind, _ in edits.single]
    if not kinds:
        return t("whatif.edits.none")
    return t("whatif.edits", **{name: kinds.count(name) for name in ("add", "drop", "renew", "double")})


def search(run: Run) -> None:
    """Any item, to be liked."""
    hint = plain("why.search.hint")
    st.text_input(plain("whatif.search"), key="whatif query", placeholder=hint, icon=":material/add:")
    if not state_whatif.query().strip():
        return
    matches = state_whatif.found(run)
    if matches.frame.empty:
        st.caption(t("whatif.search.none", query=state_whatif.query()))
        return
    labels = {row["item_id"]: plain("why.item.other", **row) for row in matches.frame.to_dict("records")}
    st.selectbox(
        plain("whatif.match", n=matches.total),
        list(labels),
        format_func=labels.get,
        index=None,
        key="whatif match",
        placeholder=plain("whatif.match.hint"),
        on_change=state_whatif.picked,
    )


def steps(run: Run) -> None:
    n = state_whatif.steps(run)
    with st.container(key="pair-steps"):
        left, right = st.columns(2, gap="small")
    undo = plain("whatif.undo", n=n) if n else plain("whatif.undo.none")
    left.button(undo, icon=":material/undo:", on_click=state_whatif.undone, disabled=not n, width="stretch", key="whatif undo")
    right.button(
        plain("whatif.reset"),
        icon=":material/restart_alt:",
        on_click=state_whatif.reset,
        disabled=not state_whatif.edits(run),
        width="stretch",
        key="whatif reset",
    )


def editable(run: Run, edits: Edits) -> None:
    """The history as edited, latest first, with a button for each edit in each row."""
    frame = state_whatif.history(run, state_whatif.user())
    if frame.empty:
        st.info(t("whatif.empty"), icon=":material/person_add:")
        return
    hint = plain("history.filter.hint")
    query = st.text_input(
        plain("history.filter"),
        placeholder=hint,
        label_visibility="collapsed",
        icon=":material/filter_list:",
        key="whatif filter",
    )
    frame = tables.history_view(frame, query, "time").reset_index(drop=True)
    if frame.empty:
        st.caption(t("history.nothing", query=query))
        return
    ids, config = tuple(frame["item_id"]), st.column_config
    marks = [*frame[["own", "liked", "double"]].itertuples(index=False)]
    words = [plain(f"whatif.mark.{name}") for name in ("add", "low", "double")]
    state_of = [words[0] * (not own) + words[1] * (not liked) + words[2] * double for own, liked, double in marks]
    view = frame.assign(title=[said + title for said, title in zip(state_of, frame["title"], strict=True)])[["title"]].assign(
        remove="✕", renew="↑", double=[plain("whatif.once" if double else "whatif.twice") for _, _, double in marks]
    )
    buttons = {"remove": state_whatif.REMOVE, "renew": state_whatif.RENEW, "double": state_whatif.DOUBLE}
    if run.known.interactions.time is None:
        del buttons["renew"]  # without times no like is later than another
    columns = {"title": config.TextColumn(plain("column.title"), width=194)}  # as wide as may be beside the buttons
    columns |= {
        name: config.ButtonColumn(
            "", width=32, help=plain(f"whatif.{name}.help"), on_click=state_whatif.clicked, args=(key, ids), key=key
        )
        for name, key in buttons.items()
    }
    whatif_item.table(view, columns, 8)  # so that what is below is on the first screenful
    double = dict(zip(ids, frame["double"], strict=True))
    with chosen.row(plain("whatif.chosen"), named(ids, view["title"]), state_whatif.PAST, narrow=True) as item:
        for name, key in buttons.items():
            act(f"{name}.not" if name == "double" and double.get(item) else name, key, state_whatif.PAST, "stretch")
    st.caption(t("whatif.buttons" if "renew" in buttons else "whatif.buttons.untimed"))


def named(ids: Iterable[str], titles: Iterable[str]) -> dict[str, str]:
    """How the items of a table are called in the picker below it."""
    return {item: plain("why.item.other", title=title, item_id=item) for item, title in zip(ids, titles, strict=True)}


def act(name: str, what: str, where: str, width: Literal["stretch", "content"] = "content") -> None:
    """A button beside a picker: what the one in the rows does."""
    st.button(plain(f"whatif.do.{name}"), key=f"{what} {where}", on_click=state_whatif.chosen, args=(what, where), width=width)


def gone(run: Run, edits: Edits) -> None:
    """What was taken out, with a way back."""
    dropped = tuple(i for i in edits.drop if i not in edits.add)
    if not dropped:
        return
    st.subheader(plain("whatif.gone"), anchor=False)
    titles = run.dataset.catalog.titles[run.dataset.items.codes(dropped)]
    view = tables.Frame({"title": titles, "back": plain("whatif.back")})
    back = st.column_config.ButtonColumn(
        "", width=84, on_click=state_whatif.clicked, args=(state_whatif.BACK, dropped), key=state_whatif.BACK
    )
    whatif_item.table(view, {"title": st.column_config.TextColumn(plain("column.title"), width=200), "back": back}, 5)
    with chosen.row(plain("whatif.chosen.gone"), named(dropped, titles), state_whatif.GONE):
        act("back", state_whatif.BACK, state_whatif.GONE)


def shortlist(run: Run, edits: Edits) -> None:
    frame = state_whatif.starters(run)
    frame = frame[~frame["item_id"].isin(edits.add)]
    ids = tuple(frame["item_id"])
    config = st.column_config
    columns = {
        "like": config.ButtonColumn(
            "", width=64, on_click=state_whatif.clicked, args=(state_whatif.LIKE, ids), key=state_whatif.LIKE
        ),
        "title": config.TextColumn(plain("column.title"), width=220),
    }
    whatif_item.table(frame.assign(like=plain("whatif.like")), columns, 10)  # so that the picker is on the first screenful
    with chosen.row(plain("whatif.chosen.starter"), named(ids, frame["title"]), state_whatif.STARTER):
        act("like", state_whatif.LIKE, state_whatif.STARTER)


# What comes of it.


def lists(place: Place, now: Choice) -> None:
    """The list before and after."""
    edits, user = state_whatif.edits(now.run), state_whatif.user()
    before = state_whatif.person(now.run, user, Edits(), now.hide)
    with place:
        st.subheader(plain("whatif.lists", k=now.k), anchor=False)
        if user:
            reactions.note(now)
        if not edits:
            st.info(t("whatif.start" if user else "whatif.new.start"), icon=":material/edit:")
            if not user:
                return
        after = state_whatif.person(now.run, user, edits, now.hide)
        found = side_by_side(*(ranked(now.run, who, now.blend, k=now.k, how=now.how) for who in (before, after)))
        effects = state_whatif.effects(now.run, user, edits, now.hide) if edits else []
        owed = whatif.owed(now.run, effects, after, now.blend, k=now.k, how=now.how) if edits else []
        if edits:
            st.markdown(says(now, found, effects, owed))
        if now.reranker:
            st.caption(plain("rerank.both", **lab_tables.reranking(now.reranker, now.strength)))
        head = t("whatif.before.user", user=user) if user else t("whatif.before.new")
        beside.two_lists(found, (head, t("whatif.after")), plain("beside.table"), "whatif")
        if edits:
            each(now, user, effects, owed)
        st.caption(t("whatif.honest"))
        st.caption(joined(t("whatif.values"), shared.sureness(now), shared.of_short(now.blend, after.row)))


def says(now: Choice, found: Beside, effects: list[Effect], owed: list[int]) -> str:
    """What the edits come to, and which of them counts most."""
    words = beside.says(found, now.k)
    if not any(owed):
        return joined(words, t("whatif.owed.none"))
    most = max(range(len(owed)), key=owed.__getitem__)
    return joined(words, t(f"whatif.owed.{effects[most].kind}", title=effects[most].title, n=owed[most]))


def each(now: Choice, user: str, effects: list[Effect], owed: list[int]) -> None:
    """What every single edit brings."""
    view = tables.Frame(
        {
            "edit": [plain(f"whatif.kind.{one.kind}") for one in effects],
            "title": [one.title for one in effects],
            "item_id": [one.item for one in effects],
            "owed": owed,
        }
    )
    with st.expander(plain("whatif.each"), icon=":material/table:"):
        columns = {
            "edit": st.column_config.TextColumn(plain("whatif.column.edit"), width=120),
            "title": st.column_config.TextColumn(plain("column.title"), width=240),
            "owed": st.column_config.NumberColumn(plain("whatif.column.owed"), width=120),
        }
        whatif_item.table(view, columns, whatif.WEIGHED)
        st.caption(t("whatif.each.caption", n=len(view), most=whatif.WEIGHED))
        name = f"{tables.file_name('edits', now.run.path.name, user or 'new')}.csv"
        st.download_button(
            plain("whatif.each.download"),
            partial(tables.safe_csv, view),
            name,
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


page(state.current_run())
