"""Frame to Plotly figure. No streamlit, no statistics: notebooks draw the same charts, in the colours of `recsys_core.show`."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from recsys_core.show import AXIS as AXIS
from recsys_core.show import COLOURS as COLOURS
from recsys_core.show import DOWN as DOWN
from recsys_core.show import OTHERS as OTHERS
from recsys_core.show import UP as UP
from recsys_core.show import colours as colours
from recsys_core.show import cut as cut

# What is no component has colours of its own, which read on white and on black.
HERE = "#C2003F"  # what is looked at: the hybrid, this user, the settings as they are
CHOSEN = "#D99A00"  # what was picked in a chart
OTHER = "#5B7FA6"  # any other mark
LIKES, LISTS = "#2E86C1", "#E69F00"  # what people like, what they are shown; the blue a little lighter than Okabe and Ito's
GROUPS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C2D19")  # Okabe and Ito, brown for yellow
EVEN = "#E4E6EA"  # neither this nor that
SCALE = [[0, "#D55E00"], [0.5, EVEN], [1, "#0072B2"]]  # -1 to 1; opaque, so that numbers read in the dark too
# Every colour that stands for something in a chart; no chart has another.
PALETTE = {*COLOURS.values(), *OTHERS, *GROUPS, LIKES, LISTS, HERE, CHOSEN, OTHER, EVEN, UP, DOWN, AXIS}

BAR = (130, 28)  # pixels; as high as a table row lets it be, or the table would stretch and cut it


def components(frame: pd.DataFrame) -> list[str]:
    """Names of the components whose parts a frame holds."""
    return [c.removeprefix("part_") for c in frame.columns if c.startswith("part_")]


def parts_chart(frame: pd.DataFrame, *, axis: str, total: str, missing: str) -> go.Figure:
    """One stacked bar an item: parts above zero to the right, below zero to the left; the logit at its end.

    Args:
        frame: rank, title, logit and part_<component> (NaN = not available, drawn as nothing and said on hover).
        axis, total, missing: words for the axis, the logit and a missing part.
    """
    names = components(frame)
    rows = [f"{rank}  {_short(title)}" for rank, title in zip(frame["rank"], frame["title"], strict=True)]
    bars = []
    for name, colour in colours(names).items():
        part, word = frame[f"part_{name}"], html.escape(name)
        said = [missing if pd.isna(v) else f"{v:+.2f}" for v in part]
        hover = "%{y}<br>" + word + " %{customdata}<extra></extra>"
        style = {"marker": {"color": colour}, "customdata": said, "hovertemplate": hover}
        bars.append({"type": "bar", "name": word, "x": part.fillna(0).tolist(), "y": rows, "orientation": "h", **style})
    ends = {
        "type": "scatter",
        "x": frame[[f"part_{n}" for n in names]].clip(lower=0).sum(axis=1).tolist(),
        "y": rows,
        "text": [f" {v:.2f}" for v in frame["logit"]],
        "name": html.escape(total),
        "mode": "text",
        "textposition": "middle right",
        "showlegend": False,
        "hoverinfo": "skip",
        "cliponaxis": False,
    }
    return go.Figure({"data": [*bars, ends], "layout": _layout(len(rows), axis)})


def _layout(n_rows: int, axis: str) -> dict[str, object]:
    return {
        "barmode": "relative",
        "bargap": 0.35,
        "height": 100 + 26 * n_rows,
        "margin": {"l": 8, "r": 48, "t": 52, "b": 44},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 12}},
        "xaxis": {"title": {"text": axis}, "zeroline": True, "zerolinecolor": AXIS, "zerolinewidth": 1.5, "fixedrange": True},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": ""},
        "uirevision": "parts",
    }


def _short(title: str, most: int = 34) -> str:
    """A title for an axis: one line, cut, with nothing in it that Plotly reads as markup."""
    return html.escape(cut(title, most))


def bar_images(frame: pd.DataFrame) -> list[str]:
    """Each row's parts as a small stacked bar, an SVG data address; one scale and one zero line for all rows."""
    names = components(frame)
    parts = frame[[f"part_{n}" for n in names]].fillna(0).to_numpy()
    low = min(parts.clip(max=0).sum(axis=1).min(initial=0), 0)
    high = max(parts.clip(min=0).sum(axis=1).max(initial=0), 0)
    scale = BAR[0] / ((high - low) or 1)
    paint = list(colours(names).values())
    return [_svg([v * scale for v in row], paint, -low * scale) for row in parts]


def _svg(lengths: Sequence[float], paint: Sequence[str], zero: float) -> str:
    """Signed lengths in pixels, laid end to end from the zero line to either side."""
    shapes, right, left = [], zero, zero
    for length, colour in zip(lengths, paint, strict=True):
        start = right if length >= 0 else left + length
        shapes.append(f'<rect x="{start:.2f}" y="8" width="{abs(length):.2f}" height="12" fill="{colour}"/>')
        right, left = (right + length, left) if length >= 0 else (right, left + length)
    line = f'<rect x="{min(zero, BAR[0] - 1):.2f}" y="4" width="1" height="20" fill="{AXIS}"/>'
    size = f'width="{BAR[0]}" height="{BAR[1]}" viewBox="0 0 {BAR[0]} {BAR[1]}"'
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}{line}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()
