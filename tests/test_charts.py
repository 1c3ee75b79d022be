"""Every chart has a sentence above it, a caption, a table of its numbers and a download, and colours that all eyes tell apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rendered
import stations
from streamlit.testing.v1 import AppTest

from dashboard import charts

DASHBOARD = Path(charts.__file__).parent


@pytest.mark.parametrize("name", stations.STATIONS)
def test_every_chart_is_said_captioned_and_told_as_a_table(come, name: str) -> None:
    found = list(rendered.charts(come(name).main))
    assert len(found) >= stations.CHARTS.get(name, 0)
    assert {place.chart.key or "bars": lacks for place in found if (lacks := place.lacks())} == {}
    for place in found:
        assert rendered.colours(place.chart) <= charts.PALETTE
        assert rendered.colours(place.chart)


def test_a_chart_alone_is_found() -> None:
    def script() -> None:
        import plotly.graph_objects as go
        import streamlit as st

        st.subheader("Before")
        st.plotly_chart(go.Figure(go.Bar(x=[1], y=["a"], marker={"color": "#123456"})), key="bare")
        st.subheader("After")
        st.markdown("This sentence is of another chart.")
        st.caption("And so is this caption.")

    (place,) = rendered.charts(AppTest.from_function(script).run().main)
    assert len(place.lacks()) == 5
    assert rendered.colours(place.chart) == {"#123456"}


def test_colours_are_named_in_one_place() -> None:
    """Charts take them from `charts`, which has those of the core."""
    files = [
        p for p in DASHBOARD.rglob("*.py") if p.stem == "light" or p.stem.endswith("_charts") or p.parent.name == "app_pages"
    ]
    assert len(files) > 15
    hover = "#1F2430", "#FFFFFF"  # ink and paper of what is said on hover
    left = {p.name: found for p in files if (found := {*re.findall("#[0-9A-Fa-f]{6}", p.read_text("utf-8"))} - {*hover})}
    assert left == {}


# What eyes without red or green cones see of linear RGB (Machado, Oliveira & Fernandes 2009, severity 1), and what most do.
EYES = {
    "most": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eyes: np.ndarray) -> np.ndarray:
    """CIELAB of a colour as it is seen."""
    rgb = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = eyes @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ linear.clip(0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(colours: Iterable[str]) -> float:
    """The smallest distance of two colours (CIE76; 2 is just seen) to any eyes."""
    pairs = list(combinations(colours, 2))
    return min(float(np.linalg.norm(seen(a, eyes) - seen(b, eyes))) for eyes in EYES.values() for a, b in pairs)


@pytest.mark.parametrize(
    "together",
    [
        [*charts.COLOURS.values()],
        [*charts.COLOURS.values(), charts.HERE],
        charts.GROUPS,
        (charts.LIKES, charts.LISTS, charts.AXIS),
        (charts.UP, charts.DOWN),
        (charts.HERE, charts.CHOSEN, charts.OTHER, charts.AXIS),
    ],
)
def test_colours_that_stand_together_are_told_apart_by_all_eyes(together: Sequence[str]) -> None:
    assert apart(together) > 10


def test_colours_that_some_eyes_confuse_are_found() -> None:
    assert apart(["#E69F00", "#B8A600"]) < 2
