"""The frame: page config, pickers in the sidebar, navigation over app_pages/. Started by `whyrec dashboard`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboard import runs, state, style
from dashboard.strings import LANGUAGES, joined, language, plain, t
from recsys_core.errors import UserError
from recsys_core.limits import UPLOAD_MB
from recsys_core.run import Run

PAGES = Path(__file__).parent / "app_pages"


@dataclass(frozen=True)
class Screen:
    """A page: its file and name, its icon, whether it is about one run, or one user of it, and whether it opens first."""

    name: str
    icon: str
    run: bool = True
    user: bool = True
    first: bool = False


# In the order of the navigation.
SCREENS = (
    Screen("overview", "dashboard", user=False),
    Screen("user", "person_search", first=True),
    Screen("explain", "help_center"),
    Screen("lab", "tune", user=False),
    Screen("fairness", "balance"),
    Screen("whatif", "science"),
    Screen("map", "scatter_plot"),
    Screen("compare", "compare_arrows", user=False),
    Screen("faithfulness", "verified", user=False),
    Screen("reviews", "rate_review", user=False),
    Screen("data", "upload_file", run=False, user=False),
    Screen("definitions", "menu_book", run=False, user=False),
)


def main() -> None:
    state.begin_language()
    st.set_page_config(plain("app"), style.ICON, layout="wide", initial_sidebar_state=320)
    st.html(f"<style>{style.PAGE}{style.LIGHT}{own_words()}</style>")
    if not let_in():
        return
    pages = {screen: screen_page(screen) for screen in SCREENS}
    page = st.navigation(list(pages.values()))
    screen = next(screen for screen, made in pages.items() if made == page)
    pick_language()
    state.write_language()
    paths = runs.run_paths()
    if not screen.run:
        state.aside(screen.name)
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


def own_words() -> str:
    """A style sheet that says what Streamlit says in English only."""
    if language() == "en":
        return ""
    facts = {"most": UPLOAD_MB, "types": "CSV, TSV, TXT, Parquet"}
    return style.native({key: plain(f"native.{key}", **facts) for key in style.NATIVE})


def let_in() -> bool:
    """Has the reader signed in, where that is asked for? The way in or out is drawn."""
    if not os.environ.get("WHYREC_LOGIN"):
        return True
    if not st.user.is_logged_in:
        st.title(t("login.title"), anchor=False)
        st.markdown(t("login.why"))
        st.button(plain("login.in"), icon=":material/login:", type="primary", on_click=st.login)
        return False
    with st.sidebar:
        st.caption(t("login.who", name=state.reader() or "?"))
        st.button(plain("login.out"), icon=":material/logout:", on_click=st.logout)
    return True


def pick_language() -> None:
    """In a language's own words, before everything else in the sidebar: who cannot read the rest must find it."""
    with st.sidebar:
        st.segmented_control(
            plain("language"),
            list(LANGUAGES),
            format_func=LANGUAGES.get,
            required=True,
            key="language",
            on_change=state.touched,
            label_visibility="collapsed",
        )


def screen_page(screen: Screen) -> StreamlitPage:
    file, icon = PAGES / f"{screen.name}.py", f":material/{screen.icon}:"
    return st.Page(file, title=plain(f"page.{screen.name}"), icon=icon, default=screen.first)


def nothing_here() -> None:
    """No run: say so, and the command that makes one."""
    st.title(t("empty.title"))
    st.page_link("app_pages/data.py", label=t("data.link"), icon=":material/upload_file:")
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
    """Search, groups and hard cases, a random user, and the matches."""
    hint, told = plain("user.search.hint"), t("user.search.help")
    st.text_input(plain("user.search"), key="query", on_change=state.searched, placeholder=hint, help=told)
    with st.container(horizontal=True, gap="small"):
        st.button(plain("user.surprise"), icon=":material/shuffle:", on_click=state.surprised)
        with st.popover(plain("find"), icon=":material/filter_list:"):
            narrow(run)
    with st.spinner(plain("find.busy")):
        found = state.found(run)
    state.seek(found)
    people = {row["user_id"]: row for row in found.frame.to_dict("records")}
    if state.narrowed():
        st.caption(narrowed(len(people), found.total))
    elif state.query().strip():
        many = "none" if not people else "one" if found.total == 1 else "many"
        st.caption(t(f"user.{many}", query=state.query(), n=found.total, shown=len(people)))
    options = {user: label(person) for user, person in state.with_current_user(run, people).items()}
    st.selectbox(plain("user"), list(options), format_func=options.get, key="user", on_change=state.touched)


def narrow(run: Run) -> None:
    """A group of users, and an order that puts the hard cases first."""
    names = {"": plain("case.any")} | {kind: plain(f"case.{kind}") for kind in runs.kinds(run)}
    st.selectbox(plain("case"), list(names), format_func=names.get, key="case", on_change=state.sought, help=t("case.help"))
    found = {state.EVERYBODY: plain("group.everybody")} | {one: group_name(one) for one in runs.groups(run)}
    st.selectbox(plain("group"), list(found), format_func=found.get, key="group", on_change=state.sought, help=t("group.help"))


def group_name(group: runs.Group) -> str:
    name, value = group
    if name == "activity":
        return plain("group.activity", value=plain(f"group.activity.{value}"))
    return plain("group.option", name=name, value=value or plain("missing"))


def narrowed(shown: int, total: int) -> str:
    """Which users are in the picker, and in which order."""
    group, case = state.group(), state.case()
    words = [t("find.group", group=group_name(group))] if group else []
    words += [plain("find.case", case=plain(f"case.{case}"))] if case else []
    return joined(*words, t("find.many", n=total, shown=shown) if total else t("find.none"))


def label(person: dict[str, object]) -> str:
    """A user in one line, for the picker, which shows plain text."""
    attributes = ", ".join(str(v) for name, v in person.items() if name not in ("user_id", "likes", "case"))
    key = "user.option" if attributes else "user.option.bare"
    words = plain(key, user_id=person["user_id"], likes=person["likes"], attributes=attributes)
    # What the order is by; of the coldest it is the likes, which are there already.
    valued = "case" in person and state.case() in ("unsure", "polarised")
    return plain(f"case.{state.case()}.option", person=words, value=person["case"]) if valued else words


if __name__ == "__main__":
    main()
