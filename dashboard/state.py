"""What a session has chosen, to and from the URL. Only this file and the state_*.py of single pages touch session_state.

The URL is read once, when a session begins, and written at every change: run, user, k, weights and hide (as `whyrec recommend`
reads them), language and what a page adds of its own. Nothing in it is trusted: what cannot be used falls back, with a note.
"""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dashboard import runs, strings
from dashboard.strings import plain, t
from recsys_core import beside, browse
from recsys_core.beside import Reranking
from recsys_core.browse import Found, Person, UserList
from recsys_core.hybrid import Blend
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run

K, MOST = 10, 100  # length of a list: at first, and at most
STRENGTH = 0.3  # of a re-ranker, at first
EVERYBODY = ("", "")  # a group that is none
HIDES = ("met", "liked")  # what lists leave out
OWN_URL = (
    "user",
    "explain",
    "whatif",
    "map",
    "compare",
    "faithfulness",
    "reviews",
)  # pages that add to the URL, and write it when they know what
STEP = 1e-9  # a weight that differs from the learned one by less has not been moved


def _language() -> str:
    if get_script_run_ctx(suppress_warning=True) is None:  # nobody's session: a report, a test
        return "en"
    return str(st.session_state.get("language", "en"))


strings.follow(_language)


def read_only() -> bool:
    """Was the dashboard started so that nothing can be saved?"""
    return os.environ.get("WHYREC_READ_ONLY") == "1"


def reader() -> str:
    """Who is signed in, by e-mail or else name; "" if signing in is not asked for."""
    if not os.environ.get("WHYREC_LOGIN") or not st.user.is_logged_in:
        return ""
    return str(st.user.get("email") or st.user.get("name") or st.user.get("sub") or "")


@dataclass(frozen=True)
class Choice:
    """What the page is about: a run, a person, K, and the blend as the sliders have it."""

    run: Run
    person: Person
    k: int
    blend: Blend
    reranker: str = ""  # of all lists, those of one person too; "" = none
    strength: float = 0.0
    hide: str = ""  # what the person's list leaves out, one of HIDES; "" = as the run says

    @property
    def rehidden(self) -> bool:
        """Does the list leave out something else than the run's own?"""
        return self.hide not in ("", self.run.settings.hide)

    @property
    def how(self) -> Reranking | None:
        """How lists are re-ranked; None if they are not."""
        return Reranking(runs.features(self.run), self.reranker, self.strength) if self.reranker else None

    @property
    def moved(self) -> dict[str, float]:
        """Weights that are not the learned ones, by component."""
        return moved_weights(self.run.model.blend, self.blend)


def current_run() -> Run:
    """The chosen run, for a page; the frame has opened it."""
    return runs.open_run(runs.run_paths()[st.session_state["run"]])


def found(run: Run) -> Found:
    """Users that match the search field, in the chosen group and order; all of them for an empty one."""
    return runs.search_users(run, query(), case(), group())


