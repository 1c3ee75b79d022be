"""The notebooks: kept without outputs, run from the first to the last cell, and exported to pages that open offline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
    with_parameters,
)

NAMES = [path.stem for path in PATHS]
QUICK = 'components = ["popularity", "item_knn", "ease"]\ntune = false\ncontrol = false\n'
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
            (folder / "quick.toml").write_text(QUICK, "utf-8")
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


@pytest.mark.browser
def test_exported_pages_open_offline(done: Callable[[str], NotebookNode], browser, tmp_path: Path) -> None:
    notebook = done("01_quickstart")
    asked, errors, drawn = opened_offline(browser, tmp_path / "ours.html", page(notebook))
    assert drawn == len(outputs(notebook, PLOT)) == 2
    assert not asked
    assert not errors
    asked, _, drawn = opened_offline(browser, tmp_path / "theirs.html", page(notebook, template_name="lab"))
    assert any("require" in url for url in asked)  # Jupyter's own template is found out, and draws nothing without a network
    assert drawn == 0


def opened_offline(browser, file: Path, text: str) -> tuple[list[str], list[str], int]:
    """What a page asks of the network, which it does not get; what it complains about; how many figures have a size."""
    file.write_text(text, "utf-8")
    asked: list[str] = []
    errors: list[str] = []
    context = browser.new_context()
    context.route(
        lambda url: not url.startswith(("file:", "data:", "blob:")),
        lambda route: (asked.append(route.request.url), route.abort()),
    )
    tab = context.new_page()
    tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: errors.append(str(e)))
    tab.goto(file.as_uri())
    sizes = [figure.bounding_box() for figure in tab.locator(".js-plotly-plot .plot-container").all()]
    context.close()
    return asked, errors, sum(box is not None and box["height"] > 100 for box in sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_on_movielens(name: str, tmp_path: Path) -> None:
    if not ML_100K.is_dir():
        pytest.skip("no data/ml-100k; whyrec fetch ml-100k brings it")
    notebook = in_folder(name, tmp_path, data=ML_100K, config=ROOT / "configs" / "default.toml", seconds=1200)
    assert outputs(notebook, "text/html")
