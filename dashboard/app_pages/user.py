"""What would this person get, and how sure are we? The past at the left, the list and its parts at the right."""

from __future__ import annotations

import streamlit as st

from dashboard import beside, charts, lab_tables, light, reactions, runs, shared, state, state_explain, tables
from dashboard.state import Choice
from dashboard.strings import joined, plain, t
from recsys_core import browse
from recsys_core.browse import UserList
from recsys_core.run import Run


def page(run: Run) -> None:
    now = state.choice(run)
    st.title(t("user.title", user=now.person.user), anchor=False)
    with st.container(key="body"):
        left, right = st.columns([1, 3], gap="small")
    with left:
        who(now)
        past(now)
    with right:
        place = st.container(gap="small")
    with st.sidebar:
        shared.blend(run, lambda choice: answer(place, choice))


def who(now: Choice) -> None:
    st.subheader(plain("profile"), anchor=False)
    facts = browse.profile(now.run, now.person.user)
    st.markdown(t("profile.likes", n=likes(now)) + "".join(f" {tables.fact(k, v)}" for k, v in facts.items()))
    if not facts:
        st.caption(t("profile.none"))


def likes(now: Choice) -> int:
    """In the data; reactions are counted beside the list."""
    return int(runs.history(now.run, now.person.user)[0]["liked"].sum())


@st.fragment
def past(now: Choice) -> None:
    """The history, sorted and filtered."""
    st.subheader(plain("history"), anchor=False)
    frame, withheld = runs.history(now.run, now.person.user)
    if frame.empty:
        st.info(t("history.none"), icon=":material/person_add:")
        return
    if not now.person.n_past:
        st.info(t("history.no_likes"), icon=":material/person_add:")
    st.caption(known(now, len(frame), withheld))
    sorts = {key: plain(f"history.sort.{key}") for key in ("time", "title", "value")}
    sort = st.segmented_control(
        plain("history.sort"),
        list(sorts),
        format_func=sorts.get,
        default="time",
        required=True,
        key="history sort",
        label_visibility="collapsed",
    )
    hint = plain("history.filter.hint")
    query = st.text_input(
        plain("history.filter"),
        key="history filter",
        placeholder=hint,
        label_visibility="collapsed",
        icon=":material/filter_list:",
    )
    shown = tables.history_view(frame, query, sort)
    if shown.empty:
        st.caption(t("history.nothing", query=query))
        return
    columns = {
        "title": st.column_config.TextColumn(plain("column.title"), width=134),
        "value": st.column_config.NumberColumn(plain("column.value"), format="%g", width=85),
        "when": st.column_config.DateColumn(plain("column.when"), width=85),
    }
    order = ["title", "when" if sort == "time" and tables.dated(shown) else "value"]  # a narrow table: what it is sorted by
    height = tables.height(shown, 14)
    st.dataframe(shown, column_config=columns, column_order=order, hide_index=True, height=height, row_height=tables.ROW)


def known(now: Choice, n: int, withheld: int) -> str:
    """What the history holds, what a like is, and what is kept back."""
    all_read = now.run.histories.liked is not None
    words = [t("history.some" if all_read else "history.some.liked", n=n, likes=likes(now))]
    if (threshold := now.run.dataset.threshold) is not None:
        words.append(t("history.threshold", threshold=threshold))
    if withheld:
        words.append(t("history.withheld", n=withheld))
    return joined(*words)


def answer(place: st.delta_generator.DeltaGenerator, now: Choice) -> None:
    """The list in the page, its file in the sidebar."""
    found = state.user_list(now)
    show(place, now, found)
    how = (now.reranker, f"{now.strength:g}") if now.reranker else ()
    name = tables.file_name(now.run.path.name, now.person.user, *how)
    shared.download(found.frame, name, "list", plain("download"), width="stretch")


def show(place: st.delta_generator.DeltaGenerator, now: Choice, found: UserList) -> None:
    with place:
        st.subheader(plain("list", k=now.k), anchor=False)
        reactions.note(now)
        if found.frame.empty:
            state.write_url(state.link(now))
            st.info(t("list.none"), icon=":material/block:")
            return
        above, below = st.container(gap="small"), st.container(gap="small")
        with below:  # sent first: the scores, which the reader waits for, are drawn while the table is made
            parts(now, found)
            gone(now, found)
            shared.folded(plain("command"), "command", "terminal", lambda: command(now))
        with above:
            st.markdown(lead(now, found))
            if not beside.show(now):
                table(now, found)
            st.caption(shared.sureness(now))
            beside.in_words(now, list(found.frame["item_id"]), list(found.frame["title"]))


def command(now: Choice) -> None:
    st.code(state.command(now), language="bash", wrap_lines=True)


def lead(now: Choice, found: UserList) -> str:
    """The sentence above the list."""
    n, (new, moved) = len(found.frame), tables.changes(found.frame, bool(now.reranker))
    short = " " + t("list.short", n=n) if n < now.k else ""
    if now.reranker:
        key = "rerank.new" if new else "rerank.moved" if moved else "rerank.same"
        facts = lab_tables.reranking(now.reranker, now.strength)
        said = plain(key, new=new, n=n, k=now.k, moved=moved, **facts)  # nothing in it is from the data
        return joined(said, t("rerank.weights") if now.moved else "") + short
    if new:
        return t("list.moved", new=new, k=n, moved=moved) + short
    if now.moved:
        return t("list.same", k=n, moved=moved) + short
    chance = found.frame["probability"]
    return t("list.learned", n=found.n_candidates, first=chance.iloc[0], last=chance.iloc[-1]) + short


