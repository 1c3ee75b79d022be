"""The catalogue on a plane: frame to Plotly figure. No streamlit, no statistics."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, GROUPS

MARKS = {"history": "diamond-open", "list": "star-open", "chosen": "circle-open"}


def map_chart(frame: pd.DataFrame, names: Sequence[str], marks: Sequence[tuple[str, str]]) -> go.Figure:
    """A dot an item, one colour a group; `marks` lie over them with shapes of their own.

    Args:
        frame: x, y, title, group (place in `names`), mark ("" or a key of MARKS).
        names: words for the groups; those beyond the colours are grey.
        marks: key of MARKS and its word.
    """
    traces = []
    for n, name in enumerate(names):
        rows = frame[frame["group"] == n]
        if len(rows):
            colour = GROUPS[n] if n < len(GROUPS) else AXIS
            traces.append(_dots(rows, name, {"color": colour, "size": 6, "opacity": 0.7 if n < len(GROUPS) else 0.4}))
    for key, word in marks:
        rows = frame[frame["mark"] == key]
        if len(rows):
            size = {"history": 7, "list": 14}.get(key, 20)  # a history may hold hundreds
            marker = {
                "symbol": MARKS[key],
                "size": size,
                "color": AXIS,
                "line": {"width": 1 if key == "history" else 2, "color": AXIS},
            }
            traces.append(_dots(rows, word, marker))
    return go.Figure({"data": traces, "layout": _layout()})


def _dots(rows: pd.DataFrame, name: str, marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scattergl",
        "mode": "markers",
        "name": html.escape(name),
        "x": rows["x"].tolist(),
        "y": rows["y"].tolist(),
        "text": [html.escape(str(title)) for title in rows["title"]],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def _layout() -> dict[str, Any]:
    axis = {"visible": False, "zeroline": False}
    return {
        "height": 560,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"font": {"size": 12}, "itemsizing": "constant"},
        "xaxis": axis,
        "yaxis": axis | {"scaleanchor": "x"},
        "hovermode": "closest",
        "uirevision": "map",
    }
