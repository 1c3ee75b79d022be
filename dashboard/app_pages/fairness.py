"""Whom does it serve, what does it hide? The long tail, popularity, whose taste lists keep, and which groups fare worse."""

from __future__ import annotations

import streamlit as st

from dashboard import fairness_charts, fairness_tables, lab_tables, shared, state, state_fairness, state_lab
from dashboard.lab_tables import formula
from dashboard.state import Choice
from dashboard.strings import code, plain, t
from recsys_core import differences, fairness
from recsys_core.analytics import Measured
from recsys_core.run import Run

TILES = ("coverage", "gini", "long_tail_share", "popularity_lift", "calibration_kl")
EVERYONE, THIS = "everyone", "this"
Place = st.delta_generator.DeltaGenerator


def page(run: Run) -> None:
    known = shared.everybody(run, t("fair.title"))
    if known is None:
        return
    top, rest = st.container(gap="small"), st.container(gap="small")
    with st.sidebar:
        settings(run, top, rest)


@st.fragment
def settings(run: Run, top: Place, rest: Place) -> None:
    """Sliders, re-ranker and K in the sidebar; a move measures and draws everything again."""
    now = state.choice(run)  # the session knows a move before its slider is drawn
    found = state_lab.measured(now)
    with top:
        headlines(now, found)
    shared.settings(now)
    with rest:
        left, right = st.columns(2, gap="medium")
        with left:
            long_tail(now, found)
        with right:
            popularity(now, found)
        left, right = st.columns(2, gap="medium")
        with left:
            calibration(now, found)
        with right:
            exposure(now, found)
        groups(now, found)
    shared.share()


def headlines(now: Choice, found: Measured) -> None:
    """Who is shown at all, and five figures with their change against the learned weights."""
    shared.own_hiding(now)
    parts = fairness.exposure(found, state_fairness.fame(now.run)).set_index("value")
    facts = {"n": len(found.items), "k": now.k, "hidden": 1 - found.totals["coverage"], "cold": int(parts["n"]["cold"])}
    st.markdown(t("fair.lead", head=int(parts["n"]["head"]), share=parts["lists"]["head"], **facts))
    changes = differences.change(state_lab.learned(now.run, now.k), found)
    shared.tiles(lab_tables.tiles(changes, now.k, TILES))
    st.caption(t("lab.caption", n=len(found.items)))


def long_tail(now: Choice, found: Measured) -> None:
    st.subheader(plain("fair.tail"), anchor=False)
    curve = fairness.long_tail(found)
    told = fairness.tail(found, curve)
    st.markdown(t("fair.tail.says", part=told.part, likes=told.likes, lists=told.exposure))
    words = {key: plain(f"fair.tail.{key}") for key in ("likes", "lists", "even", "x", "y")}
    shared.chart(fairness_charts.tail_chart(curve, words), "fair tail", plain("fair.tail.alt"))
    facts = {"gini_likes": told.gini_likes, "gini": told.gini_exposure, "concentration": told.concentration}
    n = {"items": found.source.inputs["n_items"], "users": len(found.items)}
    st.caption(t("fair.tail.caption", **facts, **n))
    number = st.column_config.NumberColumn
    heads = {"catalogue": "fair.tail.x", "likes": "fair.tail.likes", "exposure": "fair.tail.lists"}
    columns = {name: number(plain(head), format="percent") for name, head in heads.items()}
    shared.twin(curve, f"{now.run.path.name}-long-tail", "fair tail", columns, label=plain("fair.tail.table"), only=True)


def popularity(now: Choice, found: Measured) -> None:
    """How much more popular than the history each user's list is."""
    st.subheader(plain("fair.lift"), anchor=False)
    values = found.per_user["popularity_lift"]
    bins = fairness.histogram(values)
    if bins.empty:
        st.info(t("fair.lift.none"), icon=":material/block:")
        return
    more = fairness.more_popular(found)
    st.markdown(t("fair.lift.says", share=more.share, mean=more.mean, median=more.median, n=more.n))
    row = state_fairness.row_of(now.run, now.person.user)
    words = {key: plain(f"fair.lift.{key}") for key in ("x", "y", "same", "mean")}
    words["mine"] = plain("fair.user", user=now.person.user)
    mine = None if row is None else float(values[row])
    figure = fairness_charts.lift_chart(bins, words, mean=more.mean, mine=mine)
    shared.chart(figure, "fair lift", plain("fair.lift.alt"))
    st.caption(plain("fair.lift.caption", formula=code(formula("popularity_lift")), n=more.n))
    number = st.column_config.NumberColumn
    heads = {"low": number(plain("fair.from"), format="percent"), "high": number(plain("fair.to"), format="percent")}
    heads["n"] = number(plain("fair.lift.y"))
    shared.twin(bins, f"{now.run.path.name}-popularity-lift", "fair lift", heads, label=plain("fair.lift.table"), only=True)


