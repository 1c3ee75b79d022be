"""Why was this recommended, or why not? The answer first, then what it is made of, and what would change it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboard import explain_charts as charts
from dashboard import lab_tables, light, report, review, runs, shared, state, state_explain, strings, tables
from dashboard.charts import cut
from dashboard.state import Choice
from dashboard.strings import joined, plain, t
from recsys_core.browse import UserList
from recsys_core.errors import UserError
from recsys_core.explain import faithfulness, told
from recsys_core.explain import pair as pairs
from recsys_core.explain.counterfactual import Counterfactual
from recsys_core.explain.explainers import named
from recsys_core.explain.game import Explanation
from recsys_core.explain.pair import Pair, Why
from recsys_core.explain.why_not import BASE, WhyNot, why_not
from recsys_core.run import Run


def page(run: Run) -> None:
    with st.container(key="body"):
        place = st.container(gap="small")
    with st.sidebar:
        shared.blend(run, lambda now: show(place, now))


def show(place: st.delta_generator.DeltaGenerator, now: Choice) -> None:
    """Everything that moves with the weights. Sections behind a button are fragments of their own."""
    found = state.user_list(now)
    item = state_explain.item(now, list(found.frame["item_id"]))
    pair = None if item is None else state_explain.pair(now, item)
    language = strings.language()
    why = None if pair is None else pairs.why(pair, now.blend, now.k, language)
    with place:
        if pair is None or why is None:
            st.title(plain("why.title.none"), anchor=False)
            pick(now, found)
            st.info(t("why.none"), icon=":material/block:")
            return
        at = listed_at(now, why, found)
        stands = why.state if at is None else "listed" if at else "below"
        title = t(f"why.title.{stands}", item=pair.title, user=now.person.user, k=now.k)
        heading(title, runs.pictures(now.run).get(pair.item))
        pick(now, found)
        if why.history is None or why.components is None:
            st.info(t("why.unscored", names=", ".join(why.missing)), icon=":material/block:")
            return
        answer(now, why, at)
        left, right = st.columns(2, gap="medium")
        with left:
            components(why.components, why)
            beside(why, now)
            attributes(why.attributes)
        with right:
            past(why)
        for section in (changes, words, other):
            with st.container():  # a fragment in a fragment stays in its place
                section(now, why)
        trust(now, why)
        with st.container():
            review.block(now, why)
        shared.folded(plain("command"), "command", "terminal", lambda: command(now, pair))
    st.download_button(
        plain("why.download"),
        partial(written, now, why, at, state_explain.answers(), language),
        f"{tables.file_name('why', now.run.path.name, now.person.user, pair.item)}.html",
        "text/html",
        icon=":material/download:",
        on_click="ignore",
        help=t("why.download.help"),
        width="stretch",
    )


def command(now: Choice, pair: Pair) -> None:
    st.code(state_explain.explain_command(now, pair.item), language="bash", wrap_lines=True)


# The question and its answer.


def heading(title: str, picture: str | None) -> None:
    """The question, beside a picture of the item if there is one."""
    if picture is None:
        st.title(title, anchor=False)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="heading"):
        st.html(light.picture(picture), width="content")
        st.title(title, anchor=False)


def pick(now: Choice, found: UserList) -> None:
    """The list, matches of the search, and the item that is chosen, in one picker."""
    listed = found.frame[["item_id", "rank", "title"]].to_dict("records")
    shared.pick_item(now.run, {row["item_id"]: plain("why.item.listed", **row) for row in listed})


def listed_at(now: Choice, why: Why, found: UserList) -> int | None:
    """Place in the list as it is re-ranked, 0 = none; None if that is no question here."""
    return tables.place_of(found.frame, why.item) if now.reranker and why.state in ("listed", "below") else None


def reranked(now: Choice, why: Why, at: int) -> str:
    """Where the list has the item, and where the score alone would have it."""
    facts = lab_tables.reranking(now.reranker, now.strength) | {"place": at, "rank": why.rank, "k": now.k}
    key = "out" if not at else "same" if at == why.rank else "in"
    return plain(f"rerank.why.{key}", **facts)  # nothing in it is from the data


def answer(now: Choice, why: Why, at: int | None) -> None:
    """The sentence, what holds the item down, and four or five numbers."""
    if at is not None:
        st.markdown(reranked(now, why, at))
    lines = {"below": t("why.below", n=why.rank - 1), "hidden": t("why.hidden", rank=why.shown_rank)}
    if why.state in lines:
        edge = {"place": why.edge_rank, "edge": why.edge}
        if why.held is None:
            held = t("why.level", **edge)
        else:
            name, value = why.held
            held = t("why.held", name=plain("explain.base") if name == BASE else name, value=value, **edge)
        st.markdown(joined(lines[why.state], held if why.edge_rank else ""))
    with st.container(key="sentence"):
        st.text(why.sentence)  # titles are in it: plain text
    with st.container(key="figures", horizontal=True, gap="large"):
        of = plain("why.rank.of", n=why.candidates)
        figures = {
            "why.probability": (charts.percent(why.components.probability), ""),
            "why.logit": (f"{why.about.logit:.2f}", plain("why.logit.of")),
            **({} if at is None else {"rerank.why.place": (tables.place(at), "")}),
            "why.rank" if at is None else "rerank.why.rank": (tables.place(why.rank), of),
            "why.learned": (tables.place(why.learned_rank), ""),
        }
        for key, (value, note) in figures.items():
            st.metric(plain(key), value, note or None, delta_color="off", delta_arrow="off", width="content")
    st.caption(shared.sureness(now))


# What it is made of.


def components(found: Explanation, why: Why) -> None:
    st.subheader(plain("why.components"), anchor=False)
    st.text(report.answer_line(found))
    shared.chart(charts.waterfall(found), "waterfall", plain("why.components"))
    missing = t("why.missing", names=", ".join(why.missing)) if why.missing else ""
    short = shared.of_short(why.about.blend, why.about.history)
    st.caption(joined(report.sum_line(found, False), t("why.components.caption", n=len(found.players)), missing, short))
    twin(found, "components")


def beside(why: Why, now: Choice) -> None:
    """Of an item that is not listed: its parts beside those of the last one that is."""
    if why.beside.empty:
        return
    st.subheader(plain("why.beside", place=why.edge_rank, title=cut(why.edge, 60)), anchor=False)
    st.caption(t("why.beside.caption"))
    number = st.column_config.NumberColumn
    columns = {
        "component": st.column_config.TextColumn(plain("why.column.component"), width=80),
        "own": number(plain("why.column.own"), format="%.2f", width=90),
        "edge": number(plain("why.column.edge", place=why.edge_rank), format="%.2f", width=90),
        "top": number(plain("why.column.top", k=why.edge_rank), format="%.2f", width=100),
        "to_edge": number(plain("why.column.behind", place=why.edge_rank), format="%+.2f", width=80),
    }
    shown(tables.parts_beside(why.beside), columns)


def attributes(found: Explanation | None) -> None:
    st.subheader(plain("why.attributes"), anchor=False)
    if found is None:
        st.caption(t("why.attributes.none"))
        return
    found = charts.worded(found)
    st.text(report.answer_line(found))
    shared.chart(charts.bars(found, 8), "attributes", plain("why.attributes"))
    st.caption(t("why.attributes.caption"))
    twin(found, "attributes")


def past(why: Why) -> None:
    """Bars of past items, of all components or of one."""
    st.subheader(plain("why.past"), anchor=False)
    if not why.history.players:
        st.info(t("why.past.none"), icon=":material/person_add:")
        return
    names = pairs.splittable(why.about)
    if not names:
        st.info(t("why.past.flat"), icon=":material/block:")
        return
    labels = {"": plain("why.past.all")} | {name: name for name in names}
    chosen = st.segmented_control(
        plain("why.past.pick"),
        list(labels),
        format_func=labels.get,
        default="",
        required=True,
        key="past of",
        label_visibility="collapsed",
    )
    found = pairs.by_past(why.about, chosen) if chosen in names else why.history
    st.text(report.answer_line(found))
    shared.chart(charts.bars(found, 14), "past", plain("why.past"))
    what = plain("why.past.part", name=chosen) if chosen in names else plain("explain.output")
    st.caption(joined(report.sum_line(found, True, what), t("why.past.caption")))
    if why.whole:
        st.caption(t("why.past.whole", names=", ".join(why.whole)))
    twin(found, "past")


def twin(found: Explanation, key: str) -> None:
    """The chart's numbers as a table, in a fold."""
    shared.folded(plain("why.table"), key, "table", lambda: credits(found, key))


