"""The documentation site: everything registered is in the generated reference, and links and charts are what they should be."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import drawing
import hooks
import outputs
import pytest
import reference

from recsys_core import metrics, registry, rerank, scorers, splits
from recsys_core.cli import build_parser
from recsys_core.config import Settings

ROOT = Path(__file__).parents[1]
MERMAID = re.compile(r"^```mermaid\n(.*?)^```", flags=re.M | re.S)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


# The reference.


def test_every_command_and_option_is_in_the_reference(pages: dict[str, str]) -> None:
    page = pages["reference/command-line.md"]
    for name, command in reference.subparsers(build_parser()):
        section = page.partition(f"\n## whyrec {name}\n")[2].partition("\n## ")[0]
        assert section
        names = [flag for action in command._actions for flag in action.option_strings if flag not in ("-h", "--help")]
        assert not [flag for flag in names if f"{flag}`" not in section and f"{flag} " not in section]


def test_options_show_their_defaults_and_choices() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--k", type=int, default=10, help="length | of lists")
    parser.add_argument("--kind", choices=("a", "b"), required=True)
    parser.add_argument("--hidden", help=argparse.SUPPRESS)
    rows = [reference.option(action) for action in reference.options(parser)]
    assert rows == [("`--k K`", "length \\| of lists", "`10`"), ("`--kind KIND`", "one of a, b", "required")]


@pytest.mark.parametrize("config", [Settings, *(scorers.scorer_class(name).Config for name in scorers.names())])
def test_every_setting_is_explained(config: type) -> None:
    told = reference.meanings(config)
    assert not {f.name for f in dataclasses.fields(config)} - told.keys()


def test_settings_without_a_word_are_found() -> None:
    @dataclasses.dataclass
    class Wordless:
        a: int = 1

    @dataclasses.dataclass
    class Config:
        """Args:
        a, b: two. c: three.
        """

        a: int = 1
        b: int = 2
        c: int = 3
        d: int = 4  # four
        e: int = 5

    assert reference.meanings(Config) == {"a": "two.", "b": "two.", "c": "three.", "d": "four"}
    assert reference.meanings(Wordless) == {}


def test_everything_registered_is_in_the_reference(pages: dict[str, str]) -> None:
    page = pages["reference/choices.md"]
    assert not [name for name in registry.names("recsys_core.readers") if f"`{name}`" not in page]
    assert not [name for name in splits.KINDS if f"`split = {name}`" not in page]
    assert not [name for name in rerank.RERANKERS if f"### {name}\n" not in page]
    for package, title in (("questions", "explanations"), ("explainers", "explanations")):
        known = registry.names(f"recsys_core.explain.{package}")
        assert not [name for name in known if f"### {name}\n" not in pages[f"reference/{title}.md"]]
    for name in scorers.names():
        section = pages["reference/components.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert not [f for f in scorers.scorer_class(name).Config.__dataclass_fields__ if f"| `{f}` |" not in section]


def test_every_metric_has_formula_range_direction_and_source(pages: dict[str, str]) -> None:
    for m in metrics.METRICS.values():
        section = pages["reference/metrics.md"].partition(f"\n## {m.name}\n")[2].partition("\n## ")[0]
        facts = [reference.code(m.formula), f"{m.low:g} to ", f"| better | {m.direction} |", reference.cell(m.source)]
        assert not [fact for fact in facts if fact not in section]


def test_every_public_module_has_its_page(pages: dict[str, str]) -> None:
    public = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in (ROOT / "recsys_core").rglob("*.py")
        if not re.search(r"/(_(?!_)|cli)|recsys_core/__init__", str(p))
    }
    shown = {line.removeprefix("::: ") for text in pages.values() for line in text.splitlines() if line.startswith("::: ")}
    assert shown == public


def test_tables_have_as_many_cells_as_their_head(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, (name, table[:200])


def test_torch_is_not_loaded_to_write_the_reference() -> None:
    code = "import sys; sys.path.insert(0, 'docs/generate'); import reference; reference.pages(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


# Links, notebooks, outputs.


@pytest.mark.parametrize(
    ("uri", "link", "made"),
    [
        ("howto/index.md", "[a](../explaining.md#your-own-model)", "[a](../explaining.md#your-own-model)"),
        ("howto/index.md", "[a](../../CONTRIBUTING.md)", "[a](../contributing.md)"),
        ("index.md", "![a](docs/images/user.png)", "![a](images/user.png)"),
        ("tiny.md", "[a](../../README.md#start)", "[a](index.md#start)"),
        ("faq.md", "[the core](../recsys_core/data.py)", "the core"),  # a file that is no page
        ("faq.md", "[a](none.md)", "[a](none.md)"),  # left for the strict build to find
        ("faq.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(uri: str, link: str, made: str) -> None:
    known = {"explaining.md", "contributing.md", "images/user.png", "index.md", "tiny.md", "faq.md", "howto/index.md"}
    assert hooks.relinked(link, uri, known) == made


def test_notebooks_are_listed(tmp_path: Path) -> None:
    assert hooks.notebooks(tmp_path) == ""
    cells = [{"cell_type": "code", "source": ["1"]}, {"cell_type": "markdown", "source": ["# Quick start\n", "More."]}]
    (tmp_path / "01_quickstart.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert hooks.notebooks(tmp_path) == "- `notebooks/01_quickstart.ipynb`: Quick start"


def test_page_without_a_place_gets_one(tmp_path: Path) -> None:
    (tmp_path / "howto").mkdir()
    for name in ("a.md", "b.md", "howto/c.md", "howto/d.md"):
        (tmp_path / name).touch()
    assert hooks.unplaced(["a.md", {"How": [{"C": "howto/c.md"}]}], tmp_path) == ["b.md", "howto/d.md"]


def test_pages_from_elsewhere_have_a_place() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert not [name for name in hooks.ELSEWHERE.values() if not re.search(rf"[ :]{name}$", config, flags=re.M)]


def test_outputs_are_those_of_the_commands() -> None:
    page = "```bash\nmake tea\n```\n\n```bash\nwhyrec feedback --runs data\n```\n<!-- output -->\n"
    assert "make tea" in (shown := outputs.shown(page))
    assert "```text\nreactions: 0 like" in shown
    assert "<!-- output -->" not in shown


def test_failing_command_stops_the_build() -> None:
    with pytest.raises(RuntimeError, match="exit code 2"):
        outputs.shown("```bash\nwhyrec feedback --runs data --export a.txt\n```\n<!-- output -->\n")


# Charts.


def test_flow_chart_of_the_architecture_is_drawn() -> None:
    source = MERMAID.search((ROOT / "docs/architecture.md").read_text("utf-8"))
    assert source
    drawn, chart = drawing.svg(source[1], "What flows"), drawing.parse(source[1])
    assert drawn.count("<rect") == len(chart.labels)
    assert drawn.count('class="edge"') == len(chart.edges)
    assert not [label for label in chart.labels.values() if f">{label}<" not in drawn]


def test_flow_charts_are_read() -> None:
    chart = drawing.parse("flowchart LR\n a[raw files] -- read by --> b --> c\n b & c --> d\n")
    assert chart.labels == {"a": "raw files", "b": "b", "c": "c", "d": "d"}
    assert chart.edges == [("a", "b", "read by"), ("b", "c", ""), ("b", "d", ""), ("c", "d", "")]
    assert drawing.columns(chart) == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.parametrize(("line", "fault"), [("a{x} --> b", "not a node"), ("a --> b --> a", "circle")])
def test_what_cannot_be_drawn_is_told(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        drawing.svg(f"flowchart LR\n{line}\n", "")


# The built site.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """Address of the built site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def build(folder: Path, config: str = "mkdocs.yml") -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.slow
def test_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](none.md)\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: A\nstrict: true\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"none\.md"):
        build(tmp_path / "site", str(tmp_path / "mkdocs.yml"))


