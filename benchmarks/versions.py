"""With which Python and which versions of what it needs does Whyrec work?

    python benchmarks/versions.py --python python3.11 python3.12 python3.13

Each case is a clone of HEAD in a temporary folder, a new environment beside it, pip, pip check and part of the tests: the pinned
versions on every Python, the oldest that pyproject.toml allows on the oldest Python, the newest of the index on the newest one.
torch is the pinned one in all of them, for another build is gigabytes. Writes results/versions.json after each case and
docs/versions.md from it; `--page` only writes the page again, `--only` runs some of the cases. Exit code 1 if one did not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import pins
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "versions.json", ROOT / "docs" / "versions.md"
EXTRAS = ("bert", "als")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "ranx")  # what the tests below import besides Whyrec's own requirements
FIXED = "torch"
TESTS = ("data", "readers", "splits", "metrics", "scorers", "laws_scorers", "laws_explainers", "laws_metrics", "text", "hybrid")
TESTS += ("train", "explain", "bert", "cli", "security", "dashboard", "frame")
PATIENCE = 3600  # seconds for one command
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

TEMPLATE = """# Versions

With which Python, and with which versions of the packages that it needs, Whyrec was installed and tested.
`python benchmarks/versions.py` (`make versions`) wrote this page: every cell is out of `benchmarks/results/versions.json`, and a
test compares the two.

A case is a clone of the repository, a new environment, `pip install` with the extras {extras}, `pip check`, and these tests,
without those that are slow or need a browser: {tests}. "all" is all of these; else the names say which.

**Pinned** takes the versions of `constraints.txt`; **oldest** the lowest that `pyproject.toml` allows, what those need in turn
left to pip and the tools of the tests pinned; **newest** whatever the index offered on that day.

{fixed} was not varied: it is {torch} in every case, for another build is gigabytes. So its own lower bound is not tested, and
transformers and the rest were tested with this one. Optional requirements other than these extras were not varied either.

| Python | versions | came of it | test files | passed | failed | skipped | tests took | commit, day |
|---|---|---|---|---:|---:|---:|---:|---|
{cases}

{failures}## What was installed

Empty: the case was not tried or could not be installed.

| package | declared |{heads}
|---|---|{rule}
{versions}

