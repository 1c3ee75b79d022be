"""HTML that a browser draws in a millisecond, where a chart or a row of widgets would take a hundred: bars of parts, tiles,
tables of text; and a picture.

For what is drawn again at every move of a slider. All of it is `markupsafe.Markup`, which escapes whatever is formatted into it;
the style sheet is `style.LIGHT`. No streamlit, no statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from dashboard.charts import colours, components
from dashboard.lab_tables import Tile

LONGEST = 200  # letters of a title; the style sheet cuts it where the room ends
TICKS = 6  # lines of a scale, about
STEPS = (1.0, 2.0, 5.0, 10.0)
ARROWS = {"up": "\u2191 ", "down": "\u2193 ", "off": ""}
MINUS = "\u2212"


def bars(
    frame: pd.DataFrame,
    *,
    axis: str,
    total: str,
    missing: str,
    alt: str,
    links: Mapping[str, str] | None = None,
    asks: Callable[[str], str] = str,
) -> str:
    """One stacked bar an item: parts above zero to the right, below zero to the left, the logit at the end.

    Args:
        frame: rank, title, logit and part_<component> (NaN = not available, drawn as nothing and said on hover); item_id if there
            are links.
        axis, total, missing, alt: words for the scale, the logit, a missing part and the whole.
        links: an address for the title of each item id; `asks`: what the link of a title asks.
    """
    names = components(frame)
    parts = frame[[f"part_{name}" for name in names]].astype(float).to_numpy().tolist()
    known = [[0.0 if math.isnan(v) else v for v in row] for row in parts]
    ends = [(sum(v for v in row if v < 0), sum(v for v in row if v > 0)) for row in known]
    ticks = scale(min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0))
    low, span = ticks[0], ticks[-1] - ticks[0]

    def at(value: float) -> str:
        return f"{100 * (value - low) / span:.2f}%"

    paint = colours(names)
    rows = []
    facts = frame.assign(link=[(links or {}).get(str(item), "") for item in frame.get("item_id", frame["rank"])])
    for told, given, own, (_, high) in zip(facts.to_dict("records"), parts, known, ends, strict=True):
        drawn, right, left = [], 0.0, 0.0
        for name, value in zip(names, own, strict=True):
            start, right, left = (right, right + value, left) if value >= 0 else (left + value, right, left + value)
            if value:
                where = f"left:{at(start)};width:{100 * abs(value) / span:.2f}%;background:{paint[name]}"
                drawn.append(Markup('<i style="{}" title="{} {}"></i>').format(where, name, signed(value)))
        said = ", ".join(f"{n} {missing if math.isnan(v) else signed(v)}" for n, v in zip(names, given, strict=True))
        title = " ".join(str(told["title"]).split())[:LONGEST]
        name = Markup('<span title="{}">{}</span>').format(title, title)
        if told["link"]:
            name = Markup('<a href="{}" target="_self" title="{}">{}</a>').format(told["link"], asks(title), title)
        end = Markup('<b style="left:{}" title="{} {:.2f}">{}</b>').format(at(high), total, told["logit"], figure(told["logit"]))
        lane = Markup('<span class="lane" title="{}">{}{}</span>').format(said, Markup("").join(drawn), end)
        row = Markup('<div class="row" role="listitem"><span class="name"><em>{}</em>{}</span>{}</div>')
        rows.append(row.format(told["rank"], name, lane))
    lines = Markup("").join(
        Markup('<u class="{}" style="left:{}"><s>{}</s></u>').format("zero" if tick == 0 else "", at(tick), plain_number(tick))
        for tick in ticks
    )
    legend = Markup("").join(Markup('<span><i style="background:{}"></i>{}</span>').format(c, n) for n, c in paint.items())
    page = Markup(
        '<div class="wr-bars"><div class="legend">{}</div><div class="body"><div class="grid" aria-hidden="true"><span></span>'
        '<span class="lane">{}</span></div><div role="list" aria-label="{}">{}</div></div><div class="axis">{}</div></div>'
    )
    return str(page.format(legend, lines, alt, Markup("").join(rows), axis))


def picture(address: str) -> str:
    """A picture that says nothing beyond the title beside it; nothing is seen where it cannot be fetched."""
    return str(Markup('<div class="wr-picture"><img src="{}" alt=""></div>').format(address))


def scale(low: float, high: float) -> list[float]:
    """Round numbers from at most `low` to at least `high`, zero among them.

    >>> scale(-0.4, 2.6)
    [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    """
    low, high = min(low, 0.0), max(high, 0.0)
    rough = (high - low if high - low > 1e-6 else 1.0) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * one for one in STEPS if unit * one >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", MINUS)


def figure(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS)


def plain_number(value: float) -> str:
    return f"{value:g}".replace("-", MINUS)


def tiles(made: Sequence[Tile]) -> str:
    """Figures with their change; what each means is shown to a pointer and to the keyboard's focus."""
    return str(Markup('<div class="wr-tiles" role="list">{}</div>').format(Markup("").join(_tile(tile) for tile in made)))


def _tile(tile: Tile) -> Markup:
    first, *rest = tile.lines or ("",)
    text, formula = Markup("<p>{}</p>"), Markup("<p><code>{}</code></p>")
    told = Markup("").join((text if n else formula).format(line) for n, line in enumerate(rest))
    delta = Markup('<span class="delta {}">{}{}</span>').format(tile.colour, ARROWS[tile.arrow], tile.delta) if tile.delta else ""
    return Markup(
        '<div class="tile" role="listitem" tabindex="0"><span class="label">{}</span><span class="value">{}</span>{}'
        '<span class="about">{}</span><div class="tip" role="tooltip"><p>{}</p>{}</div></div>'
    ).format(tile.label, tile.value, delta, tile.about, first, told)


def words(frame: pd.DataFrame, heads: Mapping[str, str]) -> str:
    """A table of texts with lines as long as there is room: cells of `st.dataframe` do not break Chinese, which has no spaces."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(heads[c]) for c in frame.columns)
    rows = Markup("").join(_row(row) for row in frame.to_dict("records"))
    table = Markup('<div class="wr-words"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>')
    return str(table.format(head, rows))


def _coded(text: str) -> Markup:
    """What stands between backticks as code."""
    code, parts = Markup("<code>{}</code>"), text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(code.format(part) if n % 2 else escape(part) for n, part in enumerate(parts))


def _row(cells: Mapping[Any, Any]) -> Markup:
    (_, name), *rest = cells.items()
    made = Markup("").join(Markup('<td class="{}">{}</td>').format(column, _coded(str(text))) for column, text in rest)
    return Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, made)
