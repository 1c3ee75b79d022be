"""Is everything here that Whyrec needs? Each check looks at one thing of the machine and says what was found and what to do.

In: the folders and the port that will be used. Out: findings. Nothing here raises: a check that breaks is itself a finding.
torch is imported in a process of its own, beside the other checks, since a broken build can end the process that imports it.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from recsys_core import cache
from recsys_core.errors import UserError

GB = 1 << 30
EXTRAS = {
    "als": "the component of the package implicit, in comparisons",
    "login": "signing in to the dashboard",
    "notebook": "the notebooks",
}
CLONE = Path(__file__).parents[1]
WAIT = 60  # seconds for torch to be imported: a cold disk can take many
PROBE = """
import json, torch
from recsys_core.text import pick_device
gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None),
                  "device": pick_device(), "gpus": gpus, "threads": torch.get_num_threads()}))
"""
State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `problem` blocks training or the dashboard, `note` does not; `fix` says what to do, in one line."""

    check: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """What will be used: folders of data, runs and caches, and the dashboard's port."""

    data: Path
    runs: Path
    cache: Path
    port: int
    torch: subprocess.Popen[str] | None = None  # the process that imports it


Check = Callable[[Machine], Iterator[Finding]]


def examine(data: Path, runs: Path, port: int) -> list[Finding]:
    """All findings, in the order of CHECKS; torch is looked at last, since it loads meanwhile. Raises nothing."""
    machine = Machine(data, runs, cache.folder(), port, probe())
    done = {name: guarded(name, CHECKS[name], machine) for name in sorted(CHECKS, key="torch".__eq__)}
    return [finding for name in CHECKS for finding in done[name]]


def guarded(name: str, check: Check, machine: Machine) -> list[Finding]:
    """The findings of one check; whatever it raises is a problem with a line of its own."""
    try:
        return list(check(machine))
    except Exception as error:  # of whatever is broken here: that is what is looked for
        fix = "if the other lines do not explain it, install Whyrec again into a new environment"
        return [Finding(name, "problem", f"could not be checked: {_line(error)}", fix)]


def blocks(findings: Sequence[Finding]) -> bool:
    return any(f.state == "problem" for f in findings)


def text(findings: Sequence[Finding]) -> str:
    """A line for each finding, and below it what to do; then the sum."""
    lines = []
    for f in findings:
        lines += [f"{f.state:<7}  {f.check:<9}  {f.found}"] + [f"{'':<20}-> {f.fix}"] * bool(f.fix)
    counts = {state: sum(f.state == state for f in findings) for state in ("problem", "note")}
    told = ", ".join(f"{n} {state}{'s' * (n != 1)}" for state, n in counts.items())
    return "\n".join([*lines, f"{told}: {'what blocks is named above' if counts['problem'] else 'nothing blocks'}"])


# Python and packages.


def python(machine: Machine) -> Iterator[Finding]:
    """The version against what the package asks for, and whether the environment is one of its own."""
    wanted = SpecifierSet(wants()[0])
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not wanted.contains(platform.python_version(), prereleases=True):
        yield Finding("python", "problem", here, f"Whyrec needs Python {wanted}: make a new environment with such a one")
    elif sys.prefix == sys.base_prefix:
        fix = "python3 -m venv .venv would keep its packages apart from others"
        yield Finding("python", "note", f"{here}, not in a virtual environment", fix)
    else:
        yield Finding("python", "ok", here)


def packages(machine: Machine) -> Iterator[Finding]:
    """Every required package against the range that is allowed."""
    required = wants()[1][""]
    lacking = [told for r in required if (told := _unmet(r))]
    for told in lacking:
        yield Finding("packages", "problem", told, install("bert"))
    if not lacking:
        told = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "scipy", "pandas", "transformers", "streamlit"))
        yield Finding("packages", "ok", f"{len(required)} required, all in the allowed range: {told}, ...")


def extras(machine: Machine) -> Iterator[Finding]:
    """What only some need."""
    for extra, use in EXTRAS.items():
        wanted = wants()[1].get(extra, [])
        lacking = [told for r in wanted if (told := _unmet(r))]
        if lacking:
            yield Finding("extra", "note", f"{extra}, for {use}: {'; '.join(lacking)}", install(extra))
        elif wanted:
            yield Finding("extra", "ok", f"{extra}, for {use}: {', '.join(f'{r.name} {_version(r.name)}' for r in wanted)}")


def install(extra: str) -> str:
    """The command that brings what is required, and an extra, into this environment."""
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    if (CLONE / "constraints.txt").is_file():
        return f'cd {shlex.quote(str(CLONE))} && {pip} -c constraints.txt -e ".[{extra}]"'
    return f'{pip} "whyrec[{extra}]"'


