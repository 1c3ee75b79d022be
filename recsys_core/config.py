"""Settings of a training run: a TOML file and `--set key=value` onto one flat dataclass and the scorers' own configs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys_core import limits, scorers, splits
from recsys_core.errors import UserError, unknown
from recsys_core.readers._border import content

DEVICE = r"auto|cpu|mps|cuda(:\d{1,2})?"
MOST = 2**63 - 1  # of a whole number, which arrays must hold

UNMET = ("auto", "new", "left")


@dataclass(frozen=True)
class Settings:
    """Args:
    components: scorers of the hybrid, in the order of the charts.
    split: random | leave-last | time | cold-items.
    seed: of everything random; the same seed, data and versions give the same run.
    device: auto | cuda | mps | cpu, where networks are trained and texts encoded; auto takes the first that there is.
    learn_from: "met": histories hold all that a user has met, each event counting by its rating; "liked": likes only, all alike.
        Either way likes are what is to be found. Without ratings there is no difference.
    hide: "met": a list hides all that a user has met; "liked": only what was liked (the convention of many papers).
    k: length of the lists that training optimises and reports.
    tune: choose each scorer's settings on validation data from its small grid; keys set by hand stay as set.
    tune_users: at most this many users (a random sample) judge settings and weights; 5,000 keep a standard error near .004.
    search_users: settings are tried on the likes of at most this many users; the winner is fitted on all.
    cold_boost: log-odds added to items that nobody has met, on top of what was learned: more of them at the cost of met ones.
    unmet: what items that nobody has met are: "new" (all who would like one still have to meet it, so they come into lists as
        often as they would be liked), "left" (people passed them over); "auto": new where the split is of cold items.
    control: also fit the components that read text on shuffled texts, so that a report can say what text really adds.
    scorers: settings by scorer name; fields of that scorer's config.
    """

    components: tuple[str, ...] = ("popularity", "ease", "factors", "next_item", "bert", "cold")
    split: str = "random"
    seed: int = 0
    device: str = "auto"
    learn_from: str = "met"
    hide: str = "met"
    k: int = 10
    tune: bool = True
    tune_users: int = 5000
    search_users: int = 20_000
    cold_boost: float = 0.0
    unmet: str = "auto"
    control: bool = True
    scorers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.components, *self.scorers):
            if name not in scorers.names():
                raise unknown("scorer", name, scorers.names())
        if not self.components:
            raise UserError("components is empty; name at least one scorer")
        if len(set(self.components)) < len(self.components):
            raise UserError("components names a scorer twice; name each once")
        choices = (
            ("split", self.split, splits.KINDS),
            ("learn_from", self.learn_from, ("met", "liked")),
            ("hide", self.hide, ("met", "liked")),
            ("unmet", self.unmet, UNMET),
        )
        for key, value, known in choices:
            if value not in known:
                raise unknown(key, value, known)
        if min(self.k, self.tune_users, self.search_users) < 1:
            raise UserError("k, tune_users and search_users must be 1 or more")
        limits.check_k(self.k)
        limits.check_seed(self.seed)
        if not re.fullmatch(DEVICE, self.device):
            raise unknown("device", self.device, ("auto", "cpu", "cuda", "mps"))

    def scorer_config(self, name: str) -> Any:
        """The scorer's config with the values set here; the run's `device` unless the scorer has its own."""
        cls, values = scorers.scorer_class(name).Config, self.scorers.get(name, {})
        if not isinstance(values, dict):
            raise UserError(f"scorers.{name} must be a table of settings, not {values!r}; write [scorers.{name}] above them")
        shared = {"device": self.device} if "device" in cls.__dataclass_fields__ else {}
        return _build(cls, shared | values, f"scorers.{name}")


def load_settings(path: Path | None, assignments: list[str], **overrides: Any) -> Settings:
    """Defaults, then a TOML file, then `key=value` assignments, then keyword overrides that are not None.

    Raises UserError for what is no TOML, an unknown key and a wrong type or range, also of a scorer's settings; it names the file
    if that is the one at fault.
    """
    table = {} if path is None else _file(path)
    for assignment in assignments:
        _assign(table, assignment)
    return _settings(table | {k: v for k, v in overrides.items() if v is not None})


def _file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(content(path).decode("utf-8-sig"))
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: nested too deeply; mend it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}; mend the line") from None
    try:
        _settings(table)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return table


def _settings(table: dict[str, Any]) -> Settings:
    settings: Settings = _build(Settings, table, "config")
    for name in dict.fromkeys((*settings.components, *settings.scorers)):
        settings.scorer_config(name)
    return settings


def dump_settings(settings: Settings) -> str:
    """TOML text that `load_settings` reads back to the same settings; every scorer's config is written out in full."""
    flat = {k: v for k, v in dataclasses.asdict(settings).items() if k != "scorers"}
    lines = [f"{key} = {_toml(value)}" for key, value in flat.items()]
    for name in settings.components:
        lines += ["", f"[scorers.{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in dataclasses.asdict(settings.scorer_config(name)).items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON scalars and lists of them are TOML too


def _assign(table: dict[str, Any], assignment: str) -> None:
    """`ease.reg=100` (a scorer's key), `scorers.ease.reg=100` or `k=20` into the nested table."""
    key, found, text = assignment.partition("=")
    if not found:
        raise UserError(f"--set {assignment!r}: write key=value")
    path = key.strip().split(".")
    if len(path) == 2 and path[0] != "scorers":
        path = ["scorers", *path]
    if len(path) not in (1, 3) or (len(path) == 3 and path[0] != "scorers"):
        raise UserError(f"--set {assignment!r}: write key=value or scorer.key=value")
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = _parse(text.strip())


def _parse(text: str) -> Any:
    """A TOML value, or the bare text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return [t.strip() for t in text.split(",")] if "," in text else text


def _build(cls: type[Any], values: dict[str, Any], where: str) -> Any:
    """A dataclass from plain values; unknown keys and wrong types raise UserError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in fields:
            raise unknown(f"{where} key", key, fields)
        default = fields[key].default if fields[key].default is not dataclasses.MISSING else {}
        values = values | {key: _coerce(value, default, f"{where}.{key}")}
    return cls(**values)


def _coerce(value: Any, default: Any, where: str) -> Any:
    if isinstance(default, tuple):
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and abs(value) > MOST:
        raise UserError(f"{where} = {str(value)[:40]} is too large a number; set it lower")
    if isinstance(default, float) and whole:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise UserError(f"{where} must be {type(default).__name__} (like {default!r}), not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value}; set one")
    if where.startswith("scorers.") and isinstance(value, int | float) and value < 0:
        raise UserError(f"{where} must not be negative, but is {value}; set 0 or more")
    return value
