"""The notebooks: kept without outputs, run from the first to the last cell, and exported to pages that open offline."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from conftest import TINY
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from notebooks import (
    PATHS,
    PLOT,
    ROOT,
    assignments,
    executed,
    faults,
    kernel,
    outputs,
    page,
    parameters,
    printed,
    read,
    table,
    unresolved,
    with_parameters,
)
from recsys_core.explain import questions

NAMES = [path.stem for path in PATHS]
QUICK = 'components = ["popularity", "item_knn", "ease"]\ntune = false\ncontrol = false\n'
READS = "tune = false\ncontrol = false\n"  # BERT among the components, so that there are words to explain
CONFIGS = {"02_explanations": READS}
ML_100K = ROOT / "data" / "ml-100k"


def in_folder(
    name: str, folder: Path, *, data: Path, config: Path, seconds: int, within: AsyncKernelManager | None = None
) -> NotebookNode:
    """One notebook, executed in a folder of its own."""
    values = {"DATA": str(data), "RUNS": str(folder / "runs"), "OUT": str(folder / "tables"), "CONFIG": str(config)}
    return executed(with_parameters(read(ROOT / "notebooks" / f"{name}.ipynb"), values), folder, seconds, within)


@pytest.fixture(scope="module")
def shared() -> Iterator[AsyncKernelManager]:
    with kernel() as manager:
        yield manager


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, shared: AsyncKernelManager) -> Callable[[str], NotebookNode]:
    """A notebook by name, executed once on data/tiny."""
    made: dict[str, NotebookNode] = {}

    def one(name: str) -> NotebookNode:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            (folder / "quick.toml").write_text(CONFIGS.get(name, QUICK), "utf-8")
            made[name] = in_folder(name, folder, data=TINY, config=folder / "quick.toml", seconds=300, within=shared)
        return made[name]

    return one


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_kept_clean(path: Path) -> None:
    nbformat.validate(read(path))
    assert not faults(read(path))


def clean() -> NotebookNode:
    first = new_code_cell("A = 1  # a setting\nB = 'x'", id="first", metadata={"tags": ["parameters"]})
    return new_notebook(cells=[new_markdown_cell("words", id="words"), first, new_code_cell("A", id="second")])


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda n: n.cells[2].update(execution_count=1), "second: outputs"),
        (lambda n: n.cells[2].outputs.append(nbformat.v4.new_output("stream", text="1")), "second: outputs"),
        (lambda n: n.cells[2].update(source="open('/" + "home/me/data.csv')"), "second: a path of one machine"),
        (lambda n: n.cells[2].update(source="import recsys_core.train"), "second: a run that recsys_core.ready should open"),
        (lambda n: n.cells[2].update(source="run = Run.load(path)"), "second: a run that recsys_core.ready should open"),
        (lambda n: n.cells[0].update(source="NDCG is 0.32 here"), "words: a figure typed by hand"),
        (lambda n: n.cells[1].metadata.update(tags=[]), "the first code cell is not tagged parameters"),
        (lambda n: n.cells[1].update(source="A = len('x')"), "the parameters are not simple assignments"),
        (lambda n: n.cells[1].update(source="import os"), "the parameters are not simple assignments"),
        (lambda n: n.metadata.update(widgets={}), "metadata of an execution"),
    ],
)
def test_faults_are_found(break_it: Callable[[NotebookNode], object], says: str) -> None:
    notebook = clean()
    assert faults(notebook) == []
    break_it(notebook)
    assert faults(notebook) == [says]


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_what_is_imported_is_there(path: Path) -> None:
    assert not unresolved(read(path))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("from recsys_core.show import page, legend_", ["recsys_core.show.legend_"]),
        ("def f():\n    from recsys_core.no_such import page", ["recsys_core.no_such.page"]),
        ("from recsys_core import ready, no_such", ["recsys_core.no_such"]),
        ("import recsys_core.show, recsys_core.no_such", ["recsys_core.no_such"]),
        ("from recsys_core import show as shown", []),  # a module, which is no name until somebody imports it
    ],
)
def test_what_is_imported_and_gone_is_found(source: str, missing: list[str]) -> None:
    notebook = clean()
    notebook.cells[2].source = source
    assert unresolved(notebook) == missing


def test_parameters_are_replaced_by_name() -> None:
    made = with_parameters(clean(), {"B": "y", "C": 3})
    assert assignments(parameters(made).source) == {"A": 1, "B": "y"}
    assert assignments(parameters(clean()).source) == {"A": 1, "B": "x"}


@pytest.mark.parametrize("name", NAMES)
def test_runs_on_the_tiny_set(name: str, done: Callable[[str], NotebookNode]) -> None:
    notebook = done(name)
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    assert outputs(notebook, "text/html")


def test_a_failing_cell_is_an_error(tmp_path: Path, shared: AsyncKernelManager) -> None:
    notebook = clean()
    notebook.cells[2].source = "1 / 0"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(notebook, tmp_path, within=shared)


def test_a_notebook_knows_nothing_of_the_one_before(tmp_path: Path, shared: AsyncKernelManager) -> None:
    executed(clean(), tmp_path, within=shared)
    notebook = clean()
    notebook.cells[1].source = "import pathlib"
    with pytest.raises(CellExecutionError, match="name 'A' is not defined"):
        executed(notebook, tmp_path, within=shared)
    notebook.cells[2].source = "print(pathlib.Path.cwd())"
    assert printed(executed(notebook, tmp_path, within=shared)) == f"{tmp_path}\n"


def test_the_quickstart_says_what_the_run_is_worth(done: Callable[[str], NotebookNode]) -> None:
    notebook = done("01_quickstart")
    assert len(outputs(notebook, PLOT)) == 2
    assert "no difference is shown" in printed(notebook)  # as is so on eighteen items
    assert sum(c.cell_type == "code" for c in notebook.cells) <= 10


def test_explanations_reach_the_words(done: Callable[[str], NotebookNode]) -> None:
    asked = {row[0] for row in table(done("02_explanations"), "cell-07")}
    assert asked == set(questions.names())


DEFECTS = {  # of a pair model, by the cell that shows them: what is right, and the check that each of the others must fail
    "cell-11": (
        "likes against items not liked",
        {
            "the cosine above": "both labels occur",
            "some other similarity": "labels are 0 or 1",
            "trained and judged on the same rows": "no pair is in both parts",
        },
    ),
    "loss-code": (
        "right",
        dict.fromkeys(
            ("the head's own loss", "the probability is blended", "a factor in the loss alone"), "loss and score are on one scale"
        ),
    ),
    "cut-code": ("right", dict.fromkeys(("one token an item", "one opening for all"), "different items read differently")),
}


@pytest.mark.parametrize("cell", DEFECTS)
def test_each_defect_of_a_pair_model_fails_its_check(cell: str, done: Callable[[str], NotebookNode]) -> None:
    right, broken = DEFECTS[cell]
    passed = {(name, check): yes for name, check, yes, _ in table(done("08_bert_pairs_done_right"), cell)}
    assert {name for name, _ in passed} == {right, *broken}
    assert {name: passed[name, check] for name, check in broken.items()} == dict.fromkeys(broken, "NO")
    twice = "no pair is in both parts"  # in a world of eighteen items two people have the same past
    assert {passed[right, check] for check in broken.values() if check != twice} <= {"yes"}


def test_each_defect_of_a_score_fails_a_check(done: Callable[[str], NotebookNode]) -> None:
    (first, *right), *broken = table(done("08_bert_pairs_done_right"), "cell-15")
    assert (first, set(right)) == ("right", {"yes"})
    assert len(broken) == 9
    assert not [name for name, *marks in broken if "NO" not in marks]


def test_the_right_pair_model_passes_every_check(done: Callable[[str], NotebookNode]) -> None:
    passed = {check: yes for check, yes, _ in table(done("08_bert_pairs_done_right"), "cell-20")}
    assert {"follows the item", "loss and score are on one scale", "different items read differently"} <= set(passed)
    assert set(passed.values()) == {"yes"}


def test_your_own_model_is_refused_or_explained(done: Callable[[str], NotebookNode]) -> None:
    told = printed(done("07_your_own_model"))
    assert "refused: row 0 alone scores otherwise than in a batch" in told
    assert "closed form: 0 evaluations" in told
    assert "unknown item 'no such item'" in told


def test_your_own_data_shows_errors_in_one_line(done: Callable[[str], NotebookNode]) -> None:
    told = printed(done("06_your_own_data"))
    lines = [line for line in told.splitlines() if line.startswith("- ")]
    assert len(lines) == 4
    assert "'five' is not a number" in lines[0]
    assert "film, kind" in lines[3]  # a name that both tables have is listed once
    assert "film, film" not in lines[3]
    assert "whyrec prepare --interactions" in told


def fetched(text: str) -> list[str]:
    """What a page names for a browser to fetch: scripts, styles and modules."""
    return re.findall(r"<(?:script|link)\b[^>]*\b(?:src|href)=[\"']?([^\"'> ]+)|\bimport\([\"']([^\"']+)", text)


def test_exported_pages_name_nothing_to_fetch(done: Callable[[str], NotebookNode]) -> None:
    for name in ("01_quickstart", "03_blend_and_diversity"):  # figures; widgets and figures
        assert not fetched(page(done(name)))
    assert fetched(page(done("03_blend_and_diversity"), template_name="lab"))  # Jupyter's own template does


def test_the_readme_names_every_notebook() -> None:
    text = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    assert [name for name in NAMES if f"]({name}.ipynb)" in text] == NAMES
    assert NAMES


@pytest.mark.slow
def test_a_slider_redraws_the_list(tmp_path: Path) -> None:
    notebook = read(ROOT / "notebooks" / "03_blend_and_diversity.ipynb")
    (tmp_path / "quick.toml").write_text(QUICK, "utf-8")
    at = next(n for n, cell in enumerate(notebook.cells) if "FloatSlider" in cell.source)
    values = {"DATA": str(TINY), "RUNS": str(tmp_path / "runs"), "CONFIG": str(tmp_path / "quick.toml")}
    shown = []
    for weight in ("learned['ease']", "-1.0"):
        moved = with_parameters(notebook, values)
        moved.cells = [*moved.cells[: at + 1], new_code_cell(f"sliders['ease'].value = {weight}", id="move")]
        shown.append(outputs(executed(moved, tmp_path), "text/html")[-1])
    assert "Recommendations" in shown[0]
    assert shown[0] != shown[1]


OURS = '<div style="font-family:sans-serif"><b>'  # how everything begins that shows itself


@dataclass(frozen=True)
class Seen:
    """A page opened without a network: what it asks of one, what it complains about, how many figures have a size, and the
    text of the objects that can be seen."""

    asked: list[str]
    errors: list[str]
    drawn: int
    objects: list[str]


OBJECTS = {  # classes that show themselves in a notebook: what the first line says of one, and what else must be seen
    "Dataset": (r"^Dataset tiny$", ("empty pairs", "likes")),
    "Explanation": (r": [+-]\d+\.\d+ log-odds, probability \d+\.\d%$", ("gap", "evaluations", "base")),
    "Recommendations": (r"^Recommendations, top 10$", ("rank", "parts of the log-odds", "ease")),
    "Report": (r"^Report on the test set$", ("hybrid minus", "without bert", "ECE")),
    "Run": (r"^Run demo on tiny$", ("weight (log-odds)", "hybrid", "test part")),
}


def test_all_that_shows_itself_is_looked_at() -> None:
    found = set()
    for path in (p for room in ("recsys_core", "dashboard") for p in (ROOT / room).rglob("*.py")):
        classes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
        found |= {c.name for c in classes if "_repr_html_" in {getattr(node, "name", "") for node in c.body}}
    assert found == set(OBJECTS)


@pytest.fixture(scope="module")
def looked(done: Callable[[str], NotebookNode], browser, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """What is seen of a notebook's exported page, opened once."""
    made: dict[str, Seen] = {}

    def one(name: str) -> Seen:
        if name not in made:
            file, figures = tmp_path_factory.mktemp("page") / f"{name}.html", len(outputs(done(name), PLOT))
            made[name] = opened_offline(browser, file, page(done(name)), figures)
        return made[name]

    return one


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_exported_pages_open_offline(name: str, done: Callable[[str], NotebookNode], looked: Callable[[str], Seen]) -> None:
    seen = looked(name)
    assert not seen.asked
    assert not seen.errors
    assert seen.drawn == len(outputs(done(name), PLOT))
    assert len(seen.objects) == sum(html.startswith(OURS) for html in outputs(done(name), "text/html"))