def wants(file: Path = CLONE / "pyproject.toml") -> tuple[str, dict[str, list[Requirement]]]:
    """Range of Python; requirements by extra, "" for those that all need. Of a clone as it is now, which may have moved on since
    it was installed; else of the installed package."""
    project = tomllib.loads(file.read_text("utf-8"))["project"] if file.is_file() else {}
    if project.get("name") == "whyrec":
        lines = {"": project["dependencies"], **project["optional-dependencies"]}
        found = {extra: [Requirement(line) for line in rows] for extra, rows in lines.items()}
        return project["requires-python"], {e: [r for r in rows if _applies(r, "")] for e, rows in found.items()}
    about, all_of_them = metadata.metadata("whyrec"), [Requirement(line) for line in metadata.requires("whyrec") or []]
    plain = [r for r in all_of_them if _applies(r, "")]
    more = {e: [r for r in all_of_them if r not in plain and _applies(r, e)] for e in about.get_all("Provides-Extra") or []}
    return about["Requires-Python"], {"": plain, **more}


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _unmet(requirement: Requirement) -> str:
    """Why a requirement is not met; empty if it is."""
    have, want = _version(requirement.name), str(requirement.specifier)
    if have is None:
        return f"{requirement.name} is not installed (wanted {want})"
    met = requirement.specifier.contains(have, prereleases=True)
    return "" if met else f"{requirement.name} {have} is installed, {want} is allowed"


# torch and BERT.


