"""What is kept on disk because it took long to compute: a folder of bounded size; what was used longest ago leaves it first.

Two kinds share it: explanations, many small files, and vectors of texts, a large file for each encoder. What is read is touched,
so a file's time says when it was last used. Any number of processes may share the folder: what one removes is computed again.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from recsys_core.errors import UserError
from recsys_core.whole import drop_unheld

MEGABYTES = 1024  # 2^20 bytes each, of the whole folder; $WHYREC_CACHE_MB says otherwise
SHARES = {"explanations": 1 / 4, "texts": 3 / 4}  # 30,000 explanations of long histories; half a million texts by MiniLM
LOOKS = 16  # times that files are counted, on average, in writing as much as there is room for: 30,000 take a second
LEFT = 7 / 8  # of the room stays filled where there was more, so that few counts find it so


def folder(cache_dir: Path | None = None) -> Path:
    """$WHYREC_CACHE, else ~/.cache/whyrec, unless a folder is given."""
    return Path(cache_dir or os.environ.get("WHYREC_CACHE") or Path.home() / ".cache" / "whyrec").expanduser()


def room(kind: str) -> int:
    """Bytes that files of a kind may take, 0: none is to be written. Raises UserError if $WHYREC_CACHE_MB is no such number."""
    told = os.environ.get("WHYREC_CACHE_MB", "").strip() or str(MEGABYTES)
    try:
        megabytes = float(told)
    except ValueError:
        megabytes = math.nan
    if not 0 <= megabytes < math.inf:
        raise UserError(f"WHYREC_CACHE_MB={told}: must be a number of megabytes, 0 or more; set it to one, such as {MEGABYTES}")
    return int(megabytes * SHARES[kind] * 2**20)


def touch(file: Path) -> None:
    """The file was used just now."""
    with suppress(OSError):  # it is gone, or not ours to write to
        os.utime(file)


def bound(kind: str, written: Path) -> None:
    """After a file was written: now and then count what there is of its kind, and remove what is more than there is room for.

    By chance, as long as the file is large: so nothing need be remembered, in a process or among them. What is written stays.
    """
    most = room(kind)
    with suppress(OSError):
        if secrets.randbelow(2**32) * most < _taken(written.stat()) * LOOKS * 2**32:
            _tidy(kind, written, most)


def _tidy(kind: str, written: Path, most: int) -> None:
    found = []
    for path in _files(kind, written):
        if path.name.endswith(".part"):  # what a killed process left, or another one is writing
            drop_unheld(path)
            continue
        with suppress(OSError):  # another process has removed it
            stat = path.lstat()
            found.append((stat.st_mtime_ns, _taken(stat), path))
    total = sum(size for _, size, _ in found)
    if total <= most:
        return
    for _, size, path in sorted(found):
        if total <= LEFT * most:
            return
        if path == written:
            continue
        with suppress(OSError):
            path.unlink(missing_ok=True)
            total -= size
            if kind == "explanations":
                path.parent.rmdir()  # of a history of which nothing is kept any more


def _taken(stat: os.stat_result) -> int:
    """Bytes on the disk: a small file takes a whole block."""
    return max(stat.st_size, 512 * stat.st_blocks)


def _files(kind: str, written: Path) -> Iterator[Path]:
    if kind == "texts":
        yield from (p for p in written.parent.iterdir() if p.name.startswith(("text-", ".text-")))
    else:
        yield from (Path(here, name) for here, _, names in os.walk(written.parents[1]) for name in names)
