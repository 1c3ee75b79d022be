"""The catalogue: what an item is called, what BERT reads about it, and its attributes as tuples of text."""

from __future__ import annotations

import ast
import html
import re
import warnings
from collections.abc import Iterable, Sequence

import pandas as pd

from recsys_core import pictures
from recsys_core.data import Catalog
from recsys_core.errors import UserError, unknown
from recsys_core.readers._files import Table

GENRES = ("genres", "genre", "categories", "category")
PROSE = ("description", "plot", "overview", "summary", "synopsis", "abstract", "text")
PROSE_WORDS = 8  # a column of more words a cell than this, on average, is prose and no attribute
TAG = re.compile(r"</?[a-z!][^<>]*>", re.IGNORECASE)
HIDDEN = ("<!--", "-->"), (r"<script\b", "</script>"), (r"<style\b", "</style>")  # where what is not text begins and ends
YEAR = re.compile(r"\((?P<year>\d{4})[^()\n]*\)$")

Cell = str | tuple[str, ...]


def item_text(title: str, *parts: Cell, year: str = "") -> str:
    """What BERT reads about an item.

    >>> item_text("Heat", ("Crime", "Drama"), "A thief and a policeman.", year="1995")
    'Heat (1995). Crime, Drama. A thief and a policeman.'
    """
    head = f"{title} ({year})" if year and f"({year})" not in title else title
    pieces = [head, *(", ".join(p) if isinstance(p, tuple) else p for p in parts)]
    pieces = [p for p in pieces if p]
    return ". ".join([*(p.removesuffix(".") for p in pieces[:-1]), *pieces[-1:]])


def split_year(title: str) -> tuple[str, str]:
    """Title and year apart; the year is "" if the title has none.

    >>> split_year("Seven (a.k.a. Se7en) (1995)")
    ('Seven (a.k.a. Se7en)', '1995')
    """
    title = title.strip()
    match = YEAR.search(title)
    return (title[: match.start()].rstrip(), match["year"]) if match else (title, "")


def clean(text: str) -> str:
    """Prose without HTML and line breaks; a list that was printed by JSON or Python is joined.

    >>> clean("['A <b>big</b> tab.', '', 'Don&#39;t tear.']")
    "A big tab. Don't tear."
    """
    text = " ".join(_printed_list(text) or [text])
    return " ".join(TAG.sub(" ", _seen(html.unescape(text))).split()) if set(text) & set("<&\n\t ") else text


def _seen(text: str) -> str:
    """HTML without comments, scripts and styles. One that is never closed is left as it is, and each is sought once."""
    for begin, end in HIDDEN:
        closings = [found.end() for found in re.finditer(end, text, re.IGNORECASE)] if "<" in text else []
        if closings:
            head, tail = text[: closings[-1]], text[closings[-1] :]
            text = re.sub(f"{begin}.*?{end}", " ", head, flags=re.IGNORECASE | re.DOTALL) + tail
    return text


