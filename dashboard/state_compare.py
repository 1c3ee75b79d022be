"""The page Compare: the other run, from and to the URL, and how far the lists are apart once that was asked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import streamlit as st

from dashboard import runs
from dashboard.state import Choice, link, near, touched, write_url
from recsys_core import side_by_side
from recsys_core.run import Run
from recsys_core.side_by_side import Churn

USERS, SECONDS = 200, 30.0  # looked at, at most, when lists are compared


def begin(now: Choice, names: list[str]) -> str:
    """Choose the other run: from the session, the URL, or the newest; it goes into the URL.

    Returns what the link named and is not here, "" if all is well."""
    wanted = st.session_state.get("with", st.query_params.get("with"))
    used = wanted if wanted in names else names[0]
    if "with" not in st.session_state and wanted is not None and used != wanted:
        st.session_state["compare_note"] = str(wanted)[:80]
    st.session_state["with"] = used
    write_url(link(now) | {"with": used})
    return str(st.session_state.get("compare_note", ""))


def picked() -> None:
    touched()
    st.session_state.pop("compare_note", None)


def other() -> str:
    return str(st.session_state["with"])


def _key(a: Run, b: Run, k: int) -> tuple[object, ...]:
    return (str(a.path), runs.stamp(a.path), str(b.path), runs.stamp(b.path), k)


def churn(a: Run, b: Run, k: int) -> Churn | None:
    """What was found for these two runs and K in this session; None if it was not asked."""
    kept = st.session_state.get("churn")
    return kept[1] if kept is not None and kept[0] == _key(a, b, k) else None


def measure(a: Run, b: Run, k: int, progress: Callable[[int, int], None]) -> Churn:
    found = side_by_side.churn(a, b, k=k, users=USERS, seconds=SECONDS, progress=progress)
    st.session_state["churn"] = (_key(a, b, k), found)
    return found


def user_link(now: Choice, user: str) -> str:
    """Address of the User page for one of the users."""
    return "./?" + urlencode({"run": now.run.path.name, "user": user, "k": str(now.k)})


def train_command(run: Run) -> str:
    """How to train another run like this one, but for one setting: without its least component, or with twice the K."""
    blend = run.model.blend
    least = min(blend.names, key=lambda name: abs(blend.weights[blend.names.index(name)]))
    rest = [name for name in run.settings.components if name != least]
    change, out = (f"components={','.join(rest)}", f"without-{least}") if rest else (f"k={2 * run.settings.k}", "long")
    words = ["whyrec", "train", "--data", near(run.path / "data"), "--config", near(run.path / "config.toml"), "--set", change]
    return shlex.join([*words, "--out", near(run.path.with_name(f"{run.path.name}-{out}"))])


def evaluate_command(path: Path) -> str:
    return shlex.join(["whyrec", "evaluate", "--run", near(path)])
