"""Two languages say the same things: the same keys, the same placeholders, and the whole dashboard follows the switch."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Mapping
from pathlib import Path

import pytest
import streamlit as st
from conftest import HOSTILE, ran
from streamlit.testing.v1 import AppTest
from test_counterfactual import SEEDS, subjects
from test_dashboard import slider, table, texts

from dashboard import strings
from recsys_core import browse
from recsys_core.cli import main
from recsys_core.explain import told
from recsys_core.explain.answer import explain
from recsys_core.explain.counterfactual import remove_history
from recsys_core.explain.why_not import why_not
from recsys_core.metrics import METRICS
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run

Table = Mapping[str, str]


def gaps(text: str) -> list[tuple[str, str, str]]:
    """Name, format and conversion of every placeholder."""
    return sorted((name, form or "", how or "") for _, name, form, how in string.Formatter().parse(text) if name is not None)


def weak(text: str) -> bool:
    """Is there a ** that Markdown would not read as bold, because it touches a Chinese letter and a mark?"""
    at = [found.span() for found in re.finditer(r"\*\*", text)]
    before = [text[start - 1 : start] for start, _ in at[::2]]
    after = [text[end : end + 1] for _, end in at[1::2]]
    return len(at) % 2 == 1 or any(c.isalnum() or c in "{}" for c in before + after if c)


def faults(en: Table, zh: Table) -> list[str]:
    """Keys that one language lacks, texts that differ in placeholders, and Chinese bold that would show its stars."""
    differ = [key for key in en.keys() & zh.keys() if gaps(en[key]) != gaps(zh[key])]
    return sorted({*(en.keys() ^ zh.keys()), *differ, *(key for key, text in zh.items() if not text or weak(text))})


@pytest.mark.parametrize("module", strings._MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_languages_say_the_same(module) -> None:
    assert faults(module.EN, module.ZH) == []


def test_faults_are_found() -> None:
    en = {"a": "{n:,} of {k}", "b": "x", "c": "{v:.0%}", "d": "{who!r}", "e": "**{n}** left"}
    good = {"a": "{k} 中的 {n:,}", "b": "甲", "c": "{v:.0%}", "d": "{who!r}", "e": "剩 **{n}** 个"}
    assert faults(en, good) == []
    bad = ({"a": "{k} 中的 {n}"}, {"b": ""}, {"c": "{v:.1%}"}, {"d": "{who}"}, {"e": "剩**{n}**个"}, {"f": "多"})
    for one in bad:
        assert faults(en, good | one) == list(one)
    assert faults(en, {key: text for key, text in good.items() if key != "b"}) == ["b"]


def test_no_key_is_in_two_modules() -> None:
    keys = [key for module in strings._MODULES for key in module.EN]
    assert len(keys) == len(set(keys))


# The switch.


def speak(app: AppTest, language: str) -> AppTest:
    """The switch in the sidebar."""
    app.sidebar.button_group(key="language").set_value(language)
    return ran(app)


def title(app: AppTest) -> str:
    return str(app.title[0].value)


def asked(app: AppTest, name: str) -> str | None:
    found = app.query_params.get(name)
    return found[0] if isinstance(found, list) else found


def test_switch_changes_words_and_keeps_choices(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u03", k="7")
    assert title(app).startswith("What would user")
    assert "language" not in app.query_params
    high = browse.weight_range(tiny_run.model.blend)[1]
    slider(app, "ease").set_value(high)
    app.sidebar.text_input(key="query").set_value("u0")
    before = table(ran(speak(ran(app), "en")), "bar")
    user = app.sidebar.selectbox(key="user").value
    speak(app, "zh")
    assert title(app) == f"用户 `{user}` 会得到什么推荐？把握有多大？"
    assert list(table(app, "bar")["title"]) == list(before["title"])
    assert slider(app, "ease").value == high
    assert app.sidebar.number_input(key="k").value == 7
    assert app.sidebar.text_input(key="query").value == "u0"
    assert asked(app, "language") == "zh"
    assert asked(app, "user") == user
    app.switch_page("app_pages/lab.py")
    assert title(ran(app)) == strings.TEXT["zh"]["lab.title"]
    assert asked(app, "language") == "zh"
    assert asked(app, "weights")
    app.switch_page("app_pages/user.py")
    assert title(ran(app)).startswith("用户")
    speak(app, "en")
    assert title(app).startswith("What would user")
    assert asked(app, "language") is None
    assert slider(app, "ease").value == high


def test_link_opens_in_its_language(open_app, tiny_run: Run) -> None:
    app = open_app(tiny_run.path.parent, user="u03", language="zh")
    assert title(app).startswith("用户 `u03`")
    said = texts(app)
    assert strings.TEXT["zh"]["list.probability"] in said
    assert strings.TEXT["en"]["list.probability"] not in said


@pytest.mark.parametrize("value", ["fr", "ZH", "", HOSTILE[0]])
def test_unknown_language_falls_back(open_app, tiny_run: Run, value: str) -> None:
    app = open_app(tiny_run.path.parent, language=value)
    assert title(app).startswith("What would user")
    assert any("not spoken here" in info.value for info in app.info)
    assert asked(app, "language") is None


def test_metrics_and_rerankers_have_names_in_every_language(open_app, tiny_run: Run) -> None:
    """In English as in the registries; in Chinese tiles and their words are Chinese, but for names like NDCG."""
    for name, metric in METRICS.items():
        assert strings.TEXT["en"][f"metric.{name}"] == metric.label
        assert re.search(r"[\u4e00-\u9fff]", strings.TEXT["zh"][f"metric.{name}.about"])
    for name, one in RERANKERS.items():
        assert strings.TEXT["en"][f"reranker.{name}"] == one.label
        assert re.search(r"[\u4e00-\u9fff]", strings.TEXT["zh"][f"reranker.{name}.about"])
    app = open_app(tiny_run.path.parent, language="zh")
    app.switch_page("app_pages/lab.py")
    ran(app)
    (tiles,) = [h.value for h in app.html if 'class="wr-tiles"' in h.value]
    shown = re.findall(r'class="label">([^<]*)<', tiles)
    assert {label for label in shown if not re.search(r"[\u4e00-\u9fff]", label)} == {"NDCG@10"}
    assert METRICS["coverage"].about not in tiles


def test_without_runs_it_speaks_too(open_app, tmp_path: Path) -> None:
    app = open_app(tmp_path, language="zh")
    assert title(app) == strings.TEXT["zh"]["empty.title"]
    assert asked(app, "language") == "zh"
    assert title(speak(app, "en")) == strings.TEXT["en"]["empty.title"]
    assert asked(app, "language") is None
    assert title(speak(app, "zh")) == strings.TEXT["zh"]["empty.title"]
    assert asked(app, "language") == "zh"


def test_every_page_speaks_chinese_on_hostile_data(open_app, hostile_run: Run) -> None:
    for page in ("explain", "lab"):
        app = open_app(hostile_run.path.parent, page, user=HOSTILE[1], language="zh")
        assert re.search("[\u4e00-\u9fff]", title(app))


def test_explain_and_its_item_follow(open_app, tiny_run: Run) -> None:
    item = str(tiny_run.dataset.items.ids[4])
    app = open_app(tiny_run.path.parent, "explain", user="u05", item=item)
    expected = {language: explain(tiny_run, "u05", item, language=language).sentence for language in strings.LANGUAGES}
    assert expected["en"] in [e.value for e in app.text]
    past = next(b for b in app.button_group if b.key == "past of")
    past.set_value("ease")
    ran(app)
    speak(app, "zh")
    assert expected["zh"] in [e.value for e in app.text]
    assert expected["en"] not in [e.value for e in app.text]
    assert asked(app, "item") == item
    assert next(b for b in app.button_group if b.key == "past of").value == "ease"


def test_report_of_the_command_line_speaks(tiny_run: Run, tmp_path: Path) -> None:
    item = str(tiny_run.dataset.items.ids[4])
    pages = {}
    for language in strings.LANGUAGES:
        file = tmp_path / f"{language}.html"
        command = ["explain", "--run", str(tiny_run.path), "--user", "u05", "--item", item, "--what-if"]
        assert main([*command, "--language", language, "--html", str(file)]) == 0
        pages[language] = html.unescape(file.read_text("utf-8"))
        assert explain(tiny_run, "u05", item, language=language).sentence in pages[language]
    for key in ("report.history", "report.tree", "explain.nothing", "report.about"):
        for language, page in pages.items():
            assert [strings.TEXT[other][key] in page for other in pages] == [other == language for other in pages], key
    assert '<html lang="en">' in pages["en"]
    assert '<html lang="zh-Hans">' in pages["zh"]


@pytest.mark.parametrize("language", strings.LANGUAGES)
def test_report_of_the_command_line_says_why_not_in_one_language(language: str, tiny_run: Run, tmp_path: Path) -> None:
    met = str(tiny_run.dataset.items.ids[tiny_run.hidden[[tiny_run.dataset.users.codes(["u05"])[0]]].items[0]])
    command = ["explain", "--run", str(tiny_run.path), "--user", "u05", "--item", met, "--what-if"]
    assert main([*command, "--language", language, "--html", str(tmp_path / "r.html")]) == 0
    page = html.unescape((tmp_path / "r.html").read_text("utf-8"))
    for key in ("why.changes", *(f"report.column.{name}" for name in ("component", "own", "edge", "top", "to_edge", "to_top"))):
        assert f">{strings.TEXT[language][key]}<" in page, key
    assert "to_edge" not in page


def test_downloaded_report_speaks(open_app, tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made when its button is pressed, where there is no session."""
    made = []
    monkeypatch.setattr(st, "download_button", lambda label, data, *args, **kwargs: made.append(data))
    item = str(tiny_run.dataset.items.ids[4])
    open_app(tiny_run.path.parent, "explain", user="u05", item=item, language="zh")
    page = html.unescape(made[-1]().decode())
    assert explain(tiny_run, "u05", item, language="zh").sentence in page
    assert strings.TEXT["zh"]["report.history"] in page
    assert strings.TEXT["en"]["report.history"] not in page


