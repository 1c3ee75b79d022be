"""The one error a user can cause. The command line prints it as one line and exits with code 2."""

from __future__ import annotations

import difflib
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
