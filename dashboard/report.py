"""Explanations to one HTML page that needs nothing else: no server, no network, under 5 MB; charts, tables, and how far to trust
them.

plotly.js is in the page once, compressed (gzip, base64), and the browser unpacks it: as it is it would leave no room below 5 MB.
A policy in the page allows that script and the one that starts it, by SHA-256, and no other; nothing may be fetched. Without
script the tables stand open.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboard import explain_charts as charts
from dashboard import tables
from dashboard.charts import cut
from dashboard.report_style import CSS, JS
from dashboard.strings import TEXT, joined, language, plain
from recsys_core.errors import UserError
from recsys_core.explain.game import Explanation
from recsys_core.explain.told import reason
from recsys_core.explain.tree import PRIOR, tree
from recsys_core.whole import writing

if TYPE_CHECKING:
    from recsys_core.explain.subject import Subject
    from recsys_core.run import Run

MOST = 5_000_000  # bytes of a page
ASKS = {
    "components": "report.components",
    "history": "report.history",
    "words": "report.words",
    "attributes": "report.attributes",
}
SAYS = {
    "components": "report.says.components",
    "history": "report.says.history",
    "words": "report.says.words",
    "attributes": "report.says.attributes",
}
LANG = {"en": "en", "zh": "zh-Hans"}  # as HTML names our languages
LEVELS = {"component": "level1", "label": "level2", "word": "level3"}  # as the chart of a tree calls them
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
Extra = tuple[str, str, pd.DataFrame]  # heading, caption, rows


def report_html(
    explanations: Sequence[Explanation],
    *,
    title: str,
    facts: Mapping[str, object],
    sentence: str = "",
    text: str = "",
    notes: Sequence[str] = (),
    extra: Sequence[Extra] = (),
) -> str:
    """The whole page.

    Args:
        explanations: of one user and item, in the order shown; one section each.
        title: the question, such as "Why was Fargo recommended to user 196?".
        facts: for the foot, as they are: run, fingerprint of the data, versions, date.
        sentence: the answer in words; notes: what a reader must know, a line each.
        text: the item's text, whose words are shaded under the question of words.
        extra: heading, caption and rows of further sections (what would change it, why not); branches of a tree get a chart.

    Raises:
        ValueError: explanations of several users or items; UserError: the page would have more than 5 MB.
    """
    if len({(e.user, e.item) for e in explanations}) > 1:
        raise ValueError("a report is about one user and one item")
    sections = [_section(e, text) for e in explanations] + [_extra(*one) for one in extra]
    return shell(title, [_header(explanations, title, sentence, notes)], sections, facts)


def shell(title: str, header: Sequence[str], sections: Sequence[str], facts: Mapping[str, object]) -> str:
    """A page of parts that are HTML already; plotly.js comes along if one of them is a chart. Raises UserError over 5 MB."""
    library = _library() if any('<div class="chart"' in section for section in sections) else ""
    allowed = " ".join(f"'sha256-{_hash(script)}'" for script in (JS, get_plotlyjs())) if library else "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}; base-uri 'none'"
    head = [
        f'<!doctype html>\n<html lang="{LANG[language()]}"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; form-action \'none\'">',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">',
        f'<meta name="referrer" content="no-referrer"><title>{escaped(title)}</title>',
        f"<style>{CSS.replace('FONT', FONT)}</style></head>",
    ]
    failed, waiting = html.escape(plain("report.undrawn")), escaped(plain("report.drawing"))
    told = f'<p class="note" id="drawing" role="status" data-failed="{failed}">{waiting}</p>' if library else ""
    body = [*header, told, *sections, _footer(facts)]
    tail = f'<script type="text/plain" id="library">{library}</script><script>{JS}</script>' if library else ""
    page = "\n".join([*head, f"<body><main>{''.join(body)}</main>{tail}</body></html>\n"])
    if (size := len(_bytes(page))) >= MOST:
        raise UserError(
            f"report: {size / 1e6:.1f} MB is more than {MOST / 1e6:.0f} MB; give fewer explanations or shorter tables"
        )
    return page


def write_report(
    path: Path,
    explanations: Sequence[Explanation],
    *,
    title: str,
    facts: Mapping[str, object],
    sentence: str = "",
    text: str = "",
    notes: Sequence[str] = (),
    extra: Sequence[Extra] = (),
) -> Path:
    """Write the page under another name and rename it when whole; what was at `path` goes. Raises UserError for a folder."""
    page = report_html(explanations, title=title, facts=facts, sentence=sentence, text=text, notes=notes, extra=extra)
    path = Path(path)
    if path.is_dir():
        raise UserError(f"report: {path} is a folder; name a file, such as {path / 'report.html'}")
    with writing(path) as fresh:
        fresh.write_bytes(_bytes(page))
    return path


def of_pair(
    run: Run, about: Subject, explanations: Sequence[Explanation], changes: Mapping[str, tuple[str, pd.DataFrame]]
) -> dict[str, Any]:
    """What `report_html` and `write_report` take, from a run and a subject: its text, its tree, where it comes from.

    Args:
        explanations: of the subject, the first with user, title, rank and sentence.
        changes: by heading, what-ifs in a line and as rows.
    """
    first = explanations[0]
    facts = {
        plain("report.fact.run"): run.path.name,
        plain("report.fact.trained"): run.manifest["created"],
        plain("report.fact.data"): run.manifest["fingerprint"][:16],
        plain("report.fact.versions"): {name: version for name, version in run.manifest["versions"].items() if version},
    }
    leaves = tree(about).frame
    leaves = leaves.assign(label=leaves["label"].where(leaves["player"] != PRIOR, ""))  # not through the history
    split = leaves.rename(columns=LEVELS)[[*LEVELS.values(), "contribution"]]
    extra = [(plain("report.tree"), plain("report.tree.says"), split)]
    asked = "report.title.listed" if first.rank > 0 else "report.title.not"
    shown = {name: (told, tables.parts_beside(frame)) for name, (told, frame) in changes.items()}
    extra += [(name[:1].upper() + name[1:], told, frame) for name, (told, frame) in shown.items() if len(frame)]
    return {
        "explanations": [replace(charts.worded(e), user=first.user, item=first.item, title=first.title) for e in explanations],
        "title": plain(asked, title=first.title, user=first.user, rank=first.rank),
        "facts": facts,
        "sentence": first.sentence,
        "text": about.catalog.text(about.item),
        "notes": [f"{name}: {told}" for name, (told, frame) in changes.items() if not len(frame)],
        "extra": extra,
    }


def _header(explanations: Sequence[Explanation], title: str, sentence: str, notes: Sequence[str]) -> str:
    lines = [f"<h1>{escaped(title)}</h1>"]
    if explanations:
        e = explanations[0]
        shown = {
            "report.probability": charts.percent(e.probability),
            "report.logit": f"{e.output:.2f}",
            "report.item": e.title or e.item,
            "report.user": e.user,
        }
        stats = "".join(
            f"<div><dt>{escaped(plain(key))}</dt><dd>{escaped(value)}</dd></div>" for key, value in shown.items() if value
        )
        lines.append(f'<dl class="stats">{stats}</dl>')
    lines += [f'<p class="lead">{escaped(sentence)}</p>'] if sentence else []
    lines += [f'<p class="note">{escaped(note)}</p>' for note in notes]
    return f"<header>{''.join(lines)}</header>"


def _section(e: Explanation, text: str) -> str:
    """What was asked, the answer in a line, the chart, its table, and how far to trust it."""
    asked = plain(ASKS[e.question]) if e.question in ASKS else plain("report.other", question=e.question)
    lines = [f"<h2>{escaped(asked)}</h2>", f'<p class="says">{escaped(plain(SAYS.get(e.question, "report.says.other")))}</p>']
    lines.append(f'<p class="answer">{escaped(answer_line(e))}</p>')
    if e.players:
        if e.question == "words" and text:
            lines.append(f'<div class="words">{charts.highlighted(e, text)}</div>')
        flat = e.question in ("history", "words")
        lines.append(_chart(charts.bars(e) if flat else charts.waterfall(e), asked))
        lines.append(f'<p class="caption">{escaped(sum_line(e, flat))}</p>')
    return f"<section>{''.join(lines)}{_twin(charts.table(e))}{_trust(e)}</section>"


def answer_line(e: Explanation) -> str:
    """The strongest either way, with their numbers."""
    if not e.players:
        return plain("report.nobody")
    frame, places = e.frame().dropna(subset="contribution"), charts.digits(e)
    if frame.empty:
        return plain("report.flat")
    first, last = frame.iloc[0], frame.iloc[-1]  # most credited first
    said = [
        plain(key, label=cut(row["label"], 80), value=f"{row['contribution']:+.{places}f}")
        for key, row, there in (("report.up", first, first["contribution"] > 0), ("report.down", last, last["contribution"] < 0))
        if there
    ]
    return joined(*said) or plain("report.flat")


def sum_line(e: Explanation, flat: bool, what: str = "") -> str:
    """The arithmetic of the section, in the digits of its chart; `what` names the sum if it is not the logit."""
    places = charts.digits(e)
    missed = charts.gap(e)
    gap = plain("report.sum.gap", gap=f"{missed:+.{places}f}") if abs(missed) > 1e-6 else ""
    total = f"{e.output - e.base - missed:+.{places}f}"
    ends = {"base": f"{e.base:.{places}f}", "output": f"{e.output:.{places}f}", "what": what or plain("explain.output")}
    words = plain("report.sum", total=total, n=len(e.players), gap=gap, **ends)
    return joined(words, plain("report.whiskers") if flat and _sampled(e) else "")


def _sampled(e: Explanation) -> bool:
    return e.standard_error is not None and any(math.isfinite(v) for v in e.standard_error)


def trust_words(e: Explanation) -> list[str]:
    """Method, gap, R2 or standard error, cost and seed, a piece each."""
    words = [plain("report.method", method=e.method)]
    words += [plain("report.closed")] if not e.evaluations and e.method == "exact" else []
    words.append(plain("report.gap", gap=f"{charts.gap(e):+.1e}" if charts.gap(e) else "0"))
    words += [plain("report.r2", r2=e.fidelity)] if math.isfinite(e.fidelity) else []
    if e.standard_error is not None and _sampled(e):
        largest = max(float(v) for v in e.standard_error if math.isfinite(v))
        words.append(plain("report.error", error=charts.small(largest, charts.digits(e))))
    words.append(plain("report.evaluations", n=e.evaluations))
    words += [plain("report.seconds", seconds=e.seconds), plain("report.seed", seed=e.seed)]
    words += [reason(note, language()) for note in e.notes]
    words += [plain("report.cached")] if e.cached else []
    return words


def _trust(e: Explanation) -> str:
    items = "".join(f"<li>{escaped(word)}</li>" for word in trust_words(e))
    return f'<div class="trust"><span>{escaped(plain("report.trust"))}</span><ul>{items}</ul></div>'


def _extra(heading: str, caption: str, frame: pd.DataFrame) -> str:
    lines = [f"<h2>{escaped(heading)}</h2>"]
    if frame.empty:
        lines.append(f'<p class="answer">{escaped(plain("report.nothing"))}</p>')
    elif charts.is_tree(frame):
        lines += [_chart(charts.tree(frame), heading), _twin(charts.table(frame))]
    else:
        lines.append(f'<div class="scroll">{charts.table(frame.rename(columns=_spoken))}</div>')
    return f'<section>{"".join(lines)}<p class="caption">{escaped(caption)}</p></section>'


def _spoken(column: str) -> str:
    """The heading of a column that the core names, in the page's language; any other as it is."""
    key = f"report.column.{column}"
    return plain(key) if key in TEXT["en"] else column


