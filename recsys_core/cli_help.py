"""How `whyrec` speaks about itself: a parser whose mistakes are one line with "did you mean", help with defaults and examples,
the first screen, and scripts for tab completion (by shtab, which is loaded only when a script is printed)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from recsys_core import registry
from recsys_core.errors import UserError, unknown

START = """Why was this recommended, and what happens if we change it?

Whyrec trains a recommender on your own data, a hybrid of BERT and collaborative filtering,
and opens it up: who gets what, why, and what would be different. Begin with

  whyrec doctor          is everything here that Whyrec needs, and if not, what to do
  whyrec demo            MovieLens-100K, fetched, trained and opened in the dashboard
  whyrec prepare --help  your own tables; then whyrec train and whyrec dashboard
"""
TOPICS = {
    "begin": ("doctor", "demo", "completion"),
    "data": ("fetch", "prepare"),
    "models": ("train", "update", "evaluate", "compare"),
    "answers": ("dashboard", "recommend", "explain"),
    "people": ("feedback", "forget"),
}
Add = Callable[..., argparse.ArgumentParser]  # (name, function, text, *examples) -> the command's parser


class Format(argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written, and the default after each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.default is None or action.default in (False, "", [], argparse.SUPPRESS) or "default" in (action.help or "")
        return action.help if told else f"{action.help} (default: %(default)s)"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError, one line with the nearest known name, where argparse prints usage and exits."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"formatter_class": Format, **more})
        self.listed: dict[str, str] = {}  # name of a command -> what it does

    def commands(self) -> Add:
        """Make this the parser of commands; the result adds one."""
        below = self.add_subparsers(title="commands", metavar="COMMAND", required=True)

        def add(name: str, run: Callable[[argparse.Namespace], int | None], text: str, *examples: str) -> argparse.ArgumentParser:
            lines = "".join(f"\n  {line}" for line in examples)
            command = below.add_parser(name, help=text, description=text, epilog=f"example{'s'[: len(examples) > 1]}:{lines}")
            command.set_defaults(command=run)
            self.listed[name] = text
            return command

        return add

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an option that is not known comes first: else a misspelt one is told as a missing one."""
        for word in args or ():
            if word == "--" or (self.listed and not word.startswith("-")):  # what comes after is not an option of this parser
                break
            name = word.partition("=")[0]
            if re.match(r"--?[a-zA-Z]", name) and " " not in word and not any(o.startswith(name) for o in self.options()):
                self.error(str(unknown("option", name, (o for o in self.options() if o.startswith("--")))))
        return super().parse_known_args(args, namespace)

    def options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = "command" if self.listed else f"value of {'/'.join(action.option_strings) or action.dest}"
            raise argparse.ArgumentError(None, str(unknown(kind, value, action.choices)))

    def error(self, message: str) -> NoReturn:
        lacking = message.removeprefix("the following arguments are required: ")
        message = message if lacking == message else f"{lacking} is missing" if "," not in lacking else f"{lacking} are missing"
        command = self.prog.removeprefix("whyrec").strip()
        raise UserError(f"{command}{': ' * bool(command)}{message}{'' if message[-1] in '.?' else ';'} see: {self.prog} --help")

    def format_help(self) -> str:
        """Of commands, the first screen: what Whyrec is, what to begin with, and the commands by topic."""
        if not self.listed:
            return super().format_help()
        rest = {"more": tuple(n for n in self.listed if not any(n in names for names in TOPICS.values()))}
        lines = [START]
        for topic, names in (TOPICS | rest).items():
            found = [name for name in names if name in self.listed]
            lines += [f"{topic}:", *(f"  {name:<11} {self.listed[name]}" for name in found), ""] if found else []
        return "\n".join([*lines, "whyrec COMMAND --help explains one command and ends with examples; whyrec --version\n"])


# Tab completion. argcomplete would start Python at every press of the key; shtab writes a script once, in plain shell.

INSTALL = {
    "bash": "whyrec completion bash > ~/.whyrec-completion.bash && echo 'source ~/.whyrec-completion.bash' >> ~/.bashrc",
    "zsh": "whyrec completion zsh > _whyrec, moved to a folder of $fpath; then open a new shell",
    "fish": "whyrec completion fish > ~/.config/fish/completions/whyrec.fish; then open a new shell",
}
# Where runs are, then folders, since runs may lie elsewhere. "dirs" in its name has shtab mark them as folders.
BASH_RUNS = """_whyrec_run_dirs() {
  local manifest
  for manifest in runs/*/manifest.json; do
    [[ -e "$manifest" && "$manifest" == "$1"* ]] && echo "${manifest%/manifest.json}"
  done
  [[ "$1" == runs/* ]] || compgen -d -- "$1"
}"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A completion script for commands, options, choices, runs and files. Raises UserError where shtab is not installed."""
    try:
        import shtab
    except ImportError:
        raise UserError("completion needs the package shtab: pip install shtab") from None
    runs = shtab.DIRECTORY | {"bash": "_whyrec_run_dirs", "preamble": {"bash": BASH_RUNS}}
    for command in _commands(parser):
        for action in command._actions:
            if action.choices is None and action.dest in _CHOICES:
                action.choices = list(_CHOICES[action.dest]())
            elif action.type is Path:
                action.complete = runs if action.dest in ("run", "runs") else shtab.FILE  # type: ignore[attr-defined]
    first, rest = shtab.complete(parser, shell).split("\n", 1)  # zsh wants `#compdef` in the first line
    return f"{first}\n# To install: {INSTALL[shell]}\n{rest}"


def _commands(parser: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices.values()


def _public_sets() -> Sequence[str]:
    from recsys_core.fetch import KNOWN

    return list(KNOWN)


def _splits() -> Sequence[str]:
    from recsys_core.splits import KINDS

    return KINDS


# What the core checks itself, with words of its own; here only so that the shell can offer them.
_CHOICES: dict[str, Callable[[], Sequence[str]]] = {
    "name": _public_sets,
    "split": _splits,
    "question": lambda: registry.names("recsys_core.explain.questions"),
    "method": lambda: registry.names("recsys_core.explain.explainers"),
    "language": lambda: ("en", "zh"),
}
