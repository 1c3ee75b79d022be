"""What a reader is shown: every text of a page without a browser, in charts and tables too, and where each chart stands."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

CODE = ("code", "json", "exception")  # commands, files, and what the core says of an error
# Fields of elements that nobody reads: names for the program, and values that widgets hold.
SILENT = """id form_id element_id user_key icon url data default type format color page page_script_hash theme config tag
heading_type query selection_mode element_type language file_id deferred_file_id mime_type raw_text value"""
WORD = re.compile(r"[A-Za-z][A-Za-z']+")


def elements(block: Block) -> Iterator[Any]:
    """Everything on the page in the order of reading, blocks before what they hold."""
    yield from block


def said(app: AppTest) -> Iterator[tuple[str, str]]:
    """(kind of element, text) of all that is read on the page and in the sidebar; code is left out."""
    for root in (app.main, app.sidebar):
        for found in elements(root):
            if found.type in CODE or getattr(found, "proto", None) is None:
                continue
            if found.type == "dataframe":
                yield from (("table", " ".join(text.split())) for text in cells(found))
            elif found.type == "plotly_chart":
                yield from (("chart", text) for text in of_figure(json.loads(found.proto.spec)))
                yield "alt", found.proto.alt
            else:
                yield from ((found.type, text) for text in strings(found.proto))


def strings(proto: Message) -> Iterator[str]:
    """All texts of an element; HTML without its tags, but with what its titles and labels say."""
    for field, value in proto.ListFields():
        if field.name in SILENT.split() or (field.name == "body" and "<style>" in str(value)):
            continue
        for one in value if field.is_repeated else [value]:
            if isinstance(one, Message):
                yield from strings(one)
            elif isinstance(one, str):
                yield from bare(one) if "</" in one else [one]


def bare(page: str) -> Iterator[str]:
    yield from map(html.unescape, re.findall(r'(?:title|aria-label|alt)="([^"]*)"', page))
    yield html.unescape(re.sub(r"<[^>]*>", " ", page))


def shown(frame: pd.DataFrame, proto: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The columns of a table that are shown, and how each is configured."""
    columns = json.loads(proto.columns or "{}")
    order = list(proto.column_order) or [str(c) for c in frame.columns]
    hidden = {name for name, config in columns.items() if config.get("hidden")}
    return frame[[c for c in frame.columns if str(c) in order and str(c) not in hidden]], columns


def cells(element: Any) -> Iterator[str]:
    """Heads, their tooltips, and cells of a table as they are read: no numbers, addresses or pictures."""
    frame, columns = shown(element.value, element.proto)
    for name in frame.columns:
        config = columns.get(str(name), {})
        label = config.get("label")
        yield str(name if label is None else label)
        yield str(config.get("help") or "")
        kind = (config.get("type_config") or {}).get("type", "")
        if kind in ("number", "image", "link", "date", "datetime", "checkbox"):
            continue
        for cell in frame[name].tolist():
            if isinstance(cell, list | tuple):
                yield from map(str, cell)
            elif isinstance(cell, str):
                yield cell


def of_figure(figure: dict[str, Any]) -> Iterator[str]:
    """Axis titles, legends, annotations, ticks, texts, and what is said on hover."""
    layout = figure["layout"]
    for key, part in layout.items():
        if re.fullmatch(r"[xy]axis\d*", key) and isinstance(part, dict):
            yield str((part.get("title") or {}).get("text") or "")
            yield from (untagged(str(tick)) for tick in part.get("ticktext") or [])
    yield from (untagged(str(note.get("text", ""))) for note in layout.get("annotations") or [])
    yield untagged(str((layout.get("title") or {}).get("text") or ""))
    for trace in figure["data"]:
        template = str(trace.get("hovertemplate") or "")
        yield untagged(re.sub(r"%\{[^}]*\}", " ", template.partition("<extra>")[0]))
        if trace.get("showlegend", layout.get("showlegend", len(figure["data"]) > 1)):
            yield untagged(str(trace.get("name") or ""))
        read = ["text", "x", "y"] + (["customdata"] if "customdata" in template else [])
        for key in read:
            yield from (untagged(one) for one in flat(trace.get(key)))


