"""docs/first-hour.md is what its script makes of the measured results."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from pages import benchmark

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("first_hour")


def test_the_page_is_what_was_measured(script: ModuleType) -> None:
    result = json.loads(script.RESULTS.read_text("utf-8"))
    assert script.PAGE.read_text("utf-8") == script.page(result)
    assert all(row["worked"] for row in result["steps"])


def test_the_page_follows_the_results(script: ModuleType) -> None:
    result = json.loads(script.RESULTS.read_text("utf-8"))
    other = copy.deepcopy(result)
    other["steps"][1] |= {"seconds": 60 * 7.5, "worked": False, "out": "a | <b>"}
    page = script.page(other)
    assert "| 7.5 min | **failed**: a \\| &lt;b> |" in page
    assert f"Failed: {other['steps'][1]['step']}." in page
    assert "**failed**" not in script.page(result)


def test_a_step_that_fails_is_a_row_and_the_next_goes_on(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "whyrec").mkdir()
    new = script.Newcomer(tmp_path)
    new.do("a", "python3 -c \"print('done'); print()\"", script.last_line)
    new.do("b", "python3 -c \"import sys; sys.exit('no room')\"", script.last_line)
    new.do("c", "no-such-program", script.last_line)
    new.do("d", 'python3 -c "print(1)"', script.line_with("users"))
    assert [(row.step, row.worked) for row in new.rows] == [("a", True), ("b", False), ("c", False), ("d", False)]
    assert [row.out for row in new.rows][:2] == ["done", "no room"]


@pytest.mark.parametrize(
    "coloured",
    [
        "\x1b[31mNameError\x1b[39m: name 'x'",
        "\x1b[38;5;241;1mNameError\x1b[0m: name 'x'",
        "\x1b]0;a title\x07NameError: name 'x'",
        "\x1b]8;;file:a\x1b\\NameError\x1b]8;;\x1b\\: name 'x'",
        "NameError: name 'x'\n\x1b[0m\n",
        "\x1b[2K\x1b[1GNameError: name 'x'",
    ],
)
def test_colours_of_a_terminal_do_not_come_onto_the_page(script: ModuleType, tmp_path: Path, coloured: str) -> None:
    (tmp_path / "whyrec").mkdir()
    new = script.Newcomer(tmp_path)
    for code in (1, 0):
        new.do("a", shlex.join(["python3", "-c", f"print({coloured!r}); raise SystemExit({code})"]), script.last_line)
    assert [row.out for row in new.rows] == ["NameError: name 'x'"] * 2
    new.note("a", "", 0.0, 0, coloured, lambda output: 1 / 0)  # what was printed is not understood
    assert new.rows[-1].out.endswith("; NameError: name 'x'")
    assert not [row for row in new.rows if "\x1b" in script.line(row)]
