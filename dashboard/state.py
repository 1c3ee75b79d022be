"""What is chosen, and what has been loaded. URL <-> choices, cached runs and people; the only place that touches session_state.

The URL is read once, when a session begins, and written at every change: run, user, k, weights (as `whyrec recommend` reads
them) and, on the page Explain, the item. Nothing in it is trusted: what cannot be used falls back, with a note.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.strings import t
from recsys_core import browse
from recsys_core.browse import Found, Headline, Person, UserList
from recsys_core.errors import UserError
from recsys_core.explain import answer, faithfulness
from recsys_core.explain import pair as pairs
from recsys_core.explain.faithfulness import Scoreboard
from recsys_core.explain.game import Budget, Explanation
from recsys_core.explain.pair import Pair
from recsys_core.explain.subject import Subject
from recsys_core.hybrid import Blend
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run, find_runs

K, MOST = 10, 100  # length of a list: at first, and at most
STRENGTH = 0.3  # of a re-ranker, at first
MATCHES = 100  # users shown for a search; the browser gets no more however many there are
WHY_CLICK = "why click"  # key of the buttons in the list
ANSWERS = 32  # that a session keeps
STEP = 1e-9  # a weight that differs from the learned one by less has not been moved


@dataclass(frozen=True)
class Choice:
    """What the page is about: a run, a person, K, and the blend as the sliders have it."""

    run: Run
    person: Person
    k: int
    blend: Blend
    reranker: str = ""  # of the Blend lab; "" = none
    strength: float = 0.0

    @property
    def moved(self) -> dict[str, float]:
        """Weights that are not the learned ones, by component."""
        return moved_weights(self.run.model.blend, self.blend)


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
def _person(path: str, stamp: str, user: str) -> Person:
    return browse.person(_run(path, stamp), user)


@st.cache_data(max_entries=256, show_spinner=False)
def _history(path: str, stamp: str, user: str) -> tuple[pd.DataFrame, int]:
    return browse.history(_run(path, stamp), user)


@st.cache_data(max_entries=256, show_spinner=False)
def _found(path: str, stamp: str, query: str) -> Found:
    return browse.search_users(_run(path, stamp), query, limit=MATCHES)


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


def current_run() -> Run:
    """The chosen run, for a page; the frame has opened it."""
    return open_run(run_paths()[st.session_state["run"]])


def history(run: Run, user: str) -> tuple[pd.DataFrame, int]:
    return _history(str(run.path), stamp(run.path), user)


def found(run: Run) -> Found:
    """Users that match what is typed in the search field; all of them for an empty one."""
    return _found(str(run.path), stamp(run.path), st.session_state.get("query", ""))


def with_current_user(run: Run, people: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The matches, and the chosen user before them if not among them."""
    user = st.session_state["user"]
    if user in people:
        return people
    rows = _found(str(run.path), stamp(run.path), user).frame.to_dict("records")
    return {user: next(r for r in rows if r["user_id"] == user)} | people


def headline(run: Run) -> Headline:
    return _told(str(run.path), stamp(run.path))[0]


def calibration(run: Run) -> tuple[float, int] | None:
    return _told(str(run.path), stamp(run.path))[1]


# A session begins: choices from the URL.


def begin(paths: dict[str, Path]) -> None:
    """Choose the run: from the session, the URL, WHYREC_RUN, or the newest."""
    wanted = st.session_state.get("run", st.query_params.get("run"))
    first = os.environ.get("WHYREC_RUN")
    used = next((name for name in (wanted, first) if name in paths), next(iter(paths)))
    if wanted is not None and wanted not in paths:
        note("run", t("note.run", name=wanted, used=used))
    st.session_state["run"] = used


