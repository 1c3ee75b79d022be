"""The one error a user can cause. The command line prints it as one line and exits with code 2."""

from __future__ import annotations

import difflib
import errno
import os
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 1200  # characters of a message; what is longer loses its middle, as the fix stands at the end
UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")  # Unicode categories: line breaks, reversed writing, what has no width


class UserError(ValueError):
    """Bad input. The message is one line that names the file, row or field and says the fix, whatever these are called."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A text without what breaks a line or cannot be seen, this written as escapes, and of at most LONGEST characters.

    >>> one_line("no column 'a\\nb'")
    "no column 'a\\\\nb'"
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[5 - LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in UNSEEN else c for c in text)


FIXES = {
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some of your quota, or name another place",
    errno.EROFS: "name another place",
    errno.EACCES: "ask for the permission, or name another place",
    errno.EPERM: "ask for the permission, or name another place",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a folder of its path is a file; name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EFBIG: "it is more than may be written there; name another place",
    errno.EIO: "the disk failed; copy away what is on it",
}


def of_the_disk(error: OSError) -> UserError | None:
    """The one line for a disk that is full, not to be written to or failing; None for any other OSError, which must rise."""
    said = re.search(r"os error (\d+)|\[errno (\d+)\]", str(error), flags=re.IGNORECASE)  # safetensors, Arrow
    number = error.errno or (int(said[1] or said[2]) if said else None)
    if number is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # NumPy
        number = errno.ENOSPC
    if number not in FIXES:
        return None
    named = error.filename or next(iter(getattr(error, "__notes__", [])), None)
    where = f"{os.fsdecode(named)}: " if isinstance(named, str | bytes) else ""
    return UserError(f"{where}{os.strerror(number)}; {FIXES[number]}; nothing half-written is kept")


def unknown(kind: str, name: object, known: Iterable[object]) -> UserError:
    """The error for a name that is not in a known set, with the nearest known name.

    >>> str(unknown("scorer", "eas", ["ease", "bert"]))
    "unknown scorer 'eas'; known: bert, ease. Did you mean 'ease'?"
    """
    names = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(name), names, n=1)
    shown = ", ".join(names[:12]) + (f", ... ({len(names):,} in all)" if len(names) > 12 else "")
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {str(name)!r}; known: {shown}.{hint}")
