"""The house plan, held by a walk over the syntax tree. Every rule stands beside a snippet that it must reject."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(str(p.relative_to(ROOT)) for room in ("recsys_core", "dashboard") for p in (ROOT / room).rglob("*.py"))

# A module may import its own layer and those above it in this list, never those below.
LAYERS = [
    {"", "errors", "registry", "show", "whole", "limits", "cache", "pictures"},
    {"data"},
    {"splits", "fast_bert", "text", "metrics", "ranking", "rerank", "resampling", "readers", "fetch"},
    {"features"},
    {"scorers"},
    {"hybrid"},
    {
        "config",
        "recommend",
        "candidates",
        "learn",
        "newcomers",
        "rehearsal",
        "card",
        "browse",
        "cases",
        "train",
        "run",
        "workshop",
        "evaluate",
        "opened",
        "analytics",
        "tradeoffs",
        "differences",
        "fairness",
        "catalogue_map",
        "explain",
        "testing",
        "doctor",
        "feedback",
        "update",
        "overview",
        "side_by_side",
        "definitions",
        "beside",
        "whatif",
        "new_item",
        "intake",
        "ready",
        "protocols",
        "pair_checks",
    },
    {"cli", "cli_explain", "cli_dashboard", "cli_update", "cli_feedback", "cli_help", "cli_doctor"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
PURE = ("metrics", "rerank", "explain/game", "explain/exact", "explain/explainers")
MAX_FILE, MAX_FUNCTION = 500, 80  # lines


def imports(tree: ast.AST, *, typing: bool = True) -> Iterator[str]:
    """Dotted names of all imports, lazy ones too; `from a import b` gives a.b; without `typing`, none for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif not typing and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        else:
            yield from imports(node, typing=typing)


