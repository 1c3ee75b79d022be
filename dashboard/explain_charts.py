"""Explanation (or a plain frame) to Plotly figure, highlighted text or table. No streamlit, no statistics.

Up and down differ by side, by a sign in text and by two colours of Brewer's RdBu (2003), which colour-blind eyes can tell apart.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import AXIS, DOWN, UP, colours, cut
from dashboard.strings import plain
from recsys_core.explain.game import Explanation
from recsys_core.explain.questions.attributes import NOTHING

ROW = 26  # pixels
COLUMNS = ("explain.column.label", "explain.column.contribution", "explain.column.share")
ROWS = 300  # of a table; the rest is one row, so that a page stays small and a sum still reads off


def rows(explanation: Explanation, most: int | None = None) -> pd.DataFrame:
    """Base, the `most` players with the largest |contribution|, the others as one, what is not shared out, and the output.

    Returns:
        kind ("base", "player", "others", "gap", "output"), label, contribution, standard_error, share, and start and end of each
        on the walk from base to output. Base and output carry their level as contribution.
    """
    e, frame = explanation, explanation.frame()
    order = frame["contribution"].abs().sort_values(ascending=False, kind="stable").index
    n = _shown(len(frame), most)
    shown, rest = frame.loc[order[:n]].assign(kind="player"), frame.loc[order[n:]]
    table = [_row("base", plain("explain.base"), e.base), *shown.to_dict("records")]
    if len(rest):
        many, total = plain("explain.others", n=len(rest)), float(rest["contribution"].sum())
        table.append(_row("others", many, total, float(rest["share"].sum())))
    if abs(gap(e)) > 1e-6:
        table.append(_row("gap", plain("explain.gap"), gap(e)))
    table.append(_row("output", plain("explain.output"), e.output))
    out = pd.DataFrame(table)[["kind", "label", "contribution", "standard_error", "share"]]
    moves = out["contribution"].where(~out["kind"].eq("output"), 0).fillna(0)
    end = moves.cumsum().where(~out["kind"].eq("output"), e.output)
    start = (end - moves).where(~out["kind"].isin(["base", "output"]), end)
    return out.assign(start=start, end=end)


def worded(explanation: Explanation) -> Explanation:
    """The same, with the player that the core itself has named told in the reader's language."""
    e = explanation
    if e.question != "attributes":
        return e
    labels = (plain("explain.nothing") if player == NOTHING else label for player, label in zip(e.players, e.labels, strict=True))
    return replace(e, labels=tuple(labels))


def gap(explanation: Explanation) -> float:
    """output - base - the sum of the contributions that are available."""
    return float(explanation.output - explanation.base - explanation.frame()["contribution"].sum())


def _shown(n: int, most: int | None) -> int:
    """How many of n to show if there is room for `most`: one more, or "1 other" would take its row all the same."""
    return n if most is None or n <= most + 1 else most


def _row(kind: str, label: str, value: float, share: float = math.nan) -> dict[str, Any]:
    return {"kind": kind, "label": label, "contribution": value, "standard_error": math.nan, "share": share}


