"""The folder beside a run that holds what training has finished, so that a killed training goes on; one process at a time.

In: where the run shall be, its data and settings. Out: a folder `.NAME.partial`, locked while in use, gone once the run is whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys_core.config import Settings, dump_settings
from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.whole import about, writing


def partial(out: Path) -> Path:
    """Where training keeps what it has finished of the run `out`."""
    return out.with_name(f".{out.name}.partial")


def begun(out: Path) -> bool:
    """Was a training of `out` interrupted, or is it going on?"""
    return (partial(out) / "key.json").exists()


@contextmanager
def workshop(out: Path, dataset: Dataset, settings: Settings, resume: bool) -> Iterator[Path]:
    """The folder beside `out` that holds finished stages; locked while in use, removed once the run is whole.

    What is half done when an error ends the block is removed; finished stages stay. Raises UserError if `out` is there or another
    process makes it, or if there is nothing to resume.
    """
    folder = partial(out)
    key = {"fingerprint": dataset.fingerprint, "settings": dump_settings(settings)}
    nothing = UserError(f"nothing to resume for {out} with this data and these settings; leave --resume out to start again")
    if resume and not folder.exists():
        raise nothing
    with _locked(folder, out):
        if out.exists():  # another process has made it since we looked
            _clear(folder)
            raise UserError(f"{out} exists; choose another --out or remove it")
        if resume and not _kept_for(folder, key):
            raise nothing
        if not resume:
            _empty(folder)
            with writing(folder / "key.json") as fresh:
                fresh.write_text(json.dumps(key), encoding="utf-8")
        try:
            yield folder
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is None:
                about(error, out)
            for half in (folder / "run", *folder.glob("*/.*.writing")):
                shutil.rmtree(half, ignore_errors=True)
            raise
        _clear(folder)


def _kept_for(folder: Path, key: dict[str, str]) -> bool:
    """Are the stages kept in a folder those of this data and these settings?"""
    try:
        return bool(json.loads((folder / "key.json").read_text(encoding="utf-8")) == key)
    except (OSError, ValueError, RecursionError):
        return False


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Hold the folder, which is made if need be, against all other processes."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = (folder / "lock").open("w")
        except FileNotFoundError:  # the one who held the folder was just removing it
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{out} is being trained by another process; wait for it or choose another --out") from None
            try:
                ours = os.fstat(lock.fileno()).st_ino == (folder / "lock").stat().st_ino
            except FileNotFoundError:
                ours = False
            if ours:  # else it was removed between our opening and our locking it
                yield
                return


def _empty(folder: Path) -> None:
    """Remove all but the lock."""
    for old in folder.iterdir():
        if old.name != "lock":
            shutil.rmtree(old) if old.is_dir() else old.unlink()


def _clear(folder: Path) -> None:
    """Remove the folder, the lock last: from then on it is for others to take."""
    _empty(folder)
    (folder / "lock").unlink()
    with suppress(OSError):  # another process has taken it
        folder.rmdir()
