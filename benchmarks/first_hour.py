"""How long does it take from nothing to a dashboard, and to lists of one's own data? As somebody new would do it, by the README.

    python benchmarks/first_hour.py

Clones this repository into a temporary folder, makes a fresh environment there and runs the README's commands, with empty caches
of Whyrec (pip's is as the machine has it). Needs git, make and a package index, nothing installed. Writes results/first_hour.json
and docs/first-hour.md; `--page` writes the page again from the results. Exit code 1 if a step failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "first_hour.json", ROOT / "docs" / "first-hour.md"
FIRST = "Its first page, run to its end"
LIMIT = 1800  # seconds a step may take
# What a terminal takes for a colour, a title or a move and does not show (ECMA-48).
COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
OWN = """
import sys
from recsys_core.readers import load_dataset
data = load_dataset("data/ml-100k")
it, users, items = data.interactions, data.users.ids, data.items.ids
rows = {"uid": [users[u] for u in it.user], "movie": [items[i] for i in it.item], "rating": it.value, "timestamp": it.time}
import pandas as pd
pd.DataFrame(rows).to_csv("ratings.csv", index=False)
pd.DataFrame({"movie": items, "title": data.catalog.frame["title"]}).to_csv("items.csv", index=False)
"""
FIRST_PAGE = """
import os, sys
from importlib.util import find_spec
from pathlib import Path
from streamlit.testing.v1 import AppTest
os.environ["WHYREC_RUNS"] = "runs"
file = Path(next(iter(find_spec("dashboard").submodule_search_locations))) / "app.py"
app = AppTest.from_file(str(file), default_timeout=300).run()
assert not app.exception, app.exception
listed = next(len(table.value) for table in app.dataframe if "percent" in table.value)
print(f"{app.title[0].value}: drawn, with a list of {listed} items and no exception")
"""


@dataclass(frozen=True)
class Row:
    """One step: what was typed, how long it took, what came out, whether it worked."""

    step: str
    command: str
    seconds: float
    out: str
    worked: bool


class Newcomer:
    """A folder, an environment, and the rows of what was done in it."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.rows = folder / "whyrec", list[Row]()
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "WHYREC_RUNS", "WHYREC_RUN", "MAKEFLAGS")
        self.env = {k: v for k, v in os.environ.items() if k not in hidden} | {"WHYREC_CACHE": str(folder / "cache")}

    def do(
        self, step: str, command: str, told: Callable[[str], str], *, shown: str | None = None, where: Path | None = None
    ) -> None:
        """Run a command in the clone; `told` makes one line of what it printed. `whyrec` and `python` are those of .venv."""
        words = shlex.split(command)
        if words[0] in ("whyrec", "python", "jupyter"):
            words[0] = str(self.clone / ".venv" / "bin" / words[0])
        started = time.perf_counter()
        try:
            done = subprocess.run(
                words, cwd=where or self.clone, env=self.env, capture_output=True, text=True, timeout=LIMIT, check=False
            )
            failed = done.returncode
            output = done.stdout + done.stderr if failed else done.stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            failed, output = 1, str(error)
        self.note(step, command if shown is None else shown, time.perf_counter() - started, failed, output, told)

    def note(self, step: str, shown: str, seconds: float, failed: int, output: str, told: Callable[[str], str]) -> None:
        output = COLOUR.sub("", output)
        try:
            out = last_line(output) if failed else told(output)
        except Exception as error:
            failed, out = 1, f"not understood: {error!r}; {last_line(output)}"
        self.rows.append(Row(step, shown, round(seconds, 1), out, not failed))
        print(f"{seconds:7.1f} s  {step}: {out}", flush=True)

    def first_page(self) -> None:
        """`whyrec dashboard` until it answers, and then its first page, run to its end."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(self.clone / ".venv/bin/whyrec"), "dashboard", "--run", "runs/demo", "--port", str(port)]
        started = time.perf_counter()
        quiet = subprocess.DEVNULL  # a pipe that nobody reads would keep it from stopping
        with subprocess.Popen(command, cwd=self.clone, env=self.env, stdout=quiet, stderr=quiet) as server:
            answered = answers(f"http://127.0.0.1:{port}/", server)
            seconds = time.perf_counter() - started
            server.terminate()
        told = "whyrec dashboard --run runs/demo"
        self.note("The dashboard answers", told, seconds, not answered, answered, lambda _: "the page is served")
        self.do(FIRST, shlex.join(["python", "-c", FIRST_PAGE]), last_line, shown="")


def answers(url: str, server: subprocess.Popen[bytes]) -> str:
    """What the address serves, once it does; empty if the server stops or says nothing for three minutes."""
    for _ in range(180 * 4):
        if server.poll() is not None:
            return ""
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                return str(page.read().decode("utf-8", "replace"))
        except OSError:
            time.sleep(0.25)
    return ""


def last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing printed")[:300]


def line_with(words: str) -> Callable[[str], str]:
    """The last printed line that has these words."""
    return lambda output: next(line.strip() for line in reversed(output.splitlines()) if words in line)


def hour(new: Newcomer, revision: str) -> None:
    """All steps, in the README's order."""
    clone = new.clone
    git = shlex.join(["git", "clone", "--quiet", "--no-hardlinks", "--branch", revision, str(ROOT), str(clone)])
    new.do("Clone", git, lambda _: f"{len(list(clone.rglob('*.py')))} Python files", shown="git clone ...", where=clone.parent)
    new.do("Install", "make install", lambda _: size_of(clone / ".venv"))
    new.do("Is all there?", "whyrec doctor", last_line)
    new.do("Demo: fetch, train, judge", "whyrec demo --no-dashboard", line_with("hybrid NDCG@"))
    new.do("Demo again", "whyrec demo --no-dashboard", lambda _: "nothing to do: the run is there")
    new.first_page()
    own = "Tables of one's own (here MovieLens-100K under other names)"
    new.do(own, shlex.join(["python", "-c", OWN]), lambda _: rows_of(clone), shown="")
    prepare = "whyrec prepare --interactions ratings.csv --items items.csv --map user_id=uid,item_id=movie --threshold 4"
    new.do("Prepare it", f"{prepare} --out data/mine", line_with(" users, "))
    new.do("Train on it", "whyrec train --data data/mine --out runs/mine", line_with("hybrid NDCG@"))
    new.do("Recommend", "whyrec recommend --run runs/mine --users all --k 10 --out topk.csv", line_with(" rows in "))
    explain = "whyrec explain --run runs/mine --user 1 --item 50 --what-if --html why.html"
    new.do("Explain", explain, lambda _: f"{(clone / 'why.html').stat().st_size / 1e6:.1f} MB of report")
    notebooks = sorted(clone.glob("notebooks/*.ipynb"))
    if notebooks:
        extra = 'python -m pip install -c constraints.txt -e ".[notebook]"'
        new.do("Install for notebooks", extra, lambda _: size_of(clone / ".venv"))
    for path in notebooks:
        run = f"python -m jupyter nbconvert --to notebook --execute --output-dir executed notebooks/{path.name}"
        new.do(f"Notebook {path.stem}", run, lambda _, path=path: cells(clone / "executed" / path.name))


