"""Pages of the reference, read out of the registries, the configs and the argument parser: page name -> Markdown.

Nothing is listed by hand: what is registered is there, with its settings, defaults, formulas and sources.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from recsys_core import definitions, metrics, registry, rerank, scorers, splits, text
from recsys_core.cli import build_parser
from recsys_core.config import Settings
from recsys_core.explain import explainers, questions

ROOT = Path(__file__).parents[2]
CORE = ROOT / "recsys_core"


def pages() -> dict[str, str]:
    """Every generated page under its name below docs/."""
    made = {
        "reference/index.md": index(),
        "reference/command-line.md": command_line(build_parser()),
        "reference/settings.md": settings(),
        "reference/components.md": components(),
        "reference/explanations.md": explanations(),
        "reference/choices.md": choices(),
        "reference/metrics.md": metric_dictionary(),
        "reference/api/index.md": api_index(),
    }
    return made | {f"reference/api/{name}.md": api_page(name) for name in api_modules()}


def nav() -> list[Any]:
    """The section Reference of the navigation."""
    api = ["reference/api/index.md", *({name: f"reference/api/{name}.md"} for name in api_modules())]
    return [
        "reference/index.md",
        {"Command line": "reference/command-line.md"},
        {"Settings of a run": "reference/settings.md"},
        {"Components": "reference/components.md"},
        {"Questions and explainers": "reference/explanations.md"},
        {"Splits, re-rankers, readers, encoders": "reference/choices.md"},
        {"Metrics": "reference/metrics.md"},
        {"Python": api},
    ]


def index() -> str:
    return """# Reference

Written from the code at each build: the argument parser, the registries, the config dataclasses and the docstrings.

- [Command line](command-line.md): every command and option.
- [Settings of a run](settings.md): what a TOML file and `--set` may hold.
- [Components](components.md): what joins in the hybrid, with all settings.
- [Questions and explainers](explanations.md): what can be asked of a recommendation, and how it is answered.
- [Splits, re-rankers, readers, encoders](choices.md): everything else that is chosen by name.
- [Metrics](metrics.md): formula, range, direction and source of each.
- [Python](api/index.md): the public functions and classes of `recsys_core`.
"""


# The command line


def command_line(parser: argparse.ArgumentParser) -> str:
    """One section a command: usage, arguments with their defaults, and the example of its help."""
    lines = ["# Command line", "", parser.description or "", ""]
    commands = dict(subparsers(parser))
    lines += table(("command", "what it does"), ((f"[`whyrec {n}`](#whyrec-{n})", told(c)) for n, c in commands.items()))
    for name, command in commands.items():
        lines += ["", f"## whyrec {name}", "", told(command), "", "```text", usage(command), "```", ""]
        lines += table(("argument", "meaning", "default"), map(option, options(command)))
        lines += example(command)
        for inner, below in subparsers(command):
            lines += ["", f"### whyrec {name} {inner}", "", told(below), "", "```text", usage(below), "```", ""]
            lines += table(("argument", "meaning", "default"), map(option, options(below)))
    return "\n".join(lines) + "\n"


def subparsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def told(parser: argparse.ArgumentParser) -> str:
    return cell(parser.description or "")


def usage(parser: argparse.ArgumentParser) -> str:
    return parser.format_usage().removeprefix("usage: ").strip()


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    skipped = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, skipped) and action.help != argparse.SUPPRESS]


def option(action: argparse.Action) -> tuple[str, str, str]:
    """Its name with what it takes, its meaning, and its default or that it is required."""
    value = action.metavar or (action.dest.upper() if action.option_strings and action.nargs != 0 else "")
    name = ", ".join(action.option_strings) or str(value or action.dest)
    takes = f" {value}" if action.option_strings and value else ""
    given = [c for c in ("one of " + ", ".join(map(str, action.choices or ())), action.help) if c and c != "one of "]
    required = action.required if action.option_strings else action.nargs not in ("?", "*")
    shown = action.default not in (None, "", [], False, argparse.SUPPRESS)
    return code(name + str(takes)), cell("; ".join(given)), "required" if required else code(action.default) if shown else ""


def example(parser: argparse.ArgumentParser) -> list[str]:
    found = re.search(r"example:\n(.*)", parser.epilog or "", flags=re.S)
    return ["", "```bash", inspect.cleandoc(found[1]).strip(), "```"] if found else []


# Settings


def settings() -> str:
    """What a config file may hold: the run's own settings, and the files to start from."""
    intro = (
        "A TOML file (`whyrec train --config FILE`) and `--set key=value` on the command line set these; what is left out has "
        "its default. Settings of a component stand in `[scorers.NAME]`, or are `NAME.key`: see [Components](components.md). "
        "The run directory keeps all of them, resolved, in `config.toml`."
    )
    lines = ["# Settings of a run", "", intro, "", *fields(Settings)]
    for file in sorted((ROOT / "configs").glob("*.toml")):
        lines += ["", f"## configs/{file.name}", "", "```toml", file.read_text("utf-8").strip(), "```"]
    return "\n".join(lines) + "\n"


