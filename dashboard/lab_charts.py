"""A sweep of settings to a Plotly figure. No streamlit, no statistics: notebooks draw the same chart."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, CHOSEN, HERE, OTHER

GAP = "\u00a0" * 3  # between a mark and its word


def pareto_chart(
    sweep: pd.DataFrame,
    x: str,
    y: str,
    *,
    here: tuple[float, float],
    chosen: int | None,
    settings: Sequence[str],
    words: Mapping[str, str],
) -> go.Figure:
    """Every setting as a dot, a line through those that no other beats, and three marks: learned, chosen, and where you are.

    Args:
        sweep: what `tradeoffs.pareto` gave, the learned point first; customdata of a dot is its row.
        here: x and y of the settings as they are.
        chosen: a row, or None.
        settings: each row in words.
        words: for x, y, front, mix, rerank, learned, chosen and here.
    """
    said = {key: html.escape(word) for key, word in words.items()}
    traces = [_line(sweep, x, y, said["front"])]
    reranked = sweep["reranker"] != ""
    for key, rows, symbol in (("mix", ~reranked, "circle"), ("rerank", reranked, "triangle-up")):
        traces.append(_dots(sweep[rows], x, y, said, settings, said[key], symbol))
    marks = [("learned", 0, AXIS, "square-open")]
    if chosen is not None and 0 <= chosen < len(sweep):
        marks.append(("chosen", chosen, CHOSEN, "circle-open"))
    for key, row, colour, symbol in marks:
        traces.append(_mark((sweep[x].iloc[row], sweep[y].iloc[row]), said[key], colour, symbol, label=key == "learned"))
    traces.append(_mark(here, said["here"], HERE, "diamond", label=True))
    return go.Figure({"data": traces, "layout": _layout(said)})


def _line(sweep: pd.DataFrame, x: str, y: str, name: str) -> dict[str, Any]:
    front = sweep[sweep["front"]].sort_values(x)
    style = {"mode": "lines", "line": {"color": OTHER, "width": 2}, "hoverinfo": "skip"}
    return {"type": "scatter", "x": front[x].tolist(), "y": front[y].tolist(), "name": name, **style}


def _dots(
    rows: pd.DataFrame, x: str, y: str, said: Mapping[str, str], settings: Sequence[str], name: str, symbol: str
) -> dict[str, Any]:
    on = rows["front"].tolist()
    marker = {"symbol": symbol, "size": [9 if f else 7 for f in on], "color": [OTHER if f else AXIS for f in on]}
    hover = f"{said['x']} %{{x:.3f}}<br>{said['y']} %{{y:.3f}}<br>%{{customdata[1]}}<extra></extra>"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": rows[x].tolist(),
        "y": rows[y].tolist(),
        "customdata": [[int(i), html.escape(settings[i])] for i in rows.index],
        "hovertemplate": hover,
        "marker": marker | {"opacity": [1 if f else 0.55 for f in on]},
        "unselected": {"marker": {"opacity": 0.55}},
    }


def _mark(at: tuple[float, float], name: str, colour: str, symbol: str, *, label: bool) -> dict[str, Any]:
    text = {
        "text": [f"{GAP}{name}{GAP}"],
        "textposition": "middle right" if symbol == "diamond" else "bottom left",
        "textfont": {"color": colour},
    }
    marker = {"color": colour, "symbol": symbol, "size": 14 if "open" in symbol else 12, "line": {"width": 2, "color": colour}}
    shown = {"mode": "markers+text" if label else "markers", "marker": marker, "hoverinfo": "skip", "cliponaxis": False}
    return {"type": "scatter", "x": [at[0]], "y": [at[1]], "name": name, **shown, **(text if label else {})}


def _layout(said: Mapping[str, str]) -> dict[str, Any]:
    axis = {"zeroline": False, "automargin": True}
    return {
        "height": 400,
        "margin": {"l": 8, "r": 84, "t": 40, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "xaxis": axis | {"title": {"text": said["x"]}},
        "yaxis": axis | {"title": {"text": said["y"]}},
        "hovermode": "closest",
        "dragmode": False,
        "clickmode": "event+select",
        "uirevision": "pareto",
    }
