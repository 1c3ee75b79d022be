"""What the commands of a page print, run while the site is built on the data of the repository: no output is typed by hand.

A line `<!-- output -->` under a ```bash block is replaced by what the block's commands printed, in a folder of its own.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path

from recsys_core.cli import main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(^```bash\n((?:(?!```).*\n)*)```\n)<!-- output -->$", flags=re.M)


def shown(markdown: str) -> str:
    """The page with its outputs. Raises RuntimeError for a command that fails."""
    if not BLOCK.search(markdown):
        return markdown
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        for name in ("data", "configs"):
            Path(name).symlink_to(ROOT / name)
        return BLOCK.sub(lambda found: f"{found[1]}\n```text\n{printed(found[2])}```", markdown)


def printed(block: str) -> str:
    """The output of the block's commands, one after the other; runs in the working directory."""
    out = io.StringIO()
    for line in filter(None, block.splitlines()):
        words = shlex.split(line, comments=True)
        with contextlib.redirect_stdout(out):
            code = main(words[1:])
        if words[0] != "whyrec" or code:
            raise RuntimeError(f"{line}: exit code {code}")
        out.write("\n" if len(block.splitlines()) > 1 else "")
    return out.getvalue().rstrip() + "\n"
