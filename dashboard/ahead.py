"""What the first page needs, loaded as soon as the server listens: the reader's browser is still fetching the frame then."""

from __future__ import annotations

import gc
import os
import socket
import sys
import time

SECONDS = 30.0  # how long the server may take until it listens


def load(port: int) -> None:
    """Wait until this process serves the port, then import, open and draw what the page User shows first.

    Nothing is raised: what fails here is said by the page.
    """
    if not serves(port):
        return
    try:
        _first_list()
    except Exception:
        return
    finally:
        gc.collect()
        gc.freeze()  # what is loaded by now stays: to look through it again took 100 ms of one answer in twenty


def serves(port: int) -> bool:
    """Wait for it, at most SECONDS. Streamlit is looked for, not imported: that would hold up the server's own import."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        runtime = sys.modules.get("streamlit.runtime")
        if hasattr(runtime, "exists") and runtime.exists():  # else it is another's port
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return True
        time.sleep(0.02)
    return False


def _first_list() -> None:
    from dashboard import beside, charts, reactions, runs, shared, state, state_explain, tables  # noqa: F401
    from recsys_core import browse

    paths = runs.run_paths()
    run = runs.open_run(paths[os.environ.get("WHYREC_RUN") or next(iter(paths))])
    runs.run_facts(str(run.path), runs.stamp(run.path))
    runs.headline(run), runs.kinds(run), runs.groups(run), runs.search_users(run, ""), runs.features(run)
    person = runs.person(run, runs.first_user(run))
    found = browse.user_list(run, person, run.model.blend, k=run.settings.k)
    charts.parts_chart(found.frame, axis="", total="", missing="").to_json()
