"""The command line as a user meets it: right answers, one-line errors, exit codes, nothing half-written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from recsys_core.cli import build_parser, main
from recsys_core.run import Run

TINY = Path(__file__).parents[1] / "data" / "tiny"
QUICK = ["--set", "components=popularity,ease", "control=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "a"
    assert main(["train", "--data", str(TINY), "--out", str(out), *QUICK]) == 0
    return out


def rows(capsys: pytest.CaptureFixture[str], *argv: str) -> pd.DataFrame:
    capsys.readouterr()
    assert main(argv) == 0
    return pd.DataFrame(json.loads(capsys.readouterr().out))


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a wrong command ends with; exit code 2."""
    capsys.readouterr()
    assert main(argv) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


def test_the_withheld_film_is_on_top(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """data/tiny/README.md has the right answers: u01 has not met h1, u13 not s1."""
    table = rows(capsys, "recommend", "--run", str(run), "--users", "all", "--k", "3", "--json")
    mine = table[table.user_id == "u01"].sort_values("rank")
    assert mine.item_id.str.startswith("h").iloc[0]
    assert list(table.columns) == ["user_id", "item_id", "rank", "score", "probability", "part_popularity", "part_ease"]


def test_lists_go_to_csv_and_parquet_whole(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, read in (("x.csv", pd.read_csv), ("x.parquet", pd.read_parquet)):
        assert main(["recommend", "--run", str(run), "--users", "u01,u02", "--k", "4", "--out", str(tmp_path / name)]) == 0
        assert len(read(tmp_path / name)) == 8
    assert not list(tmp_path.glob(".*"))
    assert "must end in .csv or .parquet" in refused(
        capsys, "recommend", "--run", str(run), "--users", "u01", "--out", str(tmp_path / "x.txt")
    )


def test_weights_of_the_caller_override(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["recommend", "--run", str(run), "--users", "u01", "--k", "3", "--json", "--weights", "ease=0,popularity=2"]
    table = rows(capsys, *argv)
    assert (table.part_ease == 0).all()
    base = Run.load(run).model.blend.bias
    assert (table.score - base - table.part_popularity).abs().max() < 1e-5


def test_a_history_from_a_file_gets_a_list(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "h.csv").write_text("item_id\ns1\ns2\ns3\n")
    table = rows(capsys, "recommend", "--run", str(run), "--history", str(tmp_path / "h.csv"), "--k", "3", "--json")
    assert table.item_id.str.startswith("s").all()
    assert not set(table.item_id) & {"s1", "s2", "s3"}


def test_evaluate_prints_rows_and_counts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = rows(capsys, "evaluate", "--run", str(run), "--k", "5", "--segments", "activity", "--json")
    assert set(table.columns) == {"model", "metric", "k", "segment", "mean", "low", "high", "n"}
    assert main(["evaluate", "--run", str(run), "--k", "5"]) == 0
    text = capsys.readouterr().out
    assert "hidden: everything the user has met" in text
    assert "test set opened 2 times" in text


def test_prepare_reads_mapped_columns_and_writes_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.csv").write_text("uid,movie,stars\na,1,5\na,2,1\nb,1,4\n")
    argv = ["prepare", "--interactions", str(tmp_path / "r.csv"), "--map", "user_id=uid,item_id=movie", "value=stars"]
    assert main([*argv, "--threshold", "4", "--out", str(tmp_path / "d")]) == 0
    assert "2 users, 2 items, 3 interactions, 2 likes" in capsys.readouterr().out
    assert "exists; choose another --out" in refused(capsys, *argv, "--out", str(tmp_path / "d"))
    assert "stars" in refused(capsys, *argv[:-1], "value=strs", "--out", str(tmp_path / "e"))
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("argv", "fix"),
    [
        (["train", "--data", "nowhere", "--out", "x"], "nowhere"),
        (["train", "--data", str(TINY), "--out", "x", "--set", "ease.rg=1"], "Did you mean 'reg'"),
        (["train", "--data", str(TINY), "--out", "x", "--split", "rnd"], "Did you mean 'random'"),
        (["train", "--data", str(TINY), "--out", "x", "--resume"], "nothing to resume"),
        (["recommend", "--run", "nowhere", "--users", "all"], "no such folder"),
        (["evaluate", "--run", str(TINY)], "not a run"),
        (["compare", "--runs", "one"], "two run directories"),
        (["dashboard", "--runs", "nowhere"], "no runs under nowhere"),
        (["fetch", "ml-100"], "Did you mean 'ml-100k'"),
        (["train", "--data", str(TINY), "--out", "x\udcff"], "not a name in UTF-8"),
        (["train", "--data", str(TINY), "--out", "x", "--set", "ease.reg=\udc80"], "not a name in UTF-8"),
        (["train", "--data", str(TINY), "--out", "x\ny"], "a name with a line break"),
        (["recommend", "--run", "x\u202e", "--users", "all"], "a sign that cannot be seen"),
        (["feedback", "--runs", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistakes_get_one_line_with_the_fix(
    argv: list[str], fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fix in refused(capsys, *argv)
    assert not list(tmp_path.glob("x*"))


def test_bad_users_weights_and_k_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["recommend", "--run", str(run)]
    assert "unknown user 'u99'" in refused(capsys, *start, "--users", "u99")
    assert "unknown component 'eas'" in refused(capsys, *start, "--users", "u01", "--weights", "eas=1")
    assert "not a number" in refused(capsys, *start, "--users", "u01", "--weights", "ease=much")
    assert "k must be 1 or more" in refused(capsys, *start, "--users", "u01", "--k", "0")
    assert "ease: given twice" in refused(capsys, *start, "--users", "u01", "--weights", "ease=1, ease=2")
    assert "--users u01: given twice" in refused(capsys, *start, "--users", "u01,u02,u01")
    assert "either --users" in refused(capsys, *start)
    assert "unknown segment" in refused(capsys, "evaluate", "--run", str(run), "--segments", "gendre")
    for command in (["evaluate", "--run"], ["compare", "--runs", str(run)]):
        assert "k must be 1 or more, not -2" in refused(capsys, *command, str(run), "--k", "-2")
    for k in ("10001", "3000000000", "9" * 25):
        assert f"k = {k} is more than 10,000" in refused(capsys, *start, "--users", "u01", "--k", k)
    for weight in ("1e32", "1e300", "-1e39", "inf", "nan"):
        told = refused(capsys, *start, "--users", "u01", "--weights", f"ease={weight}")
        assert "weight of 'ease' must be a finite number below 1e32" in told
    why = ["explain", "--run", str(run), "--seed", "-1"]
    assert "seed = -1 is negative" in refused(capsys, *why, "--user", "u01", "--item", "s1", "--method", "shap")
    assert "seed = -1 is negative" in refused(capsys, *why, "--scoreboard", "--users", "1")


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        (("--port", "0"), "from 1 to 65535"),
        (("--port", "-1"), "from 1 to 65535"),
        (("--port", "99999999"), "from 1 to 65535"),
        (("--address", "$(x)"), "no interface of that name"),
    ],
)
def test_where_nothing_can_listen(
    option: tuple[str, str], fix: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recsys_core.cli_dashboard.become", lambda *_: pytest.fail("a server starts"))
    assert fix in refused(capsys, "dashboard", "--run", str(run), *option)


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    commands = next(a for a in build_parser()._actions if a.dest == "command" or (hasattr(a, "choices") and a.choices)).choices
    assert set(commands) == {
        "fetch",
        "prepare",
        "train",
        "recommend",
        "explain",
        "evaluate",
        "compare",
        "update",
        "feedback",
        "forget",
        "dashboard",
        "demo",
        "doctor",
        "completion",
    }
    for parser in commands.values():
        assert re.search(r"\nexamples?:\n  whyrec", parser.format_help())