def probe() -> subprocess.Popen[str] | None:
    """Begin to import torch elsewhere, with the same paths as here. None if no process can be started."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    out = subprocess.PIPE
    try:
        return subprocess.Popen([sys.executable, "-P", "-c", PROBE], stdout=out, stderr=out, text=True, env=environment)
    except OSError:
        return None


def pytorch(machine: Machine) -> Iterator[Finding]:
    """Which build, where it will compute and why, on how many threads."""
    if machine.torch is None:
        fix = "is there memory left, or a limit of processes (ulimit -u)?"
        yield Finding("torch", "problem", f"no process can be started to import it ({sys.executable})", fix)
        return
    try:
        out, err = machine.torch.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        machine.torch.kill()
        machine.torch.communicate()
        yield Finding("torch", "problem", f"its import did not end within {WAIT} s", "is the disk slow, or full? Then again")
        return
    if machine.torch.returncode:
        ended = f"its import ended with exit code {machine.torch.returncode}"
        told = next((line for line in reversed(err.splitlines()) if line.strip()), ended)
        yield Finding("torch", "problem", f"cannot be imported: {told.strip()[:200]}", f"install it again: {install('bert')}")
        return
    yield from _torch(json.loads(out.splitlines()[-1]))


def _torch(facts: dict[str, Any]) -> Iterator[Finding]:
    build = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}" if facts["hip"] else "CPU"
    yield Finding("torch", "ok", f"{facts['version']}, a {build} build")
    if facts["device"] != "cpu":
        named = f" ({', '.join(facts['gpus'])})" if facts["gpus"] else ""
        yield Finding("device", "ok", f"{facts['device']}{named}: the fastest there is; --device cpu overrides")
    elif facts["cuda"] or facts["hip"]:
        fix = "if there is a GPU, look at its driver (nvidia-smi); without one all works, only BERT is slower"
        yield Finding("device", "note", f"cpu: this torch could use a GPU, but sees none ({build} build)", fix)
    else:
        yield Finding("device", "ok", "cpu: this torch is built for it alone; enough for the demo")
    yield from _threads(facts["threads"], cores())


def _threads(threads: int, cpus: float) -> Iterator[Finding]:
    told = f"{threads} for torch, on {cpus:g} CPU{'s' * (cpus != 1)}"
    told += "".join(f", {name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ)
    if threads > max(cpus, 1):
        fix = f"export OMP_NUM_THREADS={max(int(cpus), 1)}: more threads than CPUs wait for each other"
        yield Finding("threads", "note", told, fix)
    else:
        yield Finding("threads", "ok", told)


def bert(machine: Machine) -> Iterator[Finding]:
    """The packaged encoder, byte for byte, and whether the model hub may be asked for others."""
    from recsys_core.text import locate

    try:
        folder = locate("minilm")
        size = (folder / "model.safetensors").stat().st_size / 1e6
        yield Finding("bert", "ok", f"the packaged encoder minilm, {size:.0f} MB, checksum as published")
    except UserError as error:
        yield Finding("bert", "problem", str(error), f"{install('bert')}, or train with --set components=popularity,ease")
    flags = [n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(n, "").upper() in ("1", "TRUE", "YES", "ON")]
    hub = f"is not asked ({' and '.join(flags)} set)" if flags else "may be asked, for other encoders only"
    yield Finding("bert", "ok", f"the model hub {hub}; minilm needs no network")


# The machine.


def memory(machine: Machine) -> Iterator[Finding]:
    """Bytes that this process may have: those of the machine, or of its container if these are fewer."""
    if not hasattr(os, "sysconf"):
        yield Finding("memory", "note", "cannot be told on this system", "training the demo takes most of 1 GB")
        return
    total, free = memory_bytes()
    told = f"{total / GB:.1f} GB" + (f", {free / GB:.1f} GB of it free" if free is not None else "")
    room = total if free is None else free
    if total < GB:
        yield Finding("memory", "problem", told, "training the demo takes most of 1 GB: use a larger machine")
    elif room < 2 * GB:
        yield Finding("memory", "note", told, "close other programs, or train with --config configs/quick.toml")
    else:
        yield Finding("memory", "ok", told)


def memory_bytes() -> tuple[int, int | None]:
    """(all, free or None if that cannot be told), in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = _read("/proc/meminfo").splitlines()
    free = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    limit, used = (_read(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        free = min(free or total, total - int(used)) if used.isdigit() else free
    return total, free


def cores() -> float:
    """CPUs that this process may use; a container's quota can be a fraction."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(count, int(quota) / int(period)) if quota.isdigit() and period.isdigit() else count


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8").strip()
    except OSError:
        return ""


def folders(machine: Machine) -> Iterator[Finding]:
    """Can be written, and have room; the cache has a limit that is a number."""
    try:
        cache.room("texts")
    except UserError as error:
        yield Finding("folder", "problem", *str(error).split("; "))
    for name, folder in (("data", machine.data), ("runs", machine.runs), ("cache", machine.cache)):
        place = folder.expanduser().absolute()
        there = next(p for p in (place, *place.parents) if p.exists())
        other = "export WHYREC_CACHE=FOLDER" if name == "cache" else f"work in another folder, or name another one for {name}"
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            yield Finding("folder", "problem", f"{name}, {place}: cannot be written ({error.strerror})", other)
            continue
        free = shutil.disk_usage(there).free
        told = f"{name}, {place}: {'' if there == place else 'to be made, '}{free / GB:.1f} GB free"
        if free < GB // 5:  # a run of MovieLens-100K has 40 MB and is written beside its stages
            yield Finding("folder", "problem", told, f"make room, or {other}")
        elif free < 2 * GB:
            yield Finding("folder", "note", told, "enough for small data; larger sets want gigabytes")
        else:
            yield Finding("folder", "ok", told)


def port(machine: Machine) -> Iterator[Finding]:
    """Whether the dashboard can listen there."""
    if _free(machine.port):
        yield Finding("port", "ok", f"{machine.port} is free for the dashboard")
        return
    other = next((p for p in range(machine.port + 1, min(machine.port + 50, 65536)) if _free(p)), 0)
    fix = f"whyrec dashboard --port {other}, or look at http://127.0.0.1:{machine.port}"
    yield Finding("port", "note", f"{machine.port} is taken, perhaps by a dashboard that is open", fix)


def _free(number: int) -> bool:
    with socket.socket() as one:
        if os.name == "posix":  # a port that was just left is free
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def browser(machine: Machine) -> Iterator[Finding]:
    """A Chromium; only the browser tests of Whyrec need one."""
    named = os.environ.get("CHROMIUM") or "chromium"
    found = shutil.which(named)
    if found:
        yield Finding("browser", "ok", f"{found}, for the browser tests")
    else:
        fix = "only for working on Whyrec: install chromium, or set CHROMIUM=path"
        yield Finding("browser", "note", f"no {named}, so the browser tests are skipped; the dashboard needs any browser", fix)


def trained(machine: Machine) -> Iterator[Finding]:
    """Every run under the folder of runs: schema and checksums."""
    from recsys_core.run import Run, find_runs

    found = find_runs(machine.runs)
    whole = 0
    for path in found:
        try:
            Run.load(path)
            whole += 1
        except UserError as error:
            fix = f"train it again, or move {path} away: the dashboard opens the others"
            yield Finding("runs", "problem", str(error), fix)
    for path in sorted(machine.runs.glob(".*.partial")) if machine.runs.is_dir() else []:
        name = path.name.removeprefix(".").removesuffix(".partial")
        fix = f"whyrec train --data DATA --out {machine.runs / name} --resume; or remove {path}"
        yield Finding("runs", "note", f"{path}: a training that was interrupted, or is going on", fix)
    if whole:
        yield Finding("runs", "ok", f"{whole} under {machine.runs}, checksums hold: {', '.join(p.name for p in found[:5])}")
    elif not found:
        yield Finding("runs", "note", f"none under {machine.runs} yet", "whyrec demo, or whyrec train --data DATA --out runs/a")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


CHECKS: dict[str, Check] = {
    "python": python,
    "packages": packages,
    "torch": pytorch,
    "bert": bert,
    "memory": memory,
    "folder": folders,
    "port": port,
    "runs": trained,
    "extra": extras,
    "browser": browser,
}
