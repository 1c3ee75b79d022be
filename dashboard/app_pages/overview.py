"""What is in this run, and is the hybrid worth it? Facts, headline, leaderboard, what each component adds, training, data."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from dashboard import overview_charts, shared, state, state_overview
from dashboard.lab_tables import formula, number, signed
from dashboard.lab_tables import label as label_of
from dashboard.strings import joined, plain, t
from recsys_core import overview
from recsys_core.metrics import METRICS
from recsys_core.overview import Judged, Lift
from recsys_core.run import Run

NONE = "\u2014"  # a dash; the chip below says in words that nothing was judged


def page(run: Run) -> None:
    state.choice(run)  # the link stays whole
    st.title(t("overview.title"), anchor=False)
    told = state_overview.judged(run)
    if isinstance(told, str):
        st.warning(t("overview.broken"), icon=":material/error:")
        st.code(told, language=None, wrap_lines=True)
        told = None
    st.markdown(lead(run, told))
    facts(run)
    if told is None:
        untested(run)
    else:
        headline(run, told)
        boards(run, told)
    below(run)
    card(run)


def lead(run: Run, told: Judged | None) -> str:
    """The answer in a sentence."""
    best = overview.valid_board(run) if told is None else overview.board(told)
    alone = best[best["model"] != "hybrid"]
    mine = best[best["model"] == "hybrid"].iloc[0]
    k = int(run.metrics["valid"]["k"]) if told is None else told.k
    if told is None or alone.empty:
        return t("overview.lead.valid" if told is None else "overview.lead.alone", k=k, mean=float(mine["mean"]))
    gain = overview.over_best(told)
    key = "unclear" if gain is None else gain.verdict
    facts = {"best": str(alone["model"].iloc[0]), "k": k, "mean": float(mine["mean"]), "other": float(alone["mean"].iloc[0])}
    return t(f"overview.lead.{key}", **facts, n=int(mine["n"]))


def facts(run: Run) -> None:
    data = run.metrics["data"]
    values = {name: f"{int(data[name]):,}" for name in ("users", "items", "interactions")}
    values["sparsity"] = f"{float(data['sparsity']):.1%}"
    for column, (name, value) in zip(st.columns(4, gap="small"), values.items(), strict=True):
        column.metric(plain(f"overview.{name}"), value, help=t(f"overview.{name}.help", likes=int(data["likes"])), border=True)


def untested(run: Run) -> None:
    """Validation figures, that they flatter, and the command that tests."""
    st.warning(t("overview.untested"), icon=":material/science:")
    st.code(state_overview.evaluate_command(run), language="bash")
    table = overview.valid_board(run)
    k = int(run.metrics["valid"]["k"])
    st.subheader(plain("overview.valid"), anchor=False)
    st.markdown(plain("overview.valid.says", n=int(table["n"].max()), k=k))
    dots(table, label_of("ndcg", k), "valid")
    st.caption(t("overview.valid.caption", formula=formula("ndcg"), n=int(table["n"].max())))
    twin(run, table, "valid")


def headline(run: Run, told: Judged) -> None:
    rows = overview.board(told).set_index("model")
    mine, tiles = rows.loc["hybrid"], st.columns(4, gap="small")
    told_of = plain("overview.interval", low=number(mine["low"]), high=number(mine["high"]))
    label = plain("overview.ndcg", k=told.k)
    about = t("overview.ndcg.help", formula=formula("ndcg"), n=int(mine["n"]), opened=told.opened)
    tile(tiles[0], label, number(mine["mean"]), told_of, plain("overview.users_n", n=int(mine["n"])), about)
    lift_tile(tiles[1], plain("overview.lift"), overview.over_best(told), t("overview.lift.help"), plain("overview.lift.none"))
    reader = overview.reader(run)
    gain = None if reader is None else overview.lift(told, f"without {reader}")
    missing = plain("overview.text.none" if reader is None else "overview.text.missing")
    lift_tile(tiles[2], plain("overview.text", name=reader or "BERT"), gain, t("overview.text.help"), missing)
    if run.settings.split == "cold-items":
        tile(tiles[3], plain("overview.cold"), number(mine["mean"]), told_of, plain("overview.cold.all"), t("overview.cold.help"))
    else:
        tile(tiles[3], plain("overview.cold"), NONE, "", plain("overview.cold.none"), t("overview.cold.help"))
    st.caption(control(told))


def lift_tile(place: st.delta_generator.DeltaGenerator, label: str, gain: Lift | None, about: str, missing: str) -> None:
    if gain is None or math.isnan(gain.mean):
        tile(place, label, NONE, "", missing, about)
        return
    colour = {"better": "green", "worse": "red"}.get(gain.verdict, "gray")
    lacking = gain.model.removeprefix("without ")
    model = gain.model if lacking == gain.model else plain("overview.lift.without", name=lacking)
    told = plain("overview.lift.of", low=signed(gain.low), high=signed(gain.high), model=model)
    tile(place, label, signed(gain.mean), plain(f"overview.gain.{gain.verdict}"), told, about, colour)


def tile(
    place: st.delta_generator.DeltaGenerator, label: str, value: str, delta: str, below: str, about: str, colour: str = "gray"
) -> None:
    place.metric(
        label,
        value,
        delta or plain("overview.notice"),
        delta_color=colour,
        delta_arrow="off",
        delta_description=below,
        help=about,
        border=True,
        height="stretch",
    )


def control(told: Judged) -> str:
    """The control on shuffled texts in a sentence, and how often the test set was opened."""
    gain = overview.lift(told, overview.SHUFFLED)
    words = [t("overview.opened.once") if told.opened == 1 else t("overview.opened", n=told.opened)]
    if gain is None:
        return joined(*words, t("overview.control.none"))
    numbers = {"mean": signed(gain.mean), "low": signed(gain.low), "high": signed(gain.high)}
    return joined(*words, plain("overview.control", verdict=plain(f"overview.gain.{gain.verdict}"), **numbers))


def boards(run: Run, told: Judged) -> None:
    """Each model alone, and what each component adds."""
    left, right = st.columns(2, gap="medium")
    label = label_of("ndcg", told.k)
    with left:
        st.subheader(plain("overview.board"), anchor=False)
        table = overview.board(told)
        first = table.iloc[0]
        st.markdown(t("overview.board.says", first=named(str(first["model"])), mean=float(first["mean"]), n=int(first["n"])))
        dots(table, label, "board")
        st.caption(t("overview.board.caption", formula=formula("ndcg"), n=int(first["n"])))
        twin(run, table, "board")
    with right:
        st.subheader(plain("overview.without"), anchor=False)
        table = overview.without(told)
        if table.empty:
            st.caption(t("overview.without.none"))
            return
        sure = overview.needed(table)
        st.markdown(
            t("overview.without.says", n=len(table), names=", ".join(sure))
            if sure
            else t("overview.without.unclear", n=len(table))
        )
        dots(table, plain("overview.without.axis", metric=label), "without", zero=True, places=4)
        st.caption(t("overview.without.caption", n=int(table["n"].max())))
        twin(run, table, "without")


def dots(table: pd.DataFrame, axis: str, key: str, *, zero: bool = False, places: int = 3) -> None:
    paint = {named(model): colour for model, colour in overview_charts.model_paint(table["model"].tolist()).items()}
    made = table.assign(label=[named(model) for model in table["model"]])
    figure = overview_charts.whiskers(made, axis=axis, paint=paint, zero=zero, places=places)
    shared.chart(figure, f"overview {key}", plain("overview.alt", axis=axis))


def named(model: str) -> str:
    """The hybrid in the reader's language; components have their names."""
    return plain("overview.hybrid") if model == "hybrid" else model


