"""Verdicts to one page that opens offline, in the style of the report of explanations; every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dashboard import explain_charts, report
from dashboard.strings import joined, plain
from recsys_core import feedback
from recsys_core.errors import UserError

FIELDS = ("verdict", "user_id", "title", "note", "rank", "probability", "time", "author", "run")
HEADS = {name: f"reviews.head.{name}" for name in FIELDS}


def report_html(found: pd.DataFrame, facts: Mapping[str, object]) -> str:
    """Counts, agreement and the verdicts, latest first: as many as fit below 5 MB, and how many that are."""
    n = len(found)
    while True:
        try:
            return _page(found, n, facts)
        except UserError:
            if n < 2:
                raise
            n //= 2


def _page(found: pd.DataFrame, most: int, facts: Mapping[str, object]) -> str:
    title = plain("reviews.report")
    stats = "".join(f"<div><dt>{report.escaped(k)}</dt><dd>{report.escaped(v)}</dd></div>" for k, v in figures(found).items())
    head = f'<header><h1>{report.escaped(title)}</h1><dl class="stats">{stats}</dl>'
    head += f'<p class="note">{report.escaped(agreed(found))}</p></header>'
    fields = [name for name in FIELDS if name not in ("author", "run") or len(set(found[name])) > 1]
    frame = (
        found.head(most)[fields]
        .assign(time=found["time"].head(most).str[:16])
        .rename(columns={name: plain(key) for name, key in HEADS.items()})
    )
    said = frame.assign(**{plain(HEADS["verdict"]): [plain(f"review.{v}") for v in found["verdict"].head(most)]})
    told = plain("reviews.report.caption", shown=len(frame), n=len(found))
    table = f'<div class="scroll">{explain_charts.table(said.astype(object), len(said))}</div>'
    heading, caption = report.escaped(plain("reviews.table")), report.escaped(told)
    body = f'<section><h2>{heading}</h2>{table}<p class="caption">{caption}</p></section>'
    return report.shell(title, [head], [body], facts)


def figures(found: pd.DataFrame) -> dict[str, str]:
    """By label, what the tiles say."""
    share, low, high, n = feedback.sense(found)
    counts = {plain(f"review.{name}"): f"{int((found['verdict'] == name).sum()):,}" for name in feedback.VERDICTS}
    told = plain("reviews.share", share=share, low=low, high=high) if n else plain("missing")
    return {plain("reviews.n"): f"{n:,}"} | counts | {plain("reviews.sense"): told}


def agreed(found: pd.DataFrame) -> str:
    """How far reviewers agree, in a sentence with its n."""
    a = feedback.agreement(found)
    if not a.n_pairs:
        return plain("reviews.agree.none")
    words = [plain("reviews.agree", share=a.share, comparisons=a.n_comparisons, n=a.n_pairs)]
    words += [plain("reviews.fleiss", kappa=a.fleiss) if a.fleiss == a.fleiss else plain("reviews.fleiss.none")]
    words += [plain("reviews.cohen", kappa=a.cohen, n=a.n_cohen)] if a.cohen == a.cohen else []
    return joined(*words)
