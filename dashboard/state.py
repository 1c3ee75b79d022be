"""What is chosen, and what has been loaded. URL <-> choices, cached runs and people; the only place that touches session_state.

The URL is read once, when a session begins, and written at every change: run, user, k and weights (as `whyrec recommend` reads
them). Nothing in it is trusted: what cannot be used falls back, with a note.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import presets
from dashboard.presets import Preset
from dashboard.strings import t
from recsys_core import browse, tradeoffs
from recsys_core.analytics import Analytics, Measured, measure
from recsys_core.browse import Found, Headline, Person
from recsys_core.errors import UserError
from recsys_core.hybrid import Blend
from recsys_core.metrics import EXACT
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run, find_runs

K, MOST = 10, 100  # length of a list: at first, and at most
STRENGTH = 0.3  # of a re-ranker, at first
MATCHES = 100  # users shown for a search; the browser gets no more however many there are
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
    """Changes when a run is trained anew or evaluated."""
    files = [path / name for name in ("manifest.json", "report.json")]
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


def begin_run(run: Run) -> None:
    """Choose user, K and weights where the session has none that fit the run: from the URL, else defaults."""
    fresh = "begun" not in st.session_state
    asked = st.query_params if fresh else {}
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
    now = Choice(run, person, int(st.session_state["k"]), learned.with_weights(weights), *_reranking())
    _write_url(now)
    return now


def moved_weights(learned: Blend, blend: Blend) -> dict[str, float]:
    pairs = zip(blend.names, blend.weights, learned.weights, strict=True)
    return {name: now for name, now, was in pairs if abs(now - was) > STEP}


def _address(now: Choice) -> dict[str, str]:
    """What the URL says."""
    wanted = {"run": now.run.path.name, "user": now.person.user, "k": str(now.k)}
    if now.moved:
        wanted["weights"] = _weights_text(now)
    if now.reranker:
        wanted |= {"reranker": now.reranker, "strength": f"{now.strength:g}"}
    return wanted


def _write_url(now: Choice) -> None:
    wanted = _address(now)
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


# Blend lab: all users at once.


@st.cache_resource(max_entries=2, show_spinner=False)
def _analytics(path: str, stamp: str) -> Analytics:
    made = Analytics.of(_run(path, stamp))
    _ = made.draws.weights if len(made) <= EXACT else None  # made now, not at the first slider
    return made


@st.cache_resource(max_entries=32, show_spinner=False)
def _learned(path: str, stamp: str, k: int) -> Measured:
    return measure(_analytics(path, stamp), k=k)


@st.cache_data(max_entries=32, show_spinner=False)
def _sweep(path: str, stamp: str, k: int) -> pd.DataFrame:
    known = _analytics(path, stamp)
    points = tradeoffs.sweep(known, browse.weight_range(known.blend)[1])
    return tradeoffs.pareto(known, points, k=k)


def analytics(run: Run) -> Analytics:
    return _analytics(str(run.path), stamp(run.path))


def learned(run: Run, k: int) -> Measured:
    """All lists under the learned weights, not re-ranked."""
    return _learned(str(run.path), stamp(run.path), k)


def sweep(run: Run, k: int) -> pd.DataFrame:
    """Many settings and what each is worth; seconds, once a run and K."""
    return _sweep(str(run.path), stamp(run.path), k)


def swept() -> bool:
    """Has this session asked for the sweep?"""
    return bool(st.session_state.get("swept"))


def ask_sweep() -> None:
    st.session_state["swept"] = True


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


def _reranking() -> tuple[str, float]:
    """Re-ranker and strength as chosen; a strength of 0 is none."""
    name, strength = st.session_state.get("reranker", ""), float(st.session_state.get("strength", 0.0))
    return (name, strength) if name and strength > 0 else ("", 0.0)


def measured(now: Choice) -> Measured:
    """All lists under the choices as they are."""
    return measure(analytics(now.run), now.blend, k=now.k, reranker=now.reranker, strength=now.strength)


def apply(run: Run, weights: Mapping[str, float], reranker: str, strength: float) -> None:
    """Set sliders and re-ranker, and so the URL; what the run cannot use stays as it was learned, with a note."""
    touched()
    low, high, _ = browse.weight_range(run.model.blend)
    usable = {name: value for name, value in weights.items() if low - STEP <= value <= high + STEP}
    for name, learned in zip(run.model.blend.names, run.model.blend.weights, strict=True):
        st.session_state[weight_key(run, name)] = min(max(usable.get(name, learned), low), high)
    good = reranker in ("", *analytics(run).rerankers)
    st.session_state["reranker"] = reranker if good else ""
    st.session_state["strength"] = strength if good and reranker else STRENGTH
    bad = [*(name for name in weights if name not in run.model.blend.names or name not in usable), *([] if good else [reranker])]
    if bad:
        st.session_state["lab_note"] = t("note.apply", value=", ".join(bad)[:80])


def picked() -> None:
    """A point of the chart was clicked: it becomes the chosen one."""
    points = st.session_state["pareto"]["selection"]["points"]
    if points:
        st.session_state["point"] = int(points[0]["customdata"][0])


def point(options: list[int], first: int) -> int:
    """The chosen point of the sweep; `first` if none, or one that is not among the options."""
    if st.session_state.get("point") not in options:
        st.session_state["point"] = first
    return int(st.session_state["point"])


def chosen_point() -> int | None:
    found = st.session_state.get("point")
    return None if found is None else int(found)


def lab_note() -> str:
    """What the last preset or point could not do; shown by the page, since a fragment does not draw the frame again."""
    return str(st.session_state.get("lab_note", ""))


def _presets_file() -> Path:
    where = folder()
    assert where is not None  # there is a run, so there is a folder
    return where.parent / f"{where.name}.presets.json"


def preset_names() -> list[str]:
    return list(presets.load(_presets_file()))


def save_preset(run: Run) -> None:
    """The sliders as they are, under the name that is typed; a name in use gets the new settings."""
    touched()
    weights = {name: float(st.session_state[weight_key(run, name)]) for name in run.model.blend.names}
    try:
        st.session_state["preset"] = presets.save(
            _presets_file(), st.session_state["preset_name"], Preset(weights, *_reranking())
        )
        st.session_state["preset_name"] = ""
    except (UserError, OSError) as error:
        st.session_state["lab_note"] = t("note.preset", error=str(error))


def apply_preset(run: Run) -> None:
    found = presets.load(_presets_file()).get(st.session_state["preset"])
    if found is not None:
        apply(run, found.weights, found.reranker, found.strength)


def delete_preset() -> None:
    touched()
    try:
        presets.delete(_presets_file(), st.session_state["preset"])
    except OSError as error:
        st.session_state["lab_note"] = t("note.preset", error=str(error))


def user_link(now: Choice, user: str) -> str:
    """Address of the User page for somebody else, under the same weights."""
    return "./?" + urlencode(_address(replace(now, person=replace(now.person, user=user))))
