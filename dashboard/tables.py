"""Frames of the core to frames for the eye: ranks as "up 4", tags with the cold mark, cells that a spreadsheet cannot run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import east_asian_width

import pandas as pd

from dashboard.charts import bar_images
from dashboard.explain_charts import gap, rows
from dashboard.strings import code, plain
from recsys_core.explain.faithfulness import Scoreboard
from recsys_core.explain.game import Explanation
from recsys_core.explain.why_not import BASE
from recsys_core.hybrid import Blend

Frame = pd.DataFrame
ROW = 35  # pixels, header and all
TALL = 65  # pixels of rows in which a title may take more lines than one: Streamlit breaks lines in rows above 4rem
PADDING = 16  # pixels of a cell that hold no text
LETTER, WIDE = 5.6, 14  # pixels of a letter on average, and of one that is as wide as it is high

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # how a formula begins


def list_view(frame: pd.DataFrame, by_score: bool = False) -> pd.DataFrame:
    """The list as shown: rank, move (against the learned list, or that `by_score`), title, year, tags, percent (0-100), bar (an
    image address)."""
    tags = [[*([plain("list.cold")] if cold else []), *tags] for cold, tags in zip(frame["cold"], frame["tags"], strict=True)]
    moves = [move(*place) for place in places(frame, by_score)]
    percent = (100 * frame["probability"]).to_numpy()
    columns: dict[str, Any] = {"move": moves, "tags": pd.Series(tags, dtype=object), "percent": percent, "bar": bar_images(frame)}
    columns["why"] = [plain("why.button")] * len(frame)
    return frame[["rank", "title", "year"]].assign(**columns)


def beside_view(frame: pd.DataFrame, second: bool) -> pd.DataFrame:
    """One of two lists: rank, title, percent, and move: of the `second` how each place differs from the first list, of the first
    where the second has it."""
    rows = frame[["rank", "other", "both"]].itertuples(index=False)
    if second:
        moves = [
            move(r, was, False) if both else plain("beside.new", n=was) if was else plain("beside.come") for r, was, both in rows
        ]
    else:
        moves = [place(there) if both else left(there) for _, there, both in rows]
    return frame[["rank", "title"]].assign(move=moves, percent=(100 * frame["probability"]).to_numpy())


def left(there: int) -> str:
    """Where an item went that the other list does not show; 0 is nowhere."""
    return plain("beside.left", n=there) if there else plain("beside.gone")


def both_lists(lists: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Several lists in one table: list (its name), and the columns of `browse.UserList.frame` with `other` and `both`."""
    return pd.concat([frame.assign(list=name) for name, frame in lists.items()], ignore_index=True)


def move(rank: int, was: int, new: bool) -> str:
    """How a place differs from the learned one, in words."""
    if new:
        return plain("move.new", was=was)
    if rank == was:
        return plain("move.same")
    return plain("move.up", n=was - rank) if rank < was else plain("move.down", n=rank - was)


def parts_view(frame: pd.DataFrame) -> pd.DataFrame:
    """The chart's twin: rank, title, base, one column a component (NaN = not available), logit, percent."""
    parts = {c: frame[c] for c in frame.columns if c.startswith("part_")}
    facts = {"rank": frame["rank"], "title": frame["title"], "base": frame["base"]}
    return pd.DataFrame(facts | parts | {"logit": frame["logit"], "percent": 100 * frame["probability"]})


def history_view(frame: pd.DataFrame, query: str, sort: str) -> pd.DataFrame:
    """Past items that hold the query in title, year or tags; sorted by "time" (latest first), "title" or "value" (best first)."""
    words = (frame["title"] + " " + frame["year"] + " " + frame["tags"].map(" ".join)).str.casefold()
    kept = frame[words.str.contains(query.strip().casefold(), regex=False)]
    if sort == "title":
        return kept.sort_values("title", key=lambda c: c.str.casefold(), kind="stable")
    return kept.sort_values("value", ascending=False, kind="stable") if sort == "value" else kept


def place(rank: int) -> str:
    """A rank as people say it; 0 is none."""
    return plain("rank", n=rank) if rank else plain("rank.none")


def credit_view(explanation: Explanation) -> pd.DataFrame:
    """The twin of an explanation's chart, all players: kind, label, contribution, standard_error, percent (of all that moves)."""
    found = rows(explanation)
    return found[["label", "contribution", "standard_error"]].assign(percent=100 * found["share"])


def parts_beside(frame: pd.DataFrame) -> pd.DataFrame:
    """Parts of two items side by side, as shown: the base, which is no component, has its name in the reader's language. A frame
    without components stays as it is."""
    if "component" not in frame:
        return frame
    return frame.assign(component=frame["component"].replace(BASE, plain("explain.base")))