def room(name: str) -> str:
    """`recsys_core.readers._files.found` is of room `readers`; a name in `recsys_core/__init__.py` of room ``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else ""


def module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def forbidden(*names: str) -> Callable[[str, ast.Module], list[str]]:
    return lambda path, tree: [n for n in imports(tree) if n.split(".")[0] in names]


def against_the_arrow(path: str, tree: ast.Module) -> list[str]:
    name = module(path)
    if name.count(".") and name.split(".")[1] not in LEVEL:
        return [f"{name} has no layer: add it to LAYERS in tests/test_architecture.py"]
    ours = [n for n in imports(tree) if n.split(".")[0] in ("recsys_core", "dashboard", "")]
    return [
        n
        for n in ours
        if n.startswith(".")
        or (n.startswith("dashboard") and not room(name).startswith("cli"))
        or LEVEL[room(n)] > LEVEL[room(name)]
    ]


def knows_recommenders(path: str, tree: ast.Module) -> list[str]:
    allowed = (
        "recsys_core.errors",
        "recsys_core.limits",
        "recsys_core.registry",
        "recsys_core.show",
        "recsys_core.explain.game",
        "recsys_core.explain.explainers",
    )
    return [n for n in imports(tree) if n.startswith(("recsys_core", ".")) and not n.startswith(allowed)]


UNSAFE = ("torch.load", "torch.save", "torch.hub", "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load")
UNSAFE += ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")


def unsafe_loads(path: str, tree: ast.Module) -> list[str]:
    bad = [
        n for n in imports(tree) if n.split(".")[0] in ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code", "shell"):
            bad += [] if isinstance(node.value, ast.Constant) and node.value.value is False else [node.arg]
        elif isinstance(node, ast.Name) and node.id in ("eval", "exec", "compile", "__import__"):
            bad.append(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in UNSAFE:
            bad.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and node.attr == "to_pickle":
            bad.append("to_pickle")
    return bad


def session_state(path: str, tree: ast.Module) -> list[str]:
    return [f"line {n.lineno}" for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "session_state"]


def unbounded(path: str, tree: ast.Module) -> list[str]:
    """Functions whose results are kept for whatever they are asked, however much that is."""
    bad = []
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for how in map(ast.unparse, node.decorator_list):
            streamlit = "cache_data" in how or "cache_resource" in how
            endless = how in ("cache", "functools.cache") or "maxsize=None" in how
            if (streamlit and "max_entries=" not in how) or (endless and ast.unparse(node.args)):
                bad.append(f"{node.name}: {how}")
    return bad


def too_long(path: str, tree: ast.Module) -> list[str]:
    last = max((n.end_lineno or 0 for n in tree.body), default=0)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {n.name: (n.end_lineno or n.lineno) - n.lineno + 1 for n in functions}
    return [f"{last} lines"] * (last > MAX_FILE) + [f"{name}: {n} lines" for name, n in lengths.items() if n > MAX_FUNCTION]


@dataclass(frozen=True)
class Rule:
    """`applies` takes a path below the root; each of `broken` is (path, source) that `offences` must reject."""

    says: str
    applies: Callable[[str], bool]
    offences: Callable[[str, ast.Module], list[str]]
    broken: list[tuple[str, str]]


def everywhere(path: str) -> bool:
    return True


def in_core(path: str) -> bool:
    return path.startswith("recsys_core/")


RULES = [
    Rule(
        "core imports no streamlit and no plotly",
        in_core,
        forbidden("streamlit", "plotly"),
        [
            ("recsys_core/run.py", "def f():\n    import plotly.express as px"),
            ("recsys_core/run.py", "from streamlit import cache"),
        ],
    ),
    Rule(
        "pages import no numpy, torch or sklearn",
        lambda path: path.startswith("dashboard/app_pages/"),
        forbidden("numpy", "scipy", "torch", "sklearn"),
        [("dashboard/app_pages/user.py", "import numpy as np"), ("dashboard/app_pages/user.py", "from torch import nn")],
    ),
    Rule(
        "charts know no streamlit: notebooks use them too",
        lambda path: (
            path
            in tuple(
                f"dashboard/{n}.py"
                for n in (
                    "charts",
                    "explain_charts",
                    "lab_charts",
                    "fairness_charts",
                    "map_charts",
                    "overview_charts",
                    "faithfulness_charts",
                    "report",
                )
            )
        ),
        forbidden("streamlit", "torch", "sklearn"),
        [("dashboard/charts.py", "import streamlit as st"), ("dashboard/report.py", "from streamlit import cache_data")],
    ),
    Rule(
        "only dashboard/state.py and what belongs to it touch session_state",
        lambda path: path.startswith("dashboard/") and not path.startswith(("dashboard/state.py", "dashboard/state_")),
        session_state,
        [("dashboard/app.py", "import streamlit as st\nst.session_state['user'] = 1")],
    ),
    Rule(
        "metrics, re-rankers and explainers know nothing of recommenders",
        lambda path: path.startswith(tuple(f"recsys_core/{name}" for name in PURE)),
        knows_recommenders,
        [
            ("recsys_core/metrics.py", "from recsys_core.data import Histories"),
            ("recsys_core/rerank.py", "import recsys_core.data"),
            ("recsys_core/explain/explainers/exact.py", "from recsys_core.explain.subject import Subject"),
        ],
    ),
    Rule(
        "arrows point one way, and every module has a layer",
        in_core,
        against_the_arrow,
        [
            ("recsys_core/scorers/ease.py", "def f():\n    from recsys_core import hybrid"),
            ("recsys_core/scorers/ease.py", "from recsys_core.run import Run"),
            ("recsys_core/run.py", "import dashboard.charts"),
            ("recsys_core/run.py", "from . import data"),
            ("recsys_core/misc.py", ""),
        ],
    ),
    Rule(
        "nothing that is read is run: no pickle, no eval, no shell, no code of a hub",
        everywhere,
        unsafe_loads,
        [
            ("recsys_core/run.py", "def f():\n    from pickle import loads"),
            ("recsys_core/run.py", "x = np.load('a.npy', allow_pickle=True)"),
            ("recsys_core/run.py", "import torch\nx = torch.load('a')"),
            ("dashboard/app.py", "frame.to_pickle('a')"),
            ("dashboard/app.py", "import joblib\nx = joblib.load('a')"),
            ("dashboard/app.py", "x = eval('1')"),
            ("dashboard/app.py", "exec(text)"),
            ("recsys_core/text.py", "import yaml\nx = yaml.load(text)"),
            ("recsys_core/text.py", "subprocess.run(text, shell=True)"),
            ("recsys_core/text.py", "os.system(text)"),
            ("recsys_core/text.py", "AutoModel.from_pretrained(x, trust_remote_code=True)"),
        ],
    ),
    Rule(
        "what is kept in memory has a bound",
        everywhere,
        unbounded,
        [
            ("dashboard/runs.py", "@st.cache_data\ndef f(path): ..."),
            ("dashboard/runs.py", "@st.cache_resource(show_spinner=False)\ndef f(path): ..."),
            ("recsys_core/text.py", "@cache\ndef f(text): ..."),
            ("recsys_core/text.py", "class A:\n    @functools.lru_cache(maxsize=None)\n    def f(self, text): ..."),
        ],
    ),
    Rule(
        f"no file over {MAX_FILE} and no function over {MAX_FUNCTION} lines",
        everywhere,
        too_long,
        [("recsys_core/run.py", "\n" * MAX_FILE + "x = 1"), ("dashboard/app.py", "def f():\n" + "    x = 1\n" * MAX_FUNCTION)],
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.says)
def test_rule(rule: Rule) -> None:
    found = {path: rule.offences(path, ast.parse((ROOT / path).read_text("utf-8"))) for path in FILES if rule.applies(path)}
    assert not {path: bad for path, bad in found.items() if bad}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.says)
def test_rule_can_fail(rule: Rule) -> None:
    for path, source in rule.broken:
        assert rule.applies(path)
        assert rule.offences(path, ast.parse(source)), source


def test_arrows_may_go_down() -> None:
    tree = ast.parse(
        "from recsys_core import registry\nfrom recsys_core.data import Dataset\nfrom recsys_core.scorers.base import Scorer"
    )
    assert not against_the_arrow("recsys_core/scorers/ease.py", tree)


def cycle(sources: dict[str, str]) -> list[str]:
    """A circle of imports among modules given as path -> source, or []; imports for types only do not count."""
    names = {module(path) for path in sources}
    graph = {}
    for path, source in sources.items():
        targets = (n if n in names else n.rpartition(".")[0] for n in imports(ast.parse(source), typing=False))
        graph[module(path)] = {t for t in targets if t in names}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_imports() -> None:
    assert not cycle({path: (ROOT / path).read_text("utf-8") for path in FILES})


def test_circle_is_found() -> None:
    a, b = "from recsys_core.b import f", "def g():\n    from recsys_core import a"
    only_typing = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {a}"
    assert cycle({"recsys_core/a.py": a, "recsys_core/b.py": b})
    assert not cycle({"recsys_core/a.py": only_typing, "recsys_core/b.py": b})


def loaded(statement: str, *names: str) -> list[str]:
    """Which of `names` a fresh Python has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return list(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_importing_is_cheap() -> None:
    assert loaded("import recsys_core", "torch", "transformers", "streamlit", "sklearn", "plotly", "pandas") == []


def test_command_line_starts_fast() -> None:
    help_ = "from recsys_core.cli import build_parser\nbuild_parser().format_help()"
    assert loaded(help_, "numpy", "torch", "transformers", "streamlit", "sklearn", "plotly", "shtab", "packaging") == []


def test_loaded_sees_what_is_loaded() -> None:
    assert loaded("import decimal", "decimal", "torch") == ["decimal"]
