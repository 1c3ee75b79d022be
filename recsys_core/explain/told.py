"""What-ifs in one line each, from their numbers. In: a Counterfactual or a WhyNot. Out: plain text, in English or Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recsys_core.errors import unknown
from recsys_core.explain.counterfactual import Counterfactual
from recsys_core.explain.why_not import BASE, WhyNot

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
        "base": "the base",
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
        "base": "基准",
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
        # Explainers: what one cannot meet, and what one did.
        r"(\d+) players and no closed form \(enumeration takes (\d+) at most\); use shap": "有 {} 个参与方且没有闭式解"
        "（枚举至多 {} 个）；请用 shap",
        r"(\d+) players are too many to enumerate \((\d+) at most\)": "{} 个参与方太多，无法枚举（至多 {} 个）",
        r"it needs gradients, which only the BERT text path gives": "它需要梯度，只有 BERT 读取文本时才有",
        r"its players have no popularity": "参与方没有热门程度可言",
        r"its players are not a text; use shap_permutation": "参与方不是文本；请用 shap_permutation",
        r"(\d+) gradient steps": "{} 步梯度",
        r"(\d+) players need (\d+) evaluations, the budget is (\d+): groups of neighbours were played, and opened where they "
        r"matter most": "{} 个参与方需要 {} 次评估，预算为 {} 次：相邻的合成一组参与，再把最要紧的组拆开",
        r"(\d+) players need (\d+) evaluations, the budget is (\d+): groups of neighbours were left out, and a group's loss is "
        r"shared equally": "{} 个参与方需要 {} 次评估，预算为 {} 次：相邻的成组去掉，一组的损失平均分摊",
        r"the time budget left (\d+) evaluations": "时间预算只够 {} 次评估",
        # The scoreboard's checks; 100% is what lies between random credit and the best method.
        r"(\w+): no method is better than random credit": "{}：没有方法优于随机归因",
        r"(\w+): exact loses (\S+) of the way to the best, (\w+) \(at most (\S+)\)": "{0}：以随机归因到最好方法的差距为 100%，"
        "exact 比最好的 {2} 少 {1}（至多 {3}）",
        r"(\w+): (\w+) is (\S+) of the way better than (\w+) \(at least (\S+), and not by chance\)": "{0}：以随机归因到最好方法的"
        "差距为 100%，{1} 比 {3} 好 {2}（至少 {4}，且非偶然）",
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
        name = words["base"] if held["component"] == BASE else held["component"]
        lines.append(words["held"].format(name=name, value=held["to_edge"], k=found.k))
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