def waterfall(explanation: Explanation, most: int = 12) -> go.Figure:
    """From the base, player by player, to the output, on the log-odds axis; the same place as a probability under each tick."""
    walk, places = rows(explanation, most), digits(explanation)
    moves = walk[~walk["kind"].isin(["base", "output"])]
    ends = walk[walk["kind"].isin(["base", "output"])]
    low, high = float(walk[["start", "end"]].min().min()), float(walk[["start", "end"]].max().max())
    span = (high - low) or 1.0
    said = [f"{v:.{places}f}" for v in ends["contribution"]]
    said[-1] += f" = {percent(explanation.probability)}"
    inward = ["middle left" if v > low + span / 2 else "middle right" for v in ends["end"]]
    marks = {
        "type": "scatter",
        "mode": "markers+text",
        "x": ends["end"].tolist(),
        "y": ends.index.tolist(),
        "text": [f" {text} " for text in said],
        "textposition": inward,
        "marker": {"symbol": "diamond", "size": 11, "color": AXIS},
        "hoverinfo": "skip",
    }
    joints = {
        "type": "scatter",
        "mode": "lines",
        "x": [v for end in walk["end"].iloc[:-1] for v in (end, end, None)],
        "y": [v for n in walk.index[:-1] for v in (n, n + 1, None)],
        "line": {"color": AXIS, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    traces = [joints, _bars(moves, places), marks, *_signed(moves[["start", "end"]], moves, places)]
    ticks = _ticks(low - 0.1 * span, high + 0.1 * span)
    chance = [percent(1 / (1 + math.exp(-min(max(v, -60), 60)))) for v in ticks]
    words = [f"{v:g}<br>{p}" for v, p in zip(ticks, chance, strict=True)]
    axis = _axis(ticks, words, plain("explain.axis.walk"), zero=False)
    return _figure(traces, _labels(walk, explanation.question), (low, high), moves["contribution"], axis)


def bars(explanation: Explanation, most: int = 15) -> go.Figure:
    """One bar a player, from what raises the score most to what lowers it most; whiskers are a standard error to either side."""
    found, places = rows(explanation, most), digits(explanation)
    moves = found[~found["kind"].isin(["base", "output"])]
    many = moves["kind"].eq("player")
    moves = pd.concat([moves[many].sort_values("contribution", ascending=False, kind="stable"), moves[~many]], ignore_index=True)
    moves = moves.assign(start=0.0, end=moves["contribution"].fillna(0))
    return _flat(moves, places, _labels(moves, explanation.question))


def tree(frame: pd.DataFrame, most: int = 5) -> go.Figure:
    """Components as thick bars, under each its past items as thin ones; a treemap cannot show what is negative.

    Args:
        frame: level1 (component), level2 (past item; empty = not through the history), level3 (words, if any), contribution;
            one row a leaf, so a component's bar is the sum of its leaves, and the thin bars add up to the thick one.
    """
    branch = branches(frame, most)
    moves = branch.assign(start=0.0, end=branch["contribution"], standard_error=math.nan)
    return _flat(moves, _places(branch["contribution"]), _labels(moves, "components"))


def branches(frame: pd.DataFrame, most: int | None = 5) -> pd.DataFrame:
    """What `tree` draws: kind ("component", "item", "others"), label, contribution, share of all that moves, words to hover."""
    leaves = frame.assign(level2=frame["level2"].fillna("")) if len(frame) else frame
    total = float(leaves["contribution"].abs().sum()) or 1.0
    out: list[dict[str, Any]] = []

    def add(kind: str, label: str, part: pd.DataFrame) -> None:
        value, share = float(part["contribution"].sum()), float(part["contribution"].abs().sum()) / total
        words = _words(part) if kind == "item" else ""
        out.append({"kind": kind, "label": label, "contribution": value, "share": share, "words": words})

    for component in _by_size(leaves, "level1"):
        part = leaves[leaves["level1"] == component]
        add("component", str(component), part)
        items = [item for item in _by_size(part, "level2") if item]
        n = _shown(len(items), most)
        for item in items[:n]:
            add("item", str(item), part[part["level2"] == item])
        if items[n:]:
            add("others", plain("explain.others", n=len(items) - n), part[part["level2"].isin(items[n:])])
        if (prior := part["level2"] == "").any():
            add("item", plain("explain.prior"), part[prior])
    return pd.DataFrame(out, columns=["kind", "label", "contribution", "share", "words"])


def _by_size(leaves: pd.DataFrame, level: str) -> list[object]:
    """Names at a level, the largest |sum| first."""
    if leaves.empty:
        return []
    return list(leaves.groupby(level, sort=False)["contribution"].sum().abs().sort_values(ascending=False, kind="stable").index)


def _words(part: pd.DataFrame, most: int = 3) -> str:
    if "level3" not in part:
        return ""
    found = part.loc[part["level3"].fillna("") != "", ["level3", "contribution"]]
    largest = found.loc[found["contribution"].abs().sort_values(ascending=False, kind="stable").index[:most]]
    return ", ".join(f"{cut(word, 30)} {v:+.3f}" for word, v in zip(largest["level3"], largest["contribution"], strict=True))


# What figures have in common.


def _flat(moves: pd.DataFrame, places: int, labels: list[tuple[str, str, int]]) -> go.Figure:
    """Bars from zero to either side."""
    error = moves["standard_error"].fillna(0)
    reach = pd.DataFrame({"start": moves["start"], "end": moves["end"] + error.where(moves["end"] >= 0, -error)})
    edges = [0.0, *(moves["end"] - error), *(moves["end"] + error)]
    low, high = min(edges), max(edges)
    ticks = _ticks(low - 0.1 * (high - low), high + 0.1 * (high - low)) if high > low else [0.0]
    axis = _axis(ticks, [f"{v:g}" for v in ticks], plain("explain.axis.bars"), zero=True)
    return _figure([_bars(moves, places), *_signed(reach, moves, places)], labels, (low, high), moves["contribution"], axis)


def _axis(ticks: list[float], words: list[str], title: str, *, zero: bool) -> dict[str, Any]:
    about = {"text": title, "font": {"size": 12}, "standoff": 8}
    return {"tickvals": ticks, "ticktext": words, "tickfont": {"size": 12}, "title": about, "zeroline": zero}


def _bars(moves: pd.DataFrame, places: int) -> dict[str, Any]:
    thin = moves["kind"].isin(["item"]) | (moves["kind"].eq("others") & bool(moves["kind"].eq("component").any()))
    value = moves["contribution"].fillna(0)
    bar: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": (moves["end"] - moves["start"]).tolist(),
        "base": moves["start"].tolist(),
        "y": moves.index.tolist(),
        "width": [0.36 if t else 0.66 for t in thin],
        "marker": {
            "color": [AXIS if kind == "gap" else UP if v >= 0 else DOWN for kind, v in zip(moves["kind"], value, strict=True)],
            "opacity": [0.6 if kind == "others" else 1.0 for kind in moves["kind"]],
            "line": {"width": 0},
        },
        "customdata": [_hover(row, places) for row in moves.to_dict("records")],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    if moves["standard_error"].notna().any():
        whisker = [None if pd.isna(v) else v for v in moves["standard_error"]]
        bar["error_x"] = {"type": "data", "array": whisker, "color": AXIS, "thickness": 1.5, "width": 4}
    return bar


def _hover(row: dict[Any, Any], places: int) -> str:
    lines = [f"<b>{html.escape(cut(row['label'], 80))}</b>", html.escape(plain("explain.hover", value=signed(row, places)))]
    if not pd.isna(row["share"]):
        lines.append(plain("explain.hover.share", share=row["share"]))
    return "<br>".join([*lines, *([html.escape(str(row["words"]))] if row.get("words") else [])])


def signed(row: dict[Any, Any], places: int) -> str:
    """A contribution with its sign, and its standard error if there is one; "not available" for NaN."""
    value, error = row["contribution"], row["standard_error"]
    if pd.isna(value):
        return plain("missing")
    return f"{value:+.{places}f}" + ("" if pd.isna(error) else f" ± {small(error, places)}")


def small(error: float, places: int) -> str:
    """A standard error in the digits of what it belongs to; "<0.01" for one that would read as none."""
    least = 10.0**-places
    return f"<{least:.{places}f}" if 0 < error < least / 2 else f"{error:.{places}f}"


def _signed(reach: pd.DataFrame, moves: pd.DataFrame, places: int) -> list[dict[str, Any]]:
    """The signed numbers just past the ends of bars: right of what raises, left of what lowers."""
    traces = []
    for up in (True, False):
        side = moves["contribution"].fillna(0).ge(0) == up
        text = [plain("missing") if pd.isna(v) else f"{v:+.{places}f}" for v in moves.loc[side, "contribution"]]
        place = {"textposition": "middle right" if up else "middle left", "cliponaxis": False, "hoverinfo": "skip"}
        x, y = reach.loc[side, "end"].tolist(), moves.index[side].tolist()
        traces.append({"type": "scatter", "mode": "text", "x": x, "y": y, "text": [f" {t} " for t in text], **place})
    return traces


def _labels(moves: pd.DataFrame, question: str) -> list[tuple[str, str, int]]:
    """Of each row: the tick's text, the same above the bar, its indent in pixels. Components have a square of their colour."""
    heads = moves["kind"].isin(["player", "component"]) if question == "components" else moves["kind"].eq("none")
    paint = colours(moves.loc[heads, "label"].tolist())
    nested = bool(bool(moves["kind"].eq("component").any()))
    out = []
    for kind, label, head in zip(moves["kind"], moves["label"], heads, strict=True):
        square = f'<span style="color:{paint[label]}">■</span>' if head else ""
        strong = ("<b>", "</b>") if kind in ("base", "output", "component") else ("", "")
        short, full = (html.escape(cut(label, most)) for most in (30, 44))
        tick = " ".join(filter(None, [f"{strong[0]}{short}{strong[1]}", square])) + "  "
        out.append((tick, f"{square} {strong[0]}{full}{strong[1]}".strip(), 16 if nested and kind != "component" else 0))
    return out


def _figure(
    traces: list[dict[str, Any]],
    labels: list[tuple[str, str, int]],
    edges: tuple[float, float],
    signs: pd.Series,
    axis: dict[str, Any],
) -> go.Figure:
    """Labels stand left of the bars. `layout.meta` holds two layouts for whoever knows the width of the page: "wide" is that, in
    "narrow" labels stand above the bars."""
    low, high = edges
    n, pad = max(len(labels), 1), (high - low) or 1.0
    wide = _places_of(labels, above=False)
    layout = wide | {
        "showlegend": False,
        "bargap": 0,
        "hoverlabel": {"bgcolor": "#1F2430", "bordercolor": "#1F2430", "font": {"color": "#FFFFFF"}, "align": "left"},
        "xaxis": {
            "range": [low - (0.16 if (signs < 0).any() else 0.03) * pad, high + 0.16 * pad],  # room for the numbers
            **axis,
            "zerolinecolor": AXIS,
            "zerolinewidth": 1.5,
            "fixedrange": True,
        },
        "yaxis": {
            "range": [n - 0.5, -0.5],
            "tickvals": list(range(len(labels))),
            "ticktext": [tick for tick, _, _ in labels],
            "automargin": True,
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "showticklabels": wide["yaxis.showticklabels"],
            "ticks": "",
        },
        "meta": {"wide": wide, "narrow": _places_of(labels, above=True)},
    }
    return go.Figure({"data": traces, "layout": {k: v for k, v in layout.items() if "." not in k}})


def _places_of(labels: list[tuple[str, str, int]], *, above: bool) -> dict[str, Any]:
    """What of a layout changes with the place of the labels; indented ones are written into the chart, as ticks cannot be."""
    written = above or any(indent for _, _, indent in labels)
    left = (
        8 if above or not written else 24 + 7 * max(min(len(html.unescape(re.sub("<[^>]*>", "", t))), 44) for _, t, _ in labels)
    )
    style = {"xref": "paper", "x": 0, "xanchor": "left", "align": "left", "showarrow": False, "yshift": 17 if above else 0}
    notes = [{"text": text, "y": n, "xshift": indent - left} for n, (_, text, indent) in enumerate(labels)]
    return {
        "annotations": [style | note for note in notes] if written else [],
        "height": 68 + (44 if above else ROW) * max(len(labels), 1),
        "margin": {"l": left, "r": 16, "t": 12 if above else 6, "b": 52},
        "yaxis.showticklabels": not written,
    }


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between two, at most `most`."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * n for n in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            break
    return [round(n * step, 12) for n in range(first, last + 1)]


def percent(chance: float) -> str:
    """A probability to a percent, near 0 and 1 to a tenth."""
    return f"{chance:.0%}" if 0.0995 <= chance <= 0.9905 or chance in (0, 1) else f"{chance:.1%}"


def digits(explanation: Explanation) -> int:
    """Decimal places for contributions: as many as tell the large ones apart, the same in a chart and in its table."""
    return _places(explanation.contributions)


def _places(values: Iterable[float]) -> int:
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 2 if largest >= 0.5 or largest == 0 else 3 if largest >= 0.02 else 4


# Words of a text.


def spans(explanation: Explanation) -> list[tuple[int, int]]:
    """Where each player stands in the text. Raises ValueError if players are no "start-end" places."""
    try:
        pairs = [tuple(map(int, player.split("-"))) for player in explanation.players]
        if all(len(p) == 2 and p[0] < p[1] for p in pairs):
            return [(p[0], p[1]) for p in pairs]
    except ValueError:
        pass
    raise ValueError(f"players of {explanation.question!r} are not places in a text, such as 0-5")


def highlighted(explanation: Explanation, text: str) -> str:
    """The text as HTML that needs no style sheet: words shaded by |contribution|, underlined straight where they raise the score,
    wavy where they lower it, with the number as title; below it a legend. Reads on light and on dark, as shades are see-through.

    Raises:
        ValueError: the players are not places in this text.
    """
    places, out, end = digits(explanation), [], 0
    values = [0.0 if math.isnan(v) else float(v) for v in explanation.contributions]
    largest = max((abs(v) for v in values), default=0.0) or 1.0
    for (a, b), value in sorted(zip(spans(explanation), values, strict=True)):
        if a < end or b > len(text):
            raise ValueError(f"{a}-{b} is not a place of its own in a text of {len(text)} characters")
        title = plain("explain.word", value=f"{value:+.{places}f}")
        mark = f'<mark style="{_shade(value, abs(value) / largest)}" title="{title}">{html.escape(text[a:b])}</mark>'
        out += [html.escape(text[end:a]), mark]
        end = b
    out.append(html.escape(cut(text[end:], 2000) if len(text) - end > 2000 else text[end:]))
    legend = "".join(
        f'<span><mark style="{_shade(sign, 0.7)}">{plain(key)}</mark></span>'
        for sign, key in ((1.0, "explain.raises"), (-1.0, "explain.lowers"))
    )
    strongest = html.escape(plain("explain.strongest", value=f"{largest if any(values) else 0:.{places}f}"))
    flow = "margin:0;line-height:2;white-space:pre-line;overflow-wrap:anywhere"
    below = "display:flex;flex-wrap:wrap;gap:.3em 1.2em;margin:.7em 0 0;font-size:.85em"
    return f'<div><p style="{flow}">{"".join(out)}</p><p style="{below}">{legend}<span>{strongest}</span></p></div>'


def _shade(value: float, strength: float) -> str:
    """Shade and underline of a word, 0-1 strong; the ink is that of the page."""
    style = "color:inherit;background:none;border-radius:3px;padding:.1em .15em"
    if value == 0:
        return style
    red, green, blue = (int((UP if value > 0 else DOWN)[n : n + 2], 16) for n in (1, 3, 5))
    line = f"underline {'solid' if value > 0 else 'wavy'} 2px rgba({red},{green},{blue},{0.35 + 0.65 * strength:.2f})"
    shade = f"background:rgba({red},{green},{blue},{0.06 + 0.4 * strength:.2f})"
    return (
        f"{style.replace('background:none', shade)};text-decoration:{line};text-underline-offset:.25em;print-color-adjust:exact"
    )


# Tables.


def table(of: Explanation | pd.DataFrame, most: int = ROWS) -> str:
    """The numbers of a chart as an HTML table, all text escaped.

    An explanation: base, each player's contribution, share and (if any was sampled) standard error, what is not shared out,
    output; the largest first, those after `most` in one row. Leaves of a tree: its branches. Any other frame: as it is.
    """
    if isinstance(of, pd.DataFrame):
        return _frame_table(of, most)
    found, places = rows(of, most), digits(of)
    sampled = bool(found["standard_error"].notna().any())
    heads = [*map(plain, COLUMNS), *([plain("explain.column.error")] if sampled else [])]
    body = []
    for row in found.to_dict("records"):
        level, value = row["kind"] in ("base", "output"), row["contribution"]
        number = plain("missing") if pd.isna(value) else f"{value:.{places}f}" if level else f"{value:+.{places}f}"
        share = "" if pd.isna(row["share"]) else f"{row['share']:.1%}"
        error = "" if pd.isna(row["standard_error"]) else small(row["standard_error"], places)
        body.append((row["kind"], [row["label"], number, share, *([error] if sampled else [])]))
    return _table(heads, body, numeric=range(1, len(heads)))


def _frame_table(frame: pd.DataFrame, most: int) -> str:
    if is_tree(frame):
        return _tree_table(branches(frame, most))
    heads = [str(c) for c in frame.columns]
    numeric = [n for n, d in enumerate(frame.dtypes) if pd.api.types.is_numeric_dtype(d) and not pd.api.types.is_bool_dtype(d)]
    body = [("player", [_cell(c, v) for c, v in row.items()]) for row in frame.head(most).to_dict("records")]
    if len(frame) > most:
        body.append(("others", [plain("explain.more", n=len(frame) - most), *[""] * (len(heads) - 1)]))
    return _table(heads, body, numeric=numeric)


def is_tree(frame: pd.DataFrame) -> bool:
    """Whether a frame has what `tree` needs."""
    return {"level1", "level2", "contribution"} <= set(frame.columns)


def _tree_table(branch: pd.DataFrame) -> str:
    places = _places(branch["contribution"])
    words = [plain("explain.column.words")] if branch["words"].ne("").any() else []
    heads = [*map(plain, COLUMNS), *words]
    cells = [[r["label"], f"{r['contribution']:+.{places}f}", f"{r['share']:.1%}", r["words"]] for r in branch.to_dict("records")]
    body = [(kind, row[: len(heads)]) for kind, row in zip(branch["kind"], cells, strict=True)]
    return _table(heads, body, numeric=(1, 2))


def _cell(column: object, value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or pd.isna(value):
        return plain("missing")
    if isinstance(value, bool):
        return plain("explain.yes") if value else plain("explain.no")
    if isinstance(value, float):
        return percent(value) if column == "probability" else f"{value:.3f}"
    return str(value)


def _table(heads: Sequence[str], body: Sequence[tuple[str, Sequence[object]]], numeric: Sequence[int]) -> str:
    kind = {n: ' class="n"' for n in numeric}
    top = "".join(f'<th scope="col"{kind.get(n, "")}>{html.escape(cut(h, 60))}</th>' for n, h in enumerate(heads))
    lines = []
    for name, cells in body:
        inner = "".join(f"<td{kind.get(n, '')}>{html.escape(cut(c, 200))}</td>" for n, c in enumerate(cells))
        lines.append(f'<tr class="{name}">{inner}</tr>')
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
