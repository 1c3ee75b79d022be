"""The prose is true: commands parse, names exist, everything that can be named is named, and nothing private is told."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pages import blocks, words_of

from recsys_core import registry
from recsys_core.errors import UserError

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
README, ARCHITECTURE = "README.md", "docs/architecture.md"


def git_files(*arguments: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z", *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


FILES = git_files("--cached", "--others", "--exclude-standard")
PAGES = {name: (ROOT / name).read_text("utf-8") for name in FILES if name.endswith(".md")}


# Commands.


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in the page's ```bash blocks."""
    return (words for language, text in blocks(page) if language == "bash" for words in words_of(text))


def subcommands() -> dict[str, argparse.ArgumentParser]:
    from recsys_core.cli import build_parser

    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def check_command(words: list[str]) -> None:
    """Raises AssertionError, with the reason, for a `whyrec`, `make` or `pip install` command that would not be understood."""
    if words[0] == "whyrec":
        from recsys_core.cli import build_parser

        try:
            build_parser().parse_args(words[1:])
        except (SystemExit, UserError):
            raise AssertionError(f"{shlex.join(words)}: the parser refuses it") from None
    elif words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
        named = {word for word in words[1:] if "=" not in word}
        assert named <= targets, f"{shlex.join(words)}: no such target"
    elif "install" in words:
        extras = {e for found in re.findall(r"\.\[([\w,]+)\]", " ".join(words)) for e in found.split(",")}
        assert extras <= set(PYPROJECT["project"]["optional-dependencies"]), f"{shlex.join(words)}: no such extra"
        for name in (after for flag, after in pairwise(words) if flag in ("-c", "-r")):
            assert (ROOT / name).is_file(), f"{shlex.join(words)}: no file {name}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page: str) -> None:
    for words in commands(PAGES[page]):
        check_command(words)


@pytest.mark.parametrize("name", subcommands())
def test_examples_of_help_are_understood(name: str) -> None:
    lines = (subcommands()[name].epilog or "").splitlines()[1:]
    assert 1 <= len(lines) <= 3
    for line in lines:
        words = shlex.split(line.partition(">")[0], comments=True)
        assert words[:2] == ["whyrec", name]
        check_command(words)


@pytest.mark.parametrize(
    "line",
    [
        "whyrec train --no-such-flag",
        "whyrec fry ml-100k",
        "whyrec completion tcsh > file",
        "A=1 .venv/bin/whyrec train \\\n --fast",
        "make tea",
        'pip install ".[tea]"',
        "pip install -c tea.txt .",
    ],
)
def test_wrong_commands_are_found(line: str) -> None:
    (words,) = commands(f"```bash\n{line}\n```\n")
    with pytest.raises(AssertionError):
        check_command(words)


def unknown_flags(page: str, known: dict[str, set[str]]) -> list[str]:
    """`whyrec NAME --flag` in running text whose name or flag no parser knows."""
    bad = []
    for name, rest in re.findall(r"`whyrec ([a-z-]+)([^`]*)`", page):
        flags = set(re.findall(r"--[a-z-]+", rest))
        bad += [f"{name} {flag}" for flag in flags - known.get(name, set())] + [name] * (name not in known)
    return bad


@pytest.mark.parametrize("page", PAGES)
def test_flags_in_text_exist(page: str) -> None:
    known = {name: set(parser._option_string_actions) for name, parser in subcommands().items()}
    assert not unknown_flags(PAGES[page], known)


def test_unknown_flags_are_found() -> None:
    assert unknown_flags("`whyrec train --x` and `whyrec fry`", {"train": {"--y"}}) == ["train --x", "fry"]


# Everything is named, and everything named is there. (That commands and Python do what they say: test_pages.py.)


def test_every_question_and_explainer_is_in_the_docs() -> None:
    known = [n for package in ("questions", "explainers") for n in registry.names(f"recsys_core.explain.{package}")]
    assert not [name for name in known if f"`{name}`" not in PAGES["docs/explaining.md"]]


def test_every_command_is_in_the_readme() -> None:
    assert not [name for name in subcommands() if f"whyrec {name}" not in PAGES[README]]


@pytest.mark.parametrize("package", ["scorers", "readers"])
def test_every_plug_in_is_in_the_architecture(package: str) -> None:
    assert not [name for name in registry.names(f"recsys_core.{package}") if f"`{name}`" not in PAGES[ARCHITECTURE]]