def with_current_user(run: Run, people: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The matches, and the chosen user before them if not among them."""
    user = st.session_state["user"]
    if user in people:
        return people
    rows: list[dict[str, object]] = runs.search_users(run, user).frame.to_dict("records")
    return {user: next(r for r in rows if r["user_id"] == user)} | people


# A session begins: choices from the URL.


def begin_language() -> None:
    """Before anything is said: the language of the session, the URL, or English."""
    wanted = st.session_state.get("language", st.query_params.get("language"))
    good = wanted in strings.LANGUAGES
    st.session_state["language"] = wanted if good else next(iter(strings.LANGUAGES))
    if wanted is not None and not good:
        note("language", t("note.language", value=str(wanted)[:40], used=strings.LANGUAGES[strings.language()]))


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
    _begin_hide(run, asked.get("hide"))
    _begin_find(run)
    _begin_rerank(run, asked.get("reranker"), asked.get("strength"))
    _keep(run)
    st.session_state["begun"] = True


def aside(page: str) -> None:
    """A page about no run: it draws none of the frame's widgets, so what they hold is set anew, or it is dropped."""
    st.session_state["page"] = page
    for key in ("run", "user", "query", "case", "group"):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def _begin_user(run: Run, asked: str | None) -> None:
    wanted = st.session_state.get("user", asked)
    if wanted is not None and run.dataset.users.find([wanted])[0] >= 0:
        st.session_state["user"] = wanted
        return
    st.session_state["user"] = runs.first_user(run)
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
            given[name] = min(max(number, low), high)  # a slider takes nothing beyond its ends
        else:
            bad.append(piece)
    return given, bad


def _begin_hide(run: Run, asked: str | None) -> None:
    """What lists leave out; a choice that says what the run says is none, and follows the run."""
    own, kept = run.settings.hide, st.session_state.get("hide", asked)
    if kept == st.session_state.get("hide own"):
        kept = own
    st.session_state["hide own"] = own
    good = kept in HIDES and (kept == own or rates(run))
    st.session_state["hide"] = kept if good else own
    if asked is not None and not good:
        note("hide", t("note.hide", value=asked[:40], used=own))


def _begin_find(run: Run) -> None:
    """Order and group of the user picker, as far as this run has them."""
    for key, options in (("case", ["", *runs.kinds(run)]), ("group", [EVERYBODY, *runs.groups(run)])):
        kept = st.session_state.get(key)
        st.session_state[key] = kept if kept in options else options[0]


def rates(run: Run) -> bool:
    """Is anything known to be met that was not liked? Else lists leave out the same either way."""
    return not bool(run.known.liked.all())


def _begin_rerank(run: Run, name: str | None, strength: str | None) -> None:
    st.session_state.setdefault("reranker", name if name in RERANKERS else "")
    number = _number(strength)
    st.session_state.setdefault("strength", number if 0 <= number <= 1 else STRENGTH)
    if (name is not None and name not in RERANKERS) or (strength is not None and not 0 <= number <= 1):
        note("reranker", t("note.reranker", value=f"{name} {strength}"[:80], used=STRENGTH))
    if reranker() and reranker() not in runs.features(run).rerankers:
        note("reranker", t("note.reranker.unfed", name=plain(f"reranker.{reranker()}"), run=run.path.name))
        st.session_state["reranker"] = ""


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _keep(run: Run) -> None:
    """A widget's value is dropped with the page that drew it, unless it is set anew."""
    st.session_state["query"] = query()
    for key in ("k", "reranker", "strength", *(weight_key(run, name) for name in run.model.blend.names)):
        st.session_state[key] = st.session_state[key]


def reranker() -> str:
    """The one that is picked, at whatever strength; "" for none."""
    return str(st.session_state.get("reranker", ""))


def reranking() -> tuple[str, float]:
    """Re-ranker and strength as chosen; a strength of 0 is none."""
    name, strength = reranker(), float(st.session_state.get("strength", 0.0))
    return (name, strength) if name and strength > 0 else ("", 0.0)


def held(key: str, otherwise: Any = None) -> Any:
    """What a widget begins with. `otherwise` where the session has set its value in this very run: that goes to the browser.

    In a run of a fragment nobody has. A browser that had not drawn the widget yet has forgotten what was set before, and would
    begin, and answer, with the first value that the widget can have.
    """
    now = get_script_run_ctx(suppress_warning=True)
    told = now is None or now.session_state.is_new_state_value(key)
    return otherwise if told else st.session_state.get(key, otherwise)


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


def sought() -> None:
    """A group or an order was chosen: the first match becomes the user, once the frame knows who that is."""
    touched()
    st.session_state["first match"] = True


def seek(found: Found) -> None:
    """Make the first match the user, if a group or an order has just been chosen."""
    if st.session_state.pop("first match", False) and len(found.frame):
        st.session_state["user"] = found.frame["user_id"].iloc[0]


def narrowed() -> bool:
    """Are the users in the picker of a group, or in an order?"""
    return bool(case()) or group() is not None


def case() -> str:
    return str(st.session_state.get("case", ""))


def group() -> runs.Group | None:
    found: runs.Group = st.session_state.get("group", EVERYBODY)
    return None if found == EVERYBODY else found


def surprised() -> None:
    touched()
    run = current_run()
    st.session_state.update({"query": "", "case": "", "group": EVERYBODY})
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
    hide = str(st.session_state.get("hide", run.settings.hide))
    person = runs.person(run, st.session_state["user"], hide)
    now = Choice(run, person, int(st.session_state["k"]), learned.with_weights(weights), *reranking(), hide=hide)
    again = {"k": now.k, "hide": hide, "reranker": reranker(), "strength": st.session_state.get("strength", STRENGTH)}
    st.session_state["kept"] = again | {weight_key(run, name): weight for name, weight in weights.items()}
    if st.session_state.get("page") not in OWN_URL:
        write_url(link(now))
    return now


def moved_weights(learned: Blend, blend: Blend) -> dict[str, float]:
    pairs = zip(blend.names, blend.weights, learned.weights, strict=True)
    return {name: now for name, now, was in pairs if abs(now - was) > STEP}


def link(now: Choice, item: str | None = None) -> dict[str, str]:
    """The choices as the URL has them; the item on the page Explain."""
    wanted = {"run": now.run.path.name, "user": now.person.user} | ({} if item is None else {"item": item})
    more = {"weights": weights_text(now)} if now.moved else {}
    more |= {"hide": now.hide} if now.rehidden else {}
    more |= {"reranker": now.reranker, "strength": exact(now.strength)} if now.reranker else {}
    return wanted | {"k": str(now.k)} | more | spoken()


def spoken() -> dict[str, str]:
    """The language as the URL has it: nothing for English."""
    now = strings.language()
    return {} if now == next(iter(strings.LANGUAGES)) else {"language": now}


def write_language() -> None:
    """The language alone, for views that keep nothing else in the URL."""
    if "language" in st.query_params and not spoken():
        del st.query_params["language"]
    elif spoken().items() - st.query_params.to_dict().items():
        st.query_params.update(spoken())


def address() -> str:
    """The whole address of the view, to be shared."""
    parts = urlsplit(st.context.url or "")
    return parts._replace(path=parts.path or "/", query=urlencode(st.query_params.to_dict()), fragment="").geturl()


def write_url(wanted: dict[str, str]) -> None:
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def weights_text(now: Choice) -> str:
    return ",".join(f"{name}={exact(value)}" for name, value in now.moved.items())


def exact(value: float) -> str:
    """A number in as few digits as give it back to the bit."""
    short = f"{value:.6g}"
    return short if float(short) == value else repr(float(value))


def near(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def command(now: Choice) -> str:
    """The shell command that writes the same list."""
    words = ["whyrec", "recommend", "--run", near(now.run.path), "--users", now.person.user, "--k", str(now.k)]
    again = ["--rerank", f"{now.reranker}={now.strength:g}"] if now.reranker else []
    return shlex.join([*words, *options(now), *again, "--out", "topk.csv"])


def options(now: Choice) -> list[str]:
    """Weights and hiding as the command line has them, where they are not the run's own."""
    return [*(["--weights", weights_text(now)] if now.moved else []), *(["--hide", now.hide] if now.rehidden else [])]


def user_list(now: Choice) -> UserList:
    return beside.user_list(now.run, now.person, now.blend, k=now.k, how=now.how)
