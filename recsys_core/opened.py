"""What `whyrec evaluate` left in a run: report.json with the count of openings of the test set, and the tables it vouches for.

In: a run. Out: the stored facts, or one line that says which file is damaged and how to make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recsys_core.errors import UserError
from recsys_core.whole import seal, sha256, unseal, writing

if TYPE_CHECKING:
    from recsys_core.run import Run

TABLES = ("report.parquet", "per_user.parquet")


def times_opened(run: Run) -> int:
    """How often this run has been judged on its test set, by `evaluate` or `compare`."""
    return int(_report_facts(run).get("test_opened", 0))


def count_opening(run: Run, facts: Mapping[str, Any] | None = None) -> None:
    """Write report.json with one more opening of the test set, and with these facts or, if there are none, those it had."""
    had = _report_facts(run)
    kept = had if facts is None else facts
    told = seal({**kept, "test_opened": int(had.get("test_opened", 0)) + 1}, indent=1, ensure_ascii=False)
    with writing(run.path / "report.json") as fresh:
        fresh.write_text(told, encoding="utf-8")


def stored(run: Run) -> dict[str, Any]:
    """report.json of the last evaluation, whose tables are as they were written. Raises UserError naming the file that is not,
    and FileNotFoundError if there is none."""
    facts = unseal(run.path / "report.json", _anew(run))
    for name, digest in facts.get("files", {}).items():
        if name not in TABLES or sha256(run.path / name) != digest:
            raise UserError(f"{run.path / name}: changed since it was written, or of another evaluation; {_again(run)}")
    return facts


def _report_facts(run: Run) -> dict[str, Any]:
    """report.json, {} if there is none. Raises UserError if it is damaged: it counts how often the test set was opened."""
    path = run.path / "report.json"
    facts = unseal(path, _anew(run)) if path.exists() else {}
    try:
        int(facts.get("test_opened", 0))
    except (ValueError, TypeError):
        raise UserError(f"{path}: damaged, the count of openings is no number; {_anew(run)}") from None
    return facts


def _again(run: Run) -> str:
    return f"make it again with: whyrec evaluate --run {run.path}"


def _anew(run: Run) -> str:
    return f"remove it (the count of openings of the test set starts anew) and {_again(run)}"
