"""docs/versions.md is what its script makes of the measured results, and pyproject.toml claims no less than was tried."""

from __future__ import annotations

import copy
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pages import benchmark

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SMALL = {
    "requires-python": ">=3.11",
    "dependencies": ["numpy>=2.0,<3", "torch>=2.6"],
    "optional-dependencies": {"bert": ["words==0.1.0"], "als": ["implicit>=0.7.3"], "login": ["Authlib>=1.3.2"]},
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("versions")


@pytest.fixture
def result(script: ModuleType) -> dict[str, Any]:
    return json.loads(script.RESULTS.read_text("utf-8"))


def test_bounds_are_read(script: ModuleType) -> None:
    pinned = {name: "9" for name in ("torch", "numpy", "more", *script.TOOLS)}
    tools = {name: "9" for name in script.TOOLS}
    oldest = {"numpy": "2.0", "words": "0.1.0", "implicit": "0.7.3", "torch": "9", **tools}
    assert script.constraints("oldest", SMALL, pinned) == oldest
    assert script.constraints("newest", SMALL, pinned) == {"torch": "9"}
    assert script.constraints("pinned", SMALL, pinned) == pinned
    assert script.constraints("oldest", PROJECT, script.pins((ROOT / "constraints.txt").read_text("utf-8")))["scipy"] == "1.13"
    with pytest.raises(ValueError, match="numpy: give one lower bound"):
        script.constraints("oldest", SMALL | {"dependencies": ["numpy"]}, pinned)


def test_the_page_is_what_was_measured(script: ModuleType, result: dict[str, Any]) -> None:
    assert script.PAGE.read_text("utf-8") == script.page(result)


def test_the_page_follows_the_results(script: ModuleType, result: dict[str, Any]) -> None:
    other = copy.deepcopy(result)
    other["cases"][0] |= {
        "verdict": "tests fail",
        "why": None,
        "failed": 7,
        "failures": ["tests.test_x::a|b"],
        "pip_check": "a | <b>",
    }
    page = script.page(other)
    assert "**tests fail**: pip check: a \\| &lt;b>" in page
    assert "| 7 |" in page
    assert "`tests.test_x::a\\|b`" in page
    assert page != script.page(result)


def test_no_bound_is_below_what_was_tried(script: ModuleType, result: dict[str, Any]) -> None:
    if any(row["kind"] == "oldest" and row["verdict"] != "works" for row in result["cases"]):
        pytest.skip("docs/versions.md: the case `oldest` did not pass all of its tests, so no bound is told from it")
    assert not script.untried(result, PROJECT)


def test_bounds_below_what_was_tried_are_found(script: ModuleType) -> None:
    had = {"numpy": "2.0.0", "words": "0.1.0", "implicit": "0.7.4", "torch": "9+cpu"}
    row = {"kind": "oldest", "python": "3.12.1", "verdict": "works", "versions": had}
    assert script.untried({"cases": [row]}, SMALL) == ["implicit>=0.7.3, tried 0.7.4", "Python 3.11, tried 3.12.1"]
    assert script.untried({"cases": [row | {"verdict": "tests fail"}]}, SMALL) == ["no case `oldest` that works"]


def test_a_case_that_is_run_again_takes_the_place_of_the_old(script: ModuleType) -> None:
    old = [{"kind": "pinned", "python": "3.11.7"}, {"kind": "newest", "python": "3.13.0"}]
    new = {"kind": "pinned", "python": "3.11.9"}
    assert script.merged(old, new) == [new, old[1]]
    assert script.merged(old, {"kind": "pinned", "python": "3.9"})[0]["python"] == "3.9"
    assert len(script.merged(old, {"kind": "oldest", "python": "3.11.7"})) == 3


def test_what_was_not_run_is_said(script: ModuleType) -> None:
    old = [{"kind": "pinned", "python": "3.98.1"}]
    rows = script.with_gaps(old, script.cases(["python3.98", "python3.99"]))
    assert [(row["kind"], row["python"]) for row in rows] == [
        ("pinned", "3.98.1"),
        ("pinned", "3.99"),
        ("oldest", "3.98"),
        ("newest", "3.99"),
    ]
    assert [row["verdict"] for row in rows[1:]] == ["not tried"] * 3


def test_an_absent_python_is_not_tried(script: ModuleType, tmp_path: Path) -> None:
    cases = script.cases(["python3.99", sys.executable])
    assert [case.kind for case in cases] == ["pinned", "pinned", "oldest", "newest"]
    assert cases[-1].python == sys.executable
    row = script.run(cases[1], tmp_path)
    assert (row["verdict"], row["python"], row["versions"]) == ("not tried", "3.99", {})
    assert not list(tmp_path.iterdir())


def test_failed_tests_are_counted(script: ModuleType, tmp_path: Path) -> None:
    bad = '<testcase classname="t" name="b"><failure/></testcase><testcase classname="t" name="c"><error/></testcase>'
    skipped = '<testcase classname="t" name="d"><skipped/></testcase>'
    report = tmp_path / "report.xml"
    report.write_text(f'<testsuites><testsuite><testcase classname="t" name="a"/>{bad}{skipped}</testsuite></testsuites>')
    assert script.counts(report) == {"passed": 1, "failed": 2, "skipped": 1, "failures": ["t::b", "t::c"]}
    assert script.reason("a\nERROR: no wheel\nnotice\n") == "ERROR: no wheel"