def test_every_metric_is_in_the_architecture() -> None:
    from recsys_core.metrics import METRICS

    assert not [name for name in METRICS if f"`{name}`" not in PAGES[ARCHITECTURE]]


def rooms(page: str) -> set[str]:
    """Paths that the page's block of rooms names: a line `folder/` and below it, further in, lines that begin with file names."""
    block = re.search(r"^```rooms\n(.*?)^```", page, flags=re.M | re.S)
    assert block, "no ```rooms block"
    folders: list[tuple[int, str]] = []
    named = set()
    for line in filter(str.strip, block[1].splitlines()):
        indent = len(line) - len(line.lstrip())
        folders = [(n, name) for n, name in folders if n < indent]
        here = "".join(name for _, name in folders)
        for name in re.split(r"\s{2,}", line.strip())[0].split(" "):
            named.add(here + name)
            if name.endswith("/"):
                folders.append((indent, name))
    return named


def test_rooms_are_the_files() -> None:
    named = rooms(PAGES[ARCHITECTURE])
    modules = {f for f in FILES if f.startswith(("recsys_core/", "dashboard/")) and f.endswith(".py") and "__init__" not in f}
    unnamed, gone = modules - named, {name for name in named if not (ROOT / name).exists()}
    assert not unnamed
    assert not gone


def test_rooms_reads_folders() -> None:
    block = "```rooms\na.toml  settings\ncore/\n  x.py y.py   two\n  in/  more\n    z.py\nlast.md\n```\n"
    assert rooms(block) == {"a.toml", "core/", "core/x.py", "core/y.py", "core/in/", "core/in/z.py", "last.md"}


def missing_paths(name: str, page: str) -> list[str]:
    """What the page links to or has in code font and is neither there nor ignored by git, as what commands write is."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
    links = [(ROOT / name).parent / link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
    spans = [s for s in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text) if "/" in s or re.search(r"\.(md|py|toml|txt)$", s)]
    paths = links + [ROOT / s if (ROOT / s).exists() else (ROOT / name).parent / s for s in spans]
    absent = [str(path) for path in paths if not path.exists() and "NAME" not in str(path)]
    asked = "".join(f"{path}\n{path}/\n" for path in absent)  # data/ml-*/ is a rule for folders
    done = subprocess.run(["git", "check-ignore", "--stdin"], input=asked, capture_output=True, text=True, check=False, cwd=ROOT)
    ignored = {line.rstrip("/") for line in done.stdout.splitlines()}
    return [path for path in absent if path not in ignored]


@pytest.mark.parametrize(
    "page", [README, "CONTRIBUTING.md", "CHANGELOG.md", *(page for page in PAGES if page.startswith("docs/"))]
)
def test_named_files_exist(page: str) -> None:
    assert not missing_paths(page, PAGES[page])


def test_missing_files_are_found() -> None:
    page = (
        "[a](docs/none.md), `recsys_core/none.py`, `none.toml`; but [b](LICENSE), `runs/demo`, `data/ml-100k`, `score` are well"
    )
    assert [Path(p).name for p in missing_paths(README, page)] == ["none.md", "none.py", "none.toml"]


def test_every_make_target_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.M)
    assert phony
    assert set(phony[1].split()) == set(re.findall(r"^([a-z]+):.*## .+$", makefile, flags=re.M))


def test_requirements_are_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = PYPROJECT["project"]
    for text in [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:  # an extra that takes in another one
            assert requirement.extras <= set(project["optional-dependencies"]), f"{text}: no such extra"
            continue
        assert requirement.name in pins, f"{text}: no pin in constraints.txt"
        assert requirement.specifier.contains(pins[requirement.name]), f"{text}: constraints.txt has {pins[requirement.name]}"


# Nothing private. Each pattern is written so that it does not find itself.

PRIVATE = re.compile(
    r"(?<![\w.])/(?:work|root|opt)[/]|/tmp[/]bash_jobs"  # paths of one machine
    r"|\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|download\.pytorch\.org)\b"  # package registries
)


def test_nothing_private() -> None:
    found = []
    for name in FILES:
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]}" for hit in PRIVATE.finditer(text)]
    assert not found


@pytest.mark.parametrize("text", ["see /" + "work/main", "https://" + "pypi" + ".org/simple", "`/" + "root/.cache`"])
def test_private_is_found(text: str) -> None:
    assert PRIVATE.search(text)
