"""What the page Data has: the files that were brought, which column is which, what checking them found, the training to start."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import runs, training, uploads
from dashboard.state import read_only
from dashboard.strings import plain
from dashboard.training import QUICK, TRAINING, Order
from recsys_core import intake
from recsys_core.config import Settings
from recsys_core.errors import UserError
from recsys_core.intake import KINDS, Peek, Plan
from recsys_core.readers import load_dataset, recognise

FRAME = ("run", "user", "query", "k")  # widgets of the frame, which a page without them would make Streamlit forget
OWN = "data."  # how the keys of choices begin


@dataclass(frozen=True)
class Brought:
    """The files of this session.

    Args:
        names: what they are called, by kind; shown as text, never used as a path.
        folder: on the server; None if they were uploaded.
        known: the reader that knows the folder by itself, so that no column need be named; "" if there is none.
        errors: of files that could not be looked at, by kind.
    """

    names: Mapping[str, str]
    paths: Mapping[str, Path]
    peeks: Mapping[str, Peek]
    errors: Mapping[str, str]
    folder: Path | None = None
    known: str = ""

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.folder.name if self.folder is not None else Path(self.names.get("interactions", "data")).stem or "data"


@dataclass(frozen=True)
class Checked:
    """What checking found: facts, or an error in one line; `of`: what was checked."""

    of: object
    facts: Mapping[str, Any]
    prepared: Path | None = None
    error: str = ""


def begin() -> None:
    """Remember what the fields say, and keep the frame's choices while the page is open."""
    for key in FRAME:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
    defaults: dict[str, Any] = {"source": "upload", "preset": "quick", "components": list(QUICK), "split": "random", "seed": 0}
    known = st.session_state.setdefault("data_chosen", defaults | {"folder": None, "name": _free_name()})
    known |= {name: get(name) for name in known}
    told = TRAINING.status()
    if told.state == "done" and told.order is not None and told.order.name == get("name"):
        put("name", _free_name())  # that one is in use now


def get(name: str) -> Any:
    """What a field says; if it is not shown now, what it said last."""
    return st.session_state.get(field(name), st.session_state.get("data_chosen", {}).get(name))


def put(name: str, value: Any) -> None:
    """Have a field say something else. A field that was shown makes way for a new one, which begins with the value.

    Setting the value of a field is not enough: a browser that has not drawn it before the next answer comes forgets that, and
    sends back the first option.
    """
    known = st.session_state.setdefault("data_chosen", {})
    if name in known:
        st.session_state.setdefault("data_version", Counter())[name] += 1
    known[name] = value


def field(name: str) -> str:
    """The key of a field's widget."""
    version = st.session_state.get("data_version", {}).get(name, 0)
    return f"{OWN}{name}" + (f" {version}" if version else "")


def note() -> str:
    """What the last click could not do."""
    return str(st.session_state.get("data_note", ""))


# Files.


def brought() -> Brought | None:
    """The files; None if there are none, or their temporary folder had to make way for those of others."""
    found: Brought | None = st.session_state.get("data_brought")
    if found is None or found.folder is not None or uploads.desks().used(_desk()):
        return found
    start_over()
    st.session_state["data_note"] = plain("data.gone")
    return None


def _desk() -> Path:
    """This session's temporary folder."""
    desk: Path | None = st.session_state.get("data_desk")
    if desk is None or not uploads.desks().used(desk):
        desk = st.session_state["data_desk"] = uploads.desks().fresh()
    return desk


def uploaded(kind: str) -> None:
    """A file was chosen, or taken away again."""
    if read_only():
        return
    _forget()
    file, before = st.session_state[upload_key(kind)], st.session_state.get("data_brought")
    names = dict(before.names) if before is not None and before.folder is None and uploads.desks().used(_desk()) else {}
    paths = dict(before.paths) if names and before is not None else {}
    names.pop(kind, None)
    paths.pop(kind, None)
    try:
        if file is not None:
            paths[kind] = uploads.save(_desk(), kind, file.name, file.getbuffer())
            names[kind] = file.name
    except (UserError, OSError) as error:
        st.session_state["data_note"] = intake.one_line(error, {})
    _take(names, paths, fresh=(kind,))