def credits(found: Explanation, key: str) -> None:
    number = st.column_config.NumberColumn
    view = tables.credit_view(found)
    columns = {
        "label": st.column_config.TextColumn(plain("explain.column.label"), width="medium"),
        "contribution": number(plain("explain.column.contribution"), format="%+.3f"),
        "percent": number(plain("explain.column.share"), format="%.1f%%"),
    }
    if view["standard_error"].notna().any():
        columns["standard_error"] = number(plain("explain.column.error"), format="%.3f")
    shown(view, columns)
    shared.download(view, f"why-{key}", f"why {key}")


def shown(view: tables.Frame, columns: dict[str, object], most: int = 12) -> None:
    height = tables.height(view, most)
    st.dataframe(
        view,
        column_config=columns,
        column_order=list(columns),
        hide_index=True,
        height=height,
        row_height=tables.ROW,
        placeholder=plain("missing"),
    )


# On demand.


def asking(now: Choice, why: Why, question: str, able: dict[str, str]) -> Explanation | None:
    """Method, budget and button of a question; its answer if it has been asked for, under these weights."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        names = [name for name, reason in able.items() if not reason and (question, name) != ("history", "exact")]
        method = st.selectbox(plain("why.method"), names, key=f"method {question}", width=200)
        help_ = t("why.budget.help")
        budget = st.number_input(plain("why.budget"), 10, 5000, 100, step=10, key=f"budget {question}", help=help_, width=160)
        what = state_explain.about(now, why.item, question, method, budget)
        label = plain("why.ask.words" if question == "words" else "why.ask.method")
        st.button(label, icon=":material/play_arrow:", key=f"ask {question}", on_click=state_explain.ask, args=(question, what))
    unable = [plain("why.lacks", name=name, reason=why_unable(reason)) for name, reason in able.items() if reason]
    if lacking := plain("why.apart").join(unable):
        st.caption(plain("why.unable", reasons=lacking))
    if not state_explain.asked(question, what):
        return None
    try:
        with shared.progress() as tell:
            return state_explain.answered(
                what, lambda: state_explain.explained(now, why.about, question, method, int(budget), tell)
            )
    except UserError as error:
        failed(error)
        return None


def why_unable(reason: str) -> str:
    """What the core says of a method, in the reader's language."""
    return told.reason(reason, strings.language())


