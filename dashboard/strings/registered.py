"""Components, questions, explainers and conventions: in English as their files say it, the one place of those words; other
languages are here. What is registered and has no words here is a fault that `tests/test_chinese.py` tells."""

from recsys_core import definitions

EN = {}
for kind, table in (
    ("component", definitions.components()),
    ("question", definitions.asked()),
    ("explainer", definitions.methods()),
    ("convention", definitions.conventions()),
):
    for row in table.to_dict("records"):
        EN |= {f"{kind}.{row['name']}.{part}": row[part] for part in ("about", "source", "more") if row.get(part)}
EN |= {f"convention.{name}": name for name in definitions.conventions()["name"]}

ZH = {
    "component.bert.about": "双塔推荐模型，基于 BERT 文本向量和条目编号；冷启动条目和新文本只凭文本打分。",
    "component.bert.source": "文本向量用 Sentence-BERT（Reimers 与 Gurevych 2019），历史与条目各一塔。",
    "component.cold.about": "尚无人接触过的条目：把它们的文本和属性映射到协同模型的列上。",
    "component.cold.source": "属性到特征的映射（Gantner 等 2010），用岭回归映射到 EASE（Steck 2019）的列上。",
    "component.cross_encoder.about": "BERT 同时读取历史和条目，给出条目被喜欢的可能性（句对分类，Devlin 等 2019）。",
    "component.cross_encoder.source": "用 BERT 做句对分类（Devlin 等 2019）。",
    "component.ease.about": "EASE：“历史中有此条目的人还喜欢什么”的最佳线性模型，有闭式解。",
    "component.ease.source": "极浅自编码器（Steck 2019，arXiv:1905.03375，式 8），其 Gram 矩阵考虑喜欢的先后次序。",
    "component.factors.about": "矩阵分解：用户和条目都是短向量；新的历史可直接折入，因此用户不需要编号。",
    "component.factors.source": "隐式反馈的矩阵分解（Hu、Koren 与 Volinsky 2008），采用真正要紧的设置（Rendle 等 2021）。",
    "component.item_knn.about": "条目近邻：每个历史条目为同一批用户最常喜欢的条目投票。",
    "component.item_knn.source": "基于条目的近邻法，收缩余弦（Sarwar 等 2001；收缩依 Bell 与 Koren 2007）。",
    "component.next_item.about": "接下来是什么：历史条目为人们随后不久喜欢上的条目投票。",
    "component.next_item.source": "用之前的喜欢对随后的喜欢做岭回归，W = (G + reg I)^-1 C。",
    "component.popularity.about": "流行度：条目被喜欢的次数，近期的权重更大。不看历史。",
    "component.popularity.source": "最热门的条目（带半衰期的近期流行度；Ji 等 2020，arXiv:2005.13829）。",
    "component.user_knn.about": "用户近邻：与这段历史重合最多的人，用他们喜欢的条目投票。",
    "component.user_knn.source": "基于用户、只看喜欢与否的近邻法（Herlocker 等 1999）。对历史不是线性的：余弦要除以历史的长度。",
    "question.attributes.about": "条目的哪些方面带来了分数？参与方是它的属性值，各自带着有此属性的历史条目。",
    "question.attributes.more": "有几个共同属性值的历史条目，把自己平均分给它们，因此某个值不在时，这一份就从历史中拿掉；没有"
    "共同属性的历史条目合为一个参与方（“没有共同之处”）。所以归因说明分数经由哪些共同之处而来，并不说明模型读取了该属性。",
    "question.components.about": "混合模型的哪个组件带来了分数？参与方是各组件；值 = 基准 + 在场组件的分量。",
    "question.history.about": "哪些历史条目带来了分数？参与方是历史中的条目；不在场的被拿掉，历史的长度和时间不变。",
    "question.words.about": "条目文本中的哪些词带来了分数？参与方是其中的词；不在场的词换成 BERT 的掩码标记。",
    "explainer.exact.about": "不经采样的 Shapley 值：可加时用闭式解，否则枚举全部组合（Shapley 1953）。",
    "explainer.ig.about": "积分梯度：从全不在场到全部在场沿直线的斜率（Sundararajan 等 2017，式 1）。",
    "explainer.lime.about": "LIME：在接近全体的随机组合上做岭回归（Ribeiro 等 2016），由 lime 包计算。",
    "explainer.loo.about": "逐一去掉：少了一个参与方，值损失多少。各份之和不等于总值：差额就是参与方合在一起才有的作用。",
    "explainer.popularity.about": "看似合理的最低参照：按参与方的知名度归因，不管模型怎么做。",
    "explainer.random.about": "最低参照：随机归因。不比它好的解释方法什么也没有解释。",
    "explainer.shap.about": "按问题选用的 SHAP（Lundberg 与 Lee 2017）：词语用 Partition，没有次序的参与方用 Permutation。",
    "explainer.shap_exact.about": "shap 包的精确 Shapley 值：按格雷码次序走遍全部组合。",
    "explainer.shap_partition.about": "词语的 Owen 值：shap 包的 Partition 方法，用其文本掩码器的聚类（Owen 1977）。",
    "explainer.shap_permutation.about": "采样的 Shapley 值：shap 包的对偶排列（Strumbelj 与 Kononenko 2014；Mitchell 等 2022）。",
    "convention.relevant": "相关（relevant）",
    "convention.relevant.about": "评分不低于数据的阈值；数据没有阈值时，每次交互都算",
    "convention.hide = met": "不显示（hide = met）",
    "convention.hide = met.about": "用户接触过的一切，不论喜欢与否",
    "convention.hide = liked": "不显示（hide = liked）",
    "convention.hide = liked.about": "只有用户喜欢过的条目（接触过但不喜欢的仍留在列表里，算作未命中）",
    "convention.split = random": "划分（split = random）",
    "convention.split = random.about": "每位用户的喜欢（至少 3 个）中随机取一部分，验证集和测试集各至少一个。",
    "convention.split = leave-last": "划分（split = leave-last）",
    "convention.split = leave-last.about": "每位用户的最后一个喜欢（至少有 3 个）用于测试，倒数第二个用于验证；"
    "此后的不喜欢也不用于训练。",
    "convention.split = time": "划分（split = time）",
    "convention.split = time.about": "所有用户用同一时间切分：喜欢中最后的一部分用于测试，之前的一部分用于验证。",
    "convention.split = cold-items": "划分（split = cold-items）",
    "convention.split = cold-items.about": "随机取一部分条目，完全不用于训练，只用于测试。",
    "convention.histories": "历史（histories）",
    "convention.histories.about": "用户喜欢过的条目，同等看待",
    "convention.candidates": "候选（candidates）",
    "convention.candidates.about": "列表未隐藏的全部目录条目；从不抽样",
    "convention.ties": "并列（ties）",
    "convention.ties.about": "得分相同的条目按一个固定的随机排列排序",
    "convention.users": "用户（users）",
    "convention.users.about": "至少有一个相关条目的用户；其他人只计数，不评分",
    "convention.fit": "拟合（fit）",
    "convention.fit.about": "设置和权重在验证集上选出；测试前再用训练集加验证集重新拟合",
}