def begin_run(run: Run, page: str = "user") -> None:
    """Choose user, item, K and weights where the session has none that fit the run: from the URL, else defaults.

    A page's widgets forget what they hold when the page changes, so K and weights are then put back.
    """
    fresh = "begun" not in st.session_state
    asked = st.query_params if fresh else {}
    if st.session_state.get("page", page) != page:
        st.session_state.update(st.session_state.get("kept", {}))
    st.session_state["page"] = page
    _begin_item(run, asked.get("item"))
    _begin_user(run, asked.get("user"))
    _begin_k(asked.get("k"))
    _begin_weights(run, asked.get("weights"))
    _begin_rerank(asked.get("reranker"), asked.get("strength"))
    _keep(run)
    st.session_state["begun"] = True


def _begin_user(run: Run, asked: str | None) -> None:
    wanted = st.session_state.get("user", asked)
    if wanted is not None and run.dataset.users.find([wanted])[0] >= 0:
        st.session_state["user"] = wanted
        return
    st.session_state["user"] = str(run.dataset.users.ids[int(run.histories.lengths.argmax() if len(run.histories) else 0)])
    if wanted is not None:
        note("user", t("note.user", name=wanted, used=st.session_state["user"]))


def _begin_item(run: Run, asked: str | None) -> None:
    wanted = st.session_state.get("why", asked)
    if wanted is None:
        return
    if run.dataset.items.find([wanted])[0] >= 0:
        st.session_state["why"] = wanted
        st.session_state.setdefault("why for", "")
        return
    st.session_state.pop("why", None)
    if not st.session_state.pop("why for", ""):  # it was asked for
        note("item", t("note.item", name=wanted))


def _begin_k(asked: str | None) -> None:
    if "k" in st.session_state:
        return
    good = asked is not None and asked.isascii() and asked.isdecimal() and len(asked) < 5 and 1 <= int(asked) <= MOST
    st.session_state["k"] = int(asked) if good and asked is not None else K
    if asked is not None and not good:
        note("k", t("note.k", value=asked[:40], most=MOST, used=K))


def _begin_weights(run: Run, asked: str | None) -> None:
    low, high, _ = browse.weight_range(run.model.blend)
    given, bad = _read_weights(asked or "", run.model.blend.names, low, high)
    for name, learned in zip(run.model.blend.names, run.model.blend.weights, strict=True):
        st.session_state.setdefault(weight_key(run, name), given.get(name, learned))
    if bad:
        note("weights", t("note.weights", value=", ".join(bad)[:80]))


def _read_weights(text: str, names: tuple[str, ...], low: float, high: float) -> tuple[dict[str, float], list[str]]:
    """`ease=1,bert=0.5` to numbers, and the pieces that cannot be used (unknown name, no number, outside the sliders)."""
    given, bad = {}, []
    for piece in filter(None, text[:2000].split(",")):
        name, _, value = piece.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name in names and low - STEP <= number <= high + STEP:
            given[name] = number
        else:
            bad.append(piece)
    return given, bad


def _begin_rerank(name: str | None, strength: str | None) -> None:
    st.session_state.setdefault("reranker", name if name in RERANKERS else "")
    number = _number(strength)
    st.session_state.setdefault("strength", number if 0 <= number <= 1 else STRENGTH)
    if (name is not None and name not in RERANKERS) or (strength is not None and not 0 <= number <= 1):
        note("reranker", t("note.reranker", value=f"{name} {strength}"[:80], used=STRENGTH))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _keep(run: Run) -> None:
    """A widget's value is dropped with the page that drew it, unless it is set anew."""
    for key in ("k", "reranker", "strength", *(weight_key(run, name) for name in run.model.blend.names)):
        st.session_state[key] = st.session_state[key]


def reranking() -> tuple[str, float]:
    """Re-ranker and strength as chosen; a strength of 0 is none."""
    name, strength = st.session_state.get("reranker", ""), float(st.session_state.get("strength", 0.0))
    return (name, strength) if name and strength > 0 else ("", 0.0)


def note(kind: str, text: str) -> None:
    """Something the reader must know about what was asked for; stays until the next choice."""
    st.session_state.setdefault("notes", {})[kind] = text


def notes() -> list[str]:
    return list(st.session_state.get("notes", {}).values())


