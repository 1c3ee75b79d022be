"""Files that people bring: kept under fixed names in temporary folders that are few and go with the server; and folders beside
the server that may be read. No streamlit here."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import weakref
from functools import cache
from pathlib import Path

from dashboard.strings import plain
from recsys_core.errors import UserError
from recsys_core.intake import KINDS
from recsys_core.limits import UPLOAD_MB
from recsys_core.readers._border import SUFFIXES

MOST_DESKS = 8  # temporary folders at a time; the one that was not used for longest makes way
MOST_ENTRIES = 10_000  # files and folders in a folder on the server
PREFIX = "whyrec-data-"


class Desks:
    """Temporary folders, one a session, all in one folder that is removed with the server."""

    def __init__(self, most: int = MOST_DESKS) -> None:
        _sweep()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._alive = (self.root / "lock").open("w")
        fcntl.flock(self._alive, fcntl.LOCK_EX)  # until this process ends, however it ends
        self._most, self._lock = most, threading.Lock()
        self._open: dict[str, Path] = {}  # by name, the one used last at the end
        self._number = 0
        weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)  # also when the server stops

    def fresh(self) -> Path:
        """A new empty folder; the one not used for longest goes if there are too many."""
        with self._lock:
            self._number += 1
            folder = self.root / str(self._number)
            folder.mkdir()
            self._open[folder.name] = folder
            for old in list(self._open.values())[: -self._most]:
                self._remove(old)
            return folder

    def used(self, folder: Path) -> bool:
        """Is the folder still there? Then it is now the last one used."""
        with self._lock:
            if self._open.get(folder.name) != folder:
                return False
            self._open[folder.name] = self._open.pop(folder.name)
            return True

    def remove(self, folder: Path) -> None:
        with self._lock:
            if self._open.get(folder.name) == folder:
                self._remove(folder)

    def set_aside(self, prepared: Path) -> Path:
        """A copy of prepared data that stays while a training reads it; the one before goes."""
        copy = self.root / "training"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(prepared, copy)
        return copy

    def _remove(self, folder: Path) -> None:
        del self._open[folder.name]
        shutil.rmtree(folder, ignore_errors=True)


@cache
def desks() -> Desks:
    """Those of this server."""
    return Desks()


def _sweep() -> None:
    """Take away what a server that was killed has left: nobody holds its lock."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if old.is_symlink() or old.stat().st_uid != os.getuid():
                continue
            with (old / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # in use, or not ours
            continue
        shutil.rmtree(old, ignore_errors=True)


def save(folder: Path, kind: str, name: str, data: bytes | memoryview) -> Path:
    """Keep an uploaded file as `kind` and a suffix; nothing of its name but a known suffix is used.

    Raises:
        UserError: a suffix that no reader knows, or more than UPLOAD_MB.
    """
    suffix = Path(name.replace("\0", "")).suffix.lower()
    known = (*SUFFIXES, ".pq")
    if kind not in KINDS or suffix not in known:
        raise UserError(plain("data.wrong.suffix", kind=kind, known=", ".join(known)))
    if len(data) > UPLOAD_MB << 20:
        raise UserError(plain("data.wrong.size", kind=kind, most=UPLOAD_MB))
    for old in folder.glob(f"{kind}.*"):
        old.unlink()
    path = folder / f"{kind}{suffix}"
    path.write_bytes(data)
    return path


def base() -> Path:
    """Where folders on the server may be: WHYREC_DATA, else data/ below the current folder."""
    return Path(os.environ.get("WHYREC_DATA") or "data").resolve()


def folders() -> list[str]:
    """Names of folders that may be read, in order; no more than 200."""
    where = base()
    try:
        found = sorted(e.name for e in os.scandir(where) if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except OSError:
        return []
    return found[:200]


def folder(name: str) -> Path:
    """The folder of this name below `base`.

    Raises:
        UserError: it leads elsewhere, is not there, or something in it leads elsewhere; one message for all of these, so that
            nobody learns what there is outside.
    """
    where = base()
    refused = UserError(plain("data.wrong.folder", name=name[:80], base=where.name))
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name or name.startswith("~"):
        raise refused
    try:
        found = (where / name).resolve(strict=True)
        inside = found.is_dir() and found != where and found.is_relative_to(where) and _all_inside(found, where)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a circle of links
        raise refused from None
    if not inside:
        raise refused
    return found


def _all_inside(found: Path, where: Path) -> bool:
    """Is everything in the folder really in `where`, a plain file or folder, and not without end?"""
    seen = 0
    for here, subfolders, files in os.walk(found):
        for name in (*subfolders, *files):
            path, seen = Path(here, name), seen + 1
            if seen > MOST_ENTRIES or not path.resolve().is_relative_to(where) or not (path.is_file() or path.is_dir()):
                return False
    return True


def tables(found: Path) -> list[str]:
    """Names of the files in a folder that may be tables."""
    return sorted(p.name for p in found.iterdir() if p.is_file() and p.suffix.lower() in (*SUFFIXES, ".pq"))


def size(path: Path) -> str:
    """Of a file, in a word."""
    n = path.stat().st_size
    return f"{n / 1e6:,.1f} MB" if n >= 1e5 else f"{max(1, round(n / 1e3)):,} kB"