def fields(config: type[Any], search: dict[str, Sequence[Any]] | None = None) -> list[str]:
    """A table of a config dataclass: name, type, default, meaning and, if there are, the values that training tries."""
    meaning, search = meanings(config), search or {}
    rows = []
    for field in dataclasses.fields(config):
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
        tried = ", ".join(f"{value!r}" for value in search.get(field.name, ()))
        rows.append((code(field.name), code(field.type), code(toml(default)), cell(meaning.get(field.name, "")), tried))
    head = ("setting", "type", "default", "meaning", "tried in training")
    return list(table(head, rows)) if search else list(table(head[:4], (row[:4] for row in rows)))


def toml(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value).replace("'", '"')


def meanings(config: type[Any]) -> dict[str, str]:
    """What each field is, from the docstring (`name: ...`, `a, b: ...`) or the comment behind the field."""
    names = [field.name for field in dataclasses.fields(config)]
    one = rf"`?(?:{'|'.join(map(re.escape, names))})`?"
    written = "" if (config.__doc__ or "").startswith(f"{config.__name__}(") else config.__doc__ or ""  # else dataclass wrote it
    doc = re.split(rf"(?:(?<=\s)|^)({one}(?:, {one})*): ", " ".join(written.split()))
    found = {}
    for told_of, meaning in zip(doc[1::2], doc[2::2], strict=True):
        found |= {name.strip("` "): meaning.strip() for name in told_of.split(",")}
    for line in inspect.getsource(config).splitlines():
        if (field := re.match(r"\s+(\w+): [^#]*#\s*(.*)", line)) and field[1] in names:
            found.setdefault(field[1], field[2])
    return found


# What is chosen by name


def components() -> str:
    """One section a component: what it is, its source, how it is explained, and every setting."""
    lines = ["# Components", "", "Named in `components`; each gives a score, and the blend weighs it.", ""]
    for name in scorers.names():
        model = scorers.scorer_class(name)
        module = inspect.getmodule(model)
        text_read = " Reads item texts." if model.reads_text else ""
        lines += ["", f"## {name}", "", prose(module), "", f"`{model.__module__}.Model`: {prose(model)}{text_read}", ""]
        lines += fields(model.Config, getattr(model, "search", None))
    return "\n".join(lines) + "\n"


def explanations() -> str:
    lines = ["# Questions and explainers", ""]
    lines += [
        "`whyrec explain --question NAME --method NAME`; [Explaining](../explaining.md) tells how far each can be trusted.",
        "",
    ]
    for title, package, names in (
        ("Questions", questions.__name__, questions.names()),
        ("Explainers", explainers.__name__, explainers.names()),
    ):
        lines += ["", f"## {title}"]
        for name in names:
            module = registry.get(package, name, "module")
            lines += ["", f"### {name}", "", prose(module)]
            asks = getattr(module, "ask", None)
            lines += ["", prose(asks)] if asks and asks.__doc__ else []
    return "\n".join(lines) + "\n"