def table(now: Choice, found: UserList) -> None:
    """The list, a way from each item to the page Explain; the column of moves is there when weights are moved or it is
    re-ranked."""
    against = plain("rerank.move.help" if now.reranker else "column.move.help")
    config, ids = st.column_config, tuple(found.frame["item_id"])
    columns = {
        "rank": config.NumberColumn(plain("column.rank"), format="#%d", width=42),
        "move": config.TextColumn(plain("column.move"), help=against, width=92),
        "title": config.TextColumn(plain("column.title"), width=150),
        "year": config.TextColumn(plain("column.year"), width=48),
        "tags": config.ListColumn(plain("column.tags"), width=96),
        "percent": config.NumberColumn(plain("column.percent"), format="%.0f%%", help=plain("column.percent.help"), width=54),
        "bar": config.ImageColumn(plain("column.bar"), help=plain("column.bar.help"), width=146),
        "why": config.ButtonColumn("", width=64, on_click=state_explain.why_clicked, args=(ids,), key=state_explain.WHY_CLICK),
    }
    columns |= reactions.columns(ids)
    view = reactions.labels(tables.list_view(found.frame, bool(now.reranker)))
    shots, moves = runs.pictures(now.run), bool(now.moved or now.reranker)
    if shots:  # the title makes room
        columns |= {"picture": config.ImageColumn("", help=plain("column.picture.help"), width=46)}
        columns |= {"title": config.TextColumn(plain("column.title"), width=130)}
        view["picture"] = [shots.get(item, "") for item in ids]
    order = ["rank", *(["move"] if moves else []), *(["picture"] if shots else []), "title", "why"]
    order += [*reactions.columns(ids), "percent", "bar", "year", "tags"]
    st.dataframe(
        view, column_config=columns, column_order=order, hide_index=True, height=tables.height(view, 20), row_height=tables.ROW
    )
    reactions.below(found.frame)
    if asked := state_explain.why_asked():
        st.switch_page("app_pages/explain.py", query_params=state.link(now, asked))


def gone(now: Choice, found: UserList) -> None:
    """What the moved weights, or the re-ranker, pushed out of the list."""
    if found.left.empty:
        return
    st.subheader(plain("list.left"), anchor=False)
    columns = {
        "title": st.column_config.TextColumn(plain("column.title"), width=260),
        "learned_rank": st.column_config.NumberColumn(plain("column.was"), format="#%d", width=60),
        "rank": st.column_config.NumberColumn(plain("rerank.by_score" if now.reranker else "column.now"), format="#%d", width=60),
    }
    order = ["title", "rank"] if now.reranker else ["title", "learned_rank", "rank"]
    height = tables.height(found.left, 10)
    view = {"column_config": columns, "column_order": order, "hide_index": True, "height": height, "row_height": tables.ROW}
    st.dataframe(found.left, width=400, **view)


def parts(now: Choice, found: UserList) -> None:
    """The stacked bars at full size, what they say, how they are made, and the same as a table."""
    frame, k = found.frame, len(found.frame)
    st.subheader(plain("parts"), anchor=False)
    if found.lead is None:
        st.markdown(t("parts.flat", mean_above=found.mean_above))
    else:
        values = {"lead": found.lead, "n_lead": found.n_lead, "lead_mean": found.lead_mean, "mean_above": found.mean_above}
        st.markdown(t("parts.lead", k=k, **values))
    if now.reranker:
        st.caption(t("rerank.parts"))
    words = {"axis": plain("parts.axis"), "total": plain("parts.sum"), "missing": plain("missing"), "alt": plain("parts")}
    links = state_explain.addresses(now, frame["item_id"])
    st.html(light.bars(frame, links=links, asks=lambda title: plain("parts.asks", title=title), **words))
    counts = {"k": k, "n": found.n_candidates, "hidden": found.n_hidden, "gap": found.gap}
    missing = t("parts.missing", n=found.n_missing) if found.n_missing else ""
    short = shared.of_short(now.blend, now.person.row)
    st.caption(joined(plain("parts.caption", base=tables.bases(frame), **counts), missing, short))
    shared.folded(plain("parts.table"), "parts", "table", lambda: twin(now, frame))


def twin(now: Choice, frame: tables.Frame) -> None:
    view = tables.parts_view(frame)
    number = st.column_config.NumberColumn
    columns = {
        "rank": number(plain("column.rank"), format="#%d", width=45),
        "title": st.column_config.TextColumn(plain("column.title"), width="medium"),
        "base": number(plain("column.base"), format="%.2f"),
        "logit": number(plain("column.logit"), format="%.2f"),
        "percent": number(plain("column.percent"), format="%.0f%%"),
    } | {f"part_{name}": number(name, format="%+.2f") for name in charts.components(frame)}
    st.dataframe(
        view,
        column_config=columns,
        hide_index=True,
        row_height=tables.ROW,
        height=tables.height(view, 20),
        placeholder=plain("missing"),
    )
    shared.download(view, f"parts-{now.run.path.name}-{now.person.user}", "parts")


page(state.current_run())