def upload_key(kind: str) -> str:
    """Of the widget; another one after starting over, so that it is empty again."""
    return f"data_upload_{kind}_{st.session_state.get('data_upload', 0)}"


def folder_chosen() -> None:
    if read_only():
        return
    _forget()
    st.session_state.pop("data_brought", None)
    name = get("folder")
    if not name:
        return
    try:
        where = uploads.folder(name)
        known = recognise(where) or ""
        if known not in ("", "table"):
            st.session_state["data_brought"] = Brought({}, {}, {}, {}, where, known)
            return
        kinds = intake.kinds_of(uploads.tables(where))
        _take(kinds, {kind: where / file for kind, file in kinds.items()}, where)
    except (UserError, OSError) as error:
        st.session_state["data_note"] = intake.one_line(error, {})


def start_over() -> None:
    """Forget files and folder, and remove what was kept of them."""
    _forget()
    if desk := st.session_state.pop("data_desk", None):
        uploads.desks().remove(desk)
    st.session_state.pop("data_brought", None)
    if get("folder") is not None:
        put("folder", None)
    st.session_state["data_upload"] = st.session_state.get("data_upload", 0) + 1


def _forget() -> None:
    for key in ("data_checked", "data_note"):
        st.session_state.pop(key, None)


def _take(names: Mapping[str, str], paths: Mapping[str, Path], folder: Path | None = None, fresh: Sequence[str] = KINDS) -> None:
    """Look at the files and guess their columns; the fields of those that are `fresh` are set to the guess."""
    peeks, errors = {}, {}
    instead = {str(path): names[kind] for kind, path in paths.items()}
    for kind, path in paths.items():
        try:
            peeks[kind] = intake.peek(path)
        except Exception as error:  # whatever a file does, the page says it in a line
            errors[kind] = intake.one_line(error, instead)
    st.session_state["data_brought"] = Brought(names, paths, peeks, errors, folder)
    if "interactions" not in peeks:
        return
    plan = intake.guess(peeks)
    if folder is not None:
        try:
            plan = intake.with_settings(plan, folder)
        except UserError as error:
            st.session_state["data_note"] = intake.one_line(error, {f"{folder}/": ""})
    _show(plan, peeks, fresh if get("interactions.user_id") is not None else KINDS)


def _show(plan: Plan, peeks: Mapping[str, Peek], fresh: Sequence[str]) -> None:
    """Set the fields to a plan, as far as the files have its columns."""
    for key, column in plan.columns.items():
        kind = key.partition(".")[0]
        if kind in fresh:
            put(key, column if column in peeks[kind].names else "")
    if "items" in fresh:
        _show_items(plan, peeks)
    if "interactions" not in fresh:
        return
    put("implicit", plan.threshold is None)
    put("threshold", float(plan.threshold if plan.threshold is not None else 4))
    for name in ("delimiter", "encoding", "duplicates", "unknown_items"):
        put(name, getattr(plan, name))


def _show_items(plan: Plan, peeks: Mapping[str, Peek]) -> None:
    items = peeks["items"].names if "items" in peeks else []
    for name, chosen in (("text", plan.text), ("lists", plan.lists)):
        put(name, [c for c in chosen if c in items])
    put("separator", plan.separator)
    st.session_state["data_attributes"] = plan.attributes


def keep_only(name: str, options: Sequence[str]) -> None:
    """Take out of a choice of several what cannot be chosen any more."""
    chosen = list(get(name) or ())
    if (left := [option for option in chosen if option in options]) != chosen:
        put(name, left)