@pytest.mark.browser
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_is_seen_offline(kind: str, looked: Callable[[str], Seen]) -> None:
    first, more = OBJECTS[kind]
    objects = looked({"Report": "04_bert_and_cold_start"}.get(kind, "01_quickstart")).objects
    (seen, *_) = [text for text in objects if re.search(first, text.splitlines()[0])]
    assert not [word for word in more if word not in seen]


@pytest.mark.browser
def test_what_is_hidden_or_not_drawn_is_not_seen(done: Callable[[str], NotebookNode], browser, tmp_path: Path) -> None:
    text = page(done("01_quickstart"))
    hidden = text.replace(OURS, OURS.replace('">', ';display:none">')).replace("Plotly.newPlot(", "void (")
    seen = opened_offline(browser, tmp_path / "hidden.html", hidden)
    assert (seen.objects, seen.drawn, seen.errors) == ([], 0, [])
    broken = opened_offline(browser, tmp_path / "broken.html", text.replace("Plotly.newPlot(", "Plotly.noSuch("))
    assert (broken.drawn, len(broken.errors)) == (0, len(outputs(done("01_quickstart"), PLOT)))


@pytest.mark.browser
def test_a_page_that_asks_the_network_is_found_out(done: Callable[[str], NotebookNode], browser, tmp_path: Path) -> None:
    theirs = page(done("01_quickstart"), template_name="lab")
    seen = opened_offline(browser, tmp_path / "theirs.html", theirs)
    assert any("require" in url for url in seen.asked)  # Jupyter's own template, which draws nothing without a network
    assert seen.drawn == 0
    for asks in (
        "<img src='https://example.org/a.png'>",
        "<script>fetch('https://example.org/a')</script>",
        "<script>setTimeout(() => fetch('http://127.0.0.1:9/a'), 300)</script>",
        "<script>new WebSocket('wss://example.org/a')</script>",
        "<style>body {background: url(https://example.org/a.png)}</style>",
        "<iframe src='https://example.org/'></iframe>",
    ):
        seen = opened_offline(browser, tmp_path / "asks.html", f"<html><body>{asks}</body></html>")
        assert [url for url in seen.asked if url in asks], asks


