"""Every word that the dashboard says: one module a page, and in it one table a language.

`t` fills a text that is shown as Markdown: words from the data become code spans, where nothing in them is markup.
`plain` fills a text that is shown as it is (labels, headers, captions of charts).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pkgutil import iter_modules

LANGUAGES = {"en": "English", "zh": "中文"}
_MODULES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
TEXT: dict[str, dict[str, str]] = {
    language: {k: v for m in _MODULES for k, v in getattr(m, language.upper()).items()} for language in LANGUAGES
}
_said: ContextVar[str | None] = ContextVar("language", default=None)
_session: list[Callable[[], str]] = [lambda: "en"]


def follow(session: Callable[[], str]) -> None:
    """From now on speak the language that `session` names, wherever `speaking` says no other."""
    _session[0] = session


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak this language inside; for reports and notebooks, which have no session."""
    token = _said.set(language)
    try:
        yield
    finally:
        _said.reset(token)


def language() -> str:
    """The language spoken now, a key of LANGUAGES."""
    return _said.get() or _session[0]()


def code(text: object) -> str:
    """A Markdown code span that shows the text as it is, whatever is in it.

    >>> code("a`b"), code("<b>")
    ('``a`b``', '`<b>`')
    """
    words = " ".join(str(text).split()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def _text(key: str) -> str:
    return TEXT[language()][key]


def t(key: str, **values: object) -> str:
    """The text as Markdown; strings among the values come from the data and are shown as code."""
    return _text(key).format(**{k: code(v) if isinstance(v, str) else v for k, v in values.items()})


def joined(*texts: str) -> str:
    """Sentences one after the other; Chinese needs no space between them, but for bold type that would show its stars."""
    kept = list(filter(None, texts))
    return "".join(f"{one} " if one.endswith("**") else one for one in kept).rstrip() if language() == "zh" else " ".join(kept)


def plain(key: str, **values: object) -> str:
    """The text as it is."""
    return _text(key).format(**values)
