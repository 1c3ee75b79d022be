"""From `whyrec dashboard` to the first page: one process, nothing imported twice, and nothing that this page does not need."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import APP
from served import ROOT, serve

from recsys_core import cli_dashboard
from recsys_core.run import Run

HEAVY = ("torch", "transformers", "sklearn", "scipy.optimize", "scipy.stats")
FIRST = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(APP)!r}, default_timeout=120).run()
assert not app.exception and not app.error and app.title, app
first = [name for name in {HEAVY!r} if name in sys.modules]
import scipy.optimize
print((first, [name for name in {HEAVY!r} if name in sys.modules]))
"""
AHEAD = f"""
import json, socket, sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from dashboard import ahead
ahead.SECONDS = 0.1
with socket.create_server(("127.0.0.1", 0)) as another:
    assert not ahead.serves(another.getsockname()[1])
ahead.serves = lambda port: True
ahead.load(0)
from recsys_core.run import Run
loads, load, known = [], Run.load.__func__, set(sys.modules)
Run.load = classmethod(lambda cls, path: loads.append(str(path)) or load(cls, path))
app = AppTest.from_file({str(APP)!r}, default_timeout=120).run()
assert not app.exception and not app.error and app.title, app
ours = [m for m in set(sys.modules) - known if m.startswith(("dashboard.", "recsys_core.", "plotly.", "scipy."))]
print(json.dumps((loads, sorted(ours))))
"""


def test_first_page_is_loaded_ahead(tiny_run: Run, tmp_path: Path) -> None:
    """When the page is asked for, the run is open and nothing of it is left to import; without a run nothing is raised."""
    there = {**os.environ, "WHYREC_RUNS": str(tiny_run.path.parent), "WHYREC_RUN": tiny_run.path.name}

    def left(script: str, env: dict[str, str]) -> list[list[str]]:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
        return ast.literal_eval(done.stdout.splitlines()[-1])

    assert left(AHEAD, there) == [[], []]
    loads, modules = left(AHEAD.replace("ahead.load(0)", ""), there)
    assert loads == [str(tiny_run.path)]
    assert {"dashboard.runs", "dashboard.charts"} <= set(modules)
    assert left(AHEAD, there | {"WHYREC_RUNS": str(tmp_path), "WHYREC_RUN": "gone"})[0] == []


def test_first_page_imports_nothing_heavy(tiny_run: Run) -> None:
    env = {**os.environ, "WHYREC_RUNS": str(tiny_run.path.parent), "WHYREC_RUN": tiny_run.path.name}
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    first, then = ast.literal_eval(done.stdout.splitlines()[-1])
    assert first == []
    assert then == ["scipy.optimize"]  # what is imported is seen


def test_server_is_the_process_that_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process would import numpy, pandas and scipy again; only after a training is a fresh one smaller."""
    did: list[object] = []
    monkeypatch.setattr(cli_dashboard, "Thread", lambda **how: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(sys, "argv", ["whyrec", "dashboard"])
    monkeypatch.setattr(cli_dashboard, "run_module", lambda name, **how: did.append((name, sys.argv[1:], how["alter_sys"])))
    monkeypatch.setattr(cli_dashboard.os, "execv", lambda path, words: did.append(words[1:]))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(SystemExit):
        cli_dashboard.become(["run", "a.py"], 0)
    assert did == [("streamlit", ["run", "a.py"], True)]
    monkeypatch.setitem(sys.modules, "torch", sys)
    with pytest.raises(SystemExit):
        cli_dashboard.become(["run", "a.py"], 0)
    assert did[1] == ["-m", "streamlit", "run", "a.py"]


def test_port_in_use_is_one_line_and_ctrl_c_ends_it(tiny_run: Run, tmp_path: Path) -> None:
    told: list[subprocess.Popen] = []
    with serve(tiny_run.path, log=tmp_path / "log.txt", told=told) as url:
        port = url.rpartition(":")[2]
        words = [sys.executable, "-m", "recsys_core.cli", "dashboard", "--run", str(tiny_run.path), "--port", port]
        second = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
        assert second.returncode == 1
        lines = (second.stdout + second.stderr).splitlines()
        assert len(lines) == 2  # after "dashboard on"
        assert lines[1].endswith(f"Port {port} is not available")
        told[0].send_signal(signal.SIGINT)
        assert told[0].wait(30) == 0
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
