"""Which data should Whyrec learn from? Bring files or name a folder, say which column is which, check, train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import runs, state, state_data, tables, training, uploads
from dashboard.state_data import Brought, Checked, field, get
from dashboard.strings import code, joined, plain, t
from dashboard.training import TRAINING, Status
from recsys_core import intake
from recsys_core.errors import UserError
from recsys_core.scorers import names as scorer_names
from recsys_core.splits import KINDS as SPLITS

ROWS = 6  # of a preview
TILE = 140  # pixels: six in a row at 1280, four at 1024
TYPES = ["csv", "tsv", "txt", "parquet"]
DELIMITERS = {"": "auto", ",": ",", ";": ";", "\t": "tab", "|": "|", "::": "::"}
ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16")
FIELDS = {"interactions": ("user_id", "item_id", "value", "time"), "items": ("item_id", "title"), "users": ("user_id",)}


def page() -> None:
    state_data.begin()
    if state_data.opened():
        st.switch_page(f"app_pages/{first_page()}.py")
    st.title(t("data.title"), anchor=False)
    st.markdown(t("data.lead"))
    top = st.container()
    if not work():  # with the form to train there, progress is shown beside its button
        with top:
            report(TRAINING.status())


def work() -> bool:
    """Everything from files to training, as far as the reader has come; is the form to train drawn?"""
    if state.read_only():
        read_only()
        return False
    files = state_data.brought()
    if text := state_data.note():
        st.error(t("data.note"), icon=":material/error:")
        st.code(text, language=None, wrap_lines=True)
    source(files)
    if files is None or not usable(files):
        return False
    if not files.known:
        columns(files)
    found = verdict(files)
    if found is None or found.error or not can_train():
        return False
    train(files, found)
    return True


def first_page() -> str:
    """Where a new run is looked at."""
    return next(name for name in ("overview", "user") if (Path(__file__).parent / f"{name}.py").exists())


def read_only() -> None:
    st.info(t("data.readonly"), icon=":material/lock:")
    st.code("whyrec prepare --interactions ratings.csv --items items.csv --out data/mine", language="bash")
    st.code("whyrec train --data data/mine --out runs/mine", language="bash")


# Files.


def source(files: Brought | None) -> None:
    st.subheader(plain("data.files"), anchor=False)
    ways = {"upload": plain("data.upload"), "folder": plain("data.folder")}
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    left.segmented_control(
        plain("data.source"),
        list(ways),
        format_func=ways.get,
        default=get("source"),
        required=True,
        key=field("source"),
        on_change=state_data.start_over,
        label_visibility="collapsed",
    )
    if files is not None:
        right.button(plain("data.again"), on_click=state_data.start_over, icon=":material/restart_alt:", width="stretch")
    if get("source") == "folder":
        on_server()
    else:
        by_upload(files)


def by_upload(files: Brought | None) -> None:
    for column, kind in zip(st.columns(3, gap="medium"), intake.KINDS, strict=True):
        with column:
            shown = st.file_uploader(
                plain(f"data.{kind}"),
                type=TYPES,
                key=state_data.upload_key(kind),
                on_change=state_data.uploaded,
                args=(kind,),
                help=t(f"data.{kind}.help"),
            )
            if shown is None and files is not None and kind in files.names:  # brought before the page was left
                st.caption(plain("data.has", name=code(files.names[kind]), size=size(files, kind)))
    st.caption(t("data.limit", most=uploads.UPLOAD_MB))
    if files is None:
        with st.expander(plain("data.example"), icon=":material/table:"):
            st.markdown(t("data.example.says"))
            st.code("user_id,item_id,rating,time\n196,242,5,1997-12-04\n196,51,3,1997-12-05\n22,242,4,1997-11-07", language=None)
            st.code("item_id,title,genres,description\n242,Kolya,Comedy|Drama,A cellist must care for a boy.", language=None)


def size(files: Brought, kind: str) -> str:
    return uploads.size(files.paths[kind]) if kind in files.paths and files.paths[kind].exists() else plain("missing")


def on_server() -> None:
    chosen = get("folder")
    options = list(dict.fromkeys([*uploads.folders(), *([chosen] if chosen else [])]))
    st.selectbox(
        plain("data.folder.name"),
        options,
        index=options.index(chosen) if chosen else None,
        key=field("folder"),
        accept_new_options=True,
        placeholder=plain("data.folder.hint"),
        on_change=state_data.folder_chosen,
    )
    st.caption(t("data.folder.says", base=f"{uploads.base().name}/"))


def usable(files: Brought) -> bool:
    """Can we go on with them? Says what is wrong or missing."""
    for error in files.errors.values():
        st.error(t("data.unreadable"), icon=":material/error:")
        st.code(error, language=None, wrap_lines=True)
    if files.known:
        st.success(t("data.known", folder=files.name, format=files.known), icon=":material/check:")
        return True
    if "interactions" not in files.names:
        st.info(t("data.need"), icon=":material/info:")
    return "interactions" in files.peeks and not files.errors


# Columns.


def columns(files: Brought) -> None:
    st.subheader(plain("data.columns"), anchor=False)
    st.markdown(t("data.columns.says"))
    kinds = [kind for kind in intake.KINDS if kind in files.peeks]
    for kind, tab in zip(kinds, st.tabs([plain(f"data.{kind}.tab") for kind in kinds]), strict=True):
        with tab:
            fields(files, kind)
            if kind == "interactions":
                liking(files)
            elif kind == "items":
                items(files)
            preview(files, kind)
    with st.expander(plain("data.command"), icon=":material/terminal:"):
        command = intake.command(files.names, state_data.plan(files), "data/mine")
        st.markdown(t("data.command.says" if command else "data.command.none"))
        if command:
            st.code(command, language="bash", wrap_lines=True)


def fields(files: Brought, kind: str) -> None:
    """One select for each column of ours."""
    names = files.peeks[kind].names
    for place, ours in zip(st.columns(4, gap="small"), FIELDS[kind], strict=False):
        options = ["", *names] if ours in intake.OPTIONAL else names
        words = {name: name or plain("data.none") for name in options}
        choice(place, f"{kind}.{ours}", words, plain(f"data.field.{ours}"), help=t(f"data.field.{ours}.help"))


def choice(place: DeltaGenerator, name: str, options: Mapping[str, str], label: str, **more: Any) -> None:
    """One of some, by the words for each."""
    names, now = list(options), get(name)
    place.selectbox(
        label,
        names,
        index=names.index(now) if now in names else 0,
        format_func=lambda option: options.get(option, option),
        key=field(name),
        **more,
    )


def liking(files: Brought) -> None:
    """What counts as a like, and what to do with repeated pairs and unknown items."""
    has_value = bool(get("interactions.value"))
    places = st.columns(4, gap="small", vertical_alignment="bottom")
    says, implicit = bool(get("implicit")), get("implicit") or not has_value
    places[0].toggle(plain("data.implicit"), says, key=field("implicit"), disabled=not has_value, help=t("data.implicit.help"))
    places[1].number_input(
        plain("data.threshold"),
        value=get("threshold"),
        step=0.5,
        format="%g",
        key=field("threshold"),
        disabled=implicit,
        help=t("data.threshold.help"),
    )
    rules = {rule: plain(f"data.duplicates.{rule}") for rule in ("error", "last", "sum")}
    choice(places[2], "duplicates", rules, plain("data.duplicates"), help=t("data.duplicates.help"))
    rules = {rule: plain(f"data.unknown.{rule}") for rule in ("error", "keep", "drop")}
    alone = "items" not in files.peeks
    choice(places[3], "unknown_items", rules, plain("data.unknown"), disabled=alone, help=t("data.unknown.help"))
    with st.expander(plain("data.format"), icon=":material/tune:"):
        left, right = st.columns(2, gap="small")
        words = {d: plain(f"data.delimiter.{w}") if w in ("auto", "tab") else w for d, w in DELIMITERS.items()}
        choice(left, "delimiter", words, plain("data.delimiter"))
        choice(right, "encoding", {name: name for name in (*ENCODINGS, get("encoding") or "utf-8")}, plain("data.encoding"))


def items(files: Brought) -> None:
    """Texts and lists of the items file."""
    names = [name for name in files.peeks["items"].names if name != get("items.item_id")]
    keep_only(names, "text", "lists")
    left, middle, right = st.columns([2, 2, 1], gap="small")
    for place, name in ((left, "text"), (middle, "lists")):
        place.multiselect(
            plain(f"data.{name}"),
            names,
            default=get(name),
            key=field(name),
            help=t(f"data.{name}.help"),
            placeholder=plain(f"data.{name}.none"),
        )
    marks = {"": plain("data.separator.auto")} | {mark: mark for mark in intake.SEPARATORS}
    if mark := get("separator"):
        marks |= {mark: mark}
    marks |= {" ": plain("data.separator.space")}
    choice(right, "separator", marks, plain("data.separator"))


def keep_only(names: list[str], *keys: str) -> None:
    for key in keys:
        state_data.keep_only(key, names)


def preview(files: Brought, kind: str) -> None:
    """The first rows as they are in the file."""
    rows = files.peeks[kind].rows.head(ROWS)
    st.dataframe(rows, hide_index=True, row_height=tables.ROW, height=tables.height(rows, ROWS), key=f"frame data {kind}")
    st.caption(t("data.preview", n=len(rows), name=files.names[kind]))


# Checking.


def verdict(files: Brought) -> Checked | None:
    """The button, and what it found."""
    st.subheader(plain("data.check"), anchor=False)
    old = state_data.outdated()
    left, right = st.columns([2, 5], vertical_alignment="center")
    asked = left.button(plain("data.check.do"), icon=":material/fact_check:", type="primary")
    if asked:
        with st.spinner(plain("data.check.busy")):
            state_data.check(files)
    found = state_data.checked(files)
    if found is None:
        right.caption(t("data.check.old" if old else "data.check.says"))
        return None
    if found.error:
        st.error(t("data.failed"), icon=":material/error:")
        st.code(found.error, language=None, wrap_lines=True)
        st.caption(t("data.failed.options"))
        return found
    facts(found)
    return found


def facts(found: Checked) -> None:
    known = found.facts
    like = (
        plain("data.says.threshold", threshold=known["threshold"]) if known["threshold"] is not None else plain("data.says.all")
    )
    counts = {name: known[name] for name in ("users", "items", "interactions", "likes")}
    st.markdown(joined(t("data.says", **counts), like))
    values = {name: f"{value:,}" for name, value in counts.items()}
    values |= {"sparsity": f"{known['sparsity']:.1%}", "median": f"{known['median_likes']:.0f}"}
    with st.container(horizontal=True, gap="small"):
        for name, value in values.items():
            st.metric(plain(f"data.fact.{name}"), value, border=True, width=TILE, help=t(f"data.fact.{name}.help"))
    span = t("data.span", first=known["first"], last=known["last"]) if known["first"] else t("data.span.none")
    names = ", ".join(code(name) for name in known["attributes"]) or plain("data.attributes.none")
    texts = plain("data.texts", n=known["items_with_text"], items=known["items"], attributes=names)
    st.markdown(joined(span, texts))
    for note in known["notes"]:
        st.markdown(t("data.dropped", note=note))
    if not known["notes"]:
        st.caption(t("data.dropped.none"))


# Training.


def can_train() -> bool:
    """Is there a folder for runs? Draws the heading."""
    st.subheader(plain("data.train"), anchor=False)
    if runs.folder() is not None:
        return True
    st.info(t("empty.unset"), icon=":material/info:")
    st.code("whyrec dashboard --runs runs", language="bash")
    return False


def train(files: Brought, found: Checked) -> None:
    left, right, last = st.columns([3, 3, 2], gap="small")
    left.text_input(plain("data.name"), get("name"), key=field("name"), max_chars=60, help=t("data.name.help"))
    splits = {kind: plain(f"data.split.{kind}") for kind in SPLITS}
    choice(right, "split", splits, plain("data.split"), help=t("data.split.help"))
    last.number_input(plain("data.seed"), 0, 2**32 - 1, get("seed"), step=1, key=field("seed"), help=t("data.seed.help"))
    left, right = st.columns([3, 5], gap="small")
    presets = {"quick": plain("data.quick"), "full": plain("data.full")}
    left.segmented_control(
        plain("data.preset"),
        list(presets),
        format_func=presets.get,
        default=get("preset"),
        required=True,
        key=field("preset"),
        on_change=state_data.preset_chosen,
        help=t("data.preset.help"),
    )
    known = scorer_names()
    chosen = [name for name in get("components") or () if name in known]
    right.multiselect(plain("data.components"), known, default=chosen, key=field("components"), help=t("data.components.help"))
    now = TRAINING.status()
    busy = now.busy
    problem = told = ""
    try:
        wanted = state_data.order(found)
        training.check(wanted)
        told = command(files, wanted)
    except UserError as error:
        problem = str(error)
    st.button(
        plain("data.train.do"),
        on_click=state_data.start,
        args=(found,),
        type="primary",
        icon=":material/model_training:",
        disabled=busy or bool(problem),
    )
    if busy:
        st.caption(t("data.busy.wait"))
    elif problem:
        st.warning(t("data.problem", problem=problem), icon=":material/error:")
    elif not found.facts["timed"] and wanted.split in ("leave-last", "time"):
        st.warning(t("data.untimed"), icon=":material/schedule:")
    report(now)
    if told:
        with st.expander(plain("data.command"), icon=":material/terminal:"):
            st.code(told, language="bash", wrap_lines=True)


def command(files: Brought, wanted: training.Order) -> str:
    where = state.near(files.folder) if files.known and files.folder is not None else "data/mine"
    return training.shell(wanted, where, state.near(wanted.out))


def report(told: Status) -> None:
    """The training of this server, whoever began it."""
    if told.state == "none":
        return
    with st.container(border=True, key="training"):
        if told.busy:
            follow()
            return
        assert told.order is not None
        name = told.order.name
        if told.state == "done":
            valid = training.valid_ndcg(told.order.out)
            figures = {"k": valid[0], "ndcg": valid[1]} if valid is not None else {}
            key = "data.done" if valid is not None else "data.done.bare"
            st.success(t(key, name=name, **clock(told.seconds), **figures), icon=":material/check_circle:")
        elif told.state == "cancelled":
            st.info(t("data.cancelled", name=name, **clock(told.seconds)), icon=":material/cancel:")
        else:
            st.error(t("data.broke", name=name, **clock(told.seconds)), icon=":material/error:")
            st.code(told.error, language=None, wrap_lines=True)
        left, right, _ = st.columns([1, 1, 3], gap="small")
        if told.state == "done" and told.order.out.parent == runs.folder():
            left.button(
                plain("data.open"),
                on_click=state_data.open_run,
                args=(name,),
                type="primary",
                icon=":material/arrow_forward:",
                width="stretch",
            )
        right.button(plain("data.dismiss"), on_click=state_data.dismiss, icon=":material/close:", width="stretch")
        log(told)


@st.fragment(run_every=1.0)
def follow() -> None:
    """How far it is; drawn anew every second until it is over."""
    told = TRAINING.status()
    if not told.busy or told.order is None:
        st.rerun()
    stage, component = told.now
    words = {"n": min(told.done + 1, len(told.steps)), "most": len(told.steps)} | clock(told.seconds)
    doing = plain("data.stopping") if told.state == "stopping" else plain(f"data.step.{stage}", component=component)
    left, right = st.columns([5, 1], vertical_alignment="center")
    with left:
        st.markdown(t("data.training", name=told.order.name))
        st.progress(told.done / max(len(told.steps), 1), text=plain("data.progress", doing=doing, **words))
    right.button(
        plain("data.cancel"),
        on_click=state_data.cancel,
        icon=":material/stop_circle:",
        width="stretch",
        disabled=told.state == "stopping" or state.read_only(),
    )
    log(told)


def log(told: Status) -> None:
    with st.expander(plain("data.log"), icon=":material/notes:"):
        st.code("\n".join(told.log.split("\n")[-20:]) or plain("data.log.none"), language=None, wrap_lines=True)


def clock(seconds: float) -> dict[str, int]:
    """Minutes and seconds, for a text."""
    return dict(zip(("minutes", "seconds"), divmod(int(seconds), 60), strict=True))


page()
