"""The one error a user can cause. The command line prints it as one line and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input. The message is one line that names the file, row or field and says the fix."""


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
