"""A run to look at: opened if it is there, else fetched, trained and judged once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, TINY

from recsys_core import ready
from recsys_core.errors import UserError
from recsys_core.opened import times_opened
from recsys_core.overview import judged
from recsys_core.readers import load_dataset


def test_a_run_is_trained_and_judged_once(tmp_path: Path) -> None:
    said: list[str] = []
    first = ready.run(TINY, tmp_path / "demo", QUICK, said.append)
    assert judged(first) is not None
    assert said[-1].startswith("test: hybrid NDCG@10 ")
    made, n = (first.path / "manifest.json").stat().st_mtime_ns, len(said)
    again = ready.run(tmp_path / "nowhere", tmp_path / "demo", QUICK, said.append)  # the data is not read any more
    assert (again.path / "manifest.json").stat().st_mtime_ns == made
    assert times_opened(again) == 1
    assert len(said) == n
    data = load_dataset(TINY)
    for source in (TINY, data):
        assert ready.run(source, tmp_path / "demo", QUICK, said.append).path == first.path
    other = replace(data, interactions=data.interactions[np.arange(len(data.interactions) - 1)], name="other")
    with pytest.raises(UserError, match=r"demo: the run that is there was trained on other data than other now is; name another"):
        ready.run(other, tmp_path / "demo", QUICK, said.append)


def test_an_interrupted_training_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("recsys_core.train._assemble", killed)
        with pytest.raises(KeyboardInterrupt):
            ready.run(TINY, tmp_path / "demo", QUICK, print)
    tuned = {p: p.stat().st_mtime_ns for p in (tmp_path / ".demo.partial" / "tuned").rglob("facts.json")}
    assert tuned
    kept: list[int] = []
    assemble = ready.train.__globals__["_assemble"]

    def looked(whole: Path, *rest: object) -> None:
        kept.extend(p.stat().st_mtime_ns for p in tuned)
        assemble(whole, *rest)

    monkeypatch.setattr("recsys_core.train._assemble", looked)
    assert judged(ready.run(TINY, tmp_path / "demo", QUICK, print)) is not None
    assert kept == list(tuned.values())


def test_only_public_sets_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(ready, "fetch", lambda name, out: asked.append((name, out)))
    monkeypatch.setattr(ready, "load_dataset", lambda folder: load_dataset(TINY))
    assert len(ready.data(tmp_path / "ml-100k").items) == 18
    assert asked == [("ml-100k", tmp_path / "ml-100k")]
    (tmp_path / "ml-1m").mkdir()
    ready.data(tmp_path / "ml-1m")  # something is there
    monkeypatch.setattr(ready, "load_dataset", load_dataset)
    with pytest.raises(UserError, match="not a folder"):
        ready.data(tmp_path / "mine")
    assert len(asked) == 1