def trust_view(told: Sequence[tuple[str, Explanation]]) -> pd.DataFrame:
    """How far explanations can be trusted, one row each: question, method, gap, r2, error (the largest), evaluations, seconds,
    kept (whether it was read from the cache)."""
    facts = [
        {
            "question": question,
            "method": e.method,
            "gap": f"{gap(e):+.1e}" if gap(e) else "0",
            "r2": e.fidelity,
            "error": e.frame()["standard_error"].max(),
            "evaluations": e.evaluations,
            "seconds": e.seconds,
            "kept": e.cached,
        }
        for question, e in told
    ]
    return pd.DataFrame(facts)


def board_view(board: Scoreboard) -> pd.DataFrame:
    """Of each method on the scoreboard: stays, del and ins (with the most past items that were taken out), stability, ms."""
    k, most = board.settings["k"], board.settings["most"]
    columns = {"stays": f"pos@{k} -{most}", "del": f"del -{most}", "ins": f"ins +{most}", "stability": "stability", "ms": "ms"}
    table = board.table()
    return pd.DataFrame({"method": table.index, **{name: table[column].to_numpy() for name, column in columns.items()}})


def places(frame: pd.DataFrame, by_score: bool) -> list[tuple[int, int, bool]]:
    """Of each item its place, what it was in the learned list, or in that `by_score`, and whether it was not shown there."""
    was = frame["score_rank" if by_score else "learned_rank"]
    return list(zip(frame["rank"], was, was > len(frame) if by_score else frame["new"], strict=True))


def changes(frame: pd.DataFrame, by_score: bool = False) -> tuple[int, int]:
    """How many items are new against the learned list, or that `by_score`, and how many others are at another place."""
    found = places(frame, by_score)
    return sum(new for _, _, new in found), sum(rank != was and not new for rank, was, new in found)


def place_of(frame: pd.DataFrame, item: str) -> int:
    """Where a list has an item; 0 if it has not."""
    return next((int(rank) for rank, found in zip(frame["rank"], frame["item_id"], strict=True) if found == item), 0)


def bases(frame: pd.DataFrame) -> str:
    """The base of the listed items in words; cold items may have one of their own."""
    warm, cold = frame.loc[~frame["cold"], "base"], frame.loc[frame["cold"], "base"]
    if warm.empty or cold.empty or warm.iloc[0] == cold.iloc[0]:
        return plain("parts.base", base=frame["base"].iloc[0])
    return plain("parts.base.cold", base=warm.iloc[0], cold=cold.iloc[0])


def safe_csv(frame: pd.DataFrame) -> str:
    """CSV in which no text cell or header can start a formula: such cells get a leading apostrophe. Missing is empty."""
    text = frame.copy()
    for name in text.columns:
        if not pd.api.types.is_numeric_dtype(text[name]) and not pd.api.types.is_bool_dtype(text[name]):
            text[name] = text[name].map(_guarded)
    return text.rename(columns=_guarded).to_csv(index=False, lineterminator="\r\n")  # so a cell with either sign is quoted


def _guarded(cell: Any) -> str:
    if not isinstance(cell, tuple | list) and pd.isna(cell):
        return ""
    words = "|".join(cell) if isinstance(cell, tuple | list) else str(cell)
    return f"'{words}" if words.lstrip(" ").startswith(FORMULA) else words


def fact(name: str, value: str) -> str:
    """An attribute of a user as Markdown; both come from the data."""
    return code(f"{name} {value}")


def dated(frame: pd.DataFrame) -> bool:
    return bool(pd.api.types.is_datetime64_any_dtype(frame["when"]))


def height(frame: pd.DataFrame, most: int, row: int = ROW) -> int:
    """Pixels that a table needs to show all rows of `row` pixels, or the first `most` and a scroll bar."""
    return ROW + row * min(len(frame), most)


def row_for(titles: Iterable[object], width: int) -> int:
    """Pixels of a row over a column of `width` pixels: TALL if one of the titles is too long for one line, else ROW."""
    wide = max((sum(WIDE if east_asian_width(letter) in "WF" else LETTER for letter in str(one)) for one in titles), default=0)
    return TALL if wide > width - PADDING else ROW


def file_name(*words: str) -> str:
    """Words joined into a name that is safe on every disk."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(words))[:80]


def weights(blend: Blend) -> str:
    """All weights of a blend in one line."""
    return ", ".join(f"{name} {weight:.2f}" for name, weight in zip(blend.names, blend.weights, strict=True))