def failed(error: UserError) -> None:
    st.error(t("why.failed"), icon=":material/error:")
    st.code(str(error), language=None, wrap_lines=True)


@st.fragment
def words(now: Choice, why: Why) -> None:
    """The item's text with its words shaded; the only place that reads texts."""
    st.subheader(plain("why.words"), anchor=False)
    try:
        able = pairs.methods(why.about, "words")
    except UserError as error:
        st.caption(t("why.words.none"))
        st.code(str(error), language=None, wrap_lines=True)
        return
    st.caption(t("why.words.says"))
    found = asking(now, why, "words", able)
    if found is None:
        return
    st.text(report.answer_line(found))
    st.html(charts.highlighted(found, why.about.catalog.text(why.about.item)))
    shared.chart(charts.bars(found, 10), "words", plain("why.words"))
    st.caption(report.sum_line(found, True))
    twin(found, "words")
    trusted(found)


@st.fragment
def other(now: Choice, why: Why) -> None:
    """A sampled method on the question of past items, beside exact."""
    if len(why.history.players) < 2:
        return
    shared.folded(plain("why.other"), "other", "balance", lambda: sampled(now, why))


def sampled(now: Choice, why: Why) -> None:
    st.caption(t("why.other.says"))
    able = pairs.methods(why.about, "history")
    found = asking(now, why, "history", able)
    if found is None:
        return
    inexact = able["exact"]
    left, right = st.columns(2, gap="medium")
    with right:
        method(found, found.method, "other")
    with left:
        if inexact:
            st.caption(t("why.other.inexact", reason=why_unable(inexact)))
        else:
            method(why.history, plain("why.other.first"), "exact")
    if inexact:
        credits(found, "other")
    else:
        agreement(why.history, found)


