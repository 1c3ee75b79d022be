"""The frame: page config, pickers in the sidebar, navigation over app_pages/. Started by `whyrec dashboard`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard import runs, state, style
from dashboard.strings import plain, t
from recsys_core.errors import UserError
from recsys_core.run import Run

PAGES = Path(__file__).parent / "app_pages"


@dataclass(frozen=True)
class Screen:
    """A page: its file and name, its icon, and whether it is about one run, or one user of it."""

    name: str
    icon: str
    run: bool = True
    user: bool = True


# In the order of the navigation; the first one opens.
SCREENS = (
    Screen("user", "person_search"),
    Screen("explain", "help_center"),
    Screen("lab", "tune", user=False),
    Screen("fairness", "balance"),
)


def main() -> None:
    st.set_page_config(plain("app"), style.ICON, layout="wide", initial_sidebar_state=320)
    st.html(f"<style>{style.PAGE}</style>")
    pages = {screen: screen_page(screen) for screen in SCREENS}
    page = st.navigation(list(pages.values()))
    screen = next(screen for screen, made in pages.items() if made == page)
    paths = runs.run_paths()
    if not screen.run:
        page.run()
        return
    if not paths:
        nothing_here()
        return
    state.begin(paths)
    run = pick_run(paths)
    if run is None:
        return
    state.begin_run(run, screen.name)
    st.html(f"<style>{style.weights(run.model.blend)}</style>")
    if screen.user:
        with st.sidebar:
            pick_user(run)
    for text in state.notes():
        st.info(text, icon=":material/link_off:")
    page.run()


def screen_page(screen: Screen) -> StreamlitPage:
    file, icon = PAGES / f"{screen.name}.py", f":material/{screen.icon}:"
    return st.Page(file, title=plain(f"page.{screen.name}"), icon=icon, default=screen == SCREENS[0])


def nothing_here() -> None:
    """No run: say so, and the command that makes one."""
    st.title(t("empty.title"))
    folder = runs.folder()
    if folder is None:
        st.markdown(t("empty.unset"))
        st.code("whyrec dashboard --runs runs", language="bash")
    else:
        st.markdown(t("empty.why", folder=str(folder)))
        st.code("whyrec train --data data/ml-100k --out runs/a", language="bash")
    st.markdown(t("empty.demo"))
    st.code("whyrec demo", language="bash")


def pick_run(paths: dict[str, Path]) -> Run | None:
    """Run picker and the run's headline; None, with the reason on the page, if it cannot be opened."""
    facts = {name: runs.run_facts(str(path), runs.stamp(path)) for name, path in paths.items()}
    with st.sidebar:
        name = st.selectbox(
            plain("run"), list(paths), format_func=lambda n: plain("run.option", **facts[n]), key="run", on_change=state.touched
        )
        told = st.empty()
    try:
        with st.spinner(plain("run.opening")):
            run = runs.open_run(paths[name])
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # A file of another version may not fit at all; whatever it is, the page says it.
        st.error(t("run.failed"), icon=":material/error:")
        told_why = str(error) if isinstance(error, UserError) else plain("run.unfit", name=name, error=repr(error))
        st.code(told_why, language=None, wrap_lines=True)
        return None
    told.caption(headline(run))
    return run


def headline(run: Run) -> str:
    h = runs.headline(run)
    return t(f"run.{h.part}", k=h.k, mean=h.mean, half=h.half, n=h.n)


def pick_user(run: Run) -> None:
    """Search, matches, and a random user."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        hint, told = plain("user.search.hint"), t("user.search.help")
        st.text_input(plain("user.search"), key="query", on_change=state.searched, placeholder=hint, help=told)
        st.button(plain("user.surprise"), icon=":material/shuffle:", on_click=state.surprised)
    found = state.found(run)
    people = {row["user_id"]: row for row in found.frame.to_dict("records")}
    if state.query().strip():
        many = "none" if not people else "one" if found.total == 1 else "many"
        st.caption(t(f"user.{many}", query=state.query(), n=found.total, shown=len(people)))
    options = state.with_current_user(run, people)
    st.selectbox(plain("user"), list(options), format_func=lambda u: label(options[u]), key="user", on_change=state.touched)


def label(person: dict[str, object]) -> str:
    """A user in one line, for the picker, which shows plain text."""
    attributes = ", ".join(str(v) for name, v in person.items() if name not in ("user_id", "likes"))
    key = "user.option" if attributes else "user.option.bare"
    return plain(key, user_id=person["user_id"], likes=person["likes"], attributes=attributes)


main()
