"""How far explainers agree, as a heatmap. No streamlit, no statistics: notebooks draw the same chart."""

from __future__ import annotations

import html

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, OTHER, SCALE

FLOOR = AXIS  # colour of methods that do not look at the model


def paint(methods: list[str], floors: tuple[str, ...]) -> dict[str, str]:
    return {name: FLOOR if name in floors else OTHER for name in methods}


def agreement_chart(matrix: pd.DataFrame) -> go.Figure:
    """Correlations from -1 to 1, each with its number; what is not there is blank."""
    names = [html.escape(str(n)) for n in matrix.index]
    values = matrix.to_numpy()
    text = [["" if pd.isna(v) else f"{round(v, 2) + 0.0:.2f}".replace("-", "\u2212") for v in row] for row in values.tolist()]
    cells = {
        "type": "heatmap",
        "z": [[None if pd.isna(v) else v for v in row] for row in values.tolist()],
        "x": names,
        "y": names,
        "text": text,
        "texttemplate": "%{text}",
        "zmin": -1,
        "zmax": 1,
        "colorscale": SCALE,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y} / %{x}: %{text}<extra></extra>",
    }
    axis = {"type": "category", "automargin": True, "fixedrange": True, "showgrid": False, "ticks": "", "zeroline": False}
    layout = {
        "height": 130 + 30 * len(names),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "xaxis": axis | {"tickangle": -40},
        "yaxis": axis | {"autorange": "reversed"},
        "dragmode": False,
    }
    return go.Figure({"data": [cells], "layout": layout})