def calibration(now: Choice, found: Measured) -> None:
    """Do lists keep the mix of the history? Of everybody, of the chosen user, or of those for whom they do so least."""
    st.subheader(plain("fair.mix"), anchor=False)
    topic = now.run.dataset.catalog.topic
    if topic is None or "calibration_kl" not in found.per_user:
        st.info(t("fair.no_attributes"), icon=":material/category:")
        return
    worst = fairness.least_served(found)
    mine = state_fairness.row_of(now.run, now.person.user)
    rows, labels = fairness_tables.people(worst, mine, now.person.user, found.per_user["calibration_kl"])
    who = st.selectbox(plain("fair.mix.who"), list(labels), format_func=labels.get, key="fair_who")
    if mine is None:
        st.caption(t("fair.mix.absent", user=now.person.user))
    row = rows[who]
    mix = fairness.mixes(found, state_fairness.mass(now.run, topic), row)
    if mix["history"].isna().all():
        st.info(t("fair.mix.none"), icon=":material/block:")
        return
    kl = found.mean("calibration_kl") if row is None else float(found.per_user["calibration_kl"][row[0]])
    st.markdown(fairness_tables.mix_words(mix, topic, kl))
    words = {"likes": plain("fair.mix.history"), "lists": plain("fair.mix.lists"), "x": plain("fair.mix.x")}
    names = fairness_tables.values(mix["value"])
    series = {"likes": mix["history"].tolist(), "lists": mix["lists"].tolist()}
    figure = fairness_charts.shares_chart(names, series, words, "mix")
    shared.chart(figure, "fair mix", plain("fair.mix.alt"))
    n = len(found.items) if row is None else 1
    shown = {"shown": min(len(mix), fairness_charts.ROWS), "all": len(mix)}
    st.caption(plain("fair.mix.caption", formula=code(formula("calibration_kl")), n=n, **shown))
    number = st.column_config.NumberColumn
    columns = {"value": st.column_config.TextColumn(plain("fair.value"))}
    columns |= {c: number(plain(f"fair.mix.{c}"), format="percent") for c in ("history", "lists")}
    shared.twin(
        mix.assign(value=names), f"{now.run.path.name}-mix", "fair mix", columns, label=plain("fair.mix.table"), only=True
    )


def exposure(now: Choice, found: Measured) -> None:
    """What lists are made of, beside what there is and what people liked."""
    st.subheader(plain("fair.exposure"), anchor=False)
    catalog = now.run.dataset.catalog
    options = [f"attribute {name}" for name in sorted(catalog.attributes, key=lambda a: a != catalog.topic)] + [fairness.FAME]
    labels = {name: name.removeprefix("attribute ") for name in options} | {fairness.FAME: plain("fair.fame")}
    chosen = st.selectbox(plain("fair.exposure.by"), options, format_func=labels.get, key="fair_attribute")
    own = chosen == fairness.FAME
    mass = state_fairness.fame(now.run) if own else state_fairness.mass(now.run, labels[chosen])
    shares = fairness.exposure(found, mass)
    names = [plain(f"fair.fame.{v}") for v in shares["value"]] if own else fairness_tables.values(shares["value"])
    st.markdown(fairness_tables.exposure_words(shares, names))
    words = {"catalogue": plain("fair.catalogue"), "likes": plain("fair.mix.history"), "lists": plain("fair.mix.lists")}
    words["x"] = plain("fair.exposure.x")
    series = {"catalogue": "catalogue", "likes": "histories", "lists": "lists"}
    drawn = {key: shares[column].tolist() for key, column in series.items()}
    figure = fairness_charts.shares_chart(names, drawn, words, "exposure")
    shared.chart(figure, "fair exposure", plain("fair.exposure.alt"))
    n = {"shown": min(len(shares), fairness_charts.ROWS), "all": len(shares), "items": len(catalog), "users": len(found.items)}
    st.caption(t("fair.exposure.caption.fame" if own else "fair.exposure.caption", **n))
    number = st.column_config.NumberColumn
    columns = {"value": st.column_config.TextColumn(plain("fair.value"), width=120)}
    columns |= {c: number(words[key], format="percent", width=75) for key, c in series.items()}
    columns |= {"ratio": number(plain("fair.ratio"), format="%.2f", width=75), "n": number(plain("fair.items"), width=60)}
    view = shares.assign(value=names)
    shared.twin(view, f"{now.run.path.name}-exposure", "fair exposure", columns, label=plain("fair.exposure.table"), only=True)


def groups(now: Choice, found: Measured) -> None:
    """Figures by group of users, and whether the largest gap is more than chance."""
    st.subheader(plain("fair.groups"), anchor=False)
    known = fairness.groupings(found.source)
    labels = {name: fairness_tables.grouping(name) for name in known}
    left, right = st.columns(2, gap="medium", vertical_alignment="bottom")
    by = left.selectbox(plain("fair.groups.by"), list(known), format_func=labels.get, key="fair_by")
    names = {m: lab_tables.label(m, now.k) for m in fairness.shown_metrics(found)}
    metric = right.segmented_control(
        plain("fair.groups.metric"),
        list(names),
        format_func=names.get,
        default=next(iter(names)),
        required=True,
        key="fair_metric",
    )
    table = fairness.segments(found, known[by])
    rows = table[table["metric"] == metric]
    large = rows[~rows["small"]]
    gap = fairness.gap(found, known[by], metric)
    st.markdown(fairness_tables.gap_words(gap, rows, by, names[metric]))
    if len(large):
        words = {"x": names[metric], "all": plain("fair.groups.all"), "all_value": str(found.mean(metric))}
        shown = [fairness_tables.group(by, g) for g in large["group"]]
        figure = fairness_charts.groups_chart(large, shown, words, percent=metric == "popularity_lift")
        shared.chart(figure, "fair groups", plain("fair.groups.alt", metric=names[metric]))
    pairs = 1 if gap is None else gap.pairs
    st.caption(plain("fair.groups.caption", formula=code(formula(metric)), smallest=fairness.SMALLEST, pairs=pairs))
    if by == fairness.KNOWN:
        st.caption(t("fair.groups.known", few=fairness.COLD))
    view = fairness_tables.groups_view(table, by, names)
    columns = {c: st.column_config.Column(c) for c in view.columns}
    shared.table(view, "fair groups", columns, most=22, only=True)
    full = table.assign(group=[fairness_tables.group(by, g) for g in table["group"]])
    shared.download(full, f"{now.run.path.name}-groups", "fair groups")


page(state.current_run())
