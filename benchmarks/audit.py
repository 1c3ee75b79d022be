"""Are there published advisories against the packages that constraints.txt pins?

    python benchmarks/audit.py

Asks with pip-audit, if it is installed (pip install pip-audit; it is no requirement of ours) and its advisory service answers.
Else nothing was audited, and the result says so and why. Writes results/audit.json: whether it was audited, the advisories, and
of each pinned package the version that is installed here and its licence. Exits with 1 if there is an advisory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300  # seconds


def pins(text: str) -> dict[str, str]:
    """Name -> version of a constraints file.

    >>> pins("# comment\\na==1.0\\n\\nb==2")
    {'a': '1.0', 'b': '2'}
    """
    return dict(line.strip().split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))


def facts(name: str, pinned: str) -> dict[str, str | None]:
    """What the installed package says of itself."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return {"pinned": pinned, "installed": None, "licence": None}
    licence = found.get("License-Expression") or (found.get("License") or "").partition("\n")[0][:60] or None
    return {"pinned": pinned, "installed": found["Version"], "licence": licence}


def advisories(file: Path) -> tuple[list[dict[str, Any]] | None, str]:
    """Those of the pinned versions, or None and the reason why nobody could be asked."""
    if find_spec("pip_audit") is None:
        return None, "pip-audit is not installed"
    words = ["-r", str(file), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        return None, f"the advisory service gave no answer ({type(error).__name__})"
    return [{"package": d["name"], "version": d.get("version"), **v} for d in found for v in d.get("vulns", [])], ""


def main() -> int:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    file = ROOT / "constraints.txt"
    known = {name: facts(name, version) for name, version in pins(file.read_text("utf-8")).items()}
    found, why_not = advisories(file)
    differ = [name for name, f in known.items() if f["installed"] is not None and f["installed"].partition("+")[0] != f["pinned"]]
    told = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "audited": found is not None, "why_not": why_not or None}
    told |= {"advisories": found, "installed_otherwise": differ, "packages": known}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (ROOT / "benchmarks" / "results" / "audit.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(known)} pinned packages; " + (f"not audited: {why_not}" if found is None else f"{len(found)} advisories"))
    for one in found or []:
        print(
            f"{one['package']} {one['version']}: {one.get('id')}, mended in {', '.join(one.get('fix_versions') or ['none yet'])}"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
