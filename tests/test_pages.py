"""The pages do what they say: every command and Python block of each, in order, on a tiny world."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pages import LEFT_OUT, QUICK, ROOT, blocks, carry_out, furnish, words_of

from recsys_core.cli import main

FOLDERS = ("docs", "data", "benchmarks")
FOUND = sorted(str(p.relative_to(ROOT)) for folder in FOLDERS for p in (ROOT / folder).rglob("*.md") if "ml-" not in str(p))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *FOUND]
BUSY = [page for page in PAGES if "```bash" in (text := (ROOT / page).read_text("utf-8")) or "```python" in text]


@pytest.fixture(scope="module")
def furnished(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reader's files, and one trained run."""
    folder = tmp_path_factory.mktemp("reader")
    furnish(folder)
    extra = ["--set", *QUICK, f"bert.encoder={tiny}"]
    assert main(["train", "--data", str(folder / "data/ml-100k"), "--out", str(folder / "runs/demo"), *extra]) == 0
    return folder


@pytest.fixture
def reader(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, as the working directory."""
    folder = tmp_path / "reader"
    shutil.copytree(furnished, folder)
    shutil.copytree(folder / "runs/demo", folder / "runs/a")
    monkeypatch.chdir(folder)
    return folder


def grant(page: str) -> None:
    """What an earlier page has made, unless this one makes it."""
    for name, origin in (("data/mine", "data/ml-100k"), ("runs/mine", "runs/demo")):
        if not re.search(rf"--out {name}(?= |$)", page, flags=re.M):
            shutil.copytree(origin, name)


@pytest.mark.parametrize("page", BUSY)
def test_page_does_what_it_says(page: str, reader: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text("utf-8")
    grant(text)
    carry_out(text, tiny, monkeypatch)
    if page == "README.md":  # "a part_ column for each component: the logit is the base and these parts added up"
        table = pd.read_csv("topk.csv", dtype={"user_id": str})
        assert list(table.columns[:5]) == ["user_id", "item_id", "rank", "score", "probability"]
        base = table["score"] - table.filter(like="part_").fillna(0).sum(axis=1)
        assert list(table.columns[5:]) == ["part_popularity", "part_ease", "part_bert"]
        assert base.round(2).nunique() == 2  # one for items that somebody has met, one for the others


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in BUSY if "--scoreboard" in (ROOT / page).read_text("utf-8")])
def test_scoreboards_of_the_pages(page: str, reader: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the letter, with as many users as the page asks for."""
    text = (ROOT / page).read_text("utf-8")
    grant(text)
    carry_out(text, tiny, monkeypatch, few=())


def bash(*lines: str) -> str:
    return "\n".join(["```bash", *lines, "```", ""])


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (bash("whyrec recommend --run runs/none --users all"), "no such folder"),
        (bash("whyrec recommend --run runs/demo --no-such-option"), "no-such-option"),
        (bash("whyrec explain --run runs/demo --user 1 --item none"), "none"),
        (bash("cat runs/none/card.md"), "no such file"),
        (bash("rm -r runs"), "neither run nor in LEFT_OUT"),
        (bash("whyrec dashboard --run runs/none"), "no such folder"),
        ('```python\nassert 1 == 2, "one is not two"\n```\n', "one is not two"),
    ],
)
def test_page_that_lies_is_found(page: str, fault: str, reader: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=fault):
        carry_out(page, tiny, monkeypatch)


def test_command_that_writes_nothing_is_found(reader: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pages

    monkeypatch.setattr(pages, "main", lambda words: print("done") or 0)
    for line, fault in (("recommend --run runs/demo --users all --out a.csv", "a.csv is not there"), ("dashboard", "serves")):
        with pytest.raises(AssertionError, match=fault):
            carry_out(bash(f"whyrec {line}"), tiny, monkeypatch)


def test_every_exception_is_needed() -> None:
    """What is left out is in some page, so that the list does not outlive its reasons."""
    texts = [(ROOT / page).read_text("utf-8") for page in BUSY]
    commands = [
        shlex.join(words) for text in texts for language, block in blocks(text) if language == "bash" for words in words_of(block)
    ]
    assert not [start for start in LEFT_OUT if not any(command.startswith(start) for command in commands)]


def hidden_commands(page: str) -> list[str]:
    """Commands in blocks that are not run, since they are not marked as bash."""
    others = re.findall(r"^```(?!bash|python)\w*\n(.*?)^```", page, flags=re.M | re.S)
    return [line for block in others for line in block.splitlines() if re.match(r"\$? ?(?:\.venv/bin/)?whyrec ", line)]


def test_every_command_is_in_a_block_that_is_run() -> None:
    assert not {page: found for page in PAGES if (found := hidden_commands((ROOT / page).read_text("utf-8")))}


def test_hidden_commands_are_found() -> None:
    page = "```\nwhyrec fetch a\n```\n```text\n$ whyrec demo\nwords\n```\n```bash\nwhyrec demo\n```\n"
    assert hidden_commands(page) == ["whyrec fetch a", "$ whyrec demo"]
