"""Metrics and re-rankers: in English as in their registries, the one place of their names; other languages are here."""

from recsys_core.metrics import METRICS
from recsys_core.rerank import RERANKERS

SAID = ("about", "formula", "source")  # beside the name, which is the label
EN = {}
for kind, known in (("metric", METRICS), ("reranker", RERANKERS)):
    for name, one in known.items():
        EN |= {f"{kind}.{name}": one.label} | {f"{kind}.{name}.{part}": getattr(one, part) for part in SAID}


def cited(source: str) -> str:
    """A citation of names and a year, as Chinese writes it; one that says more has an entry of its own.

    >>> cited("Deshpande & Karypis 2004"), cited("Herlocker et al. 2004")
    ('Deshpande 与 Karypis 2004', 'Herlocker 等 2004')
    """
    return source.replace(" et al.", " 等").replace(" & ", " 与 ")


ZH = {f"metric.{name}.source": cited(metric.source) for name, metric in METRICS.items()}
ZH |= {
    "metric.ndcg": "NDCG",
    "metric.ndcg.about": "按名次加权的命中，与可能的最佳列表相比（增益只分有无）。",
    "metric.precision": "精确率",
    "metric.precision.about": "前 k 个位置中相关条目所占的比例；空位算未命中。",
    "metric.recall": "召回率",
    "metric.recall.about": "用户的相关条目中出现在列表里的比例；最多为 k / n_relevant。",
    "metric.mrr": "MRR",
    "metric.mrr.about": "第一个相关条目名次的倒数。",
    "metric.hit_rate": "命中率",
    "metric.hit_rate.about": "列表里有没有相关条目？",
    "metric.average_precision": "MAP",
    "metric.average_precision.about": "每次命中处精确率的均值；除以 min(k, n_relevant)，因此完美的列表能达到 1"
    "（别的库除以 n_relevant）。",
    "metric.auc": "AUC",
    "metric.auc.about": "在完整排序中，相关条目排在不相关条目之前的概率；并列算一半。",
    "metric.coverage": "覆盖率",
    "metric.coverage.about": "整个目录中至少出现在一个列表里的比例。",
    "metric.gini": "基尼系数",
    "metric.gini.about": "整个目录曝光的不平等程度，从未出现的条目也算在内：0 表示所有条目出现得一样多。",
    "metric.novelty": "新颖度",
    "metric.novelty.about": "平均自信息：随机一位用户碰到过该条目会有多出人意料。",
    "metric.intra_list_diversity": "多样性（内容）",
    "metric.intra_list_diversity.about": "列表中的条目彼此有多不同；没有向量的条目不计，少于两个条目时无定义。\n\n"
    "Evidently 用各对之和除以列表长度：即本值乘以 (长度 - 1) / 2。",
    "metric.attribute_diversity": "多样性（属性）",
    "metric.attribute_diversity.about": "与多样性（内容）相同，但用类型等属性：1 表示没有两个条目有共同的属性。",
    "metric.personalisation": "个性化",
    "metric.personalisation.about": "一位用户的列表中有多少是别人得不到的；由条目的次数算出，不逐对比较用户。\n\n"
    "一位用户的值取决于所有列表，因此按用户的区间把其他人视为给定。",
    "metric.popularity_lift": "流行度提升",
    "metric.popularity_lift.about": "列表中的条目比用户自己选择的更热门（大于 0）还是更冷门（小于 0）？",
    "metric.long_tail_share": "长尾占比",
    "metric.long_tail_share.about": "头部之外的条目所占的比例；头部是占有 80% 交互的最少条目，以及与其中最后一个同样热门的条目。",
    "metric.calibration_kl": "校准偏差",
    "metric.calibration_kl.about": "列表的属性构成与历史的相差多少；有 g 个属性的条目给每个属性 1/g。",
    "metric.serendipity": "惊喜度",
    "metric.serendipity.about": "与历史中的一切都不相似的相关条目（定义有多种，各库之间不可比）。\n\n"
    "没有向量的命中算 0；没有相关条目、或历史中没有带向量的条目的用户无定义。",
    "reranker.mmr": "MMR",
    "reranker.mmr.about": "最大边际相关：不放与上面某个条目很相似的条目。",
    "reranker.calibration": "校准",
    "reranker.calibration.about": "列表中各属性的比例与历史中的一致；没有历史时保持原来的顺序。",
    "reranker.popularity_penalty": "流行度惩罚",
    "reranker.popularity_penalty.about": "少一些人人都知道的条目。",
    "reranker.dpp": "DPP",
    "reranker.dpp.about": "行列式点过程：张成较大体积的列表。已被选中条目张成的候选得到 log(1e-6)，"
    "并按相关性排序；Chen 等人会在此停止。",
    "metric.ndcg.formula": "sum_r hit_r / log2(r + 1)，除以前 min(k, n_relevant) 位全部命中时的同一个和",
    "metric.precision.formula": "命中数 / k",
    "metric.recall.formula": "命中数 / n_relevant",
    "metric.mrr.formula": "1 / 首个命中的名次；没有命中为 0",
    "metric.hit_rate.formula": "有命中为 1，否则为 0",
    "metric.average_precision.formula": "sum_r hit_r * 前 r 位的精确率，除以 min(k, n_relevant)",
    "metric.auc.formula": "1 - (名次之和 - R (R + 1) / 2) / (R (N - R))，排序的 N 个条目中有 R 个相关",
    "metric.coverage.formula": "出现在任一列表中的条目数 / n_items",
    "metric.gini.formula": "sum_i (2 i - n - 1) x_i / (n sum x)，x 为升序排列的曝光次数",
    "metric.novelty.formula": "-log2((计数 + 1) / (n_users + 1)) 的均值，单位为比特",
    "metric.intra_list_diversity.formula": "1 - 列表中各对条目余弦的均值",
    "metric.attribute_diversity.formula": "1 - 列表中各对条目余弦的均值，用 0/1 属性向量",
    "metric.personalisation.formula": "1 - 与其他用户共有条目数的均值 / 自己列表的长度",
    "metric.popularity_lift.formula": "列表中计数的均值 / 历史中计数的均值 - 1",
    "metric.long_tail_share.formula": "列表中的长尾条目数 / 列表长度",
    "metric.calibration_kl.formula": "KL(p || 0.99 q + 0.01 p)，单位为奈特；p、q 为历史与列表的属性构成",
    "metric.serendipity.formula": "sum_r hit_r * (1 - 与历史条目的最大余弦) / k",
    "reranker.mmr.formula": "(1 - 强度) * 相关性 - 强度 * 与已入列条目的最大余弦",
    "reranker.calibration.formula": "(1 - 强度) * 相关性之和 - 强度 * KL(p || 0.99 q + 0.01 p)；p、q 为历史与列表的属性构成",
    "reranker.popularity_penalty.formula": "(1 - 强度) * 相关性 - 强度 * 流行度",
    "reranker.dpp.formula": "(1 - 强度) * 相关性之和 + 强度 * log det（列表的余弦矩阵）",
    "metric.ndcg.source": "Järvelin 与 Kekäläinen 2002，折扣 log2(r + 1) 取自 Burges 等 2005",
    "metric.average_precision.source": "Buckley 与 Voorhees 2000，截断于 k",
    "metric.novelty.source": "Zhou 等 2010，加一平滑",
    "metric.personalisation.source": "Zhou 等 2010，按用户",
    "metric.calibration_kl.source": "Steck 2018，式 5-6",
    "metric.serendipity.source": "相关且与历史不同；依 Ge 等 2010",
    "reranker.mmr.source": "Carbonell 与 Goldstein 1998，lambda = 1 - 强度",
    "reranker.calibration.source": "Steck 2018，式 5-7，贪心，lambda = 强度",
    "reranker.popularity_penalty.source": "线性混合，如 Abdollahpouri、Burke 与 Mobasher 2019；"
    "流行度为 log(计数 + 1) / log(n_users + 1)，即 Zhou 等 2010 的自信息缩放到 0-1 后的补数",
    "reranker.dpp.source": "Chen、Zhang 与 Zhou 2018，快速贪心 MAP（算法 1），theta = 1 - 强度",
}