def opened_offline(browser, file: Path, text: str, figures: int = 0) -> Seen:
    """Open a page; so many figures are waited for, but not for ever."""
    file.write_text(text, "utf-8")
    asked: list[str] = []
    errors: list[str] = []
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else asked.append(r.url))
    tab.on("websocket", lambda socket: asked.append(socket.url))
    tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.goto(file.as_uri())
    tab.wait_for_timeout(500)  # what asks the network may ask late
    for _ in range(100):
        sizes = [figure.bounding_box() for figure in tab.locator(".js-plotly-plot .plot-container").all()]
        drawn = sum(box is not None and box["height"] > 100 for box in sizes)
        if drawn >= figures:
            break
        tab.wait_for_timeout(100)
    boxes = tab.locator("div[style^='font-family:sans-serif']:has(> b:first-child)").all()
    objects = [box.inner_text() for box in boxes if box.is_visible()]
    context.close()
    return Seen(asked, errors, drawn, objects)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_movielens(name: str, tmp_path: Path) -> None:
    if not ML_100K.is_dir():
        pytest.skip("no data/ml-100k; whyrec fetch ml-100k brings it")
    notebook = in_folder(name, tmp_path, data=ML_100K, config=ROOT / "configs" / "default.toml", seconds=1200)
    assert outputs(notebook, "text/html")
