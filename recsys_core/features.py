"""What is known of an item besides who liked it, as blocks of numbers: BERT vectors of title and text, and attributes.

Each block is (n_items, d) float64, centred on given items and scaled to a mean squared row norm of 1 there, so that one
weight a block says how much it counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys_core.data import Catalog
from recsys_core.text import encode_cached

Floats = NDArray[np.float64]
MOST_VALUES = 200  # of one attribute; rarer values say little and cost memory
KNOTS = 10  # of a numeric attribute, at quantiles


def text_blocks(catalog: Catalog, encoder: str, device: str) -> dict[str, Floats]:
    """BERT vectors of the bare title and of the whole text; NaN rows where there is none."""
    titles = [str(t) for t in catalog.titles]
    blocks = {"title": encode_cached(titles, encoder, device=device)}
    if catalog.texts != titles:
        blocks["text"] = encode_cached(catalog.texts, encoder, device=device)
    return {name: block.astype(np.float64) for name, block in blocks.items()}


def attribute_blocks(catalog: Catalog, fitted_on: NDArray[np.int64], most: int = MOST_VALUES) -> dict[str, Floats]:
    """One block an attribute: "#name", hat functions, for numbers; else "=name", 0/1 of the values two items or more have, the
    `most` frequent."""
    blocks = {}
    for name in catalog.attributes:
        number = _as_number(catalog, name)
        block = _hats(number, fitted_on) if number is not None else _frequent(catalog, name, most)[1]
        if block.shape[1] > 1:
            blocks[f"{'=' if number is None else '#'}{name}"] = block
    return blocks


def new_attributes(catalog: Catalog, new: Catalog, fitted_on: NDArray[np.int64]) -> dict[str, Floats]:
    """`attribute_blocks` of items that are not in the catalogue, (n_new, d) each: its columns, centred and scaled as they are.

    An attribute that `new` lacks is unknown: no value, or of a number the catalogue's median.
    """
    out = {}
    for name, block in attribute_blocks(catalog, fitted_on).items():
        asked = new.frame[name[1:]].tolist() if name[1:] in new.frame else [()] * len(new)
        number = _as_number(catalog, name[1:]) if name[0] == "#" else None
        if number is not None:
            told = np.array([_number(v[0]) if v else np.nan for v in asked])
            rows = _hats(number, fitted_on, np.where(np.isfinite(told), told, np.median(number)))
        else:
            names = _frequent(catalog, name[1:])[0]
            rows = np.array([[float(value in row) for value in names] for row in asked])
        everything = np.concatenate([block, rows])
        out[name] = scaled(everything, fitted_on, unit_rows=False)[len(block) :]
    return out


def centre(block: Floats, fitted_on: NDArray[np.int64]) -> Floats:
    """(d,) mean of the finite rows of `fitted_on`; NaN if there is none."""
    known = block[fitted_on]
    known = known[np.isfinite(known).all(axis=1)]
    return np.asarray(known.mean(axis=0) if len(known) else np.full(block.shape[1], np.nan))


def scaled(block: Floats, fitted_on: NDArray[np.int64], *, unit_rows: bool) -> Floats:
    """Centred on `fitted_on`, then each row to length 1 (`unit_rows`) or the whole block to mean squared row norm 1; NaN to 0."""
    centred = np.nan_to_num(block - centre(block, fitted_on))
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    size = length if unit_rows else np.sqrt((length[fitted_on] ** 2).mean())
    return np.asarray(centred / np.maximum(size, 1e-9))


def _as_number(catalog: Catalog, name: str) -> Floats | None:
    """(n_items,) if nearly every item has one value that is a number and there are many; gaps get the median."""
    values = catalog.frame[name].tolist()
    if any(len(v) > 1 for v in values):
        return None
    number = np.array([_number(v[0]) if v else np.nan for v in values])
    known = number[np.isfinite(number)]
    if len(known) < 0.9 * sum(map(len, values)) or len(np.unique(known)) <= KNOTS:
        return None
    return np.where(np.isfinite(number), number, np.median(known))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _hats(number: Floats, fitted_on: NDArray[np.int64], at: Floats | None = None) -> Floats:
    """Of the numbers themselves, or of others `at` the same knots."""
    knots = np.unique(np.quantile(number[fitted_on], np.linspace(0, 1, KNOTS)))
    return np.stack([np.interp(number if at is None else at, knots, one) for one in np.eye(len(knots))], axis=1)


def _frequent(catalog: Catalog, name: str, most: int = MOST_VALUES) -> tuple[list[str], Floats]:
    """The values of an attribute that get a column, and those columns (n_items, n_values)."""
    indicator = catalog.indicator(name)
    counts = np.asarray(indicator.sum(axis=0))
    often = np.argsort(-counts, kind="stable")[:most]
    kept = np.sort(often[counts[often] >= 2])
    names = sorted({v for row in catalog.frame[name].tolist() for v in row})
    return [names[n] for n in kept], indicator[:, kept].toarray().astype(np.float64)
