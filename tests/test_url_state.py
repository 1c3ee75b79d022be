"""Any link gives a valid choice, and a note for what is not used; the link of a valid choice gives it back exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import bounded

from dashboard import runs, state
from recsys_core import browse
from recsys_core.rerank import RERANKERS
from recsys_core.run import Run


class Query(dict):
    """What Streamlit's query_params are for the state."""

    def to_dict(self) -> dict[str, str]:
        return dict(self)

    def from_dict(self, wanted: Mapping[str, str]) -> None:
        self.clear()
        self.update(wanted)


KEPT: dict[tuple[str, str], browse.Person] = {}


def scored(run: Run, user: str, hide: str) -> browse.Person:
    if (user, hide) not in KEPT:
        KEPT[user, hide] = browse.person(run, user, hide_as=hide)
    return KEPT[user, hide]


def opened(run: Run, query: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[state.Choice, list[str]]:
    """What a session that begins with a link is about, and its notes. A session is a dict here: a page takes a second to draw."""
    monkeypatch.setattr(state, "st", SimpleNamespace(session_state={}, query_params=Query(query)))
    monkeypatch.setattr(runs, "person", lambda run, user, hide: scored(run, user, hide))
    state.begin_language()
    state.begin({run.path.name: run.path})
    state.begin_run(run)
    return state.choice(run), state.notes()


KEYS = ("run", "user", "item", "k", "weights", "hide", "reranker", "strength", "language")
ODD_NUMBERS = ["\u0663", "1_0", " 5", "1e2", "0x5", "+3", "007"]
NUMBERS = st.floats(width=64).map(str) | st.integers(-(10**30), 10**30).map(str) | st.sampled_from(ODD_NUMBERS)
NAMES = ["tiny", "u01", "h1", "met", "liked", "mmr", "zh", "ease=1", "ease=nan", "ease=1,ease=2"]
WORDS = st.text(max_size=20) | NUMBERS | st.sampled_from(NAMES)
WEIGHTS = st.lists(st.tuples(st.sampled_from(["ease", "item_knn", "popularity", "x", ""]), NUMBERS), max_size=4).map(
    lambda pairs: ",".join(f"{name}={value}" for name, value in pairs)
)
QUERIES = st.dictionaries(st.sampled_from(KEYS), WORDS | WEIGHTS, max_size=len(KEYS))


def is_valid(now: state.Choice, run: Run) -> bool:
    low, high, _ = browse.weight_range(run.model.blend)
    return (
        now.person.user in run.dataset.users.ids
        and isinstance(now.k, int)
        and 1 <= now.k <= state.MOST
        and all(low <= weight <= high for weight in now.blend.weights)
        and now.hide in state.HIDES
        and now.reranker in ("", *RERANKERS)
        and 0 <= now.strength <= 1
    )


def used(query: Mapping[str, str], now: state.Choice, run: Run) -> bool:
    """Is the choice all that the link asks for? What is said twice is said by the last."""
    asked = dict(piece.partition("=")[::2] for piece in query.get("weights", "").split(",") if piece)
    wanted = {"run": run.path.name, "user": now.person.user, "hide": now.hide, "k": now.k}
    got = all(query.get(key, str(value)).lstrip("0") == str(value) for key, value in wanted.items())
    weights = dict(zip(now.blend.names, now.blend.weights, strict=True))
    rerank = query.get("reranker", now.reranker) == now.reranker or not now.strength
    return got and rerank and all(name in weights and float(value) == weights[name] for name, value in asked.items())


@bounded(60)
@given(QUERIES)
def test_any_link_gives_a_valid_choice(tiny_run: Run, query: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        now, notes = opened(tiny_run, query, patch)
        assert is_valid(now, tiny_run)
        assert notes or used(query, now, tiny_run)
        assert len("".join(notes)) < 2_000
        again, _ = opened(tiny_run, state.link(now), patch)
        assert same(again, now)


def same(a: state.Choice, b: state.Choice) -> bool:
    key = ("k", "blend", "reranker", "strength", "hide")
    return a.person.user == b.person.user and all(getattr(a, name) == getattr(b, name) for name in key)


@bounded(50)
@given(st.data())
def test_a_valid_choice_comes_back_exactly(tiny_run: Run, data: st.DataObject) -> None:
    blend = tiny_run.model.blend
    low, high, _ = browse.weight_range(blend)
    drawn = [data.draw(st.floats(low, high, allow_subnormal=False) | st.just(was)) for was in blend.weights]
    weights = dict(zip(blend.names, drawn, strict=True))
    user, hide = data.draw(st.sampled_from(list(tiny_run.dataset.users.ids))), data.draw(st.sampled_from(state.HIDES))
    reranker = data.draw(st.sampled_from(["", *RERANKERS]))
    strength = data.draw(st.floats(0, 1, exclude_min=True)) if reranker else 0.0
    k = data.draw(st.integers(1, state.MOST))
    who = scored(tiny_run, user, hide)
    wanted = state.Choice(tiny_run, who, k, blend.with_weights(weights), reranker, strength, hide=hide)
    with pytest.MonkeyPatch.context() as patch:
        now, notes = opened(tiny_run, state.link(wanted), patch)
    moved = dict(wanted.moved)  # a weight nearer to the learned one than STEP has not been moved
    assert same(now, replace(wanted, blend=blend.with_weights(moved)))
    assert not notes


def test_a_wrong_state_is_seen(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # the checks above can fail
    now, _ = opened(tiny_run, {"k": "7", "weights": "ease=0.125"}, monkeypatch)
    assert is_valid(now, tiny_run)
    assert not is_valid(replace(now, k=0), tiny_run)
    assert not is_valid(replace(now, strength=2.0), tiny_run)
    assert used({"k": "7", "weights": "ease=0.125"}, now, tiny_run)
    assert not used({"k": "8"}, now, tiny_run)
    assert not used({"weights": "ease=0.5"}, now, tiny_run)
    assert not same(now, replace(now, k=8))


def test_a_weight_a_hair_beyond_its_slider_is_at_its_end(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high, _ = browse.weight_range(tiny_run.model.blend)
    for end, beyond in ((low, low - state.STEP / 2), (high, high + state.STEP / 2)):
        now, notes = opened(tiny_run, {"weights": f"ease={beyond!r}"}, monkeypatch)
        assert (now.blend.weights[now.blend.names.index("ease")], notes) == (end, [])
