"""HTML for notebooks: facts, tables and bars that need no script, no style sheet and no network, and read on light and dark.

All of it is `markupsafe.Markup`, which escapes whatever plain text is formatted into it; nothing here knows a recommender.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

COLOURS = {  # one for life, from Okabe and Ito's palette (2008), which colour-blind eyes can tell apart
    "ease": "#0072B2",  # blue
    "bert": "#E69F00",  # orange
    "item_knn": "#009E73",  # teal
    "user_knn": "#CC79A7",  # pink
    "factors": "#56B4E9",  # sky
    "popularity": "#686868",  # grey
    "cross_encoder": "#D55E00",  # vermilion
    "cold": "#F0E442",  # yellow
    "next_item": "#882E72",  # violet
}
OTHERS = ("#4B6A2A", "#B3446C", "#1B4B5A", "#8DB600", "#654522")  # for components without a colour of their own
AXIS = "#8A8F98"  # reads on white and on black
UP, DOWN = "#4393C3", "#D6604D"  # of signed bars; both read on white and on black
WIDE = 160  # pixels of the longest bar
MISSING = "\u2013"  # an en dash


def colours(names: Sequence[str]) -> dict[str, str]:
    """Colour of each component; those unknown here take the spare ones in turn."""
    spare = [n for n in names if n not in COLOURS]
    return {n: COLOURS.get(n) or OTHERS[spare.index(n) % len(OTHERS)] for n in names}


def page(title: str, *parts: str) -> str:
    """A title in bold and what comes below it; a part that is not Markup is escaped and stands on a line of its own."""
    lines = Markup("").join(p if isinstance(p, Markup) else Markup("<div>{}</div>").format(p) for p in parts if p)
    return str(Markup('<div style="font-family:sans-serif"><b>{}</b>{}</div>').format(title, lines))


def cut(text: object, most: int) -> str:
    """One line of at most `most` characters; not escaped."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def small(text: str) -> Markup:
    return Markup("<div><small>{}</small></div>").format(text)


def facts(pairs: Mapping[str, Any]) -> Markup:
    """`name value · name value`; whole numbers with separators, None left out."""
    told = (
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in pairs.items() if value is not None
    )
    return small(" · ".join(told))


def folded(title: str, lines: Iterable[str]) -> Markup:
    """Lines behind a title that opens by a click; nothing if there is no line."""
    rows = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    return (
        Markup("<details><summary><small>{}</small></summary><small><ul>{}</ul></small></details>").format(title, rows)
        if rows
        else rows
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A row of names, if there are any, and rows of cells: numbers to the right (floats with four digits, NaN as a dash), the
    rest to the left; Markup as it is."""
    names = Markup("").join(Markup('<th style="text-align:left">{}</th>').format(name) for name in head)
    body = Markup("").join(Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in rows)
    top = Markup("<thead><tr>{}</tr></thead>").format(names) if head else names
    return Markup('<table style="margin:4px 0">{}<tbody>{}</tbody></table>').format(top, body)


def _cell(value: Any) -> Markup:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:,}" if isinstance(value, int) else (MISSING if math.isnan(value) else f"{value:.4f}") if number else value
    return Markup('<td style="text-align:{}">{}</td>').format("right" if number else "left", text)


def signed(value: float) -> Markup:
    return Markup('<div style="text-align:right">{}</div>').format(f"{value:+.4f}" if math.isfinite(value) else MISSING)


def interval(mean: Any, low: Any, high: Any) -> Markup:
    """`mean [low, high]` of floats; the mean alone where the ends are NaN or None."""
    if any(v is None or math.isnan(v) for v in (low, high)):
        return Markup("{}").format(MISSING if mean is None or math.isnan(mean) else f"{mean:.4f}")
    return Markup('{} <small style="opacity:.7;white-space:nowrap">[{}, {}]</small>').format(
        *(f"{v:.4f}" for v in (mean, low, high))
    )


def bar(value: float, widest: float, colour: str = "") -> Markup:
    """A bar of |value| / widest of the full width; without a colour, that of its sign. Nothing for NaN."""
    width = WIDE * min(abs(value) / (widest or 1.0), 1) if math.isfinite(value) else 0
    return _strip(width, colour or (UP if value >= 0 else DOWN))


def _strip(width: float, colour: str, title: str = "") -> Markup:
    style = f"display:inline-block;width:{width:.1f}px;height:10px;background-color:{colour}"
    return Markup('<span style="{}" title="{}"></span>').format(style, title)


def stacks(rows: Sequence[Sequence[float]], names: Sequence[str]) -> list[Markup]:
    """Each row's parts end to end, those below zero to the left of the zero line; one scale for all rows, NaN as nothing."""
    parts = [[0.0 if math.isnan(v) else v for v in row] for row in rows]
    low = min((sum(v for v in row if v < 0) for row in parts), default=0.0)
    high = max((sum(v for v in row if v > 0) for row in parts), default=0.0)
    scale, paint = WIDE / ((high - low) or 1.0), list(colours(names).values())
    out = []
    for row in parts:
        strips = [(v, _strip(abs(v) * scale, paint[c], f"{names[c]} {v:+.2f}")) for c, v in enumerate(row)]
        left = [strip for v, strip in strips if v < 0]
        gap = _strip((sum(v for v in row if v < 0) - low) * scale, "transparent")
        zero = _strip(1, AXIS)
        line = Markup("").join([gap, *left, zero, *(strip for v, strip in strips if v > 0)])
        out.append(Markup('<div style="white-space:nowrap;line-height:0">{}</div>').format(line))
    return out


def legend(names: Sequence[str]) -> Markup:
    """A square of its colour and the name of each component."""
    square = Markup('<span style="display:inline-block;width:10px;height:10px;background-color:{}"></span> {}')
    return Markup("<div><small>{}</small></div>").format(
        Markup(" &nbsp; ").join(square.format(c, n) for n, c in colours(names).items())
    )
