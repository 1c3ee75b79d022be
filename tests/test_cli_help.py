"""The command line teaches: a first screen, defaults and examples, the nearest name for a misspelt one, and the tab key."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from test_cli import refused

from recsys_core.cli import build_parser, main
from recsys_core.cli_help import INSTALL, TOPICS, Format, script

PARSER = build_parser()
COMMANDS = dict(next(a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction)).choices)


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"]])
def test_the_first_screen(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert [name for name in ("doctor", "demo", "prepare") if f"\n  whyrec {name}" not in shown] == []
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []
    assert max(map(len, shown.splitlines())) <= 100


def test_no_topic_names_a_command_that_is_not_there() -> None:
    named = [name for names in TOPICS.values() for name in names]
    assert set(named) <= set(COMMANDS)
    assert len(named) == len(set(named))


def test_help_of_a_command_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for argv in (["help", "train"], ["train", "--help"]):
        with pytest.raises(SystemExit):
            main(argv)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "--data" in shown[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("trian --data x", "unknown command 'trian'"),
        ("trian --data x", "Did you mean 'train'?"),
        ("train --dta x --out y", "unknown option '--dta'"),
        ("train --dta x --out y", "Did you mean '--data'?"),
        ("train --data x --out=y --sede=3", "Did you mean '--seed'?"),
        ("recommend --run x --users all -k 3", "Did you mean '--k'?"),
        ("train --data x --out y --device gpu", "unknown value of --device 'gpu'; known: auto, cpu, cuda, mps"),
        ("train", "--data, --out are missing; see: whyrec train --help"),
        ("recommend", "recommend: --run is missing"),
        ("recommend --run x --k ten", "invalid int value: 'ten'"),
        ("recommend --run x spare", "unrecognized arguments: spare"),
        ("--run x", "unknown option '--run'; known: --help, --version"),
        ("completion tcsh", "unknown value of shell 'tcsh'"),
    ],
)
def test_mistakes_are_one_line(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(capsys, *line.split())


def test_what_is_right_is_let_through() -> None:
    read = build_parser().parse_args
    assert read(["train", "--dat", "x", "--ou", "y"]).data == Path("x")  # an abbreviation
    assert read(["explain", "--run", "x", "--seconds", "-1"]).seconds == -1
    assert read(["train", "--data", "x", "--out", "y", "--set", "a=-1", "b=--c"]).assignments == ["a=-1", "b=--c"]


def test_options_explain_themselves_with_their_default() -> None:
    for command in COMMANDS.values():
        text = " ".join(command.format_help().split())
        for action in command._actions:
            assert action.help or action.dest == "shell", f"{command.prog} {action.dest}: no help"
            if action.option_strings and action.default not in (None, False, "", [], argparse.SUPPRESS):
                assert f"(default: {action.default})" in text, f"{command.prog} {action.dest}"


def test_no_default_is_told_where_there_is_none() -> None:
    def shown(**how) -> str:
        parser = argparse.ArgumentParser(formatter_class=Format)
        parser.add_argument("--x", **how)
        return parser.format_help()

    assert "(default: 7)" in shown(default=7, help="text")
    assert "default" not in shown(help="text")
    assert "default" not in shown(help="text", action="store_true")
    assert shown(default=7, help="text (default: as found)").count("default") == 1


# The tab key. What bash offers is asked of bash.


def offered(code: str, line: str, folder: Path) -> set[str]:
    """What bash offers at the end of a line; the last word is what has been typed of it."""
    words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
    ask = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_whyrec; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    (folder / "code.bash").write_text(code)
    run = ["bash", "--norc", "-c", f"source ./code.bash && complete -p whyrec >/dev/null && {{ {ask}; }}"]
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=folder, env=env)
    return set(done.stdout.split("\n")) - {""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run, a folder that is none, and a file."""
    for name in ("demo", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "manifest.json").write_text("{}")
    (tmp_path / "quick.toml").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("whyrec tra", {"train"}),
        ("whyrec explain --wh", {"--what-if"}),
        ("whyrec train --device c", {"cpu", "cuda"}),
        ("whyrec recommend --run runs/", {"runs/demo"}),
        ("whyrec recommend --run ", {"runs/demo", "runs"}),
        ("whyrec compare --runs runs/demo runs/d", {"runs/demo"}),
        ("whyrec train --config qu", {"quick.toml"}),
        ("whyrec fetch ml-1", {"ml-100k", "ml-1m"}),
        ("whyrec explain --question w", {"words"}),
        ("whyrec completion z", {"zsh"}),
        ("whyrec recommend --run runs/x", set()),
        ("whyrec xyz", set()),
    ],
)
def test_bash_completes(line: str, wanted: set[str], folder: Path) -> None:
    assert offered(script(build_parser(), "bash"), line, folder) == wanted


def test_bash_offers_what_the_script_says(folder: Path) -> None:
    """Negative controls: another script offers other words, and one that is not whole is refused."""
    code = script(build_parser(), "bash")
    assert offered(code.replace("train", "drain"), "whyrec tra", folder) == set()
    with pytest.raises(subprocess.CalledProcessError):
        offered(code.rpartition("complete ")[0], "whyrec tra", folder)


@pytest.mark.parametrize("shell", INSTALL)
def test_scripts_say_how_to_install_them(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"# To install: {INSTALL[shell]}"
    assert shell != "zsh" or lines[0] == "#compdef whyrec"
    assert sum("what-if" in line for line in lines)
