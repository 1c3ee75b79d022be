"""Settings under a name, in one JSON file that all sessions share. Name and preset in; the file is written whole or not at all.

Nothing read from it is trusted: what has not the shape of a preset is left out, and who applies one checks names and ranges.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from dashboard.strings import plain
from recsys_core.errors import UserError

MOST, LONGEST = 100, 60  # presets in a file, letters of a name
_LOCK = Lock()  # sessions are threads of one server


@dataclass(frozen=True)
class Preset:
    """Weights by component, and a re-ranking; `reranker` "" = none."""

    weights: dict[str, float]
    reranker: str = ""
    strength: float = 0.0


def load(path: Path) -> dict[str, Preset]:
    """Presets by name, in the order in which they were saved; none if there is no file or it cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    read = {name: _preset(value) for name, value in items if name == clean(name)}
    return {name: preset for name, preset in read.items() if preset is not None}


def save(path: Path, name: str, preset: Preset) -> str:
    """Keep a preset, instead of one of the same name; returns the name as kept. Raises UserError for no name or a full file."""
    if not (kept := clean(name)):
        raise UserError(plain("preset.unnamed"))
    with _LOCK:
        known = load(path)
        if kept not in known and len(known) >= MOST:
            raise UserError(plain("preset.full", most=MOST))
        _write(path, known | {kept: preset})
    return kept


def delete(path: Path, name: str) -> None:
    """Forget a preset, if it is there."""
    with _LOCK:
        known = load(path)
        if known.pop(name, None) is not None:
            _write(path, known)


def clean(name: str) -> str:
    """A name in one line, without what cannot be printed, cut to LONGEST."""
    return "".join(c for c in " ".join(name.split()) if c.isprintable())[:LONGEST].strip()


def _write(path: Path, presets: dict[str, Preset]) -> None:
    text = json.dumps({name: asdict(preset) for name, preset in presets.items()}, indent=1, ensure_ascii=False)
    handle, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def _preset(value: Any) -> Preset | None:
    try:
        weights = {str(name): float(weight) for name, weight in value["weights"].items()}
        strength, reranker = float(value["strength"]), value["reranker"]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None
    good = isinstance(reranker, str) and 0 <= strength <= 1 and all(map(math.isfinite, weights.values()))
    return Preset(weights, reranker, strength) if good else None
