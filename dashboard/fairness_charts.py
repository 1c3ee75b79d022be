"""Frames of `recsys_core.fairness` to Plotly figures. No streamlit, no statistics: notebooks draw the same charts.

One meaning, one colour: what the catalogue has is grey, what people liked is blue, what lists show is orange.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, HERE, LIKES, LISTS, cut

PERCENT = {"tickformat": ".0%", "zeroline": False, "automargin": True, "fixedrange": True}
ROWS = 12  # values in a chart; the table has all


def tail_chart(curve: pd.DataFrame, words: Mapping[str, str]) -> go.Figure:
    """Lorenz curves of likes and of places in lists, and the line of an even spread.

    Args:
        curve: what `fairness.long_tail` gave.
        words: for likes, lists, even, x and y.
    """
    said = {key: html.escape(word) for key, word in words.items()}
    hover = "%{x:.0%} · %{y:.1%}"
    traces = [
        {
            "x": [0, 1],
            "y": [0, 1],
            "name": said["even"],
            "line": {"color": AXIS, "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
        },
        {
            "x": curve["catalogue"].tolist(),
            "y": curve["likes"].tolist(),
            "name": said["likes"],
            "line": {"color": LIKES, "width": 2.5},
        },
        {
            "x": curve["catalogue"].tolist(),
            "y": curve["exposure"].tolist(),
            "name": said["lists"],
            "line": {"color": LISTS, "width": 2.5, "dash": "dash"},
        },
    ]
    made: list[dict[str, Any]] = [{"type": "scatter", "mode": "lines", **trace} for trace in traces]
    for trace in made[1:]:
        trace["hovertemplate"] = f"{hover}<extra>{trace['name']}</extra>"
    axes = {"xaxis": PERCENT | {"title": {"text": said["x"]}, "range": [0, 1.01]}}
    axes["yaxis"] = PERCENT | {"title": {"text": said["y"]}, "range": [0, 1.02]}
    return go.Figure({"data": made, "layout": _layout(320, "tail") | axes})


def lift_chart(bins: pd.DataFrame, words: Mapping[str, str], *, mean: float, mine: float | None) -> go.Figure:
    """Users by popularity lift as bars, with lines at 0, at the mean, and at one user's.

    Args:
        bins: what `fairness.histogram` gave.
        words: for x, y, same, mean and mine.
    """
    said = {key: html.escape(word) for key, word in words.items()}
    middle = [(a + b) / 2 for a, b in zip(bins["low"], bins["high"], strict=True)]
    width = [b - a for a, b in zip(bins["low"], bins["high"], strict=True)]
    ranges = [f"{a:+.0%} to {b:+.0%}" for a, b in zip(bins["low"], bins["high"], strict=True)]
    bar = {"type": "bar", "x": middle, "y": bins["n"].tolist(), "width": width, "customdata": ranges, "showlegend": False}
    bar |= {
        "marker": {"color": LISTS, "line": {"width": 0}},
        "opacity": 0.75,
        "hovertemplate": "%{customdata}: %{y}<extra></extra>",
    }
    most = max([*bins["n"], 1]) * 1.08
    lines = [("same", 0.0, AXIS, "dot"), ("mean", mean, LIKES, "solid")]
    if mine is not None and mine == mine:
        lines.append(("mine", min(mine, bins["high"].iloc[-1]), HERE, "dash"))
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [at, at],
            "y": [0, most],
            "name": said[key],
            "line": {"color": colour, "dash": dash, "width": 2},
            "hovertemplate": f"{said[key]}: {at:+.0%}<extra></extra>",
        }
        for key, at, colour, dash in lines
    ]
    axes = {"xaxis": PERCENT | {"tickformat": "+.0%", "title": {"text": said["x"]}}}
    axes["yaxis"] = {"title": {"text": said["y"]}, "automargin": True, "fixedrange": True, "range": [0, most]}
    return go.Figure({"data": [bar, *traces], "layout": _layout(320, "lift") | axes})


def shares_chart(values: Sequence[str], series: Mapping[str, Sequence[float]], words: Mapping[str, str], key: str) -> go.Figure:
    """Bars side by side for each value, the first value on top.

    Args:
        values: names, at most ROWS are drawn.
        series: shares by "catalogue", "likes" or "lists".
        words: for each of the series, and x.
    """
    colours = {"catalogue": AXIS, "likes": LIKES, "lists": LISTS}
    rows = _axis_names(values[:ROWS])
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "x": list(shares[:ROWS]),
            "y": rows,
            "name": html.escape(words[name]),
            "marker": {"color": colours[name]},
            "hovertemplate": "%{y}: %{x:.1%}<extra>" + html.escape(words[name]) + "</extra>",
        }
        for name, shares in series.items()
    ]
    axes = {"xaxis": PERCENT | {"title": {"text": html.escape(words["x"])}, "rangemode": "tozero"}}
    axes["yaxis"] = {"autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": "", "type": "category"}
    height = 110 + (8 + 11 * len(series)) * len(rows)
    layout = _layout(height, key) | {"barmode": "group", "bargap": 0.3, "bargroupgap": 0.05, "hovermode": "closest"}
    layout["legend"] |= {"traceorder": "normal"}
    return go.Figure({"data": traces, "layout": layout | axes})


def groups_chart(rows: pd.DataFrame, names: Sequence[str], words: Mapping[str, str], *, percent: bool) -> go.Figure:
    """A dot and its interval for each group that is large enough, and a line at the mean of all.

    Args:
        rows: mean, low, high, n of one metric, as `fairness.segments` gives them, without small ones; names: of the groups.
        words: for x, all, and all_value (a number as text).
    """
    said = {key: html.escape(word) for key, word in words.items()}
    form = "+.0%" if percent else ".3f"
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": rows["mean"].tolist(),
        "y": _axis_names(names),
        "marker": {"color": LISTS, "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["mean"]).tolist(),
            "arrayminus": (rows["mean"] - rows["low"]).tolist(),
            "color": LISTS,
            "thickness": 1.5,
            "width": 4,
        },
        "customdata": [[a, b, int(n)] for a, b, n in zip(rows["low"], rows["high"], rows["n"], strict=True)],
        "hovertemplate": f"%{{y}}: %{{x:{form}}} (%{{customdata[0]:{form}}} to %{{customdata[1]:{form}}}), n = %{{customdata[2]}}"
        "<extra></extra>",
        "showlegend": False,
    }
    at = float(said["all_value"])
    line = {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": AXIS, "dash": "dot"}}
    note = {
        "x": at,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": said["all"],
        "showarrow": False,
        "font": {"color": AXIS},
    }
    axes = {
        "xaxis": {"title": {"text": said["x"]}, "tickformat": form, "zeroline": False, "fixedrange": True, "automargin": True}
    }
    axes["yaxis"] = {"autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": "", "type": "category"}
    layout = _layout(100 + 30 * len(rows), "groups") | {"shapes": [line], "annotations": [note], "hovermode": "closest"}
    return go.Figure({"data": [dots], "layout": layout | axes})


def _axis_names(names: Sequence[str], most: int = 26) -> list[str]:
    """One line each, cut, escaped; different names stay different."""
    found: list[str] = []
    for name in names:
        short = html.escape(cut(name, most) or "\u2014")
        while short in found:
            short += "\u200b"
        found.append(short)
    return found


def _layout(height: int, key: str) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 36, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
        "uirevision": key,
    }
