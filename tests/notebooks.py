"""Notebooks looked at, run without a browser, and exported to pages that open offline; for tests."""

from __future__ import annotations

import ast
import copy
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from traitlets.config import PyFileConfigLoader

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
PLOT = "application/vnd.plotly.v1+json"
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|tmp|opt|mnt|usr)/|[A-Z]:\\\\")
MADE = re.compile(r"recsys_core\.train\b|\bRun\.load\(")  # past `recsys_core.ready`, which looks of what data a run is
CALM = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # as in the Makefile: else minutes beside other work
MEASURED = re.compile(r"\d\.\d")  # in running text: a figure that a cell should compute


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def parameters(notebook: NotebookNode) -> NotebookNode | None:
    """The first code cell, if it has the tag."""
    first = next((c for c in notebook.cells if c.cell_type == "code"), None)
    return first if first is not None and "parameters" in first.metadata.get("tags", []) else None


def assignments(source: str) -> dict[str, Any]:
    """NAME = literal, line by line. Raises ValueError for anything else."""
    found = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            raise ValueError(ast.unparse(node))
        found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def faults(notebook: NotebookNode) -> list[str]:
    """What keeps a notebook from being kept in the repository."""
    found = []
    if parameters(notebook) is None:
        found.append("the first code cell is not tagged parameters")
    else:
        try:
            assignments(parameters(notebook).source)
        except (ValueError, SyntaxError):
            found.append("the parameters are not simple assignments")
    if set(notebook.metadata) - {"kernelspec", "language_info"} or set(notebook.metadata.get("language_info", {})) - {"name"}:
        found.append("metadata of an execution")
    for cell in notebook.cells:
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            found.append(f"{cell.id}: outputs")
        if MACHINE.search(cell.source):
            found.append(f"{cell.id}: a path of one machine")
        if cell.cell_type == "code" and MADE.search(cell.source):
            found.append(f"{cell.id}: a run that recsys_core.ready should open")
        if cell.cell_type == "markdown" and MEASURED.search(cell.source):
            found.append(f"{cell.id}: a figure typed by hand")
    return found


def with_parameters(notebook: NotebookNode, values: dict[str, Any]) -> NotebookNode:
    """A copy whose parameters have these values; names that the notebook does not have are left out."""
    made = copy.deepcopy(notebook)
    cell = parameters(made)
    told = assignments(cell.source)
    cell.source = "\n".join(f"{name} = {values.get(name, value)!r}" for name, value in told.items())
    return made


def unresolved(notebook: NotebookNode) -> list[str]:
    """What its cells import and nobody has: `module` or `module.name`."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if not _there(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names if not _there(str(node.module), alias.name)]
    return found


def _there(module: str, name: str = "") -> bool:
    """Can the module, or the name in it, be imported?"""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return not name or hasattr(found, name) or _there(f"{module}.{name}")


@contextmanager
def kernel() -> Iterator[AsyncKernelManager]:
    """A Python for several notebooks, which so import what they share once."""
    manager = AsyncKernelManager(kernel_name="python3")
    yield manager
    if manager.has_kernel:
        run_sync(manager.shutdown_kernel)(now=True)


def executed(notebook: NotebookNode, folder: Path, seconds: int = 120, within: AsyncKernelManager | None = None) -> NotebookNode:
    """The notebook with its outputs, run in a folder; a cell may take `seconds`. Raises CellExecutionError for one that fails.

    Args:
        within: a kernel that others have used: their names are forgotten first; None: one of its own.
    """
    first = new_code_cell(f"%reset -f\n__import__('os').chdir({str(folder)!r})", id="forget")
    whole = NotebookNode(notebook | {"cells": [first, *notebook.cells]})
    client = NotebookClient(
        whole, km=within, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    own = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython"), "HF_HUB_OFFLINE": "1"}
    client.execute(env=os.environ | CALM | own)
    notebook.metadata = whole.metadata
    return notebook


def page(notebook: NotebookNode, **traits: Any) -> str:
    """An executed notebook as HTML, as `make notebooks` writes it; `traits` of the exporter in place of ours."""
    config = PyFileConfigLoader("config.py", path=str(FOLDER / "offline")).load_config()
    config.ExecutePreprocessor.enabled = False
    return HTMLExporter(config=config, **traits).from_notebook_node(notebook)[0]


def outputs(notebook: NotebookNode, kind: str) -> list[Any]:
    """What the cells have shown of a MIME type."""
    shown = (o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "data" in o)
    return [o.data[kind] for o in shown if kind in o.data]


def table(notebook: NotebookNode, cell: str) -> list[list[str]]:
    """Rows of the last table that a cell shows, names and values as text; a name that spans rows is in each of them."""
    shown = [o.data["text/html"] for c in notebook.cells if c.id == cell for o in c.outputs if "text/html" in o.get("data", {})]
    rows, spanning, left = [], "", 0
    for row in BeautifulSoup(shown[-1], "html.parser").select("tbody tr"):
        cells = row.select("th, td")
        if left == 0:
            spanning, left = cells[0].get_text().strip(), int(cells[0].get("rowspan", 1))
            cells = cells[1:]
        rows.append([spanning, *(part.get_text().strip() for part in cells)])
        left -= 1
    return rows


def printed(notebook: NotebookNode) -> str:
    return "".join(o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream")