# What the widgets call.


def touched() -> None:
    """A choice was made: notes about the link are over."""
    st.session_state.pop("notes", None)
    st.session_state.pop("lab_note", None)


def searched() -> None:
    """The first match becomes the user."""
    touched()
    run = current_run()
    matches = found(run).frame["user_id"]
    if st.session_state["query"].strip() and len(matches):
        st.session_state["user"] = matches.iloc[0]


def surprised() -> None:
    touched()
    run = current_run()
    st.session_state["query"] = ""
    st.session_state["user"] = browse.surprise(run, np.random.default_rng())


def reset_weights(run: Run) -> None:
    touched()
    for name, learned in zip(run.model.blend.names, run.model.blend.weights, strict=True):
        st.session_state[weight_key(run, name)] = learned


def weight_key(run: Run, component: str) -> str:
    return f"weight {run.path.name} {component}"


def query() -> str:
    return str(st.session_state.get("query", ""))


def choice(run: Run) -> Choice:
    """The choices as they are now, also inside a fragment; the URL is brought up to date."""
    learned = run.model.blend
    weights = {n: float(st.session_state.get(weight_key(run, n), w)) for n, w in zip(learned.names, learned.weights, strict=True)}
    person = _person(str(run.path), stamp(run.path), st.session_state["user"])
    now = Choice(run, person, int(st.session_state["k"]), learned.with_weights(weights), *reranking())
    st.session_state["kept"] = {"k": now.k} | {weight_key(run, name): weight for name, weight in weights.items()}
    if st.session_state.get("page") != "explain":  # which writes it when it knows the item
        _write_url(link(now))
    return now


def moved_weights(learned: Blend, blend: Blend) -> dict[str, float]:
    pairs = zip(blend.names, blend.weights, learned.weights, strict=True)
    return {name: now for name, now, was in pairs if abs(now - was) > STEP}


def link(now: Choice, item: str | None = None) -> dict[str, str]:
    """The choices as the URL has them; the item on the page Explain."""
    wanted = {"run": now.run.path.name, "user": now.person.user} | ({} if item is None else {"item": item})
    ranked = {"reranker": now.reranker, "strength": f"{now.strength:g}"} if now.reranker else {}
    return wanted | {"k": str(now.k)} | ({"weights": _weights_text(now)} if now.moved else {}) | ranked


def _write_url(wanted: dict[str, str]) -> None:
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def _weights_text(now: Choice) -> str:
    return ",".join(f"{name}={value:.6g}" for name, value in now.moved.items())


