"""What is different between two runs? Paired differences by user, settings, weights, and how far their lists are apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import overview_charts, runs, shared, state, state_compare, state_overview
from dashboard.lab_tables import formula, named, number, signed
from dashboard.state import Choice
from dashboard.strings import code, joined, plain, t
from recsys_core import side_by_side
from recsys_core.differences import verdicts
from recsys_core.errors import UserError
from recsys_core.overview import Judged
from recsys_core.run import Run
from recsys_core.side_by_side import Churn

SHOWN = 10  # users whose lists differ most


def page(run: Run) -> None:
    now = state.choice(run)
    st.title(t("compare.title", a=run.path.name), anchor=False)
    paths = {name: path for name, path in runs.run_paths().items() if name != run.path.name}
    if not paths:
        alone(run)
        return
    missing = state_compare.begin(now, list(paths))
    if missing:
        st.info(t("compare.gone", name=missing, used=state_compare.other()), icon=":material/link_off:")
    facts = {name: runs.run_facts(str(path), runs.stamp(path)) for name, path in paths.items()}
    st.selectbox(
        plain("compare.with"),
        list(paths),
        format_func=lambda n: plain("run.option", **facts[n]),
        key="with",
        on_change=state_compare.picked,
    )
    second = opened(paths[state_compare.other()])
    if second is None:
        return
    figures(run, second)
    left, right = st.columns(2, gap="medium")
    with left:
        settings(run, second)
    with right:
        weights(run, second)
    lists(now, second)


def alone(run: Run) -> None:
    st.info(t("compare.alone"), icon=":material/compare_arrows:")
    st.code(state_compare.train_command(run), language="bash", wrap_lines=True)


def opened(path: Path) -> Run | None:
    """The other run; None, with the reason on the page, if it cannot be opened."""
    try:
        with st.spinner(plain("run.opening")):
            return runs.open_run(path)
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        st.error(t("compare.failed"), icon=":material/error:")
        why = str(error) if isinstance(error, UserError) else plain("run.unfit", name=path.name, error=repr(error))
        st.code(why, language=None, wrap_lines=True)
        return None


def figures(a: Run, b: Run) -> None:
    """Metrics of both, and the paired differences where both were judged by the same test likes."""
    reports: list[Judged | None] = []
    for run in (a, b):
        told = state_overview.judged(run)
        if isinstance(told, str):
            st.warning(t("compare.broken", name=run.path.name), icon=":material/error:")
            st.code(told, language=None, wrap_lines=True)
        reports.append(None if isinstance(told, str) else told)
    left, right = reports
    why = side_by_side.obstacle(a, b, left, right)
    if why:
        st.warning(t(f"compare.no.{why}", a=a.path.name, b=b.path.name), icon=":material/balance:")
    if why == "report":
        lacking = [r for r, told in zip((a, b), reports, strict=True) if told is None]
        st.code("\n".join(state_compare.evaluate_command(r.path) for r in lacking), language="bash")
    if left is not None and right is not None:
        pair = None if why else side_by_side.paired(left, right)
        if pair is not None:
            differences(a, b, pair, left.k)
        both(a, b, side_by_side.beside(left, right), pair)


def differences(a: Run, b: Run, pair: pd.DataFrame, k: int) -> None:
    """The headline, and a whisker a metric of accuracy."""
    shown = pair[pair["metric"].isin(side_by_side.ACCURACY)].reset_index(drop=True)
    row, verdict = pair.iloc[0], verdicts(pair)[0]
    names = {"a": a.path.name, "b": b.path.name}
    st.markdown(joined(t(f"compare.says.{verdict}", **names, k=k, n=int(row["n"])), interval(row)))
    view = shown.assign(label=[f"{named(m)}@{k}" for m in shown["metric"]])
    axis = plain("compare.axis", **names)
    shared.chart(
        overview_charts.whiskers(view, axis=axis, paint={}, zero=True), "compare pairs", plain("overview.alt", axis=axis)
    )
    st.caption(t("compare.caption", n=int(row["n"]), formula=formula("ndcg")))


def interval(row: pd.Series) -> str:
    numbers = {name: signed(row[name]) for name in ("mean", "low", "high")}
    return plain("compare.interval", **numbers, p=row["p"], holm=row["p_holm"])


def both(a: Run, b: Run, table: pd.DataFrame, pair: pd.DataFrame | None) -> None:
    """All metrics of both runs as a table, with the differences where there are any."""
    names = a.path.name, b.path.name
    made = {plain("compare.metric"): [named(m) for m in table["metric"]]}
    for side, name in zip("ab", names, strict=True):
        made[name] = [number(v) for v in table[side]]
        made[plain("compare.ci", name=name)] = [
            "" if pd.isna(low) else plain("compare.range", low=number(low), high=number(high))
            for low, high in zip(table[f"{side}_low"], table[f"{side}_high"], strict=True)
        ]
    if pair is not None:
        found = pair.set_index("metric").reindex(table["metric"])
        told = dict(zip(pair["metric"], verdicts(pair), strict=True))
        made[plain("compare.difference")] = ["" if pd.isna(v) else signed(v) for v in found["mean"]]
        made[plain("compare.ci", name="")] = [
            "" if pd.isna(low) else plain("compare.range", low=signed(low), high=signed(high))
            for low, high in zip(found["low"], found["high"], strict=True)
        ]
        made[plain("compare.holm")] = found["p_holm"].to_numpy()
        made[plain("compare.verdict")] = [plain(f"compare.verdict.{told[m]}") if m in told else "" for m in table["metric"]]
    shared.twin(pd.DataFrame(made), f"{names[0]}-{names[1]}-metrics", "compare metrics")


def settings(a: Run, b: Run) -> None:
    st.subheader(plain("compare.settings"), anchor=False)
    table = side_by_side.settings(a, b)
    if table.empty:
        st.caption(t("compare.settings.same"))
        return
    st.markdown(t("compare.settings.one" if len(table) == 1 else "compare.settings.says", n=len(table)))
    view = table.set_axis([plain("compare.key"), a.path.name, b.path.name], axis=1)
    shared.table(view, "compare settings")
    shared.download(view, f"{a.path.name}-{b.path.name}-settings", "compare settings")


def weights(a: Run, b: Run) -> None:
    st.subheader(plain("compare.weights"), anchor=False)
    table = side_by_side.weights(a, b)
    same = table["a"].equals(table["b"])
    most = table.loc[(table["a"].fillna(0) - table["b"].fillna(0)).abs().idxmax()]
    told = [plain("missing") if pd.isna(v) else f"{v:.2f}" for v in (most["a"], most["b"])]
    says = plain("compare.weights.says", name=code(str(most["component"])), a=told[0], b=told[1])
    st.markdown(t("compare.weights.same") if same else says)
    axis = plain("compare.weights.axis")
    figure = overview_charts.pairs_chart(table, names=(a.path.name, b.path.name), axis=axis)
    shared.chart(figure, "compare weights", plain("overview.alt", axis=axis))
    st.caption(t("compare.weights.caption"))
    view = table.set_axis([plain("compare.component"), a.path.name, b.path.name], axis=1)
    shared.twin(view, f"{a.path.name}-{b.path.name}-weights", "compare weights")


def lists(now: Choice, other: Run) -> None:
    """How far the lists of a sample of users are apart; measured when asked."""
    st.subheader(plain("compare.lists"), anchor=False)
    if not side_by_side.same_data(now.run, other):
        st.caption(t("compare.lists.data"))
        return
    found = state_compare.churn(now.run, other, now.k)
    if found is None:
        st.markdown(t("compare.lists.ask", users=state_compare.USERS, k=now.k, seconds=state_compare.SECONDS))
        if not st.button(plain("compare.lists.go"), icon=":material/compare:"):
            return
        with shared.progress() as told:
            state_compare.measure(now.run, other, now.k, told)
        st.rerun()
    if not found.n:
        st.caption(t("compare.lists.nobody"))
        return
    apart(now, other, found)


def apart(now: Choice, other: Run, found: Churn) -> None:
    facts = {"share": found.share_changed, "n": found.n, "k": found.k, "rbo": found.mean_rbo, "kept": found.mean_kept}
    st.markdown(plain("compare.lists.says", **facts))
    if found.n < found.asked:
        st.caption(t("compare.lists.cut", n=found.n, asked=found.asked))
    axis = plain("compare.rbo")
    figure = overview_charts.share_chart(found.users["rbo"].dropna().tolist(), x=axis, y=plain("compare.people"))
    shared.chart(figure, "compare rbo", plain("overview.alt", axis=axis))
    st.caption(t("compare.lists.caption", n=found.n))
    view = found.users.head(SHOWN).drop(columns="changed")
    view = view.assign(open=[state_compare.user_link(now, str(user)) for user in view["user_id"]])
    link = st.column_config.LinkColumn(plain("compare.open"), display_text=":material/open_in_new:")
    heads = {name: plain(f"compare.{name}") for name in ("user_id", "rbo", "kept")}
    shared.twin(view.rename(columns=heads), f"{now.run.path.name}-{other.path.name}-lists", "compare lists", {"open": link})


page(state.current_run())
