"""What-ifs in one line each, from their numbers. In: a Counterfactual or a WhyNot. Out: plain text, in English or Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recsys_core.errors import unknown
from recsys_core.explain.counterfactual import Counterfactual
from recsys_core.explain.why_not import WhyNot

MOST_NAMED = 5

WORDS = {
    "en": {
        "remove_history": "without {names} ",
        "remove_words": "without the words {names} ",
        "lifting_removal": "without {names} ",
        "add_history": "after liking {names} ",
        "nothing": "nothing found: {reason}",
        "place": "it has rank {after} instead of {before}",
        "no place": "it has no place in the list",
        "minimal": "no smaller set does it",
        "heuristic": "a smaller set may do it",
        "verified": "scored again",
        "wrong": "NOT confirmed when scored again",
        "whole": "{does}{place} ({least}; {checked})",
        "held": "held down most by {name} ({value:+.2f} log-odds against place {k})",
        "weight": "weight of {name} {before} -> {after} lifts it to rank {rank}",
        "no weight": "no change of one weight lifts it",
        "comma": ", ",
        "and": " and ",
        "quoted": "{}",
        "more": "{n} more",
        "join": "; ",
    },
    "zh": {
        "remove_history": "如果没有{names}，",
        "remove_words": "如果没有词语{names}，",
        "lifting_removal": "如果没有{names}，",
        "add_history": "如果还喜欢{names}，",
        "nothing": "没有找到：{reason}",
        "place": "它会从第 {before} 名变为第 {after} 名",
        "no place": "它会从列表中消失",
        "minimal": "没有更小的集合能做到",
        "heuristic": "可能存在更小的集合",
        "verified": "已重新打分核实",
        "wrong": "重新打分未能证实",
        "whole": "{does}{place}（{least}；{checked}）",
        "held": "{name} 压低最多（与第 {k} 名相差 {value:+.2f} 对数几率）",
        "weight": "把 {name} 的权重从 {before} 改为 {after}，可使它升至第 {rank} 名",
        "no weight": "只改动一个权重无法使它上升到列表中",
        "comma": "、",
        "and": "和",
        "quoted": "“{}”",
        "more": "另外 {n} 个",
        "join": "；",
    },
}
# Reasons come in English from who found them; one that is not here is told as it is.
REASONS = {
    "zh": {
        r"(\d+) candidates are better": "有 {} 个候选条目比它更好",
        r"it has been met, so the list hides it; else its rank would be (\d+)": "已接触过，所以列表不显示；否则排第 {} 名",
        r"no component can score it": "没有任何组件能为它打分",
        r"the history is empty": "历史为空",
        r"there are no more than (\d+) candidates, so every one is in the list": "候选条目不超过 {} 个，因此全部都在列表中",
        r"no past item carries it: for (\d+) rivals to be ahead .* do not suffice": "没有历史条目支撑它："
        "去掉所有历史条目的份额，也不足以让 {} 个竞争条目超过它",
        r"no set was found": "没有找到这样的集合",
        r"none of the (\d+) likeliest sets does it when scored": "最有可能的 {} 个集合经打分后都做不到",
        r"all sets of past items were tried and none does it": "试过历史条目的所有集合，都做不到",
        r"no set of past items that was tried does it": "试过的历史条目集合都做不到",
        r"all sets of words were tried and none does it": "试过词语的所有集合，都做不到",
        r"no set of words that was tried does it": "试过的词语集合都做不到",
        r"with all words masked its rank is (\d+)": "遮住全部词语时它排第 {} 名",
        r"no set of up to (\d+) additions that was tried does it": "试过的至多 {} 个新增条目的集合都做不到",
    }
}


def counterfactual(found: Counterfactual, language: str = "en") -> str:
    """What does it, the rank that follows, and whether that is the least; or why nothing does. Raises UserError for an unknown
    language."""
    words = _words(language)
    if not found.found:
        return words["nothing"].format(reason=reason(found.reason, language))
    place = words["place" if found.rank_after else "no place"].format(after=found.rank_after, before=found.rank_before)
    return words["whole"].format(
        does=words[found.question].format(names=named(found.labels, language)),
        place=place,
        least=words["minimal" if found.minimal else "heuristic"],
        checked=words["verified" if found.verified else "wrong"],
    )


def why_not(found: WhyNot, language: str = "en") -> str:
    """What holds the item down, and the nearest changes that lift it. Raises UserError for an unknown language."""
    words = _words(language)
    lines = [reason(found.reason, language)]
    if found.state != "below":
        return lines[0]
    held = found.frame().iloc[0]
    if held["to_edge"] < 0:
        lines.append(words["held"].format(name=held["component"], value=held["to_edge"], k=found.k))
    if found.weight is not None:
        w = found.weight
        before, after = apart(w.before, w.after)
        lines.append(words["weight"].format(name=w.component, before=before, after=after, rank=w.rank))
    else:
        lines.append(words["no weight"])
    if found.additions is not None:
        lines.append(counterfactual(found.additions, language))
    if found.removal is not None and found.removal.found:
        lines.append(counterfactual(found.removal, language))
    return words["join"].join(lines)


def apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers to three places, or to as many more (nine at most) as tell them apart: what has just changed must show.

    >>> apart(0.5, 0.25), apart(0.0, 2e-05)
    (('0.500', '0.250'), ('0.00000', '0.00002'))
    """
    pairs = [(f"{a:.{places}f}", f"{b:.{places}f}") for places in range(3, 10)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def named(labels: Sequence[str], language: str = "en") -> str:
    """The first few, and how many more."""
    words, more = _words(language), len(labels) - MOST_NAMED
    shown = [words["quoted"].format(label) for label in labels[:MOST_NAMED]] + (
        [words["more"].format(n=more)] if more > 0 else []
    )
    return shown[0] if len(shown) == 1 else f"{words['comma'].join(shown[:-1])}{words['and']}{shown[-1]}"


def reason(text: str, language: str) -> str:
    """Why nothing was found, in this language; of what comes in parts each part that is known."""
    for pattern, said in REASONS.get(language, {}).items():
        if match := re.fullmatch(pattern, text):
            return said.format(*match.groups())
    parts = text.split("; ")
    return _words(language)["join"].join(reason(part, language) for part in parts) if len(parts) > 1 else text


def _words(language: str) -> dict[str, str]:
    if language not in WORDS:
        raise unknown("language", language, WORDS)
    return WORDS[language]