def method(found: Explanation, name: str, key: str) -> None:
    """The bars of one of two methods."""
    st.markdown(f"**{name}**")
    st.text(report.answer_line(found))
    shared.chart(charts.bars(found, 10), key, name)
    trusted(found)


def agreement(first: Explanation, second: Explanation) -> None:
    """How far two methods agree, and both as a table."""
    rho = pairs.agreement(first, second)
    st.markdown(t("why.other.agree", rho=rho, n=len(second.players)) if rho == rho else t("why.other.agree.none"))
    number, view = st.column_config.NumberColumn, pairs.compared(first, second)
    columns = {
        "label": st.column_config.TextColumn(plain("why.past"), width="medium"),
        "first": number(plain("why.other.first"), format="%+.3f"),
        "second": number(second.method, format="%+.3f"),
        "difference": number(plain("why.column.difference"), format="%+.3f"),
    }
    shown(view, columns)
    shared.download(view, "why-methods", "why methods")


def trusted(found: Explanation) -> None:
    st.caption(" · ".join(report.trust_words(found)))


@st.fragment
def changes(now: Choice, why: Why) -> None:
    """What takes a listed item out of the list, or brings another in."""
    st.subheader(plain("why.changes"), anchor=False)
    by_score = t("rerank.why.changes") if now.reranker and why.state != "hidden" else ""
    st.caption(joined(t(f"why.changes.{why.state}", k=now.k), by_score))
    if why.state == "hidden":
        return
    what = state_explain.about(now, why.item, "changes", now.k)
    if not state_explain.asked("changes", what):
        label = plain("why.ask.changes")
        st.button(label, icon=":material/play_arrow:", key="ask changes", on_click=state_explain.ask, args=("changes", what))
        return
    with shared.progress():
        found = state_explain.answered(what, partial(changed, now, why))
    if isinstance(found, WhyNot):
        lifted(found)
        return
    for one, frame in found:
        st.markdown(f"**{headed(one)}**")
        st.text(told.counterfactual(one, strings.language()))
        if one.found:
            places(frame)


def changed(now: Choice, why: Why) -> object:
    if why.state == "below":
        return why_not(why.about, now.k)
    return [(found, pairs.steps(why.about, found)) for found in pairs.removals(why.about, now.k)]


def places(frame: tables.Frame) -> None:
    """Past items that go, and the places that follow."""
    number = st.column_config.NumberColumn
    columns = {
        "label": st.column_config.TextColumn(plain("column.title"), width="medium"),
        "effect": number(plain("why.column.effect"), format="%+.2f"),
        "alone": number(plain("why.column.alone"), format="#%d"),
        "together": number(plain("why.column.together"), format="#%d"),
    }
    shown(frame, columns)


