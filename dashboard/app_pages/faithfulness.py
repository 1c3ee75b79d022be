"""Which explanations tell the truth? The scoreboard of all explainers: verdict, a measure at a time, agreement, cost."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import faithfulness_charts, overview_charts, shared, state, state_faithfulness
from dashboard.strings import joined, language, plain, t
from recsys_core.explain import faithfulness
from recsys_core.explain.explainers import FLOORS
from recsys_core.explain.faithfulness import COSTS, HIGHER, MEASURES, Scoreboard
from recsys_core.explain.told import reason
from recsys_core.run import Run

UNITS = {"seconds": 1000.0}  # shown as milliseconds


def page(run: Run) -> None:
    now = state.choice(run)
    st.title(t("faith.title"), anchor=False)
    asked, measure = state_faithfulness.begin(now)
    for text in state_faithfulness.notes():
        st.info(text, icon=":material/link_off:")
    labels = {q: plain(f"faith.question.{q}") for q in state_faithfulness.QUESTIONS}
    st.segmented_control(
        plain("faith.question"),
        state_faithfulness.QUESTIONS,
        format_func=labels.get,
        required=True,
        key="board question",
        on_change=state_faithfulness.picked,
    )
    board = state_faithfulness.board(run, asked)
    if isinstance(board, str):
        st.warning(t("faith.broken"), icon=":material/error:")
        st.code(board, language=None, wrap_lines=True)
    if isinstance(board, str) or board is None:
        missing(run, asked)
        return
    verdict(board)
    left, right = st.columns([6, 5], gap="medium")
    with left:
        scores(run, board, measure)
    with right:
        agreement(run, board)
    table(run, board)


def missing(run: Run, question: str) -> None:
    """No scoreboard: the command that makes one, and a small one at a press."""
    st.info(t(f"faith.none.{question}"), icon=":material/verified:")
    st.code(state_faithfulness.command(run, question), language="bash", wrap_lines=True)
    if question != state_faithfulness.QUESTIONS[0]:
        return  # every evaluation reads texts with BERT: minutes
    st.markdown(t("faith.make.says", users=state_faithfulness.USERS))
    if not st.button(plain("faith.make", users=state_faithfulness.USERS), icon=":material/play_arrow:"):
        return
    with shared.progress() as told:
        failed = state_faithfulness.make(run, question, told)
    if failed:
        st.warning(t("faith.make.failed"), icon=":material/error:")
        st.code(failed, language=None, wrap_lines=True)
    else:
        st.rerun()


def verdict(board: Scoreboard) -> None:
    passed = faithfulness.passed(board)
    n = int(board.settings["users"])
    if passed is None:
        st.info(t("faith.verdict.unknown", n=n), icon=":material/help:")
        return
    checks = faithfulness.verdict(board).checks
    facts = {"n": n, "good": sum(good for _, good in checks), "of": len(checks)}
    show, icon = (st.success, "verified") if passed else (st.warning, "gpp_maybe")
    show(t("faith.verdict.yes" if passed else "faith.verdict.no", **facts), icon=f":material/{icon}:")
    with st.expander(plain("faith.checks"), icon=":material/checklist:"):
        words = {True: plain("faith.check.yes"), False: plain("faith.check.no")}
        told = [reason(says, language()) for says, _ in checks]
        view = pd.DataFrame({plain("faith.check"): told, plain("faith.holds"): [words[good] for _, good in checks]})
        shared.table(view, "faith checks")
        st.caption(t("faith.verdict.caption"))


def scores(run: Run, board: Scoreboard, measure: str) -> None:
    """One measure of every method."""
    labels = {m: plain(f"faith.{m}") for m in MEASURES}
    left, right = st.columns([3, 2], gap="small")
    left.selectbox(
        plain("faith.measure"), MEASURES, format_func=labels.get, key="board measure", on_change=state_faithfulness.picked
    )
    most = int(board.settings["most"])
    thing = plain(f"faith.things.{board.settings['question']}")
    free = measure not in COSTS and most > 1
    taken = right.slider(
        plain("faith.taken", things=thing), 1, max(most, 2), min(most, most), disabled=not free, key="board taken"
    )
    rows, unit = board.measure(measure, min(int(taken), most)), UNITS.get(measure, 1.0)
    shown = rows.assign(label=rows["method"], **{c: rows[c] * unit for c in ("mean", "low", "high")})
    best = shown.iloc[0]
    tied = shown[shown["mean"] == best["mean"]]["method"].tolist()
    say = plain("faith.higher" if measure in HIGHER else "faith.lower")
    st.markdown(joined(t("faith.says", names=", ".join(tied), value=float(best["mean"]), n=int(best["n"])), say))
    axis = labels[measure]
    figure = overview_charts.whiskers(shown, axis=axis, paint=faithfulness_charts.paint(shown["method"].tolist(), FLOORS))
    shared.chart(figure, "faith scores", plain("overview.alt", axis=axis))
    facts = {"k": int(board.settings["k"]), "e": min(int(taken), most), "n": int(best["n"]), "things": thing}
    st.caption(joined(plain(f"faith.{measure}.about", **facts), plain("faith.scores.caption", n=int(best["n"]))))
    view = shown[["method", "mean", "low", "high", "n"]]
    heads = {name: plain(f"faith.column.{name}") for name in ("method", "mean", "low", "high")}
    shared.twin(view.rename(columns=heads), f"{run.path.name}-{measure}", "faith scores")


def agreement(run: Run, board: Scoreboard) -> None:
    st.markdown(f"**{plain('faith.agreement')}**")
    if board.agreement.empty:
        st.caption(t("faith.agreement.none"))
        return
    pairs = board.agreement[~board.agreement["a"].isin(FLOORS) & ~board.agreement["b"].isin(FLOORS)]
    least = pairs.loc[pairs["mean"].idxmin()] if pairs["mean"].notna().any() else None
    if least is not None:
        st.markdown(t("faith.agreement.says", a=str(least["a"]), b=str(least["b"]), value=float(least["mean"])))
    shared.chart(
        faithfulness_charts.agreement_chart(board.matrix()),
        "faith agreement",
        plain("overview.alt", axis=plain("faith.agreement")),
    )
    st.caption(t("faith.agreement.caption", n=int(board.agreement["n"].max())))
    heads = {name: plain(f"faith.column.{name}") for name in ("a", "b", "mean", "low", "high")}
    shared.twin(board.agreement.rename(columns=heads), f"{run.path.name}-agreement", "faith agreement")


def table(run: Run, board: Scoreboard) -> None:
    """All figures a reader looks at first, with stability and cost."""
    st.subheader(plain("faith.table"), anchor=False)
    s = board.settings
    facts = {
        "n": int(s["users"]),
        "k": int(s["k"]),
        "most": int(s["most"]),
        "seeds": int(s["seeds"]),
        "budget": int(s["budget"]["evaluations"]),
    }
    st.markdown(t("faith.table.says", **facts))
    view = (
        board.table()
        .reset_index()
        .rename(columns={"method": plain("faith.column.method"), "stability": plain("faith.stability")})
    )
    times = {"ms": plain("faith.seconds"), "cpu ms": plain("faith.cpu")}
    view = view.rename(columns=times | {"evaluations": plain("faith.evaluations")})
    number = st.column_config.NumberColumn
    columns: dict[str, object] = {view.columns[0]: st.column_config.TextColumn(width=150)}
    counts = (*times.values(), plain("faith.evaluations"))
    columns |= {c: number(format="%.1f" if c in counts else "%.3f") for c in view.columns[1:]}
    shared.table(view, "faith table", columns)
    shared.download(view, f"{run.path.name}-scoreboard", "faith table")
    st.caption(t("faith.table.caption"))
    if board.aside:
        with st.expander(plain("faith.aside", n=len(board.aside)), icon=":material/person_off:"):
            heads = [plain("faith.column.method"), plain("faith.aside.why")]
            told = [(name, reason(why, language())) for name, why in board.aside.items()]
            shared.table(pd.DataFrame(told, columns=heads), "faith aside")


page(state.current_run())