def _printed_list(cell: str) -> list[str] | None:
    """The entries of a cell like `["a", "b"]`; None if it is not one."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    try:
        with warnings.catch_warnings():  # of Python about the cell, as if it were a program
            warnings.simplefilter("ignore")
            value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two: nested without end
        return None
    entries = [str(v).strip() for v in value if v is not None]
    return [e.encode(errors="replace").decode() for e in entries]  # half a character (\\ud800) cannot be written


def as_tuples(cells: Sequence[Cell], *, is_list: bool = False, separator: str | None = None) -> list[tuple[str, ...]]:
    """Each cell as a tuple of its entries: a printed list, or split at `|`; if `is_list`, else at `, ` or `,` or `;`.

    `separator` is what a list is split at, in place of these.

    >>> as_tuples(["a|b", "", "c"]), as_tuples(["a, b"]), as_tuples(["a, b"], is_list=True)
    ([('a', 'b'), (), ('c',)], [('a, b',)], [('a', 'b')])
    """
    texts = [c for c in cells if isinstance(c, str)]
    marks = ("|",) if not is_list else (separator,) if separator else ("|", ", ", ",", ";")
    mark = next((m for m in marks if any(m in t for t in texts)), None)

    def entries(cell: Cell) -> Iterable[str]:
        if isinstance(cell, tuple):
            return cell
        printed = _printed_list(cell)
        return printed if printed is not None else cell.split(mark) if mark else [cell]

    return [tuple(e for e in (e.strip() for e in entries(c)) if e) for c in cells]


def catalog_of(
    table: Table,
    ids: Sequence[str],
    *,
    text: Sequence[str] | None,
    lists: Sequence[str],
    attributes: Sequence[str] | None,
    separator: str | None = None,
) -> Catalog:
    """The catalogue of an items table; an id without a title, or beyond the table's rows, is its own title.

    Args:
        text: columns whose text BERT reads, joined by ". " (default: title, year, genres and prose, where there).
        lists: columns with several entries a cell, where no `|` or bracket shows it.
        attributes: columns to keep as attributes (default: all but the title, prose, pictures and columns without a filled cell).
        separator: between the entries of `lists` and of genres; default: as `as_tuples` finds it.
    """
    for name in (*(text or ()), *lists, *(attributes or ())):
        if name not in table:
            raise UserError(f"{table.path}: {unknown('column', name, table.names)}")
    cells: dict[str, list[Cell]] = {c: list(table.cells(c)) for c in table.names if c != "item_id"}
    titles = [clean(_joined(t)) for t in cells["title"]]
    listed = (*lists, *GENRES)
    split = {c: v for c, v in cells.items() if c != "title"}
    tuples = {c: as_tuples(v, is_list=c in listed and c != "image", separator=separator) for c, v in split.items()}
    chosen = text or [c for c in ("title", "year", *GENRES, *PROSE) if c in cells]
    named = {c for c in (*(text or ()), *lists, *(attributes or ())) if c != "image"}  # by the caller, as something else
    shots = [c for c in tuples if c not in named and (c == "image" or pictures.is_column(c, map(_first, tuples[c])))]
    shots.sort(key=lambda c: c != "image")
    free = [c for c in tuples if c not in shots]
    kept = attributes if attributes is not None else [c for c in free if _is_attribute(c, tuples[c], c in lists)]
    extra = list(ids[len(table) :])
    frame = pd.DataFrame(
        {
            "title": [*(t or i for t, i in zip(titles, ids, strict=False)), *extra],
            "text": [*_texts(chosen, titles, cells, tuples), *([""] * len(extra))],
        }
    )
    shown = [c for c in dict.fromkeys(kept) if c in tuples and c not in ("text", "image")]
    more = {name: pd.Series([*tuples[name], *([()] * len(extra))], dtype=object) for name in shown}
    if shots:  # the first; others are neither shown nor read
        more["image"] = pd.Series([*map(_first, tuples[shots[0]]), *([""] * len(extra))])
    return Catalog(pd.concat([frame, pd.DataFrame(more)], axis=1) if more else frame)


def _texts(
    chosen: Sequence[str], titles: list[str], cells: dict[str, list[Cell]], tuples: dict[str, list[tuple[str, ...]]]
) -> list[str]:
    years = [str(y) for y in cells["year"]] if "year" in chosen else [""] * len(titles)
    columns = [
        tuples[c] if any(len(t) > 1 for t in tuples[c]) and c not in PROSE else [clean(_joined(v)) for v in cells[c]]
        for c in chosen
        if c not in ("title", "year")
    ]
    heads = titles if "title" in chosen else [""] * len(titles)
    return [item_text(t, *parts, year=y) for t, y, *parts in zip(heads, years, *columns, strict=True)]


def _joined(cell: Cell) -> str:
    return cell if isinstance(cell, str) else " ".join(cell)


def _first(entries: tuple[str, ...]) -> str:
    """Of several pictures the first that can be shown; else whatever is there."""
    return next((e for e in entries if pictures.address(e)), entries[0] if entries else "")


def _is_attribute(name: str, cells: list[tuple[str, ...]], is_list: bool) -> bool:
    filled = [c for c in cells if c]
    if not filled or name in PROSE:
        return False
    return is_list or sum(len(e.split()) for c in filled for e in c) <= PROSE_WORDS * sum(map(len, filled))
