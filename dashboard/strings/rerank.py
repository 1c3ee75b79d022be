"""Re-rankers in the sidebar, and what pages say of a re-ranked list."""

EN = {
    "rerank": "Re-ranker",
    "rerank.none": "None",
    "rerank.strength": "Strength",
    "rerank.help": "Gives up score for something else, item by item, among the 5 K best. Strength 0 leaves the list as it is.",
    "note.reranker": "The link's re-ranker could not be used ({value}): it takes a known name and a strength from 0 to 1. "
    "Where one was missing, {used} is set.",
    "note.reranker.unfed": "Run {run} cannot feed the re-ranker {name}: it has no attributes or texts of its items. "
    "Lists are not re-ranked.",
    "rerank.new": "**{label}** at strength {strength:.2f} re-ranks this list: **{new:,} of {n:,} items come from below the "
    "top {k} by score**, {moved:,} others are at another place. {about}",
    "rerank.moved": "**{label}** at strength {strength:.2f} re-ranks this list: the same {n:,} items, **{moved:,}** of them at "
    "another place than by score. {about}",
    "rerank.same": "**{label}** at strength {strength:.2f} leaves this list as it is by score. {about}",
    "rerank.weights": "The weights are moved too: *Move* is against the list by score under the same weights.",
    "rerank.sure": "They were calibrated on lists by score alone; in a re-ranked list, which shows other items, they may be "
    "further off.",
    "rerank.move.help": "Against the list by score alone, under the same weights.",
    "rerank.by_score": "By score",
    "rerank.parts": "These are the parts of the score; the list is re-ranked, so the logits need not fall from top to bottom.",
    "rerank.why.in": "The re-ranker **{label}** at strength {strength:.2f} puts it at **#{place:,}** of the list; by score alone "
    "it is **#{rank:,}**. What follows explains the score.",
    "rerank.why.same": "The re-ranker **{label}** at strength {strength:.2f} leaves it at **#{place:,}** of the list, its place "
    "by score. What follows explains the score.",
    "rerank.why.out": "It is not among the {k} that the re-ranker **{label}** at strength {strength:.2f} picks; by score alone "
    "it is **#{rank:,}**. What follows explains the score.",
    "rerank.why.place": "Place in the list",
    "rerank.why.rank": "Place by score",
    "rerank.why.changes": "Places here are by score alone; the re-ranker is not asked.",
    "rerank.both": "Both lists are re-ranked by **{label}** at strength {strength:.2f}. {about}",
    "rerank.map": "The list is re-ranked by **{label}** at strength {strength:.2f}.",
    "rerank.item": "Places are by score alone: **{label}** does not re-rank them.",
    "rerank.beside.first": "**This list**, re-ranked: {label} at strength {strength:.2f}",
    "rerank.beside.kind": "Re-ranked otherwise",
    "rerank.beside.alone": "{head}, by score alone",
}
ZH = {
    "rerank": "重排序器",
    "rerank.none": "无",
    "rerank.strength": "强度",
    "rerank.help": "在最好的 5 K 个条目中逐个挑选，用一部分得分换取别的目标。强度为 0 时列表保持不变。",
    "note.reranker": "链接中的重排序器无法使用（{value}）：需要已知的名称和 0 到 1 的强度。缺少的一项已设为 {used}。",
    "note.reranker.unfed": "运行 {run} 没有条目的属性或文本，无法使用重排序器 {name}。列表未经重排。",
    "rerank.new": "**{label}**（强度 {strength:.2f}）重排了此列表：**{n:,} 个条目中有 {new:,} 个来自得分的前 {k} 名之外**，"
    "另有 {moved:,} 个换了位置。{about}",
    "rerank.moved": "**{label}**（强度 {strength:.2f}）重排了此列表：仍是这 {n:,} 个条目，"
    "其中 **{moved:,}** 个与按得分时位置不同。{about}",
    "rerank.same": "**{label}**（强度 {strength:.2f}）没有改变按得分的列表。{about}",
    "rerank.weights": "权重也调整过：*变动* 是与同样权重下按得分的列表相比。",
    "rerank.sure": "概率是在仅按得分的列表上校准的；重排后的列表显示别的条目，偏差可能更大。",
    "rerank.move.help": "与同样权重下仅按得分的列表相比。",
    "rerank.by_score": "按得分",
    "rerank.parts": "这里是得分的各个分量；列表经过重排，因此 logit 不一定自上而下递减。",
    "rerank.why.in": "重排序器 **{label}**（强度 {strength:.2f}）把它放在列表的 **#{place:,}**；仅按得分它是 **#{rank:,}**。"
    "以下解释的是得分。",
    "rerank.why.same": "重排序器 **{label}**（强度 {strength:.2f}）没有移动它：它在列表的 **#{place:,}**，与按得分相同。"
    "以下解释的是得分。",
    "rerank.why.out": "它不在重排序器 **{label}**（强度 {strength:.2f}）选出的 {k} 个条目之中；仅按得分它是 **#{rank:,}**。"
    "以下解释的是得分。",
    "rerank.why.place": "列表中的位置",
    "rerank.why.rank": "按得分的位置",
    "rerank.why.changes": "这里的名次仅按得分，不经过重排序器。",
    "rerank.both": "两个列表都由 **{label}**（强度 {strength:.2f}）重排。{about}",
    "rerank.map": "列表由 **{label}**（强度 {strength:.2f}）重排。",
    "rerank.item": "名次仅按得分：**{label}** 不对其重排。",
    "rerank.beside.first": "**当前列表**，经重排：{label}，强度 {strength:.2f}",
    "rerank.beside.kind": "换一种重排",
    "rerank.beside.alone": "{head}，仅按得分",
}