def _near(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def command(now: Choice) -> str:
    """The shell command that writes the same list."""
    words = ["whyrec", "recommend", "--run", _near(now.run.path), "--users", now.person.user, "--k", str(now.k)]
    return shlex.join([*words, *(["--weights", _weights_text(now)] if now.moved else []), "--out", "topk.csv"])


# The page Explain: which item, what was asked about it, and the answers.


def item(now: Choice, listed: list[str]) -> str | None:
    """The item that the page is about: as chosen, else the first of the list; None if that is empty. It goes into the URL."""
    chosen_for = st.session_state.get("why for", "")  # the user whose list gave it; "" if a person chose it
    if "why" not in st.session_state or chosen_for not in ("", now.person.user):
        st.session_state.pop("why", None)
        if listed:
            st.session_state["why"], st.session_state["why for"] = listed[0], now.person.user
    found: str | None = st.session_state.get("why")
    st.session_state["item"] = found  # the picker shows it, under today's label
    _write_url(link(now, found))
    return found


def _choose_item(item: object) -> None:
    touched()
    if current_run().dataset.items.find([item])[0] >= 0:
        st.session_state["why"], st.session_state["why for"] = str(item), ""


def item_picked() -> None:
    _choose_item(st.session_state["item"])


def item_searched() -> None:
    """The first match becomes the item."""
    matches = found_items(current_run()).frame["item_id"]
    if len(matches):
        _choose_item(matches.iloc[0])


def why_clicked(ids: tuple[str, ...]) -> None:
    """A button in the list: its item is asked about, on the page Explain."""
    click = st.session_state[WHY_CLICK]
    if click is not None and 0 <= click["row"] < len(ids):
        _choose_item(ids[click["row"]])
        st.session_state["why asked"] = ids[click["row"]]


def why_asked() -> str | None:
    """The item whose button was just pressed; asking takes it away."""
    asked: str | None = st.session_state.pop("why asked", None)
    return asked


def item_query() -> str:
    return str(st.session_state.get("item query", ""))


def found_items(run: Run) -> Found:
    """Items that match what is typed in the search field; none for an empty one."""
    return _found_items(str(run.path), stamp(run.path), item_query())


@st.cache_data(max_entries=256, show_spinner=False)
def _found_items(path: str, stamp: str, query: str) -> Found:
    return browse.search_items(_run(path, stamp), query, limit=MATCHES)


def user_list(now: Choice) -> UserList:
    return browse.user_list(now.run, now.person, now.blend, k=now.k)


@st.cache_resource(max_entries=64, show_spinner=False)
def _pair(path: str, stamp: str, user: str, item: str) -> Pair:
    return pairs.pair(_run(path, stamp), _person(path, stamp, user), item)


def pair(now: Choice, item: str) -> Pair:
    return _pair(str(now.run.path), stamp(now.run.path), now.person.user, item)


@st.cache_data(max_entries=16, show_spinner=False)
def _scoreboard(path: str, stamp: str) -> Scoreboard | None:
    try:
        return faithfulness.load(_run(path, stamp))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None


def scoreboard(run: Run) -> Scoreboard | None:
    """How faithful each method was when it was last measured; None if the run has no scoreboard that can be read."""
    return _scoreboard(str(run.path), stamp(run.path))


Asked = tuple[object, ...]
Answers = dict[Asked, Any]


def about(now: Choice, item: str, *more: object) -> Asked:
    """What an answer depends on; other weights are another question."""
    path = now.run.path
    return (str(path), stamp(path), now.person.user, item, now.blend.weights, *more)


def ask(section: str, what: Asked) -> None:
    """A button of a section: from now on its answer to this question is shown."""
    st.session_state.setdefault("asked", {})[section] = what


def asked(section: str, what: Asked) -> bool:
    return bool(st.session_state.get("asked", {}).get(section) == what)


def answers() -> Answers:
    """What the session has been told, by what was asked."""
    found: Answers = st.session_state.setdefault("answers", {})
    return found


def answered(what: Asked, compute: Callable[[], Any]) -> Any:
    """The answer to a question, computed once a session; the last few are kept."""
    kept = answers()
    if what not in kept:
        kept[what] = compute()
        while len(kept) > ANSWERS:
            del kept[next(iter(kept))]
    return kept[what]


def of(answers: Answers, now: Choice, item: str) -> list[Any]:
    """Those about an item under these weights."""
    head = about(now, item)
    return [found for what, found in list(answers.items()) if what[: len(head)] == head]


def explained(
    now: Choice, subject: Subject, question: str, method: str, evaluations: int, progress: Callable[[int, int], None]
) -> Explanation:
    """Raises UserError as `recsys_core.explain.answer.explain` does."""
    found = answer.answer(now.run, subject, question, method, Budget(evaluations), 0, progress)
    title = str(subject.catalog.titles[subject.item])
    return replace(found, user=now.person.user, item=str(subject.items.ids[subject.item]), title=title)


def scoreboard_command(now: Choice) -> str:
    return shlex.join(["whyrec", "explain", "--run", _near(now.run.path), "--scoreboard"])


def explain_command(now: Choice, item: str) -> str:
    """The shell command that says the same about an item."""
    words = ["whyrec", "explain", "--run", _near(now.run.path), "--user", now.person.user, "--item", item, "--k", str(now.k)]
    return shlex.join([*words, *(["--weights", _weights_text(now)] if now.moved else []), "--what-if"])
