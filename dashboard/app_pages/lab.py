"""What happens to everyone if we move the weights? Tiles, the trade-off of accuracy and diversity, and who gains and loses."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from dashboard import lab_charts, lab_tables, shared, state, state_lab
from dashboard.state import Choice
from dashboard.strings import code, plain, t
from recsys_core import differences, tradeoffs
from recsys_core.analytics import Measured
from recsys_core.errors import UserError
from recsys_core.metrics import METRICS
from recsys_core.run import Run

Place = st.delta_generator.DeltaGenerator


@dataclass(frozen=True)
class Seen:
    """What all users get, under the learned weights and as the sliders are now."""

    learned: Measured
    found: Measured
    changes: pd.DataFrame
    moved: differences.Overlap

    @classmethod
    def of(cls, now: Choice) -> Seen:
        learned, found = state_lab.learned(now.run, now.k), state_lab.measured(now)
        return cls(learned, found, differences.change(learned, found), differences.overlap(learned, found))

    @property
    def n(self) -> int:
        return len(self.found.items)


def page(run: Run) -> None:
    known = shared.everybody(run, t("lab.title"))
    if known is None:
        return
    top, rest = st.container(gap="small"), st.container(gap="small")
    with st.sidebar:
        settings(run, top, rest)


@st.fragment
def settings(run: Run, top: Place, rest: Place) -> None:
    """Sliders, re-ranker, K and presets in the sidebar; a move measures and draws everything again."""
    now = state.choice(run)  # the session knows a move before its slider is drawn
    seen = Seen.of(now)
    with top:  # before all else, so that the figures follow the slider
        headlines(now, seen)
    with rest:
        shared.folded(plain("lab.table"), "metrics", "table", lambda: twin(now, seen.changes))
        trade_off(now, seen.found)
        movers(now, seen)
    shared.settings(now)
    shared.folded(plain("presets"), "presets", "bookmark", lambda: presets(run))
    shared.share()


def presets(run: Run) -> None:
    st.text_input(plain("preset.name"), key="preset_name", placeholder=plain("preset.hint"), max_chars=60)
    st.button(
        plain("preset.save"),
        on_click=state_lab.save_preset,
        args=(run,),
        width="stretch",
        icon=":material/save:",
        disabled=state.read_only(),
        help=t("read_only") if state.read_only() else None,
    )
    names = state_lab.preset_names()
    if not names:
        st.caption(t("preset.none"))
        return
    st.selectbox(plain("preset"), names, key="preset")
    left, right = st.columns(2, gap="small")
    left.button(plain("preset.apply"), on_click=state_lab.apply_preset, args=(run,), width="stretch")
    right.button(plain("preset.delete"), on_click=state_lab.delete_preset, width="stretch", disabled=state.read_only())


def headlines(now: Choice, seen: Seen) -> None:
    if text := state_lab.lab_note():
        st.info(text, icon=":material/info:")
    shared.own_hiding(now)
    st.markdown(lead(now, seen))
    shared.tiles(lab_tables.tiles(seen.changes, now.k))
    st.caption(t("lab.caption", n=seen.n))


def lead(now: Choice, seen: Seen) -> str:
    """The sentence above the tiles."""
    at = seen.changes["metric"].tolist().index("ndcg")
    row, verdict, n = seen.changes.iloc[at], differences.verdicts(seen.changes)[at], seen.n
    if not now.moved and not now.reranker:
        return t("lab.learned", k=now.k, ndcg=row["b"], n=n)
    if verdict == "unknown":
        return t("lab.moved.undefined", share=seen.moved.share_changed, n=n)
    facts = {"share": seen.moved.share_changed, "n": n, "k": now.k, "a": row["a"], "b": row["b"]}
    return plain("lab.moved", verdict=plain(f"verdict.{verdict}"), **facts)  # nothing in it is from the data


def twin(now: Choice, changes: pd.DataFrame) -> None:
    view = lab_tables.metrics_view(changes)
    figures = {"learned": "%.4f", "now": "%.4f", "change": "%+.4f", "low": "%+.4f", "high": "%+.4f"}
    heads = {"learned": "column.learned", "now": "column.value.now", "change": "column.change", "low": "column.low"}
    heads |= {"high": "column.high"}
    columns = {name: st.column_config.NumberColumn(plain(heads[name]), format=f, width=78) for name, f in figures.items()}
    words = {"metric": 150, "verdict": 120, "n": 50, "formula": 300, "range": 100, "source": 300}
    columns |= {name: st.column_config.Column(plain(f"column.{name}"), width=width) for name, width in words.items()}
    shared.table(view, "metrics", columns, only=True)
    shared.download(view, f"{now.run.path.name}-metrics", "lab metrics", plain("lab.download"))


def trade_off(now: Choice, found: Measured) -> None:
    """Chart of accuracy against diversity, and the best point under a constraint."""
    st.subheader(plain("pareto"), anchor=False)
    y = tradeoffs.diversity([*found.per_user])
    if y is None:
        st.info(t("pareto.none"), icon=":material/category:")
        return
    if not state_lab.swept():
        st.markdown(t("pareto.ask"))
        st.button(plain("pareto.draw"), on_click=state_lab.ask_sweep, icon=":material/scatter_plot:")
        return
    with st.spinner(plain("pareto.busy")):
        sweep = state_lab.sweep(now.run, now.k)
    words = lab_tables.settings(sweep)
    left, right = st.columns([5, 2], gap="medium")
    with left:
        chart(sweep, words, y, now, found)
    with right:
        choose(now.run, sweep, words, y)
        best(now.run, sweep)
    shared.folded(plain("pareto.table"), "points", "table", lambda: points(now, sweep, words, y))


def points(now: Choice, sweep: pd.DataFrame, words: list[str], y: str) -> None:
    view = lab_tables.points_view(sweep, words, "ndcg", y)
    number = st.column_config.NumberColumn
    columns = {name: number(lab_tables.named(name), format="%.4f", width=120) for name in ("ndcg", y)}
    columns |= {"setting": st.column_config.TextColumn(plain("column.setting"), width=420)}
    columns |= {"front": st.column_config.CheckboxColumn(plain("column.front"), width=100)}
    shared.table(view, "points", columns, most=12, only=True)
    shared.download(view, f"{now.run.path.name}-points", "lab points", plain("pareto.download"))


def chart(sweep: pd.DataFrame, settings: list[str], y: str, now: Choice, found: Measured) -> None:
    words = {key: plain(f"pareto.{key}") for key in ("front", "mix", "rerank", "learned", "chosen", "here")}
    words |= {"x": lab_tables.label("ndcg", now.k), "y": lab_tables.named(y)}
    at = (found.mean("ndcg"), found.mean(y))
    on = {True: plain("pareto.on"), False: plain("pareto.off")}
    beaten = tradeoffs.beaten(sweep, {"ndcg": at[0], y: at[1]})
    counts = {"n": len(sweep), "front": int(sweep["front"].sum())}
    st.markdown(plain("pareto.says", learned=on[bool(sweep["front"].iloc[0])], here=on[not beaten], **counts))
    figure = lab_charts.pareto_chart(sweep, "ndcg", y, here=at, chosen=state_lab.chosen_point(), settings=settings, words=words)
    st.plotly_chart(
        figure,
        key="pareto",
        on_select=state_lab.picked,
        selection_mode="points",
        config={"displayModeBar": False},
        alt=plain("pareto.alt", x=words["x"], y=words["y"]),
    )
    formulas = {"x_formula": lab_tables.formula("ndcg"), "y_formula": lab_tables.formula(y)}
    formulas = {name: code(formula) for name, formula in formulas.items()}
    st.caption(plain("pareto.caption", users=len(found.items), x=words["x"], y=words["y"], **formulas))


def choose(run: Run, sweep: pd.DataFrame, settings: list[str], y: str) -> None:
    options = lab_tables.options(sweep, settings, "ndcg", y, state_lab.chosen_point())
    if not options:
        return
    row = state_lab.point(list(options), next(iter(options)))
    said = plain("pareto.point", x=lab_tables.named("ndcg"), y=lab_tables.named(y))
    st.selectbox(said, list(options), format_func=options.get, key="point")
    st.caption(lab_tables.spoken(sweep.iloc[row], sweep.iloc[0]))
    apply_button(run, sweep, row, plain("pareto.apply"))


def best(run: Run, sweep: pd.DataFrame) -> None:
    """The most of a metric that costs at most so much NDCG."""
    st.subheader(plain("best"), anchor=False)
    loss = st.number_input(plain("best.loss"), 0.0, 100.0, 2.0, step=0.5, format="%.1f", key="loss")
    goals = ["diversity", *(name for name in lab_tables.TILES if name in sweep and METRICS[name].direction != "neither")]
    goals = [g for g in goals if g not in ("ndcg", tradeoffs.diversity(sweep))]
    labels = {g: lab_tables.named((tradeoffs.diversity(sweep) or g) if g == "diversity" else g) for g in goals}
    goal = st.selectbox(plain("best.metric"), goals, format_func=labels.get, key="goal")
    try:
        found = tradeoffs.best_under(sweep, best=goal, loss=loss / 100)
    except UserError as error:
        st.caption(t("pareto.failed", error=str(error)))
        return
    metric = (tradeoffs.diversity(sweep) or goal) if goal == "diversity" else goal
    row = int(found.name)
    if row == 0:
        st.markdown(t("best.same"))
    else:
        st.markdown(lab_tables.best_words(found, sweep.iloc[0], metric))
    apply_button(run, sweep, row, plain("best.apply"))
    st.caption(t("best.caption", n=len(sweep)))


def apply_button(run: Run, sweep: pd.DataFrame, row: int, label: str) -> None:
    point = sweep.iloc[row]
    settings = (run, lab_tables.weights_of(point), point["reranker"], float(point["strength"]))
    st.button(label, on_click=state_lab.apply, args=settings, width="stretch", icon=":material/check:")


def movers(now: Choice, seen: Seen) -> None:
    """Whose lists changed, and who gains and loses most."""
    st.subheader(plain("movers"), anchor=False)
    found, moved = seen.found, seen.moved
    if not moved.changed.any():
        st.caption(t("movers.none"))
        return
    facts = {"changed": int(moved.changed.sum()), "n": seen.n, "kept": moved.mean_kept, "rbo": moved.mean_rbo}
    st.markdown(t("movers.says", **facts))
    names = [name for name in lab_tables.TILES if name in found.per_user]
    labels = {name: lab_tables.label(name, now.k) for name in names}
    metric = st.segmented_control(
        plain("movers.metric"), names, format_func=labels.get, default=names[0], required=True, key="mover_metric"
    )
    table = differences.movers(seen.learned, found, metric=metric)
    if table.empty:
        st.caption(t("movers.same", metric=labels[metric]))
        return
    gains = differences.gains(table, metric)
    for column, key, rows in zip(st.columns(2, gap="medium"), ("gain", "lose"), (table[gains], table[~gains][::-1]), strict=True):
        with column:
            st.markdown(f"**{plain(f'movers.{key}')}**")
            people(now, rows, key)
    st.caption(t("movers.caption"))


def people(now: Choice, rows: pd.DataFrame, key: str) -> None:
    if rows.empty:
        st.caption(t("movers.nobody"))
        return
    view = rows.assign(open=[state_lab.user_link(now, str(user)) for user in rows["user_id"]])
    number, texts = st.column_config.NumberColumn, st.column_config.TextColumn
    columns = {
        "user_id": texts(plain("column.user"), width=90),
        "before": number(plain("column.before"), format="%.3f", width=65),
        "after": number(plain("column.after"), format="%.3f", width=65),
        "change": number(plain("column.change"), format="%+.3f", width=70),
        "rbo": number(plain("column.rbo"), format="%.2f", width=65, help=plain("column.rbo.help")),
        "open": st.column_config.LinkColumn(
            plain("column.open"), display_text=":material/open_in_new:", width=50, help=plain("column.open.help")
        ),
    }
    shared.table(view, key, columns, most=10, only=True)


page(state.current_run())
