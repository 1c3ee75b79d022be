"""Every word that the dashboard says, in one table, so that a translation can follow.

`t` fills a text that is shown as Markdown: words from the data become code spans, where nothing in them is markup.
`plain` fills a text that is shown as it is (labels, headers, captions of charts).
"""

from __future__ import annotations

import re

TEXT = {
    # Frame.
    "app": "Whyrec",
    "page.user": "User",
    "run": "Run",
    "run.option": "{name} · {data} · {date}",
    "run.test": "NDCG@{k} **{mean:.3f}** ± {half:.3f} on the test set, n = {n:,} users",
    "run.valid": "NDCG@{k} **{mean:.3f}** on validation, which chose the settings and so flatters. Not tested yet.",
    "run.opening": "Opening the run and checking its files. This takes some seconds, once.",
    "run.failed": "This run cannot be opened. Pick another one at the left. The reason:",
    "run.unfit": "{name}: made by another version of Whyrec, or damaged; train the run again ({error})",
    "user": "User",
    "user.search": "Find a user",
    "user.search.hint": "id or attribute",
    "user.search.help": "The beginning of an id, or the value of an attribute, such as 24 or age=24. All words must match.",
    "user.none": "No user matches {query}; the user below is still the last one.",
    "user.many": "{n:,} users match; the first {shown:,} are in the list below.",
    "user.one": "One user matches.",
    "user.option": "{user_id} · {attributes} · {likes} likes",
    "user.option.bare": "{user_id} · {likes} likes",
    "user.surprise": "Surprise me",
    "blend": "Blend",
    "blend.help": "Log-odds per standard deviation of a component's score; in percent, its share of all weights. "
    "The tick under each track is the learned weight: {learned}.",
    "blend.reset": "Reset to learned",
    "blend.share": "{share:.0%}",
    "k": "Length of the list (K)",
    "download": "Download list (CSV)",
    "link": "The address of this page holds run, user, K and weights. Copy it to share this view.",
    # Empty and failed states.
    "empty.title": "No run to look at yet",
    "empty.why": "The dashboard shows trained runs, and there is none in {folder}. Make one, then reload this page:",
    "empty.unset": "The dashboard has not been told where the runs are. Start it with:",
    "empty.demo": "Or let Whyrec fetch MovieLens-100K, train on it and open it, in minutes:",
    "note.run": "The link names run {name}, which is not here. Showing run {used} instead.",
    "note.user": "The link names user {name}, who is not in this run. Showing user {used} instead.",
    "note.k": "The link asks for a list of {value}; K is a whole number from 1 to {most}. Showing {used:d}.",
    "note.weights": "The link's weights could not all be used ({value}); those keep what was learned.",
    # Explanations: charts and the report.
    "explain.base": "base",
    "explain.output": "logit",
    "explain.others": "{n:,} others",
    "explain.more": "{n:,} more rows",
    "explain.gap": "not shared out (gap)",
    "explain.prior": "not through the history",
    "explain.axis.walk": "log-odds, and the probability it is",
    "explain.axis.bars": "log-odds added (right) or taken away (left)",
    "explain.hover": "{value} log-odds",
    "explain.hover.share": "{share:.1%} of all that moves the score",
    "explain.word": "{value} log-odds",
    "explain.raises": "raises the score",
    "explain.lowers": "lowers the score",
    "explain.strongest": "the deepest shade is {value} log-odds",
    "explain.column.label": "What",
    "explain.column.words": "Words",
    "explain.column.contribution": "Log-odds",
    "explain.column.share": "Share",
    "explain.column.error": "Std. error",
    "explain.yes": "yes",
    "explain.no": "no",
    "report.components": "Which component of the blend brings the score?",
    "report.history": "Which past items bring the score?",
    "report.words": "Which words of the item's text bring the score?",
    "report.attributes": "Through which of the item's attributes does the score come?",
    "report.other": "What brings the score? ({question})",
    "report.says.components": "Each component's weight times its standardised score; with the base they are the logit.",
    "report.says.history": "What each past item adds, if the others stay; the history's size and ages are kept.",
    "report.says.words": "What each word adds against a masked one; components that read no text stay as they are.",
    "report.says.attributes": "Past items by what they share with this one: common ground, no proof that the model read it.",
    "report.says.other": "Contributions to the score in log-odds.",
    "report.up": "Most for it: {label}, {value} log-odds.",
    "report.down": "Most against it: {label}, {value} log-odds.",
    "report.flat": "Nothing here moves the score.",
    "report.nobody": "There is nothing to share the score out among.",
    "report.sum": "{base} (base) {total} ({n:,} contributions){gap} = {output} (logit).",
    "report.sum.gap": " {gap} (gap)",
    "report.whiskers": "Whiskers: one standard error to either side.",
    "report.table": "The same as a table",
    "report.trust": "How far to trust it",
    "report.method": "method {method}",
    "report.closed": "closed form, nothing sampled",
    "report.gap": "gap {gap}",
    "report.r2": "R² {r2:.2f}",
    "report.error": "standard error at most {error}",
    "report.evaluations": "{n:,} evaluations",
    "report.seconds": "{seconds:.2f} s",
    "report.seed": "seed {seed}",
    "report.item": "Item",
    "report.user": "User",
    "report.probability": "Probability",
    "report.logit": "Logit",
    "report.nothing": "Nothing was found.",
    "report.chart": "Chart of {what}; the table below has the same numbers",
    "report.drawing": "The charts are being drawn, which takes JavaScript and some seconds; the tables have the same numbers.",
    "report.undrawn": "This browser could not draw the charts; the tables have the same numbers.",
    "report.about": "About this report",
    # User page.
    "user.title": "What would user {user} get, and how sure are we?",
    "profile": "Who",
    "profile.none": "Nothing but the history is known of this user.",
    "profile.likes": "{n:,} likes",
    "history": "History",
    "history.some": "{n:,} events, {likes:,} of them likes, which the model reads.",
    "history.threshold": "A like is {threshold:g} or more.",
    "history.withheld": "{n:,} more events are withheld for the test.",
    "history.none": "Nothing is known of this user's past. The list at the right is what the model gives to anybody new.",
    "history.no_likes": "No liked item is known. The list is what the model gives to anybody new.",
    "history.filter": "Filter",
    "history.filter.hint": "title, genre or year",
    "history.nothing": "No past item matches {query}.",
    "history.sort": "Sort by",
    "history.sort.time": "Latest",
    "history.sort.title": "Title",
    "history.sort.value": "Rating",
    "column.title": "Title",
    "column.year": "Year",
    "column.tags": "Tags",
    "column.value": "Rating",
    "column.when": "When",
    "column.rank": "#",
    "column.move": "Move",
    "column.move.help": "Against the list under the learned weights.",
    "column.percent": "Prob.",
    "column.percent.help": "How likely the model holds it that this user likes the item; see the note under the list.",
    "column.bar": "Parts",
    "column.bar.help": "Parts of the score: right of the line they raise it, left they lower it. One scale for all rows.",
    "column.logit": "Logit",
    "column.base": "Base",
    "column.was": "Was",
    "column.now": "Now",
    "list": "Top {k}",
    "list.learned": "Under the **learned weights**, the first of {n:,} candidates "
    "has a probability of **{first:.0%}**, the last shown {last:.0%}.",
    "list.same": "You moved the weights: the same {k} items, **{moved:,}** of them at another place.",
    "list.moved": "You moved the weights: **{new:,} of {k} items are new**, {moved:,} others changed place.",
    "list.short": "Only {n:,} items can be listed: everything else is hidden for this user.",
    "list.none": "No item is left to recommend: everything in the catalogue is hidden for this user.",
    "list.probability": "Probability: how often an item with this score, shown in a list, was among the user's "
    "held-out likes; calibrated on validation.",
    "list.tested": "On the test set the shown probabilities were off by {ece:.1%} on average (ECE, n = {n:,} recommendations).",
    "list.untested": "Not checked on a test set yet: `whyrec evaluate` does it.",
    "list.uncalibrated": "They were calibrated for the learned weights; under moved weights read them as scores.",
    "list.left": "Left the list",
    "list.cold": "new item, met by nobody yet",
    "move.same": "same",
    "move.up": "up {n}",
    "move.down": "down {n}",
    "move.new": "new, was #{was}",
    "rank": "#{n}",
    "parts": "Where each score comes from",
    "parts.lead": "{lead} adds the most: it is the largest part in **{n_lead} of {k}** items. "
    "On average it gives {lead_mean:+.2f} log-odds; all parts together come to {mean_above:+.2f} against the base.",
    "parts.flat": "No component lifts these items above the base: on average the parts come to {mean_above:+.2f} log-odds.",
    "parts.caption": "logit = base + Σ parts; part = weight * z, z = (score - mean) / standard deviation; "
    "probability = 1 / (1 + exp(-logit)). "
    "Base {base}. n = {k} of {n:,} candidates, {hidden:,} items hidden. The parts add up to the logit within {gap:.0e}.",
    "parts.base": "{base:.2f}",
    "parts.base.cold": "{base:.2f}, for new items {cold:.2f}",
    "parts.missing": "{n:,} parts are not available (the component cannot score the item) and count as nothing.",
    "parts.axis": "log-odds above (right) or below (left) the base",
    "parts.sum": "logit",
    "parts.table": "The same as a table",
    "missing": "not available",
    "command": "The same from the command line",
}  # fmt: skip


def code(text: object) -> str:
    """A Markdown code span that shows the text as it is, whatever is in it.

    >>> code("a`b"), code("<b>")
    ('``a`b``', '`<b>`')
    """
    words = " ".join(str(text).split()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def t(key: str, **values: object) -> str:
    """The text as Markdown; strings among the values come from the data and are shown as code."""
    return TEXT[key].format(**{k: code(v) if isinstance(v, str) else v for k, v in values.items()})


def plain(key: str, **values: object) -> str:
    """The text as it is."""
    return TEXT[key].format(**values)
