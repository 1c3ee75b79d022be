"""A new item on the page What-if: a form for what is written about it, who would get it, and why one of them would."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, lab_tables, report, shared, state_whatif, tables
from dashboard import explain_charts as why
from dashboard.state import Choice
from dashboard.strings import joined, language, plain, t
from recsys_core import new_item
from recsys_core.errors import UserError
from recsys_core.explain import pair as pairs
from recsys_core.explain import questions
from recsys_core.explain.explainers import attribute
from recsys_core.explain.game import Explanation
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import Subject
from recsys_core.new_item import Arrival, Audience, NewItem
from recsys_core.run import Run

TOP = 20  # users that are named


def form(run: Run) -> None:
    st.subheader(plain("whatif.item"), anchor=False)
    if not new_item.readers(run):
        return
    keys, names = state_whatif.FIELDS, ", ".join(run.dataset.catalog.attributes)
    with st.form("whatif form", border=False):
        st.text_input(plain("whatif.item.title"), key=keys["title"], max_chars=500)
        st.text_area(
            plain("whatif.item.text"), key=keys["text"], height=160, max_chars=new_item.MOST_TEXT, help=t("whatif.item.text.help")
        )
        if names:
            hint = plain("whatif.item.attributes.hint", name=run.dataset.catalog.attributes[0])
            told = t("whatif.item.attributes.help", names=names)
            st.text_area(
                plain("whatif.item.attributes"), key=keys["attributes"], height=90, max_chars=2000, placeholder=hint, help=told
            )
        st.form_submit_button(plain("whatif.item.ask"), icon=":material/group_search:", type="primary", width="stretch")
    st.button(plain("whatif.item.example"), icon=":material/lightbulb:", on_click=state_whatif.example, width="stretch")
    st.caption(joined(t("whatif.item.read", names=", ".join(new_item.readers(run))), t("whatif.item.link")))


def answer(place: st.delta_generator.DeltaGenerator, now: Choice) -> None:
    """Who would get the item that the form holds, under the weights as they are."""
    with place:
        st.subheader(plain("whatif.audience", k=now.k), anchor=False)
        if not new_item.readers(now.run):
            st.info(t("whatif.item.blind"), icon=":material/block:")
            st.code("whyrec train --data DATA --out runs/new --set components=popularity,ease,bert,cold", language="bash")
            return
        try:
            item = state_whatif.written(now.run)
            if item is None:
                st.info(t("whatif.item.start"), icon=":material/edit_note:")
                return
            with st.spinner(plain("whatif.item.busy")):
                arrival = state_whatif.arrival(now.run, item)
                found = new_item.audience(now.run, state_whatif.crowd(now.run), arrival, now.blend)
        except UserError as error:
            st.error(t("whatif.item.failed"), icon=":material/error:")
            st.code(str(error), language=None, wrap_lines=True)
            return
        show(now, arrival, found)


def show(now: Choice, arrival: Arrival, found: Audience) -> None:
    frame, crowd = found.frame(TOP), state_whatif.crowd(now.run)
    facts = {"item": arrival.item.name, "k": now.k, "n": len(crowd), "share": found.share(now.k)}
    if not found.differs:
        st.info(t("whatif.item.flat"), icon=":material/balance:")
    elif len(frame):
        first = frame.iloc[0]
        best = {"user": str(first["user_id"]), "place": int(first["place"]), "chance": float(first["probability"])}
        st.markdown(t("whatif.item.says", **facts, **best))
    if now.reranker:
        st.caption(plain("rerank.item", **lab_tables.reranking(now.reranker, now.strength)))
    for text in doubts(now.run, arrival.item):
        st.caption(text)
    people(now, frame)
    whole = len(crowd) == crowd.n_all
    every = t("whatif.item.all", n=len(crowd)) if whole else t("whatif.item.some", n=len(crowd), all=crowd.n_all)
    st.caption(joined(t("whatif.item.caption", k=now.k), every))
    parts(now, frame)
    if len(frame) and found.differs:
        one(now, arrival, found, frame)


def doubts(run: Run, item: NewItem) -> list[str]:
    """What the reader must know of what was written."""
    out = [t("whatif.item.short")] if len(item.text.split()) == 1 else []
    if unseen := new_item.never_seen(run.dataset.catalog, item):
        out.append(t("whatif.item.unseen", names=", ".join(unseen)[:200]))
    return out


def people(now: Choice, frame: tables.Frame) -> None:
    number = st.column_config.NumberColumn
    columns = {
        "user_id": st.column_config.TextColumn(plain("column.user"), width=90),
        "place": number(plain("whatif.column.place"), format="#%d", width=70),
        "candidates": number(plain("whatif.column.of"), width=80),
        "percent": number(plain("column.percent"), format="%.1f%%", width=70),
        "bar": st.column_config.ImageColumn(plain("column.bar"), help=plain("column.bar.help"), width=146),
    }
    view = frame.assign(percent=100 * frame["probability"], bar=charts.bar_images(frame))
    table(view, columns, 10)
    name = tables.file_name("audience", now.run.path.name)
    shared.download(frame, name, "whatif audience", plain("whatif.item.download"))


def parts(now: Choice, frame: tables.Frame) -> None:
    """The parts of each score at full size, what they say, how they are made, and the same as a table."""
    st.subheader(plain("parts"), anchor=False)
    means = {
        name: float(frame[f"part_{name}"].mean()) for name in charts.components(frame) if frame[f"part_{name}"].notna().any()
    }
    st.markdown(t("whatif.item.parts", n=len(frame)) + " " + ", ".join(f"{name} {value:+.2f}" for name, value in means.items()))
    shown = frame.drop(columns=[f"part_{name}" for name in charts.components(frame) if name not in means])
    shown = shown.rename(columns={"place": "rank"}).assign(
        title=[plain("whatif.item.row", user=user) for user in shown["user_id"]]
    )
    figure = charts.parts_chart(shown, axis=plain("parts.axis"), total=plain("parts.sum"), missing=plain("missing"))
    shared.chart(figure, "whatif parts", plain("parts"))
    st.caption(t("whatif.item.parts.caption", base=float(frame["base"].iloc[0]) if len(frame) else float("nan"), n=len(frame)))
    with st.expander(plain("parts.table"), icon=":material/table:"):
        number = st.column_config.NumberColumn
        columns = {"user_id": st.column_config.TextColumn(plain("column.user"), width=90)}
        columns |= {"base": number(plain("column.base"), format="%.2f", width=70)}
        columns |= {f"part_{name}": number(name, format="%+.2f", width=80) for name in charts.components(frame)}
        table(frame, columns | {"logit": number(plain("column.logit"), format="%.2f", width=70)}, 10)
        shared.download(frame, tables.file_name("parts", now.run.path.name), "whatif parts")


def one(now: Choice, arrival: Arrival, found: Audience, frame: tables.Frame) -> None:
    """Why one user would get it: a sentence, parts, and the past items that speak for it."""
    st.subheader(plain("whatif.one"), anchor=False)
    users = [str(user) for user in dict.fromkeys([*frame["user_id"], now.person.user])]
    user = st.selectbox(plain("whatif.one.user"), users, key="whatif user")
    about = arrival.subject(now.run, user, now.blend)
    with st.container(key="sentence"):
        st.text(sentence(about, None, language()).text)  # titles are in it: plain text
    explained(plain("why.components"), attribute(questions.ask("components", about), "exact"), "components")
    past(about)


def past(about: Subject) -> None:
    if not len(about.history.items):
        st.info(t("why.past.none"), icon=":material/person_add:")
        return
    explained(plain("whatif.one.past"), pairs.by_past(about), "past")


def explained(title: str, found: Explanation, key: str) -> None:
    st.markdown(f"**{title}**")
    st.text(report.answer_line(found))
    figure = why.waterfall(found) if key == "components" else why.bars(found, 10)
    shared.chart(figure, f"whatif {key}", title)
    st.caption(report.sum_line(found, key == "past"))
    with st.expander(plain("why.table"), icon=":material/table:"):
        view, number = tables.credit_view(found), st.column_config.NumberColumn
        columns = {
            "label": st.column_config.TextColumn(plain("explain.column.label"), width="medium"),
            "contribution": number(plain("explain.column.contribution"), format="%+.3f"),
            "percent": number(plain("explain.column.share"), format="%.1f%%"),
        }
        table(view, columns, 10)
        shared.download(view, key, f"whatif {key}", plain("whatif.one.download"))


def table(view: tables.Frame, columns: dict[str, object], most: int) -> None:
    st.dataframe(
        view,
        column_config=columns,
        column_order=list(columns),
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(view, most),
        placeholder=plain("missing"),
    )