def loads_from_away(page: str) -> list[str]:
    """What an HTML page would fetch from another place: scripts, style sheets, pictures, frames; links are not fetched."""
    tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page)
    return [tag for tag in tags if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag) and 'rel="canonical"' not in tag]


def test_what_loads_from_away_is_found() -> None:
    away = '<script src="https://a.org/b.js"></script><link rel="stylesheet" href="//a.org/c.css">'
    assert len(loads_from_away(away + '<a href="https://a.org">a</a><img src="images/user.png">')) == 2


@pytest.mark.slow
def test_no_page_loads_from_away(built: Path) -> None:
    found = {str(path.relative_to(built)): loads_from_away(path.read_text("utf-8")) for path in built.rglob("*.html")}
    assert len(found) > 50
    assert not {name: tags for name, tags in found.items() if tags}
    assert not [path.name for path in built.rglob("*.py")]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", ["index", "tutorial", "faq", "architecture", "reference/command-line", "reference/metrics"])
def test_page_needs_no_network_and_fits(browser, site: str, page: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.goto(f"{site}/{page}.html")
    tab.locator("h1").first.wait_for()
    tab.wait_for_load_state("networkidle")
    away = [url for url in asked if not url.startswith((site, "data:"))]
    wide = tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    context.close()
    assert asked
    assert not away
    assert not complaints
    assert not wide
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.slow
@pytest.mark.browser
def test_search_finds_a_function(browser, site: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{site}/index.html")
    tab.locator("[data-md-component=search-query]").fill("recommend_users")
    tab.locator(".md-search-result__link").first.wait_for()
    links = [link.get_attribute("href") for link in tab.locator(".md-search-result__link").all()]
    context.close()
    assert any("reference/api/recommend.html" in link for link in links)