def lifted(found: WhyNot) -> None:
    """What brings an item into the list."""
    st.text(told.why_not(found, strings.language()))
    if found.additions is None:
        return
    st.markdown(t("why.changes.like"))
    number = st.column_config.NumberColumn
    columns = {
        "title": st.column_config.TextColumn(plain("column.title"), width="medium"),
        "rank": number(plain("why.column.place"), format="#%d"),
        "score": number(plain("column.logit"), format="%.2f"),
    }
    shown(found.additions.others(), columns)


# How far to trust it.


def trust(now: Choice, why: Why) -> None:
    """Of the exact answers above: gap, fidelity, cost; and what the run's scoreboard says of methods."""
    st.subheader(plain("why.trust"), anchor=False)
    answers = {"components": why.components, "history": why.history, "attributes": why.attributes}
    view = tables.trust_view([(plain(f"why.ask.{name}"), found) for name, found in answers.items() if found is not None])
    number, config = st.column_config.NumberColumn, st.column_config
    columns = {
        "question": config.TextColumn(plain("why.column.question")),
        "method": config.TextColumn(plain("why.column.method")),
        "gap": config.TextColumn(plain("why.column.gap")),
        "r2": number(plain("why.column.r2"), format="%.2f"),
        "error": number(plain("why.column.error"), format="%.3f"),
        "evaluations": number(plain("why.column.evaluations")),
        "seconds": number(plain("why.column.seconds"), format="%.4f"),
        "kept": config.CheckboxColumn(plain("why.column.kept")),
    }
    shown(view, columns)
    st.caption(t("why.trust.caption"))
    board = runs.scoreboard(now.run)
    if board is None:
        st.caption(t("why.trust.none"))
        st.code(state_explain.scoreboard_command(now), language="bash")
        return
    passed = faithfulness.passed(board)
    verdict = "" if passed is None else t("why.trust.passed" if passed else "why.trust.failed")
    view, most = tables.board_view(board), board.settings["most"]
    columns = {
        "method": config.TextColumn(plain("why.column.method")),
        "stays": number(plain("why.column.stays", k=board.settings["k"], most=most), format="%.2f"),
        "del": number(plain("why.column.del", most=most), format="%.2f"),
        "ins": number(plain("why.column.ins", most=most), format="%.2f"),
        "stability": number(plain("why.column.stability"), format="%.2f"),
        "ms": number(plain("why.column.ms"), format="%.1f"),
    }
    shown(view, columns)
    st.caption(joined(t("why.trust.board", n=board.settings["users"], k=board.settings["k"], most=most), verdict))


def written(now: Choice, why: Why, at: int | None, answers: state_explain.Answers, language: str) -> bytes:
    """The report, made when its button is pressed, where no session is: the exact answers, and what has been asked for."""
    with strings.speaking(language):
        return report_of(now, why, at, answers).encode("utf-8", "replace")


def report_of(now: Choice, why: Why, at: int | None, answers: state_explain.Answers) -> str:
    about = {"user": now.person.user, "item": why.item, "title": why.title, "sentence": why.sentence, "rank": why.rank}
    first = named(why.history, **about)
    asked = state_explain.of(answers, now, why.item)
    sections = [found for found in (first, why.components, why.attributes, *asked) if isinstance(found, Explanation)]
    what_if = {name: change for found in asked for name, change in what_ifs(found).items()}
    made = report.of_pair(now.run, why.about, sections, what_if)
    said = [] if at is None else [reranked(now, why, at).replace("**", "")]
    return report.report_html(**made | {"notes": [*said, *made["notes"]]})


def what_ifs(found: object) -> dict[str, tuple[str, tables.Frame]]:
    """By heading, a line and a table."""
    if isinstance(found, WhyNot):
        return {plain("why.changes"): (told.why_not(found, strings.language()), found.frame())}
    if isinstance(found, Explanation):
        return {}
    return {headed(one): (told.counterfactual(one, strings.language()), frame) for one, frame in found}


def headed(found: Counterfactual) -> str:
    return plain(
        "why.changes.place" if found.k == found.rank_before else "why.changes.leave", k=found.k, place=tables.place(found.k)
    )


page(state.current_run())