def choices() -> str:
    """Splits, conventions, re-rankers, readers and encoders."""
    told_of = definitions.conventions()
    told_of = told_of.assign(name=[code(name) if " = " in name else name for name in told_of["name"]])
    lines = ["# Splits, re-rankers, readers, encoders", "", "## Splits and conventions", "", prose(splits), ""]
    lines += frame(told_of, name="convention", about="meaning")
    lines += ["", "## Re-rankers", "", prose(rerank)]
    for found in rerank.RERANKERS.values():
        needs = "; ".join(f"{code(n)}: {cell(rerank.INPUTS[n])}" for n in found.needs)
        facts = (("formula", code(found.formula)), ("source", cell(found.source)), ("needs", needs))
        lines += ["", f"### {found.name}", "", f"{found.label}. {cell(found.about)}", "", *table(("", ""), facts)]
    lines += ["", "## Readers", "", "What `--data` takes: a folder, recognised by its files.", ""]
    readers = ((n, registry.get("recsys_core.readers", n, "reader")) for n in registry.names("recsys_core.readers"))
    lines += table(("reader", "what it knows"), ((code(n), cell(inspect.getdoc(module) or "")) for n, module in readers))
    lines += ["", "## Encoders", "", f"The setting `encoder` of components that read texts. {prose(text.locate)}", ""]
    reads = [(n, scorers.scorer_class(n).Config) for n in scorers.names()]
    rows = [(code(n), code(c.encoder)) for n, c in reads if "encoder" in c.__dataclass_fields__]
    return "\n".join([*lines, *table(("component", "default encoder"), rows)]) + "\n"


def metric_dictionary() -> str:
    """Every metric, its formula, range, direction and source."""
    found = metrics.METRICS.values()
    lines = ["# Metrics", "", prose(metrics), ""]
    head = ("name", "label", "range", "better", "one value", "source")
    rows = ((f"[`{m.name}`](#{m.name})", m.label, interval(m), m.direction, each(m), cell(m.source)) for m in found)
    lines += table(head, rows)
    for m in found:
        facts = [("formula", code(m.formula)), ("range", interval(m)), ("better", m.direction), ("one value", each(m))]
        needs = [(code(name), cell(metrics.INPUTS[name])) for name in m.needs]
        lines += ["", f"## {m.name}", "", f"**{m.label}.** {prose(m.about)}", ""]
        lines += table(("", ""), [*facts, ("source", cell(m.source)), *needs])
    return "\n".join(lines) + "\n"


def interval(m: metrics.Metric) -> str:
    return f"{m.low:g} to {'∞' if m.high == float('inf') else f'{m.high:g}'}"


def each(m: metrics.Metric) -> str:
    return "a user" if m.per_user else "for all lists together"


# Python


def api_modules() -> dict[str, list[str]]:
    """Pages and the modules on each: a page a room, or a page a child where a room has rooms in it; no command line."""
    made: dict[str, list[str]] = {}
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts) or parts[0].startswith(("cli", "__init__")):
            continue
        inside = [part for part in parts if part != "__init__"]
        nested = any((CORE / parts[0]).glob("*/__init__.py"))
        made.setdefault(".".join(inside[: 1 + nested]), []).append(".".join(["recsys_core", *inside]))
    return made


def api_index() -> str:
    rows = ((f"[`recsys_core.{name}`]({name}.md)", cell(first(docstring(modules[0])))) for name, modules in api_modules().items())
    intro = "Read from the source without importing it. [How it is built](../../architecture.md) has the order of the rooms.\n"
    return "\n".join(["# Python", "", intro, *table(("module", "what is in it"), rows)]) + "\n"


def api_page(name: str) -> str:
    modules = api_modules()[name]
    lines = [f"# recsys_core.{name}", ""]
    for module in modules:
        lines += [f"## {module}" if len(modules) > 1 else "", "", f"::: {module}", ""]
        lines += ["    options:", "      heading_level: 3", ""] if len(modules) > 1 else []
    return "\n".join(lines) + "\n"


def docstring(module: str) -> str:
    """The docstring of a module, by its source alone."""
    import ast

    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""


# Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, or nothing where there are no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from (f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines)


def frame(rows: pd.DataFrame, **heads: str) -> Iterator[str]:
    return table(tuple(heads.values()), ([str(row[c]) for c in heads] for _, row in rows.iterrows()))


def cell(value: str) -> str:
    """Text on one line that neither a table nor Markdown stumbles on; what stands in backticks stays code."""
    spans = re.split(r"(`[^`]*`)", " ".join(str(value).split()))
    return "".join(s if s.startswith("`") else escape(s, quote=False).replace("*", "\\*") for s in spans).replace("|", "\\|")


def code(value: Any) -> str:
    shown = " ".join(str(value).split()).replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def prose(thing: Any) -> str:
    """The docstring of a thing, or a text: paragraphs without line breaks."""
    doc = thing if isinstance(thing, str) else inspect.getdoc(thing) or ""
    return "\n\n".join(cell(part) for part in doc.split("\n\n"))


def first(doc: str) -> str:
    return doc.partition("\n\n")[0]
