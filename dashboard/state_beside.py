"""What is laid beside a list: the learned blend, another run or user, or the list re-ranked; to and from the URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dashboard import runs
from dashboard.state import STRENGTH, Choice, link, write_url
from dashboard.strings import t
from recsys_core.beside import Beside, Ranked, Reranking, ranked, side_by_side
from recsys_core.explain import batch
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run

KINDS = ("none", "learned", "rerank", "user", "run")
KEYS = ("beside kind", "beside run", "beside user", "beside reranker", "beside strength")
NAMED = {"run": "run", "user": "user", "reranker": "rerank"}  # widgets that name something, and the kind they are for


@dataclass(frozen=True)
class Wanted:
    """`name`: of a run, user or re-ranker; `strength` of a re-ranker, 0-1."""

    kind: str = "none"
    name: str = ""
    strength: float = STRENGTH

    def text(self) -> str:
        """As the URL has it; "" for nothing."""
        if self.kind == "rerank":
            return f"rerank:{self.name}:{self.strength:g}"
        return {"none": "", "learned": "learned"}.get(self.kind, f"{self.kind}:{self.name}")


def read(text: str) -> Wanted | None:
    """`learned`, `run:NAME`, `user:ID` or `rerank:NAME:STRENGTH`; None if it is none of them."""
    kind, _, name = text.partition(":")
    if text in ("", "learned"):
        return Wanted(text or "none")
    if kind in ("run", "user") and name:
        return Wanted(kind, name)
    name, _, strength = name.rpartition(":")
    try:
        value = float(strength)
    except ValueError:
        return None
    return Wanted(kind, name, value) if kind == "rerank" and name in RERANKERS and 0 <= value <= 1 else None


def others(run: Run) -> list[str]:
    """Names of the other runs in the folder."""
    return [name for name, path in runs.run_paths().items() if path != run.path]


def kinds(run: Run) -> list[str]:
    """What can be laid beside a list of this run."""
    can = {"rerank": bool(runs.features(run).rerankers), "user": len(run.dataset.users) > 1, "run": bool(others(run))}
    return [kind for kind in KINDS if can.get(kind, True)]


def begin(run: Run) -> None:
    """Set the widgets where the session has no choice that fits the run: from the URL, else nothing, with a note."""
    if not all(key in st.session_state for key in KEYS):  # the first time, or back from another page
        asked = str(st.session_state.get("beside", st.query_params.get("beside", "")))
        found = read(asked[:200])
        if found is None or not _fits(run, found):
            st.session_state["beside note"], found = t("beside.note", value=asked[:80]), Wanted()
        chosen = {"beside kind": found.kind, "beside strength": found.strength}
        chosen |= {f"beside {key}": found.name if found.kind == kind else "" for key, kind in NAMED.items()}
        st.session_state.update(chosen)
    options = {"beside kind": kinds(run), "beside run": others(run), "beside reranker": runs.features(run).rerankers}
    for key in KEYS:
        now, known = st.session_state[key], options.get(key)
        st.session_state[key] = now if known is None or now in known else next(iter(known), "")  # set anew, or it is dropped


def _fits(run: Run, wanted: Wanted) -> bool:
    if wanted.kind == "user":
        return _user(run, wanted.name)
    known = {"run": others(run), "rerank": runs.features(run).rerankers}.get(wanted.kind, [wanted.name])
    return wanted.name in known


def _user(run: Run, name: str) -> bool:
    return bool(run.dataset.users.find([name.strip()])[0] >= 0)


def chosen() -> Wanted:
    """As the widgets have it."""
    kind = str(st.session_state["beside kind"])
    key = next((key for key, named in NAMED.items() if named == kind), "")
    return Wanted(kind, str(st.session_state[f"beside {key}"]) if key else "", float(st.session_state["beside strength"]))


def wanted(now: Choice) -> Wanted:
    """The choice as the widgets have it; the URL is brought up to date."""
    found = chosen()
    st.session_state["beside"] = found.text()
    write_url(link(now) | ({"beside": found.text()} if found.text() else {}))
    return found


def note() -> str:
    """What the link asked for and could not be had; told until the next choice."""
    return str(st.session_state.get("beside note", ""))


def touched() -> None:
    st.session_state.pop("beside note", None)


def other(now: Choice, wanted: Wanted) -> Ranked | None:
    """The second list; None if the user is not in the data it would be made of. That of another user is re-ranked as this one."""
    if wanted.kind == "learned":
        return ranked(now.run, now.person, now.run.model.blend, k=now.k)
    if wanted.kind == "rerank":
        how = Reranking(runs.features(now.run), wanted.name, wanted.strength)
        return ranked(now.run, now.person, now.blend, k=now.k, how=how)
    run = now.run if wanted.kind == "user" else runs.open_run(runs.run_paths()[wanted.name])
    user = wanted.name.strip() if wanted.kind == "user" else now.person.user
    if not _user(run, user):
        return None
    person = runs.person(run, user, now.hide)
    alike = wanted.kind == "user"
    return ranked(run, person, now.blend if alike else run.model.blend, k=now.k, how=now.how if alike else None)


def compared(now: Choice, second: Ranked) -> Beside:
    return side_by_side(ranked(now.run, now.person, now.blend, k=now.k, how=now.how), second)


@st.cache_data(max_entries=256, show_spinner=False)
def _sentences(path: str, stamp: str, user: str, weights: tuple[float, ...], items: tuple[str, ...], language: str) -> list[str]:
    run = runs.open_run(Path(path))
    blend = run.model.blend.with_weights(dict(zip(run.model.names, weights, strict=True)))
    return batch.sentences(run, runs.person(run, user), blend, items, language)


def sentences(now: Choice, items: list[str], language: str) -> list[str]:
    """Why each item stands where it does, in a sentence."""
    path = now.run.path
    return _sentences(str(path), runs.stamp(path), now.person.user, now.blend.weights, tuple(items), language)
