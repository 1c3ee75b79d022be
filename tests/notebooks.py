"""Notebooks looked at, run without a browser, and exported to pages that open offline; for tests."""

from __future__ import annotations

import ast
import copy
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
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
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / ".ipython"), "HF_HUB_OFFLINE": "1"})
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


def printed(notebook: NotebookNode) -> str:
    return "".join(o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream")