def rows_of(clone: Path) -> str:
    counts = []
    for name in ("ratings.csv", "items.csv"):
        with (clone / name).open(newline="", encoding="utf-8") as file:
            counts.append(f"{sum(1 for _ in csv.reader(file)) - 1:,} rows in {name}")
    return ", ".join(counts)


def size_of(venv: Path) -> str:
    packages = len(list(venv.glob("lib/python*/site-packages/*.dist-info")))
    size = sum(p.stat().st_size for p in venv.rglob("*") if p.is_file() and not p.is_symlink())
    return f"{packages} packages, {size / 1e9:.1f} GB"


def cells(notebook: Path) -> str:
    found = json.loads(notebook.read_text("utf-8"))["cells"]
    return f"{sum(c['cell_type'] == 'code' for c in found)} code cells ran"


def facts(clone: Path) -> dict[str, Any]:
    """Of the machine and of what was tried; nothing that names a host."""
    git = ["git", "rev-parse", "HEAD"]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = [p.stem.split("-")[1] for p in clone.glob(".venv/lib/python*/site-packages/torch-*.dist-info")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "git": subprocess.run(git, cwd=clone, capture_output=True, text=True, check=True).stdout.strip(),
        "python": platform.python_version(),
        "torch": torch[0] if torch else None,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": cpus,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_before": round(os.getloadavg()[0], 1),
    }