# What the core says.


def test_what_ifs_in_both_languages() -> None:
    assert set(told.WORDS) == set(strings.LANGUAGES)
    assert faults(told.WORDS["en"], {k: v or "-" for k, v in told.WORDS["zh"].items()}) == []
    seen = set()
    for subject in (s for seed in SEEDS[:3] for s in subjects(seed, 6)):
        below = why_not(subject, 5)
        found = [below.additions, *([below.removal] if below.removal else [])]
        for what in found:
            assert what is not None
            said = {language: told.counterfactual(what, language) for language in told.WORDS}
            assert str(what.rank_after if what.found else "") in said["zh"]
            assert not re.search("[a-z]{3}", re.sub("|".join(map(re.escape, what.labels)) or "$^", "", said["zh"]))
            seen.add(what.question)
        assert told.why_not(below, "zh").startswith(f"有 {below.rank - 1} 个候选条目比它更好")
        assert told.why_not(below).startswith(f"{below.rank - 1} candidates are better")
    assert seen == {"add_history", "lifting_removal"}


def test_reasons_are_known_in_chinese() -> None:
    folder = Path(told.__file__).parent
    files = [folder / f"{name}.py" for name in ("counterfactual", "why_not", "faithfulness")]
    source = "".join(path.read_text("utf-8") for path in [*files, *(folder / "explainers").glob("*.py")])
    for pattern in told.REASONS["zh"]:
        parts = re.split(
            r"\\d\+|\\w\+|\\S\+|\\?[().*]|past items|words were|words that|, and opened|, and a group|1 - 0", pattern
        )
        words = max(parts, key=len).strip(" :,;")
        assert words in source, f"nobody says {words!r} any more"
    assert told.reason("what nobody says", "zh") == "what nobody says"
    parts = "no set of words that was tried does it; with all words masked its rank is 3"
    assert told.reason(parts, "zh") == "试过的词语集合都做不到；遮住全部词语时它排第 3 名"
    subject = subjects(0, 3)[0]
    hidden = remove_history(subject, len(subject.items))
    assert not hidden.found
    assert "candidates" not in told.counterfactual(hidden, "zh")
