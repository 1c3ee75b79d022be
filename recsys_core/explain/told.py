"""What-ifs in one line each, from their numbers. In: a Counterfactual or a WhyNot. Out: plain English text."""

from __future__ import annotations

from collections.abc import Sequence

from recsys_core.explain.counterfactual import Counterfactual
from recsys_core.explain.why_not import WhyNot

DOES = {"remove_history": "without", "remove_words": "without the words", "add_history": "after liking"}
MOST_NAMED = 5


def counterfactual(found: Counterfactual) -> str:
    """What does it, the rank that follows, and whether that is the least; or why nothing does."""
    if not found.found:
        return f"nothing found: {found.reason}"
    least = "no smaller set does it" if found.minimal else "a smaller set may do it"
    checked = "scored again" if found.verified else "NOT confirmed when scored again"
    place = f"rank {found.rank_after} instead of {found.rank_before}" if found.rank_after else "no place in the list"
    return f"{DOES[found.question]} {named(found.labels)} it has {place} ({least}; {checked})"


def why_not(found: WhyNot) -> str:
    """What holds the item down, and the nearest changes that lift it."""
    if found.state != "below":
        return found.reason
    lines = [found.reason]
    held = found.frame().iloc[0]
    if held["to_edge"] < 0:
        lines.append(f"held down most by {held['component']} ({held['to_edge']:+.2f} log-odds against place {found.k})")
    if found.weight is not None:
        w = found.weight
        lines.append(f"weight of {w.component} {w.before:.3f} -> {w.after:.3f} lifts it to rank {w.rank}")
    else:
        lines.append("no change of one weight lifts it")
    if found.additions is not None:
        lines.append(counterfactual(found.additions))
    if found.removal is not None and found.removal.found:
        lines.append(counterfactual(found.removal))
    return "; ".join(lines)


def named(labels: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(labels) - MOST_NAMED
    shown = list(labels[:MOST_NAMED]) + ([f"{more} more"] if more > 0 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
