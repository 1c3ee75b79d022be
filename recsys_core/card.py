"""card.md: what a run is, in words and numbers that all come from the run's own facts."""

from __future__ import annotations

import re
from typing import Any

from recsys_core.config import Settings
from recsys_core.hybrid import Blend

HIDES = {
    "met": "everything the user has met, liked or not",
    "liked": "only what the user has liked (items met and not liked stay in the list and count as misses)",
}


READS = {
    "met": "all that the user has met, each event counting by its rating",
    "liked": "what the user has liked, all alike",
}


def convention(settings: Settings, threshold: float | None) -> dict[str, str]:
    """How this run's figures are to be read; printed by every report."""
    liked = "every interaction" if threshold is None else f"value >= {threshold:g}"
    return {
        "relevant": f"{liked}; likes are split by '{settings.split}', dislikes by the same rule",
        "histories": READS["liked" if threshold is None else settings.learn_from],
        "candidates": "all items of the catalogue that the list does not hide; never a sample",
        "hidden": HIDES[settings.hide],
        "ties": "equal scores are ordered by one fixed random permutation of the items",
        "users": "those with at least one relevant item; the others are counted, not scored",
        "fit": "settings and weights chosen on validation; refitted on train + validation before the test",
    }


def render(facts: dict[str, Any], settings: Settings, blend: Blend) -> str:
    """Markdown text of the card."""
    data, valid = facts["data"], facts["valid"]
    ranked = sorted(valid["components"].items(), key=lambda pair: -pair[1])
    lines = [
        f"# Hybrid on {literal(data['name'])}",
        "",
        f"{data['users']:,} users, {data['items']:,} items, {data['interactions']:,} interactions ({data['likes']:,} likes, "
        f"{data['sparsity']:.1%} of pairs empty), {data['items_with_text']:,} items with text.",
        *(f"- {literal(note)}" for note in facts["notes"]),
        "",
        *_update(facts.get("update")),
        "## Convention",
        *(f"- {key}: {text}" for key, text in convention(settings, data["threshold"]).items()),
        f"- likes: {facts['split']['train']:,} train, {facts['split']['valid']:,} validation, {facts['split']['test']:,} test",
        "",
        f"## Validation (NDCG@{valid['k']}; it chose the settings, so it flatters)",
        "| model | NDCG | users |",
        "|---|--:|--:|",
        f"| hybrid | {valid['hybrid']:.4f} | {valid['users']:,} |",
        *(f"| {name} | {value:.4f} | {valid.get('judges', {}).get(name, valid['users']):,} |" for name, value in ranked),
        "",
        "## Blend (log-odds per standard deviation)",
        *(f"- {name}: {weight:.3f}" for name, weight in zip(blend.names, blend.weights, strict=True)),
        f"- bias: {blend.bias:.3f}",
        "",
        *_newcomers(facts.get("newcomers")),
        *_unmet(facts.get("unmet")),
        "Test figures are in report.json once `whyrec evaluate` has opened the test set.",
        "",
    ]
    return "\n".join(lines)


def _newcomers(facts: dict[str, Any] | None) -> list[str]:
    """What short histories are worth, and what was learned for them."""
    if not facts:
        return []
    popular, others = zip(*facts["counts"].values(), strict=True)
    told = {"popularity counts": popular, "the others count": others} if facts["more"] else {"all components count": others}
    return [
        "## Short histories",
        f"- of {', '.join(facts['counts'])} events "
        + "; ".join(f"{who} {', '.join(f'{v:.2g}' for v in times)} times their weight" for who, times in told.items()),
        "- validation NDCG of users whose histories are cut to so many events, without and with it: "
        + ", ".join(f"{n}: {before:.4f} -> {after:.4f}" for n, (before, after) in facts["ndcg"].items()),
        "- how often what these lists show is liked, as told and in truth: "
        + ", ".join(f"{n}: {told:.1%} and {true:.1%}" for n, (told, true) in facts["chance"].items()),
        "",
    ]


def _unmet(facts: dict[str, Any] | None) -> list[str]:
    """What items that nobody has met are taken for, and what that gives them."""
    if not facts or not facts["items"]:
        return []
    taken = "new, with all their likes still to come" if facts["new"] else "left over, with as few likes to come as a met one"
    left = f"; if left over, by {facts['as_left']['cold_shift']:+.3f}" if facts["new"] else ""
    return [
        "## Items that nobody has met",
        f"- {facts['items']:,} items, taken for {taken} (`unmet`)",
        f"- their log-odds are shifted by {facts['cold_shift']:+.3f}{left}",
        "",
    ]


def literal(text: object) -> str:
    """A name from the data as one line of Markdown that shows it as it is: no HTML, link, code or table cell of its own."""
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", " ".join(str(text).split()))


def _update(facts: dict[str, Any] | None) -> list[str]:
    """What an update brought in, and what in this card is still of the run that it went out from."""
    if facts is None:
        return []
    return [
        "## Update",
        f"- of run {literal(facts['parent'])} (data {facts['parent_fingerprint'][:12]}), update number {facts['generation']}",
        *(f"- {literal(line)}" for line in facts["told"]),
        "- weights, calibration, standardising constants, candidates and validation figures are as that run learned them",
        "",
    ]
