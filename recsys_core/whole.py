"""Files that are whole or not there, and that tell when one of their bytes has changed.

`writing` gives a path to write to, which takes its place when all went well. `seal` and `unseal` are JSON that carries its own
SHA-256. No power failure is reckoned with: nothing waits for the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recsys_core.errors import UserError

SEAL = re.compile(r"sha256:[0-9a-f]*")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A fresh file beside `path`, which replaces it when the block ends well and is removed otherwise.

    The folder is made if need be. What a killed process has left beside it is removed; any number of processes may write at once.
    An OSError names `path`, not the fresh file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with fresh.open("xb") as held:
            try:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(held, fcntl.LOCK_EX)  # until this process ends, however it ends
                yield fresh
                os.replace(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
    except OSError as error:
        about(error, path)
        raise


def about(error: OSError, path: Path) -> None:
    """Let an error name `path`; one without a number (NumPy's, safetensors') would lose its words by a file name."""
    if error.errno is None:
        error.add_note(str(path))
    else:
        error.filename = str(path)


def _sweep(path: Path) -> None:
    """Remove fresh files of `path` that nobody holds."""
    for old in path.parent.glob(f".{_literal(path.name)}.*.part"):
        drop_unheld(old)


def drop_unheld(fresh: Path) -> None:
    """Remove a fresh file unless a process is writing it."""
    with suppress(OSError), fresh.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.unlink(missing_ok=True)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def seal(facts: Mapping[str, Any], **how: Any) -> str:
    """JSON text of the facts, with the SHA-256 of its own other bytes as the last field, `seal`; `how` goes to json.dumps."""
    text = json.dumps({**facts, "seal": "sha256:"}, **how) + "\n"
    head, empty, tail = text.rpartition("sha256:")
    return f"{head}{empty}{hashlib.sha256(text.encode()).hexdigest()}{tail}"


def unseal(path: Path, fix: str) -> dict[str, Any]:
    """The facts of a JSON file, without the seal. What earlier versions wrote has none and is taken as it is.

    Raises:
        UserError: no JSON object, or a byte is not as `seal` wrote it; one line with the file and `fix`.
    """
    try:
        text = path.read_bytes().decode()
        facts = json.loads(text)
        marks = [name for name, value in facts.items() if isinstance(value, str) and SEAL.fullmatch(value)]
    except (ValueError, RecursionError, AttributeError):
        raise UserError(f"{path}: damaged, it is not JSON of ours; {fix}") from None
    if "seal" not in facts and not marks:
        return dict(facts)
    told = str(facts.pop("seal", ""))
    empty = "sha256:".join(text.rsplit(told, 1)) if told else text
    if marks != ["seal"] or told != f"sha256:{hashlib.sha256(empty.encode()).hexdigest()}":
        raise UserError(f"{path}: changed since it was written (its checksum differs); {fix}")
    return dict(facts)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
