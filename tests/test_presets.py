"""Presets survive a round trip under any name, and a file that somebody spoiled does no harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import HOSTILE

from dashboard import presets
from dashboard.presets import LONGEST, MOST, Preset
from recsys_core.errors import UserError

ONE = Preset({"ease": 0.5, "bert": -1.25}, "mmr", 0.3)


@pytest.mark.parametrize("name", [*HOSTILE, "é 中文", "../../etc/passwd", '"}{', "a\\n"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    path = tmp_path / "p.json"
    presets.save(path, "other", Preset({}))
    assert presets.save(path, name, ONE) == name
    assert presets.load(path) == {"other": Preset({}), name: ONE}
    presets.delete(path, name)
    presets.delete(path, "never there")
    assert presets.load(path) == {"other": Preset({})}
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]  # no half-written file, and none elsewhere


def test_names_are_one_printable_line(tmp_path: Path) -> None:
    kept = presets.save(tmp_path / "p", " a\n b\x00\u202e" + "c" * 99, ONE)
    assert kept == "a b" + "c" * (LONGEST - 3)
    for nothing in ("", " \n", "\x00"):
        with pytest.raises(UserError, match="name is empty"):
            presets.save(tmp_path / "p", nothing, ONE)


def test_same_name_is_replaced_and_a_full_file_refuses(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_text(json.dumps({f"n{i}": {"weights": {}, "reranker": "", "strength": 0} for i in range(MOST)}))
    presets.save(path, "n0", ONE)
    assert presets.load(path)["n0"] == ONE
    with pytest.raises(UserError, match="delete one"):
        presets.save(path, "one more", ONE)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\x00", '{"a": 1}'])
def test_a_spoiled_file_is_no_preset(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").write_text(text)
    assert presets.load(tmp_path / "p") == {}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"weights": {"a": "x"}, "reranker": "", "strength": 0},
        {"weights": {"a": 1e999}, "reranker": "", "strength": 0},
        {"weights": {"a": 1}, "reranker": ["mmr"], "strength": 0},
        {"weights": {"a": 1}, "reranker": "", "strength": 2},
        {"weights": [1], "reranker": "", "strength": 0},
    ],
)
def test_what_is_no_preset_is_left_out(tmp_path: Path, value: object) -> None:
    good = {"weights": {"a": 1}, "reranker": "", "strength": 0}
    (tmp_path / "p").write_text(json.dumps({"bad": value, "good": good, " spaced ": good}))
    assert presets.load(tmp_path / "p") == {"good": Preset({"a": 1.0})}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    presets.save(path, "a", ONE)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        presets.save(path, "b", ONE)
    assert presets.load(path) == {"a": ONE}
    assert [p.name for p in tmp_path.iterdir()] == ["p"]
