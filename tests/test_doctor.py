"""`whyrec doctor`: each check finds what is well and, beside it, what is broken on purpose; nothing traces back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import free_port

from recsys_core import doctor, text
from recsys_core.cli import main
from recsys_core.doctor import GB, Finding, Machine
from recsys_core.run import Run

ROOT = Path(__file__).parents[1]
TORCH = """
class cuda:
    is_available, device_count = staticmethod(lambda: {gpu}), staticmethod(lambda: 1)
    get_device_name = staticmethod(lambda n: "G")
class backends:
    class mps:
        is_available = staticmethod(lambda: False)
class version:
    cuda = {cuda}
__version__, get_num_threads = "9.9", lambda: 1
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "data", tmp_path / "runs", tmp_path / "cache", free_port())


@pytest.fixture
def fake_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a package torch with this source before the real one."""

    def put(source: str) -> None:
        (tmp_path / "fake" / "torch").mkdir(parents=True)
        (tmp_path / "fake" / "torch" / "__init__.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "fake")

    return put


def one(findings: Iterator[Finding], check: str = "") -> Finding:
    """The only finding, or the only one of a check."""
    (found,) = [f for f in findings if not check or f.check == check]
    return found


def torch_of(machine: Machine) -> list[Finding]:
    return list(doctor.pytorch(Machine(machine.data, machine.runs, machine.cache, machine.port, doctor.probe())))


def test_python(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.python(machine)).state in ("ok", "note")
    monkeypatch.setattr(doctor.sys, "base_prefix", doctor.sys.prefix)
    assert "virtual environment" in one(doctor.python(machine)).found
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert one(doctor.python(machine)).state == "problem"


@pytest.mark.parametrize(("have", "told"), [("1.0", "numpy 1.0 is installed, >="), (None, "numpy is not installed")])
def test_packages(machine: Machine, monkeypatch: pytest.MonkeyPatch, have: str | None, told: str) -> None:
    assert one(doctor.packages(machine)).state == "ok"
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: have if name == "numpy" else real(name))
    found = one(doctor.packages(machine))
    assert (found.state, found.fix) == ("problem", doctor.install("bert"))
    assert told in found.found


def test_the_command_that_installs_is_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cd, pip = doctor.install("als").split(" && ")
    assert (Path(cd.removeprefix("cd ")) / "constraints.txt").is_file()
    assert pip == f'{sys.executable} -m pip install -c constraints.txt -e ".[als]"'
    monkeypatch.setattr(doctor, "CLONE", tmp_path)
    assert doctor.install("als") == f'{sys.executable} -m pip install "whyrec[als]"'


def test_requirements_of_a_clone_and_of_an_installed_package_are_split_alike(tmp_path: Path) -> None:
    """The second can be older than the clone; what both have is in the same place."""
    (python, clone), (same, installed) = doctor.wants(), doctor.wants(tmp_path / "none")
    assert python == same
    for extra in ("", "als", "login"):
        names = [{r.name for r in found[extra]} for found in (clone, installed)]
        assert names[0] & names[1]
        assert "implicit" in names[1] or extra != "als"
    assert "implicit" not in {r.name for r in installed[""]}


def test_extras(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "99" if name != "implicit" else None)
    states = {f.found.split(",")[0]: f for f in doctor.extras(machine)}
    assert {name: f.state for name, f in states.items()} == {"als": "note", "login": "ok", "notebook": "ok"}
    assert '".[als]"' in states["als"].fix


def test_torch_on_a_cpu_and_on_a_gpu(machine: Machine, fake_torch: Callable[[str], None]) -> None:
    fake_torch(TORCH.format(gpu=True, cuda="'13.0'"))
    found = torch_of(machine)
    assert [(f.check, f.state) for f in found] == [("torch", "ok"), ("device", "ok"), ("threads", "ok")]
    assert "9.9, a CUDA 13.0 build" in found[0].found
    assert "cuda (G)" in found[1].found
    facts = {"version": "9", "cuda": None, "hip": None, "device": "cpu", "gpus": [], "threads": 1}
    assert one(doctor._torch(facts), "device").state == "ok"
    assert one(doctor._torch(facts | {"cuda": "13.0"}), "device").state == "note"  # a GPU build that sees no GPU


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise ImportError('libcudart.so.13: cannot open')", "libcudart.so.13"),
        ("raise ModuleNotFoundError(\"No module named 'torch'\")", "No module named 'torch'"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("import time; time.sleep(60)", "did not end within"),
        ("", "has no attribute"),
    ],
)
def test_broken_torch(
    source: str, told: str, machine: Machine, fake_torch: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "WAIT", 1 if "sleep" in source else 60)
    fake_torch(source)
    (found,) = torch_of(machine)
    assert (found.check, found.state) == ("torch", "problem")
    assert told in found.found
    assert found.fix


def test_no_process_for_torch(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "executable", "/nowhere/python")
    assert one(iter(torch_of(machine))).found.startswith("no process can be started")


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor._threads(2, 2.0)).state == "ok"
    crowded = one(doctor._threads(8, 1.5))
    assert (crowded.state, crowded.fix.split(":")[0]) == ("note", "export OMP_NUM_THREADS=1")
    whole = doctor.cores()
    monkeypatch.setattr(doctor, "_read", lambda file: "25000 100000")
    assert doctor.cores() == 25_000 / 100_000 < whole


def test_bert(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, hub = doctor.bert(machine)
    assert weights.state == hub.state == "ok"
    assert "is not asked (HF_HUB_OFFLINE set)" in hub.found
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(text, "MINILM_SHA256", "0" * 64)
    weights, hub = doctor.bert(machine)
    assert (weights.state, hub.state) == ("problem", "ok")
    assert "not the published file" in weights.found
    assert "may be asked" in hub.found


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(GB // 2, GB // 2, "problem"), (8 * GB, GB, "note"), (8 * GB, 4 * GB, "ok"), (8 * GB, None, "ok")],
)
def test_memory(machine: Machine, monkeypatch: pytest.MonkeyPatch, total: int, free: int | None, state: str) -> None:
    monkeypatch.setattr(doctor, "memory_bytes", lambda: (total, free))
    assert one(doctor.memory(machine)).state == state


def test_memory_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": f"MemAvailable: {9 << 20} kB",
        "/sys/fs/cgroup/memory.max": "1000",
        "/sys/fs/cgroup/memory.current": "400",
    }
    monkeypatch.setattr(doctor, "_read", lambda file: files.get(file, ""))
    assert doctor.memory_bytes() == (1000, 1000 - 400)
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert doctor.memory_bytes()[1] == 9 * GB


def test_folders(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = shutil.disk_usage(machine.data.parent)._replace(free=9 * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: roomy)
    assert [f.state for f in doctor.folders(machine)] == ["ok"] * 3
    assert not machine.data.exists()  # looked at, not made
    for free, state in ((GB, "note"), (1000, "problem")):
        monkeypatch.setattr(shutil, "disk_usage", lambda place, free=free: roomy._replace(free=free))
        assert {f.state for f in doctor.folders(machine)} == {state}
    machine.runs.write_text("a file where a folder should be")
    assert "cannot be written" in list(doctor.folders(machine))[1].found


def test_port(machine: Machine) -> None:
    assert one(doctor.port(machine)).state == "ok"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.port))
        taken.listen()
        found = one(doctor.port(machine))
    assert found.state == "note"
    assert int(found.fix.split("--port ")[1].split(",")[0]) > machine.port


def test_browser(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "chromium"))
    assert one(doctor.browser(machine)).state == "ok"
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    assert one(doctor.browser(machine)).state == "note"


def test_runs(machine: Machine, tiny_run: Run) -> None:
    assert "none under" in one(doctor.trained(machine)).found
    shutil.copytree(tiny_run.path, machine.runs / "a")
    assert one(doctor.trained(machine)).state == "ok"
    shutil.copytree(tiny_run.path, machine.runs / "b")
    (machine.runs / "b" / "card.md").write_text("changed")
    (machine.runs / ".c.partial").mkdir()
    found = list(doctor.trained(machine))
    assert [f.state for f in found] == ["problem", "note", "ok"]
    assert "card.md" in found[0].found
    assert f"--out {machine.runs / 'c'} --resume" in found[1].fix


def test_a_check_that_breaks_is_a_finding(machine: Machine) -> None:
    def broken(machine: Machine) -> Iterator[Finding]:
        yield Finding("x", "ok", "so far")
        raise OSError("two\nlines")

    (found,) = doctor.guarded("x", broken, machine)
    assert (found.check, found.state) == ("x", "problem")
    assert "OSError: two lines" in found.found


def test_nothing_traces_back_where_numpy_is_broken_too(tmp_path: Path) -> None:
    for name in ("torch", "numpy"):
        (tmp_path / "fake" / name).mkdir(parents=True)
        (tmp_path / "fake" / name / "__init__.py").write_text("raise ImportError('built for another machine')")
    command = [sys.executable, "-c", "import sys; from recsys_core.cli import main; sys.exit(main())", "doctor"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "fake"), str(ROOT)])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert done.stderr == ""
    broken = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("problem") and "another machine" in line]
    assert broken == ["torch", "bert", "runs"]
    assert "Traceback" not in done.stdout


def test_the_command_tells_by_its_exit_code(
    tmp_path: Path, fake_torch: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_torch("raise OSError('broken build')")
    monkeypatch.setattr(doctor, "CHECKS", {n: c for n, c in doctor.CHECKS.items() if n not in ("memory", "folder")})
    assert main(["doctor", "--json", "--port", str(free_port())]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found[0]) == ["check", "state", "found", "fix"]
    assert [f["check"] for f in found if f["state"] == "problem"] == ["torch"]
    assert main(["doctor"]) == 1
    shown = capsys.readouterr()
    assert "broken build" in shown.out
    assert "Traceback" not in shown.out + shown.err
    monkeypatch.setattr(doctor, "CHECKS", {n: c for n, c in doctor.CHECKS.items() if n != "torch"})
    assert main(["doctor"]) == 0
    assert "nothing blocks" in capsys.readouterr().out