Measured on {system} with {cpus} CPUs shared with other work, so the times say little. A Python that was not on the machine is
"not tried".
"""


@dataclass(frozen=True)
class Case:
    kind: str  # pinned, oldest or newest
    python: str  # command or path


def requirements(project: dict[str, Any], extras: Iterable[str] = EXTRAS) -> list[Requirement]:
    """What an installation with these extras asks for; `project` is that table of pyproject.toml."""
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


def lowest(asked: Requirement) -> str:
    """The version that `>=` or `==` names.

    >>> lowest(Requirement("a>=1.5,<3"))
    '1.5'

    Raises:
        ValueError: neither is there.
    """
    found = [s.version for s in asked.specifier if s.operator in (">=", "==")]
    if len(found) != 1:
        raise ValueError(f"pyproject.toml, {asked}: give one lower bound, {asked.name}>=VERSION")
    return found[0]


def constraints(kind: str, project: dict[str, Any], pinned: dict[str, str]) -> dict[str, str]:
    """Name -> the one version allowed. `pinned` is constraints.txt."""
    if kind == "pinned":
        return pinned
    if kind == "newest":
        return {FIXED: pinned[FIXED]}
    oldest = {asked.name: lowest(asked) for asked in requirements(project)}
    return oldest | {name: pinned[name] for name in (FIXED, *TOOLS)}


def untried(result: dict[str, Any], project: dict[str, Any]) -> list[str]:
    """Bounds of pyproject.toml below what the case `oldest` passed with; a package that it did not have is not judged."""
    row = next((row for row in result["cases"] if row["kind"] == "oldest" and row["verdict"] == "works"), None)
    if row is None:
        return ["no case `oldest` that works"]
    had = {name: Version(version).public for name, version in row["versions"].items()}
    asked = [a for a in requirements(project) if a.name in had and a.name != FIXED]
    bad = [f"{a.name}>={lowest(a)}, tried {had[a.name]}" for a in asked if Version(lowest(a)) < Version(had[a.name])]
    fits = SpecifierSet(project["requires-python"])
    minors = [f"3.{n}" for n in range(Version(row["python"]).minor)]
    return bad + [f"Python {minor}, tried {row['python']}" for minor in minors if fits.contains(minor)]


def version_of(python: str) -> str | None:
    """Of an interpreter, or None: it is not there, or does not start."""
    try:
        ask = [python, "-c", "import platform; print(platform.python_version())"]
        return subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def cases(pythons: Sequence[str]) -> list[Case]:
    """Oldest Python first; one that is not there counts by the number in its name."""

    def number(python: str) -> Version:
        named = re.search(r"3\.\d+", Path(python).name)
        return Version(version_of(python) or (named[0] if named else "3"))

    ordered = sorted(pythons, key=number)
    there = [python for python in ordered if version_of(python)] or ordered
    return [*(Case("pinned", python) for python in ordered), Case("oldest", there[0]), Case("newest", there[-1])]


def told(words: Sequence[str | Path], *, cwd: Path) -> tuple[int, str, float]:
    """Exit code, what it printed, seconds."""
    own = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in own} | QUIET
    started = time.perf_counter()
    try:
        done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return 124, f"stopped after {PATIENCE} seconds", float(PATIENCE)
    return done.returncode, done.stdout + done.stderr, round(time.perf_counter() - started, 1)


def counts(report: Path) -> dict[str, Any]:
    """Of a JUnit report: passed, failed (errors too), skipped, and the names of those that failed."""
    tests = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [t for t in tests if t.find("failure") is not None or t.find("error") is not None]
    skipped = [t for t in tests if t.find("skipped") is not None]
    names = [f"{t.get('classname')}::{t.get('name')}" for t in failed]
    return {"passed": len(tests) - len(failed) - len(skipped), "failed": len(failed), "skipped": len(skipped), "failures": names}


def reason(output: str) -> str:
    """pip's last line that says what is wrong."""
    lines = [line for line in output.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no output")


def tried(case: Case, folder: Path, tests: Sequence[str]) -> dict[str, Any]:
    """Clone, install, check, test. The row of the result. An environment that is in `folder` is taken and brought up to date."""
    source, venv, python = folder / "whyrec", folder / "venv", folder / "venv" / "bin" / "python"
    shutil.rmtree(source, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = constraints(case.kind, project, pins((source / "constraints.txt").read_text("utf-8")))
    (folder / "allowed.txt").write_text("".join(f"{name}=={version}\n" for name, version in allowed.items()), "utf-8")
    if not python.exists():
        subprocess.run([case.python, "-m", "venv", str(venv)], check=True)
    pip = [python, "-m", "pip"]
    words = ["install", "--quiet", "-c", folder / "allowed.txt", "-e", f"{source}[{','.join(EXTRAS)}]", *TOOLS]
    code, output, _ = told([*pip, *words], cwd=folder)
    if code:
        return {"verdict": "cannot be installed", "why": reason(output), "versions": {}}
    code, output, _ = told([*pip, "check"], cwd=folder)
    row: dict[str, Any] = {"pip_check": "ok" if not code else output.strip(), "tests": list(tests)}
    printed = told([*pip, "list", "--format", "json"], cwd=folder)[1].splitlines()
    listed = json.loads(next(line for line in printed if line.startswith("[")))  # beside it there may be warnings
    have = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in listed}
    names = [*(asked.name for asked in requirements(project)), *TOOLS]
    row["versions"] = {name: have[re.sub(r"[-_.]+", "-", name).lower()] for name in names}
    files = [f"tests/test_{name}.py" for name in tests]
    report = folder / "report.xml"
    pytest = ["-m", "pytest", "-m", "not slow and not browser", f"--junitxml={report}", *files]
    code, output, row["test_seconds"] = told([python, *pytest], cwd=source)
    if not report.exists():
        return row | {"verdict": "tests do not start", "why": reason(output)}
    (folder / "output.txt").write_text(output, "utf-8")
    print(output[-8000:] if code else output[-300:], flush=True)
    return row | counts(report) | {"verdict": "works" if not code else "tests fail", "why": None}


def run(case: Case, folder: Path, tests: Sequence[str] = TESTS) -> dict[str, Any]:
    version = version_of(case.python)
    row = {"kind": case.kind, "python": version or Path(case.python).name.removeprefix("python")}
    if version is None:
        return row | {"verdict": "not tried", "why": "no such Python on the machine", "versions": {}}
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return row | {"date": time.strftime("%Y-%m-%d", time.gmtime()), "git": git} | tried(case, folder, tests)


def place(row: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
    """Pinned first, Pythons in order; two rows in one place are the same case."""
    return ("pinned", "oldest", "newest").index(row["kind"]), Version(row["python"]).release[:2]


def merged(old: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows in order, the new one instead of one of its place."""
    return sorted([*(row for row in old if place(row) != place(new)), new], key=place)


def with_gaps(rows: list[dict[str, Any]], wanted: Sequence[Case]) -> list[dict[str, Any]]:
    """The rows, and one that says "not tried" for each case that has none."""
    for case in wanted:
        python = version_of(case.python) or Path(case.python).name.removeprefix("python")
        row = {"kind": case.kind, "python": python, "verdict": "not tried", "why": "not run", "versions": {}}
        rows = rows if place(row) in map(place, rows) else merged(rows, row)
    return rows


def stored() -> dict[str, Any]:
    """The results so far."""
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"cases": []}


def cell(text: object) -> str:
    return "" if text is None else re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;")


def clock(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def line(row: dict[str, Any]) -> str:
    came = row["verdict"] if row["verdict"] == "works" else f"**{row['verdict']}**"
    checked = row.get("pip_check", "ok")
    notes = [row.get("why"), None if checked == "ok" else f"pip check: {checked}"]
    told_ = [came, *(cell(note) for note in notes if note)]
    numbers = [cell(row.get(name)) for name in ("passed", "failed", "skipped")]
    when = f"`{row['git'][:8]}`, {row['date']}" if "git" in row else ""
    files = "" if "tests" not in row else "all" if row["tests"] == list(TESTS) else ", ".join(row["tests"])
    return (
        f"| {' | '.join([row['python'], row['kind'], ': '.join(told_), files, *numbers, clock(row.get('test_seconds')), when])} |"
    )


def page(result: dict[str, Any]) -> str:
    """docs/versions.md, from what was measured."""
    rows = result["cases"]
    names = list(dict.fromkeys(name for row in rows for name in row["versions"]))
    heads = "".join(f" {row['python']} {row['kind']} |" for row in rows)
    table = [
        f"| {name} | {cell(result['declared'].get(name))} |" + "".join(f" {cell(row['versions'].get(name))} |" for row in rows)
        for name in names
    ]
    failed = [f"- {row['python']}, {row['kind']}: `{cell(name)}`" for row in rows for name in row.get("failures", [])]
    more = {
        "extras": " and ".join(f"`{name}`" for name in result["extras"]),
        "tests": ", ".join(f"`tests/test_{name}.py`" for name in result["tests"]),
        "fixed": FIXED,
        "cases": "\n".join(map(line, rows)),
        "failures": "## What failed\n\n" + "\n".join(failed) + "\n\n" if failed else "",
        "heads": heads,
        "rule": "---|" * len(rows),
        "versions": "\n".join(table),
    }
    return TEMPLATE.format(**{name: result[name] for name in ("torch", "system", "cpus")}, **more)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", nargs="+", default=["python3.11", "python3.12", "python3.13"], help="commands or paths")
    parser.add_argument("--only", nargs="+", metavar="KIND", choices=("pinned", "oldest", "newest"), help="cases of these kinds")
    parser.add_argument("--page", action="store_true", help="only write the page again from the results")
    parser.add_argument(
        "--tests", nargs="+", default=TESTS, choices=TESTS, metavar="NAME", help="some of the files: tests/test_NAME.py"
    )
    parser.add_argument("--folder", type=Path, help="for one case: work here and keep it (default: a temporary folder)")
    args = parser.parse_args(argv)
    wanted = [] if args.page else [case for case in cases(args.python) if not args.only or case.kind in args.only]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = pins((ROOT / "constraints.txt").read_text("utf-8"))
    for case in wanted:
        with tempfile.TemporaryDirectory(prefix="versions-") as folder:
            row = run(case, (args.folder or Path(folder)).resolve(), args.tests)
        print(f"Python {row['python']}, {row['kind']}: {row['verdict']} {row['why'] or ''}", flush=True)
        result = {
            "extras": list(EXTRAS),
            "tests": list(TESTS),
            "torch": pinned[FIXED],
            "system": f"{os.uname().sysname} {os.uname().machine}",
            "cpus": os.cpu_count(),
            "declared": {asked.name: str(asked.specifier) for asked in requirements(project)},
            "cases": with_gaps(
                merged(stored()["cases"], row), [] if args.only else cases(args.python)
            ),  # read now: another run may have added one
        }
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(page(result), encoding="utf-8")
    result = stored()
    PAGE.write_text(page(result), encoding="utf-8")
    return int(any(row["verdict"] not in ("works", "not tried") for row in result["cases"]))


if __name__ == "__main__":
    sys.exit(main())
