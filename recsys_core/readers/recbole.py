"""RecBole atomic files: NAME.inter, NAME.item, NAME.user.

Headers are typed, `item_id:token`; a `token_seq` is a list separated by blanks, save titles and prose.
"""

from __future__ import annotations

import re
from pathlib import Path

from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.readers._build import build
from recsys_core.readers._catalog import PROSE
from recsys_core.readers._columns import numbers
from recsys_core.readers._files import Table, found, read_table
from recsys_core.readers._movielens import LIKE, NO_GENRE

NAMES = {"rating": "value", "timestamp": "time", "class": "genres", "release_year": "year"}
TITLE = re.compile(r"title|name$")
TEXTS = ("title", *PROSE)  # token_seq columns that are one text, not a list


def matches(folder: Path) -> bool:
    return any(folder.glob("*.inter"))


def read(folder: Path) -> Dataset:
    """Ratings up to 5 count as a like from 4 on; on any other scale every interaction does.

    Raises UserError if the folder holds several sets, and for each bad cell.
    """
    paths = list(folder.glob("*.inter"))
    if len(paths) > 1:
        raise UserError(f"{folder}: {len(paths)} sets in one folder ({found(folder)}); give each its own folder")
    events = _table(paths[0])
    items, users = (_table(p) if p.is_file() else None for p in (paths[0].with_suffix(s) for s in (".item", ".user")))
    stars = "value" in events and LIKE <= numbers(events, "value").max() <= 5
    users = users and users.select(c for c in users.names if c != "zip_code")
    return build(paths[0].stem, events, items and _with_title(items), users, threshold=LIKE if stars else None)


def _table(path: Path) -> Table:
    """The file without the types in its header; blanks between list entries become `|`."""
    table = read_table(path, delimiter="\t")
    types = dict(c.partition(":")[::2] for c in table.names)
    title = next((c for c in types if TITLE.search(c)), None)
    names = {c: NAMES.get(c, c) for c in types} | ({title: "title"} if title and path.suffix == ".item" else {})
    table = table.renamed({f"{c}:{kind}" if kind else c: names[c] for c, kind in types.items()})
    for name in (names[c] for c, kind in types.items() if kind.endswith("_seq") and names[c] not in TEXTS):
        table = table.with_column(name, ("|".join(e for e in cell.split() if e not in NO_GENRE) for cell in table.cells(name)))
    return table


def _with_title(items: Table) -> Table:
    """Titles default to ids; a year that is no year is taken out."""
    items.require("item_id")
    if "year" in items:
        items = items.with_column("year", (y if re.fullmatch(r"\d{4}", y) else "" for y in items.cells("year")))
    return items if "title" in items else items.with_column("title", items.cells("item_id"))
