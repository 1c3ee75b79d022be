"""From a run and external ids to an Explanation; one call for the command line, notebooks and the dashboard."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys_core import cache
from recsys_core.data import Histories
from recsys_core.errors import UserError
from recsys_core.explain import explainers, questions
from recsys_core.explain._ranks import rank_of
from recsys_core.explain.game import Budget, Explanation
from recsys_core.explain.sentence import sentence
from recsys_core.explain.subject import Subject
from recsys_core.whole import seal, unseal, writing

if TYPE_CHECKING:
    from recsys_core.run import Run

log = logging.getLogger(__name__)
CLOSED = ("exact",)  # methods that cost nothing where they are closed form; the others are kept on disk


def subject(run: Run, user: str, item: str, weights: Mapping[str, float] | None = None, hide_as: str | None = None) -> Subject:
    """What is explained, from external ids; `hide_as` "met" or "liked", None: as the run's lists do. Raises UserError if one is
    unknown."""
    (row,), (code,) = run.dataset.users.codes([user], "user"), run.dataset.items.codes([item], "item")
    hidden = run.hidden_by(hide_as)
    return subject_of(run, run.histories[[row]], hidden[[row]], int(code), weights)


def subject_of(run: Run, history: Histories, hidden: Histories, item: int, weights: Mapping[str, float] | None = None) -> Subject:
    """The same for any history row, of a person who need not be in the data."""
    model = run.model.with_weights(weights or {})
    return Subject(model, history, hidden, item, run.dataset.catalog, run.dataset.items, run.fame)


def explain(
    run: Run,
    user: str,
    item: str,
    *,
    question: str = "history",
    method: str = "",
    budget: Budget | None = None,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    language: str = "en",
    progress: Callable[[int, int], None] | None = None,
    refresh: bool = False,
) -> Explanation:
    """Why does this user's list have (or lack) this item at its place?

    Args:
        method: an explainer's name; "" = exact where it is closed form or within the budget, else shap.
        language: of the sentence, "en" or "zh".
        refresh: do not read the disk cache. What was sampled under a time limit is never kept there.

    Raises:
        UserError: unknown user, item, question or method; no component can score the item; the method cannot meet the question.
    """
    how: dict[str, Any] = {"method": method, "budget": budget, "seed": seed, "progress": progress, "refresh": refresh}
    return explain_subject(run, subject(run, user, item, weights), user=user, question=question, language=language, **how)


def explain_subject(
    run: Run,
    about: Subject,
    *,
    user: str = "",
    question: str = "history",
    method: str = "",
    budget: Budget | None = None,
    seed: int = 0,
    language: str = "en",
    progress: Callable[[int, int], None] | None = None,
    refresh: bool = False,
) -> Explanation:
    """`explain` of a subject, which need not be of a person in the data."""
    return told(about, answer(run, about, question, method, budget or Budget(), seed, progress, refresh=refresh), user, language)


def told(about: Subject, found: Explanation, user: str, language: str) -> Explanation:
    """The same with user, item, title and rank, and the sentence with the numbers behind it."""
    credit = found if found.question == "history" and found.method not in explainers.FLOORS else None
    said = sentence(about, credit, language)
    numbers = tuple(asdict(clause) | {"players": list(clause.players)} for clause in said.clauses)
    facts = {"user": user, "item": str(about.items.ids[about.item]), "title": str(about.catalog.titles[about.item])}
    return explainers.named(found, **facts, sentence=said.text, clauses=numbers, rank=said.rank or int(rank_of(about)[0]))


def answer(
    run: Run,
    about: Subject,
    question: str,
    method: str,
    budget: Budget,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    refresh: bool = False,
) -> Explanation:
    """`explain` of a subject, kept on disk unless it is closed form or a model plays that is not in the run: nothing would
    tell two such models apart.

    The disk holds so many; those asked for longest ago go first.
    """
    if about.shares.missing.all():
        raise UserError(f"no component can score item {about.items.ids[about.item]}; there is nothing to explain")
    game = questions.ask(question, about)
    method = method or explainers.best(game, budget)
    unkept = (game.additive is not None and method in CLOSED) or not set(about.model.names) <= set(run.model.names)
    file = None if unkept or not cache.room("explanations") else _file(run, about, question, method, budget, seed)
    found = None if file is None or refresh else _read(file)
    if found is None:
        found = explainers.attribute(game, method, budget, seed, progress)
        if file is not None and budget.seconds is None:
            _write(file, found)
    return found


def _file(run: Run, about: Subject, question: str, method: str, budget: Budget, seed: int) -> Path:
    """Where an explanation is kept: in a folder of its history, named by everything its numbers depend on."""
    past = about.history
    asked = [about.model.names, about.catalog.text(about.item), about.item, question, method, budget.evaluations, seed]
    key = hashlib.sha256(json.dumps([run.manifest["files"], *asked]).encode())
    for array in (past.items, past.values, past.ages, past.full_sizes, about.hidden.items, about.weights, about.shares.z):
        key.update(np.ascontiguousarray(array).tobytes())
    return _folder(past) / f"{key.hexdigest()}.json"


def _folder(past: Histories) -> Path:
    """Where explanations of one history are kept, under any model."""
    key = hashlib.sha256()
    for array in (past.items, past.values, past.ages, past.full_sizes):
        key.update(np.ascontiguousarray(array).tobytes())
    return cache.folder() / "explanations" / key.hexdigest()[:32]


def forget(histories: Iterable[Histories]) -> int:
    """Remove what is kept of explanations of these histories (one row each); how many. What an earlier version
    kept in one folder for everybody goes too: whose it is cannot be told, and it can be computed again."""
    gone = 0
    for folder in {_folder(past) for past in histories}:
        gone += len([*folder.glob("*")])
        shutil.rmtree(folder, ignore_errors=True)
    for file in (cache.folder() / "explanations").glob("*.json*"):
        file.unlink(missing_ok=True)
        gone += 1
    return gone


def _read(file: Path) -> Explanation | None:
    """What is kept, or None; a file that cannot be read, or has changed, counts as none."""
    try:
        found = Explanation.from_dict(unseal(file, "remove it"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    cache.touch(file)
    return explainers.named(found, cached=True)


def _write(file: Path, explanation: Explanation) -> None:
    try:
        with writing(file) as fresh:
            fresh.write_text(seal(explanation.as_dict(), ensure_ascii=False), encoding="utf-8")
        cache.bound("explanations", file)
    except OSError as error:  # the disk is full, or not ours to write to: the answer is there without
        log.warning("explanation is not kept in %s (%s)", file.parent, error.strerror)
