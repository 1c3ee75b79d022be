"""What has been loaded: the runs of a folder, and of each what the pages read. Cached by path and stamp, shared by all sessions.

Nothing here knows what a session has chosen.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import streamlit as st

from recsys_core import browse, cases, feedback
from recsys_core.beside import Features
from recsys_core.browse import Found, Headline, Person
from recsys_core.errors import UserError
from recsys_core.explain import faithfulness
from recsys_core.explain import pair as pairs
from recsys_core.explain.faithfulness import Scoreboard
from recsys_core.explain.pair import Pair
from recsys_core.run import Run, find_runs

Group = tuple[str, str]  # of users: a column, or "activity", and a value
Ids = tuple[str, ...]
MATCHES = 100  # users or items shown for a search; the browser gets no more however many there are


def folder() -> Path | None:
    """Where the runs are, as `whyrec dashboard` says; None if it was not asked."""
    told = os.environ.get("WHYREC_RUNS")
    return Path(told) if told else None


def run_paths() -> dict[str, Path]:
    """Runs by name, newest first."""
    where = folder()
    return {} if where is None else {p.name: p for p in find_runs(where)}


def stamp(path: Path) -> str:
    """Changes when a run is trained anew or evaluated, or its explainers are."""
    files = [path / "manifest.json", path / "report.json", *sorted(path.glob("faithfulness*.json"))]
    return " ".join(f"{s.st_mtime_ns}:{s.st_size}" for s in (f.stat() for f in files if f.exists()))


@st.cache_resource(max_entries=4, show_spinner=False)
def _run(path: str, stamp: str) -> Run:
    run = Run.load(Path(path))
    _ = run.dataset, run.model, run.histories, run.hidden, run.known  # read now, not at the first slider
    return run


@st.cache_resource(max_entries=256, show_spinner=False)
def _reacted(path: str, stamp: str, user: str, likes: Ids, dislikes: Ids, hide: str) -> Person:
    return feedback.reacted(_run(path, stamp), user, likes, dislikes, hide or None)


@st.cache_data(max_entries=256, show_spinner=False)
def _history(path: str, stamp: str, user: str) -> tuple[pd.DataFrame, int]:
    return browse.history(_run(path, stamp), user)


@st.cache_data(max_entries=256, show_spinner=False)
def _found(path: str, stamp: str, query: str, case: str, group: Group | None) -> Found:
    values = _hardness(path, stamp, case) if case else None
    return cases.find(_run(path, stamp), query, case=case, values=values, group=group, limit=MATCHES)


@st.cache_data(max_entries=16, show_spinner=False)
def _hardness(path: str, stamp: str, case: str) -> cases.Values:
    return cases.CASES[case].values(_run(path, stamp))


@st.cache_data(max_entries=16, show_spinner=False)
def _people(path: str, stamp: str) -> tuple[list[str], list[Group]]:
    return cases.kinds(_run(path, stamp)), cases.groups(_run(path, stamp))


@st.cache_resource(max_entries=4, show_spinner=False)
def _pictures(path: str, stamp: str) -> dict[str, str]:
    return browse.pictures_of(_run(path, stamp).dataset)


@st.cache_data(max_entries=256, show_spinner=False)
def _found_items(path: str, stamp: str, query: str) -> Found:
    return browse.search_items(_run(path, stamp), query, limit=MATCHES)


@st.cache_data(max_entries=16, show_spinner=False)
def _told(path: str, stamp: str) -> tuple[Headline, tuple[float, int] | None]:
    run = _run(path, stamp)
    return browse.headline(run), browse.calibration(run)


@st.cache_data(max_entries=256, show_spinner=False)
def run_facts(path: str, stamp: str) -> dict[str, str]:
    return browse.run_facts(Path(path))


def open_run(path: Path) -> Run:
    """Raises UserError if the run is damaged."""
    return _run(str(path), stamp(path))


def first_user(run: Run) -> str:
    """Who is shown where nobody is asked for: the longest history."""
    return str(run.dataset.users.ids[int(run.histories.lengths.argmax() if len(run.histories) else 0)])


def history(run: Run, user: str) -> tuple[pd.DataFrame, int]:
    return _history(str(run.path), stamp(run.path), user)


def headline(run: Run) -> Headline:
    return _told(str(run.path), stamp(run.path))[0]


def calibration(run: Run) -> tuple[float, int] | None:
    return _told(str(run.path), stamp(run.path))[1]


@st.cache_resource(max_entries=64, show_spinner=False)
def _pair(path: str, stamp: str, user: str, item: str, likes: Ids, dislikes: Ids, hide: str) -> Pair:
    return pairs.pair(_run(path, stamp), _reacted(path, stamp, user, likes, dislikes, hide), item)


@st.cache_data(max_entries=16, show_spinner=False)
def _scoreboard(path: str, stamp: str) -> Scoreboard | None:
    try:
        return faithfulness.load(_run(path, stamp))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None


def scoreboard(run: Run) -> Scoreboard | None:
    """How faithful each method was when it was last measured; None if the run has no scoreboard that can be read."""
    return _scoreboard(str(run.path), stamp(run.path))


@st.cache_resource(max_entries=2, show_spinner=False)
def _features(path: str, stamp: str) -> Features:
    return Features.of(_run(path, stamp))


def features(run: Run) -> Features:
    """What re-rankers know of a run's catalogue, and so which of them it can feed."""
    return _features(str(run.path), stamp(run.path))


def _unlike(run: Run, hide: str) -> str:
    """What lists hide, "" if that is what the run says: one name for one thing in the caches."""
    return "" if hide == run.settings.hide else hide


def feedback_file() -> Path:
    """Verdicts and reactions of this folder of runs."""
    where = folder()
    assert where is not None  # there is a run, so there is a folder
    return feedback.file_of(where)


def reactions(run: Run, user: str) -> tuple[Ids, Ids]:
    """Likes and dislikes that count for a user now; none if the file cannot be read, which the page User says."""
    try:
        return feedback.usable(run, feedback.reactions(feedback_file(), user, data=run.dataset.name))
    except UserError:
        return (), ()


def person(run: Run, user: str, hide: str = "") -> Person:
    """With the reactions that have been recorded, by any session; lists hide "met", "liked", or "" as the run says."""
    return _reacted(str(run.path), stamp(run.path), user, *reactions(run, user), _unlike(run, hide))


def search_users(run: Run, query: str, case: str = "", group: Group | None = None) -> Found:
    """Users that match; all of them for an empty query. A case is an order in which every user is scored, once a run."""
    return _found(str(run.path), stamp(run.path), query, case, group)


def kinds(run: Run) -> list[str]:
    """Hard cases that the run's users can be."""
    return _people(str(run.path), stamp(run.path))[0]


def groups(run: Run) -> list[Group]:
    """Groups that the run's users fall into."""
    return _people(str(run.path), stamp(run.path))[1]


def search_items(run: Run, query: str) -> Found:
    """Items that match; none for an empty query."""
    return _found_items(str(run.path), stamp(run.path), query)


def pictures(run: Run) -> dict[str, str]:
    """Addresses of pictures by item; none if the data have none, or the dashboard was started without."""
    return {} if os.environ.get("WHYREC_NO_PICTURES") == "1" else _pictures(str(run.path), stamp(run.path))


def pair(run: Run, user: str, item: str, hide: str = "") -> Pair:
    return _pair(str(run.path), stamp(run.path), user, item, *reactions(run, user), _unlike(run, hide))
