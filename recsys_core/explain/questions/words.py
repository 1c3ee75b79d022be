"""Which words of the item's text bring the score? Players are its words; an absent word is replaced by BERT's mask tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys_core.errors import UserError
from recsys_core.explain.game import Floats, Game, unique_labels
from recsys_core.explain.subject import Subject
from recsys_core.scorers.base import TextReader

WORD = re.compile(r"[㐀-鿿぀-ヿ]|[^\W㐀-鿿぀-ヿ]+(?:['\u2019-][^\W㐀-鿿぀-ヿ]+)*")  # one sign of a CJK script, or a word
MOST = 120  # words; what follows is hardly read: BERT takes 128 tokens


def ask(subject: Subject) -> Game:
    """Value = the logit if the item's text (and title) read so. Components that read no text stay as they are.

    The subject's catalogue must be the one that the model was trained with: its whole text has the vectors stored then.

    Raises UserError if the text has no word, or no component with a weight reads the texts of this item.
    """
    game, readers = outline(subject), text_readers(subject)
    variants = Variants.of(subject, readers[0][1])

    def value(masks: NDArray[np.bool_]) -> Floats:
        out = np.full(len(masks), subject.logit)
        some = np.flatnonzero(~masks.all(axis=1))  # the whole text keeps the vector it was trained with
        texts, titles = variants.read(masks[some])
        for c, reader in readers if len(some) else ():
            raw = reader.rewritten(subject.history, subject.item, texts, titles).sum(axis=0)
            z = (raw - subject.blend.mu[c]) * subject.scale[c]
            out[some] += subject.weights[c] * (z - subject.shares.z[0, c])
        return out

    return replace(game, value=value)


def outline(subject: Subject) -> Game:
    """The game of `ask` without its values, which tells which explainers can meet it; no encoder is loaded. Raises as `ask`."""
    readers = text_readers(subject)
    name = subject.items.ids[subject.item]
    text = subject.catalog.text(subject.item)
    spans = [m.span() for m in WORD.finditer(text)][:MOST]
    if not spans:
        raise UserError(f"item {name} has no words; ask about components or history instead")
    if not readers:
        raise UserError(f"no component with a weight reads the text of item {name}; ask about components or history instead")
    pieces = tuple(
        text[a:b] for a, b in zip([0, *(s[0] for s in spans[1:])], [*(s[0] for s in spans[1:]), len(text)], strict=True)
    )
    slopes = None
    if len(readers) == 1 and readers[0][1].can_slope:
        c, reader = readers[0]

        def slopes(levels: Floats) -> Floats:
            found = reader.text_slopes(subject.others, text, spans, levels)
            return np.asarray(subject.weights[c] * subject.scale[c] * found, np.float64)

    def value(masks: NDArray[np.bool_]) -> Floats:
        raise NotImplementedError("an outline has no values; ask for the game")

    players, words = tuple(f"{a}-{b}" for a, b in spans), [text[a:b] for a, b in spans]
    return Game("words", players, unique_labels(words), value, slopes=slopes, sequence=pieces)


def text_readers(subject: Subject) -> list[tuple[int, TextReader]]:
    """Components that read this item's text and have a weight: position and scorer."""
    return [(c, scorer) for c, _, scorer in subject.active if isinstance(scorer, TextReader)]


@dataclass(frozen=True)
class Variants:
    """An item's text and title with some words replaced by `masks`, what stands between words unchanged."""

    text: str
    title: str
    spans: list[tuple[int, int]]
    masks: list[str]

    @classmethod
    def of(cls, subject: Subject, reader: TextReader) -> Variants:
        text = subject.catalog.text(subject.item)
        spans = [m.span() for m in WORD.finditer(text)][:MOST]
        title = str(subject.catalog.titles[subject.item])
        return cls(text, title, spans, reader.masks_for([text[a:b] for a, b in spans]))

    @property
    def words(self) -> list[str]:
        return [self.text[a:b] for a, b in self.spans]

    def read(self, present: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
        """Texts and titles of (m, n_words) masks; a title changes with the text where that begins with it."""
        inside = [n for n, (_, end) in enumerate(self.spans) if end <= len(self.title)]
        head = inside if self.text.startswith(self.title) else []
        texts = [_replaced(self.text, self.spans, row, self.masks) for row in present]
        spans, masks = [self.spans[n] for n in head], [self.masks[n] for n in head]
        return texts, [_replaced(self.title, spans, row[head], masks) for row in present]


def _replaced(text: str, spans: list[tuple[int, int]], present: NDArray[np.bool_], masks: list[str]) -> str:
    out, end = [], 0
    for (a, b), there, mask in zip(spans, present, masks, strict=True):
        out += [text[end:a], text[a:b] if there else mask]
        end = b
    return "".join([*out, text[end:]])
