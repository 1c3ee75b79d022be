"""Figures with intervals, curves and shares to Plotly figures. No streamlit, no statistics: notebooks draw the same charts."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, HERE, OTHER, colours

GRID = "rgba(138,143,152,.25)"


def whiskers(frame: pd.DataFrame, *, axis: str, paint: Mapping[str, str], zero: bool = False, places: int = 3) -> go.Figure:
    """A dot a row, in the frame's order from the top, with its interval as a whisker.

    Args:
        frame: label, mean, low, high (NaN = no whisker), n.
        axis: word for the axis.
        paint: colour by label; others take one of their own.
        zero: draw a line at zero, and the range holds it.
        places: digits behind the point, on hover.
    """
    rows = [html.escape(str(label)) for label in frame["label"]]
    paints = [paint.get(label, OTHER) for label in frame["label"]]
    traces: list[dict[str, Any]] = []
    for row, mean, low, high, colour in zip(rows, frame["mean"], frame["low"], frame["high"], paints, strict=True):
        line = {"color": colour, "width": 2}
        line_ = {"type": "scatter", "mode": "lines", "x": [low, high], "y": [row, row], "line": line, "hoverinfo": "skip"}
        traces += [line_] if pd.notna(low) and pd.notna(high) and pd.notna(mean) else []
    told = frame[["low", "high", "n"]].to_numpy().tolist()
    hover = f"%{{y}}<br>%{{x:.{places}f}} [%{{customdata[0]:.{places}f}}, %{{customdata[1]:.{places}f}}]"
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": frame["mean"].tolist(),
            "y": rows,
            "customdata": told,
            "hovertemplate": f"{hover}<br>n = %{{customdata[2]:,}}<extra></extra>",
            "marker": {"color": paints, "size": 10},
        }
    )
    layout = _plain(axis, 64 + 28 * max(len(rows), 2))
    ends = [v for v in [*frame["mean"], *frame["low"], *frame["high"], *([0.0] if zero else [])] if pd.notna(v)]
    pad = 0.05 * (max(ends) - min(ends)) if ends else 0.0
    layout["xaxis"] |= {"zeroline": zero, "showgrid": True}
    layout["xaxis"] |= {"range": [min(ends) - pad, max(ends) + pad]} if pad > 0 else {}
    layout["yaxis"] = _names(rows)
    return go.Figure({"data": traces, "layout": layout})


def model_paint(names: list[str]) -> dict[str, str]:
    """The hybrid in its own colour, each component in the one it has everywhere."""
    return colours([n for n in names if n != "hybrid"]) | {"hybrid": HERE}


def curves_chart(frame: pd.DataFrame, column: str, *, x: str, y: str) -> go.Figure:
    """A line a component over its epochs; `column` is "loss" or "value"."""
    traces = []
    for name, paint in colours(list(dict.fromkeys(frame["component"]))).items():
        rows = frame[frame["component"] == name]
        style = {"mode": "lines+markers", "line": {"color": paint, "width": 2}, "marker": {"size": 4}}
        hover = f"{html.escape(name)} %{{x}}: %{{y:.4g}}<extra></extra>"
        points = {"x": rows["epoch"].tolist(), "y": rows[column].tolist(), "hovertemplate": hover}
        traces.append({"type": "scatter", "name": html.escape(name), **points, **style})
    layout = _plain(x, 210) | {"showlegend": len(traces) > 1}
    layout["margin"] |= {"t": 36 if len(traces) > 1 else 8}
    layout["yaxis"] = _grid(y)
    return go.Figure({"data": traces, "layout": layout})


def tail_chart(curve: pd.DataFrame, top: pd.DataFrame, *, x: str, y: str) -> go.Figure:
    """Share of interactions of the most met items, with marks at the shares of `top`, and the line of no concentration."""
    even = {"x": [0, 1], "y": [0, 1], "mode": "lines", "line": {"color": AXIS, "width": 1, "dash": "dot"}, "hoverinfo": "skip"}
    said = [f"{i:.0%}  {v:.0%}" for i, v in zip(top["items"], top["interactions"], strict=True)]
    lines = {
        "x": curve["items"].tolist(),
        "y": curve["interactions"].tolist(),
        "mode": "lines",
        "line": {"color": OTHER, "width": 2},
    }
    marks = {"x": top["items"].tolist(), "y": top["interactions"].tolist(), "mode": "markers+text", "text": said}
    marks |= {
        "textposition": "bottom right",
        "textfont": {"color": OTHER},
        "marker": {"color": OTHER, "size": 8},
        "cliponaxis": False,
    }
    hover = {"hovertemplate": "%{x:.0%}: %{y:.0%}<extra></extra>"}
    layout = _plain(x, 300)
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, 1]}
    layout["yaxis"] = _grid(y) | {"tickformat": ".0%", "range": [0, 1.02]}
    return go.Figure({"data": [{"type": "scatter", **t} for t in (even, lines | hover, marks | hover)], "layout": layout})


def pairs_chart(frame: pd.DataFrame, *, names: tuple[str, str], axis: str) -> go.Figure:
    """Two bars a component, one a run: component, a, b (NaN = the run has none)."""
    rows = [html.escape(str(name)) for name in frame["component"]]
    paints = (AXIS, OTHER)
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": html.escape(name),
            "x": frame[side].tolist(),
            "y": rows,
            "marker": {"color": colour},
            "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
        }
        for side, name, colour in zip("ab", names, paints, strict=True)
    ]
    layout = _plain(axis, 90 + 34 * max(len(rows), 2)) | {"showlegend": True, "barmode": "group", "bargap": 0.35}
    layout["margin"] |= {"t": 36}
    layout["yaxis"] = _names(rows)
    return go.Figure({"data": traces, "layout": layout})


def share_chart(values: list[float], *, x: str, y: str) -> go.Figure:
    """How often each value from 0 to 1 occurs, in twenty bars."""
    bins = {"start": 0, "end": 1, "size": 0.05}
    bars = {
        "type": "histogram",
        "x": [min(v, 1 - 1e-9) for v in values],  # 1 belongs to the last bar
        "xbins": bins,
        "marker": {"color": OTHER},
        "hovertemplate": "%{x}: %{y}<extra></extra>",
    }
    layout = _plain(x, 220) | {"bargap": 0.08}
    layout["xaxis"] |= {"range": [0, 1]}
    layout["yaxis"] = _grid(y)
    return go.Figure({"data": [bars], "layout": layout})


def _names(rows: list[str]) -> dict[str, Any]:
    fixed = {"categoryorder": "array", "categoryarray": rows, "autorange": "reversed", "type": "category"}
    return fixed | {"automargin": True, "fixedrange": True, "ticks": "", "showgrid": False}


def _grid(title: str) -> dict[str, Any]:
    axis = {"title": {"text": html.escape(title)}, "zeroline": False, "zerolinecolor": AXIS, "zerolinewidth": 1.5}
    return axis | {"automargin": True, "fixedrange": True, "gridcolor": GRID}


def _plain(x: str, height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 24, "t": 8, "b": 8},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "xaxis": _grid(x),
        "hovermode": "closest",
        "dragmode": False,
        "uirevision": html.escape(x),
    }
