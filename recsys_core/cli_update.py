"""What `whyrec update` does: new events from a file, from feedback or from both, into a new run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from recsys_core import update as core
from recsys_core.errors import UserError
from recsys_core.run import Run


def update(args: argparse.Namespace, mapping: Mapping[str, str]) -> None:
    """Run the command."""
    if args.interactions is None and not args.feedback:
        raise UserError("nothing to bring in: give --interactions FILE, --feedback or both")
    if mapping and args.interactions is None:
        raise UserError("--map names columns of --interactions, which is not given")
    run = Run.load(args.run)
    out = args.out or core.next_name(args.run.resolve())
    incoming = None if args.interactions is None else core.from_file(run, args.interactions, mapping)
    if args.feedback:
        said = core.feedback_events(args.run.resolve().parent, run.dataset.name)
        more = core.from_feedback(run, said, None if incoming is None else incoming.users)
        incoming = more if incoming is None else incoming.then(more, len(run.dataset.items))
    assert incoming is not None
    made = core.update(run, incoming, out, epochs=args.epochs, say=_silent if args.json else _say)
    if args.json:
        found = {"run": str(out), "seconds": made.manifest["seconds"], **made.manifest["update"]}
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print(f"run {out}; see it with: whyrec dashboard --run {out}")


def _say(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