def flat(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, list | tuple):
        for one in values:
            yield from flat(one)


def untagged(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def words(text: str, names: re.Pattern[str]) -> list[str]:
    """Latin words of two letters or more that are no names; commands and files are known by their marks."""
    text = re.sub(r":material/\w+:|:gray(?=\[)|https?://\S+|\$?\{[^}]*\}", " ", text)
    return WORD.findall(names.sub(" ", text))


# Charts.


HEADS = ("title", "header", "subheader")
SENTENCES = ("markdown", "text", "info")
ENDS = re.compile("[.:\u3002\uff1a]")  # of sentences, in both languages


@dataclass(frozen=True)
class Place:
    """A chart and what stands about it: `before` and `after` in its own block, `below` in that and in the blocks that hold it."""

    chart: Any
    before: list[Any]
    after: list[Any]
    below: list[Any]

    def lacks(self) -> list[str]:
        """What is missing of a sentence above, a caption under it, and a table with a download."""
        found = {
            "a sentence above it": any(one.type in SENTENCES and ENDS.search(str(one.value)) for one in self.before),
            "a caption under it": any(one.type == "caption" for one in self.after),
            "words for who cannot see it": 'aria-label="' in body_of(self.chart) or bool(getattr(self.chart.proto, "alt", "")),
            "a table of its numbers": any(one.type == "dataframe" for one in self.below),
            "a download of them": any(one.type == "download_button" for one in self.below),
        }
        return [what for what, there in found.items() if not there]


def charts(root: Block) -> Iterator[Place]:
    """Every chart below a block. Charts that follow each other at once share what is said of them."""
    for path in paths(root):
        if is_chart(path[-1]):
            before, after = siblings(path[-2], path[-1])
            below = list(flat_elements(after))
            for block, child in zip(path[-3::-1], path[-2::-1], strict=False):
                if child.type == "expander" or any(one.type in HEADS for one in before):
                    break
                before, more = siblings(block, child)
                below += flat_elements(more)
            own = siblings(path[-2], path[-1])
            yield Place(path[-1], list(flat_elements(own[0])), list(flat_elements(own[1])), below)


def paths(block: Block, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each element of a block with the blocks that hold it, the outermost first."""
    for child in block.children.values():
        yield (*above, block, child)
        if isinstance(child, Block):
            yield from paths(child, (*above, block))


def siblings(block: Block, child: Any) -> tuple[list[Any], list[Any]]:
    """What a block holds before a child, back to a heading or another chart, and after it, up to one."""
    held = list(block.children.values())
    at = next(n for n, one in enumerate(held) if one is child)
    return list(_until(held[:at][::-1], keep=True)), list(_until(held[at + 1 :], keep=False))


def _until(held: list[Any], *, keep: bool) -> Iterator[Any]:
    begun = False
    for one in held:
        if is_chart(one):
            if begun:
                return
            continue
        begun = True
        if one.type in HEADS:
            yield from [one] if keep else []
            return
        yield one


def flat_elements(held: list[Any]) -> Iterator[Any]:
    for one in held:
        yield from one if isinstance(one, Block) else [one]


def body_of(element: Any) -> str:
    return str(element.proto.body) if element.type == "html" else ""


def is_chart(element: Any) -> bool:
    return element.type == "plotly_chart" or 'class="wr-bars"' in body_of(element)


def colours(chart: Any) -> set[str]:
    """Every colour that a chart paints something of the data with."""
    if chart.type == "html":
        return set(re.findall(r"background:(#\w+)", body_of(chart)))
    figure = json.loads(chart.proto.spec)
    found = {text for trace in figure["data"] for text in painted(trace)}
    return found | {text for shape in figure["layout"].get("shapes") or [] for text in painted(shape)}


def painted(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "colorscale":
                yield from (str(colour) for _, colour in value)
            elif key in ("color", "fillcolor", "bgcolor"):
                yield from (one for one in ([value] if isinstance(value, str) else value) if isinstance(one, str))
            elif key not in ("hoverlabel", "font", "textfont"):
                yield from painted(value)
    elif isinstance(part, list):
        for one in part:
            yield from painted(one)