TEMPLATE = """# The first hour

How long it takes from nothing to a dashboard, and to lists and reasons on one's own data, for somebody who does what the
[README](../README.md) says and nothing else. `python benchmarks/first_hour.py` wrote this page: it cloned the repository into an
empty folder, made a fresh environment there and ran each command, with no cache of Whyrec. Packages came from the index and the
cache that pip has on that machine; over a slow line the installation takes as long as its download does.

{verdict}

| step | command | time | what came out |
|---|---|---:|---|
{rows}

Measured on {date} at commit `{git}`: {system}, {cpus} CPUs, {memory_gb} GB of memory, Python {python}, torch {torch}{threads}.
{busy} The same figures are in `benchmarks/results/first_hour.json`.

## If a step stops

- Ask `whyrec doctor`: a line that says `problem` or `note` has what to do below it; the exit code is 1 if a problem blocks.
- A training that was interrupted goes on with `--resume`; `whyrec demo` does so by itself.
- If port 8501 is taken: `whyrec dashboard --port 8600`, or `whyrec demo --port 8600`.
- A command that was mistyped gets the nearest name; `whyrec COMMAND --help` ends with examples.
"""


def page(result: dict[str, Any]) -> str:
    """docs/first-hour.md, from what was measured."""
    rows = [Row(**row) for row in result["steps"]]
    failed = [row.step for row in rows if not row.worked]
    opened = next(n for n, row in enumerate(rows) if row.step == FIRST) + 1
    total, until = (clock(sum(row.seconds for row in part)) for part in (rows, rows[:opened]))
    verdict = f"From nothing to the first page of the dashboard: **{until}**. Everything below: {total}. "
    load = "The load average was {load_before} at the start and {load_after} at the end".format(**result)
    busy = max(result["load_before"], result["load_after"]) > result["cpus"]
    more = {
        "verdict": verdict + (f"Failed: {', '.join(failed)}." if failed else "No step failed."),
        "rows": "\n".join(map(line, rows)),
        "threads": f", OMP_NUM_THREADS={result['threads']}" if result["threads"] else "",
        "busy": f"{load}{': other work on the machine made all of it slower' if busy else ''}.",
        "git": result["git"][:12],
    }
    return TEMPLATE.format(**result | more)


def line(row: Row) -> str:
    typed = f"`{row.command}`" if row.command else ""
    return f"| {row.step} | {typed} | {clock(row.seconds)} | {'' if row.worked else '**failed**: '}{cell(row.out)} |"


def clock(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--page", action="store_true", help="only write the page again from the results")
    parser.add_argument("--revision", help="branch or tag to clone (default: the branch that is checked out)")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in, which is kept (default: a temporary one)")
    args = parser.parse_args(argv)
    if not args.page:
        head = ["git", "rev-parse", "--abbrev-ref", "HEAD"]
        revision = args.revision or subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        with tempfile.TemporaryDirectory() as temporary:
            new = Newcomer(args.folder or Path(temporary))
            load = round(os.getloadavg()[0], 1)
            hour(new, revision)
            result = facts(new.clone) | {"load_before": load, "load_after": round(os.getloadavg()[0], 1)}
        RESULTS.write_text(
            json.dumps(result | {"steps": [asdict(row) for row in new.rows]}, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
    result = json.loads(RESULTS.read_text("utf-8"))
    PAGE.write_text(page(result), "utf-8")
    return int(not all(row["worked"] for row in result["steps"]))


if __name__ == "__main__":
    sys.exit(main())
