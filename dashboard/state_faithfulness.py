"""The page Faithfulness: which scoreboard, which measure of it, from and to the URL; and a small one made in the page."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from dashboard.runs import open_run, stamp
from dashboard.state import Choice, link, near, touched, write_url
from dashboard.strings import t
from recsys_core.errors import UserError
from recsys_core.explain import faithfulness
from recsys_core.explain.faithfulness import FILES, MEASURES, Scoreboard
from recsys_core.run import Run

QUESTIONS = tuple(FILES)
USERS = 25  # of a scoreboard that is made in the page
MOST = {"history": 5, "words": 3}  # past items or words taken out, as the command has it


@st.cache_resource(max_entries=8, show_spinner=False)
def _board(path: str, stamp: str, question: str) -> Scoreboard | str | None:
    if not any(f.exists() for f in (Path(path) / f"{FILES[question]}{end}" for end in (".json", ".parquet"))):
        return None
    try:
        found = faithfulness.load(open_run(Path(path)), question)
        _ = (
            [found.measure(m, 1) for m in MEASURES],
            found.matrix(),
            found.table(),
            faithfulness.passed(found),
        )  # all that is shown
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"[:300]
    return found


def board(run: Run, question: str) -> Scoreboard | str | None:
    """The stored scoreboard; None if there is none, the reason if it cannot be read."""
    return _board(str(run.path), stamp(run.path), question)


def begin(now: Choice) -> tuple[str, str]:
    """Question and measure: from the session, the URL, or the first; they go into the URL. What cannot be used leaves a note."""
    for name, known in (("question", QUESTIONS), ("measure", MEASURES)):
        wanted = st.session_state.get(f"board {name}", st.query_params.get(name))
        used = wanted if wanted in known else known[0]
        if wanted is not None and wanted != used:
            told = t("faith.note", name=name, value=str(wanted)[:40], used=used)
            st.session_state.setdefault("board notes", {})[name] = told  # the page tells it: the frame is drawn before
        st.session_state[f"board {name}"] = used
    asked = st.session_state["board question"], st.session_state["board measure"]
    write_url(link(now) | dict(zip(("question", "measure"), asked, strict=True)))
    return asked


def picked() -> None:
    touched()
    st.session_state.pop("board notes", None)


def notes() -> list[str]:
    """What the link asked for and is not known; told until the next choice."""
    return list(st.session_state.get("board notes", {}).values())


def make(run: Run, question: str, progress: Callable[[int, int], None]) -> str:
    """Judge a small sample and write the scoreboard into the run; returns the reason if that fails, "" if all is well."""
    try:
        found = faithfulness.scoreboard(run, question=question, users=USERS, most=MOST[question], progress=progress)
        found.save(run)
    except (UserError, OSError) as error:
        return str(error)
    return ""


def command(run: Run, question: str) -> str:
    words = ["whyrec", "explain", "--run", near(run.path), "--scoreboard"]
    return shlex.join([*words, *([] if question == QUESTIONS[0] else ["--question", question])])