def twin(run: Run, table: pd.DataFrame, key: str) -> None:
    heads = {
        "model": plain("overview.model"),
        "mean": plain("overview.mean"),
        "low": plain("overview.low"),
        "high": plain("overview.high"),
        "p_holm": plain("compare.holm"),
    }
    table = table.assign(model=[named(model) for model in table["model"]])
    shared.twin(table.rename(columns=heads | {"n": "n"}), f"{run.path.name}-{key}", f"overview {key}")


def below(run: Run) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(plain("overview.training"), anchor=False)
        training(run)
    with right:
        st.subheader(plain("overview.data"), anchor=False)
        data(run)


def training(run: Run) -> None:
    table = state_overview.curves(run)
    if table.empty:
        st.caption(t("overview.training.none"))
        return
    best = table.loc[table["value"].idxmax()] if table["value"].notna().any() else table.iloc[-1]
    name, at, k = str(best["metric"]).partition("@")
    metric = f"{plain(f'metric.{name}')}{at}{k}" if name in METRICS else name + at + k
    told = {"name": str(best["component"]), "epoch": int(best["epoch"]), "value": float(best["value"]), "metric": metric}
    st.markdown(t("overview.training.says", **told))
    for column, y in (("value", metric), ("loss", plain("overview.loss"))):
        figure = overview_charts.curves_chart(table, column, x=plain("overview.epoch"), y=y)
        shared.chart(figure, f"overview {column}", plain("overview.alt", axis=y))
    st.caption(t("overview.training.caption", n=len(table)))
    heads = {name: plain(f"overview.{name}") for name in ("component", "epoch", "loss", "metric", "value", "seconds")}
    shared.twin(table.rename(columns=heads), f"{run.path.name}-epochs", "overview epochs")


def data(run: Run) -> None:
    found = state_overview.facts(run)
    share = found.top.iloc[-1]
    st.markdown(t("overview.data.says", items=float(share["items"]), share=float(share["interactions"]), n=int(share["n_items"])))
    words = {"x": plain("overview.tail.x"), "y": plain("overview.tail.y")}
    shared.chart(
        overview_charts.tail_chart(found.curve, found.top, **words), "overview tail", plain("overview.alt", axis=words["y"])
    )
    st.caption(t("overview.tail.caption", n=int(run.metrics["data"]["interactions"]), unmet=found.unmet))
    if math.isnan(found.first):
        st.markdown(t("overview.time.none"))
    elif found.clock:
        days = [pd.Timestamp(v, unit="s").strftime("%Y-%m-%d") for v in (found.first, found.last)]
        st.markdown(plain("overview.time", first=days[0], last=days[1], tied=found.tied))
    else:
        st.markdown(plain("overview.time", first=f"{found.first:.0f}", last=f"{found.last:.0f}", tied=found.tied))
    if len(found.values) > 1:
        st.markdown(plain("overview.values", values=", ".join(f"{v:g}: {int(n):,}" for v, n in found.values.to_numpy().tolist())))
    heads = {"items": words["x"], "n_items": plain("overview.tail.n"), "interactions": words["y"]}
    shared.twin(found.top.rename(columns=heads), f"{run.path.name}-tail", "overview tail")


def card(run: Run) -> None:
    with st.expander(plain("overview.card"), icon=":material/description:"):
        text = state_overview.card(run)
        if not text:
            st.caption(t("overview.card.none"))
            return
        st.code(text, language=None, wrap_lines=True)  # titles and names in it come from the data
        st.download_button(
            plain("overview.card.download"), text, "card.md", "text/markdown", icon=":material/download:", on_click="ignore"
        )


page(state.current_run())