def _twin(table: str) -> str:
    """The table, open; the script folds it when the chart is drawn."""
    return f'<details open><summary>{escaped(plain("report.table"))}</summary><div class="scroll">{table}</div></details>'


def _chart(figure: go.Figure, what: str) -> str:
    """A place for the chart, and its figure as data that the HTML parser cannot read as markup."""
    found = json.loads(figure.to_json())
    layout = found["layout"]
    layout.pop("template", None)
    layout |= {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"family": FONT, "size": 13}}
    layout["hoverlabel"]["font"]["family"] = FONT
    data = (
        json.dumps({"data": found["data"], "layout": layout})
        .replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )
    label = html.escape(plain("report.chart", what=what))
    box = f'<div class="chart" role="img" aria-label="{label}" style="min-height:{layout["height"]}px"></div>'
    return f'{box}<script type="application/json">{data}</script>'


def _footer(facts: Mapping[str, object]) -> str:
    rows = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(_fact(value))}</dd></div>" for name, value in facts.items())
    about = escaped(plain("report.about"))
    return f"<footer><h2>{about}</h2><dl>{rows}</dl></footer>" if rows else ""


def _fact(value: object) -> str:
    return ", ".join(f"{name} {v}" for name, v in value.items()) if isinstance(value, Mapping) else str(value)


def escaped(value: object) -> str:
    return html.escape(str(value))


def _bytes(page: str) -> bytes:
    return page.encode("utf-8", "replace")  # a lone surrogate in a title becomes "?"


@cache
def _library() -> str:
    """plotly.js, gzip and base64: the same bytes each time."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
