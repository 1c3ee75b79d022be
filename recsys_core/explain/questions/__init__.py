"""Questions: one file each, found by name. Each has `ask(subject) -> Game`: who the players are, and what
any of them bring about."""

from __future__ import annotations

from recsys_core import registry
from recsys_core.explain.game import Game
from recsys_core.explain.subject import Subject


def names() -> list[str]:
    """Every question that can be asked."""
    return registry.names(__name__)


def ask(question: str, subject: Subject) -> Game:
    """The game of a question about a subject. Raises UserError for an unknown question or one that has no players here."""
    game: Game = registry.get(__name__, question, "question").ask(subject)
    return game
