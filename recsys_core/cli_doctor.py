"""What `whyrec doctor` does: looks at the machine and prints what was found."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from recsys_core.cli_dashboard import PORT
from recsys_core.cli_help import Add

EXAMPLES = "whyrec doctor", "whyrec doctor --runs runs --port 8600", "whyrec doctor --json"


def options(add: Add) -> None:
    """The command and its options."""
    command = add("doctor", doctor, "Look whether everything is here that Whyrec needs, and say what to do.", *EXAMPLES)
    command.description = f"{command.description}\n\nExit code 0: nothing blocks; 1: a problem does, and its line says the fix."
    option = command.add_argument
    option("--data", type=Path, default=Path("data"), help="folder of data")
    option("--runs", type=Path, default=Path("runs"), help="folder of runs")
    option("--port", type=int, default=PORT, help="of the dashboard")
    option("--json", action="store_true", help="print JSON rows: check, state (ok, note, problem), found, fix")


def doctor(args: argparse.Namespace) -> int:
    """1 if something blocks, else 0."""
    from recsys_core import doctor as core

    found = core.examine(args.data, args.runs, args.port)
    print(json.dumps([asdict(f) for f in found], indent=1, ensure_ascii=False) if args.json else core.text(found))
    return int(core.blocks(found))