def plan(files: Brought) -> Plan:
    """What the fields say."""
    wanted = [f"{kind}.{ours}" for kind in files.peeks for ours in intake.WANTED[kind]]
    implicit = bool(get("implicit")) or not get("interactions.value")
    has_items = "items" in files.peeks
    return Plan(
        columns={key: get(key) or "" for key in wanted},
        text=tuple(get("text") or ()) if has_items else (),
        lists=tuple(get("lists") or ()) if has_items else (),
        separator=get("separator") or "",
        threshold=None if implicit else float(get("threshold")),
        delimiter=get("delimiter") or "",
        encoding=get("encoding") or "utf-8",
        duplicates=get("duplicates") or "error",
        unknown_items=get("unknown_items") or "error",
        attributes=st.session_state.get("data_attributes") if has_items else None,
    )


# Checking.


def check(files: Brought) -> None:
    """Read all of it and keep the prepared data, or the reason why not."""
    _forget()
    of = signature(files)
    instead = {str(path): files.names[kind] for kind, path in files.paths.items()}
    instead |= {path.name: files.names[kind] for kind, path in files.paths.items()}
    if files.folder is not None:
        instead |= {f"{files.folder}/": "", str(files.folder): files.folder.name}
    try:
        if files.folder is not None:
            uploads.folder(str(files.folder.relative_to(uploads.base())))  # it may have changed since
        data = load_dataset(files.folder) if files.known and files.folder else intake.read(files.paths, plan(files), files.name)
        prepared = _desk() / "prepared"
        shutil.rmtree(prepared, ignore_errors=True)
        data.save(prepared)
        st.session_state["data_checked"] = Checked(of, intake.facts(data), prepared)
    except Exception as error:  # whatever a file does, the page says it in a line
        st.session_state["data_checked"] = Checked(of, {}, error=intake.one_line(error, instead))


def signature(files: Brought) -> object:
    """Differs when something else would be read."""
    stamps = {kind: (str(path), path.stat().st_mtime_ns if path.exists() else 0) for kind, path in files.paths.items()}
    return repr((files.folder, files.known, stamps, None if files.known else plan(files)))


def checked(files: Brought) -> Checked | None:
    """What was found, if it is of the files and fields as they are now."""
    found: Checked | None = st.session_state.get("data_checked")
    there = found is not None and (found.prepared is None or found.prepared.is_dir())
    return found if there and found is not None and found.of == signature(files) else None


def outdated() -> bool:
    return "data_checked" in st.session_state


# Training.


def preset_chosen() -> None:
    put("components", list(QUICK if get("preset") == "quick" else Settings().components))


def order(found: Checked) -> Order:
    """What the fields say to train; there is a folder of runs. Raises UserError if no run can be called so."""
    where = runs.folder()
    assert where is not None
    assert found.prepared is not None
    name = (get("name") or "").strip()
    training.check_name(where, name)  # before it is part of a path
    return Order(
        out=where / name,
        data=found.prepared,
        components=tuple(get("components") or ()),
        split=get("split"),
        seed=int(get("seed") or 0),
        quick=get("preset") == "quick",
        text=bool(found.facts["items_with_text"]),
    )


def start(found: Checked) -> None:
    """Begin to train, unless that is not possible: then the page says why."""
    if read_only() or found.prepared is None:
        return
    st.session_state.pop("data_note", None)
    try:
        wanted = order(found)
        training.check(wanted)
        if TRAINING.status().busy:
            raise UserError(plain("data.busy"))
        TRAINING.start(replace(wanted, data=uploads.desks().set_aside(found.prepared)))
    except (UserError, OSError) as error:
        st.session_state["data_note"] = intake.one_line(error, {})


def cancel() -> None:
    if not read_only():
        TRAINING.cancel()


def _free_name() -> str:
    where = runs.folder()
    return next(n for n in (f"mine-{i}" for i in range(1, 1 << 20)) if where is None or not (where / n).exists())


def open_run(name: str) -> None:
    """Choose the run; the next page opens it, for a user of its own."""
    for key in ("user", "why", "why for", "query"):
        st.session_state.pop(key, None)
    st.session_state["run"] = name
    st.session_state["data_open"] = True


def opened() -> bool:
    """Was a run just chosen, so that another page should show it?"""
    return bool(st.session_state.pop("data_open", False))


def dismiss() -> None:
    """The message about a training that is over has been read."""
    TRAINING.forget()
