"""A run: one directory a person can open, written whole, holding everything that recommending and explaining need.

config.toml manifest.json data/ split.npy scorers/ blend/ candidates/ history.jsonl metrics.json card.md [report.parquet]
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core import show
from recsys_core.candidates import Candidates
from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories, load_prepared
from recsys_core.errors import UserError
from recsys_core.hybrid import Hybrid, load_blend
from recsys_core.scorers.base import TextReader
from recsys_core.splits import TEST, TRAIN, UNUSED, VALID, Split
from recsys_core.whole import sha256, unseal

SCHEMA = 2
AGAIN = "train the run again, or restore a copy"
PARTS = {"fingerprint": str, "created": str, "versions": dict, "seconds": dict, "files": dict}  # of manifest.json, and their kind
OWED = {"config.toml", "data/dataset.json", "split.npy", "blend/blend.json", "metrics.json"}  # that a checksum must be there for


@dataclass(frozen=True)
class Run:
    """A trained run on disk; parts are read when first asked for and must be treated as frozen."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Run:
        """Check schema and checksums, and that nothing leads out of the folder. Raises UserError naming the file and the fix."""
        try:
            manifest = unseal(path / "manifest.json", AGAIN)
        except (FileNotFoundError, NotADirectoryError):
            hint = "no such folder" if not path.exists() else "not a run (no manifest.json)"
            raise UserError(f"{path}: {hint}; make one with: whyrec train --data DATA --out {path}") from None
        except OSError as error:
            raise UserError(f"{path}/manifest.json: cannot be read ({error.strerror}); {AGAIN}") from None
        schema, files = manifest.get("schema"), manifest.get("files")
        if schema != SCHEMA:
            newer = isinstance(schema, int) and schema > SCHEMA
            fix = "install the Whyrec that made it, or a newer one" if newer else AGAIN
            raise UserError(f"{path}/manifest.json: run schema {schema}, this version reads {SCHEMA}; {fix}")
        if not isinstance(files, dict) or not all(isinstance(manifest.get(key), kind) for key, kind in PARTS.items()):
            raise UserError(f"{path}/manifest.json: damaged (it lacks {', '.join(PARTS)}, or one is of another kind); {AGAIN}")
        if missing := sorted(OWED - files.keys()):
            raise UserError(f"{path}/manifest.json: damaged (no checksum of {missing[0]}); {AGAIN}")
        confine(path, files)
        for name, digest in files.items():
            if not (path / name).is_file():
                raise UserError(f"{path}/{name}: missing; {AGAIN}")
            if sha256(path / name) != digest:
                raise UserError(f"{path}/{name}: changed since training (checksum differs); {AGAIN}")
        return cls(path, manifest)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Checksums tell what changed, not who made it: files that agree with theirs may still be no run."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk; Arrow's own has no number
                raise
            raise UserError(f"{self.path}/{what}: cannot be read ({type(error).__name__}: {error}); {AGAIN}") from error

    @cached_property
    def settings(self) -> Settings:
        """Every setting, resolved, from `config.toml`."""
        return load_settings(self.path / "config.toml", [])

    @cached_property
    def dataset(self) -> Dataset:
        """All the data that the run was given, test part included."""
        with self._reading("data"):
            return replace(load_prepared(self.path / "data"), learn_from=self.settings.learn_from)

    @cached_property
    def split(self) -> Split:
        """The part of each interaction: train, valid, test or unused."""
        with self._reading("split.npy"):
            part = np.load(self.path / "split.npy", allow_pickle=False)
            if part.shape != (len(self.dataset.interactions),) or not np.isin(part, (TRAIN, VALID, TEST, UNUSED)).all():
                raise ValueError("not a part for each interaction")
        return Split(part, self.settings.split, timed=self.settings.split in ("leave-last", "time"))

    @cached_property
    def model(self) -> Hybrid:
        """The hybrid, fitted on training and validation part, with the weights that were learned."""
        with self._reading("scorers and blend"):
            return _tried(Hybrid.load(self.path), len(self.dataset.items))

    @cached_property
    def known(self) -> Dataset:
        """The dataset with only what the model may know: training and validation interactions."""
        return self.dataset.subset(self.split.rows(TRAIN, VALID))

    @cached_property
    def histories(self) -> Histories:
        """(n_users, n_items) what the model reads of each user: see `Dataset.histories`."""
        return self.known.histories()

    @cached_property
    def likes(self) -> Histories:
        """(n_users, n_items) likes that the model knows."""
        return self.known.likes()

    @cached_property
    def hidden(self) -> Histories:
        """What lists hide by this run's convention (`hide` in config.toml)."""
        return self.hidden_by(self.settings.hide)

    @cached_property
    def fame(self) -> NDArray[np.float64]:
        """(n_items,) likes of each item that the model knows."""
        return np.bincount(self.likes.items, minlength=len(self.dataset.items)).astype(np.float64)

    def hidden_by(self, hide: str | None) -> Histories:
        """(n_users, n_items). "met": everything known to be met, liked or not; "liked": only likes; None: as the run says."""
        return self.hidden if hide is None else self.known.hidden(hide)

    @cached_property
    def candidates(self) -> Candidates:
        """Validation-time store: the models fitted on training data alone, judged by validation likes."""
        return Candidates.load(self.path / "candidates")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Everything that training measured on validation data, from `metrics.json`."""
        metrics: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return metrics

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """One line an epoch, of every component that trains in epochs."""
        return [json.loads(line) for line in (self.path / "history.jsonl").read_text(encoding="utf-8").splitlines()]

    def _repr_html_(self) -> str:
        """Data, the leaderboard that is stored and the weights, for notebooks; the test set is not opened, all text escaped."""
        from recsys_core import overview

        valid, settings = self.metrics["valid"], self.settings
        board, k, note = overview.valid_board(self), int(valid["k"]), "validation part, which chose the settings, so it flatters"
        try:
            if (told := overview.judged(self)) is not None:
                board, k, note = (
                    overview.board(told),
                    told.k,
                    f"test part, opened so far: {told.opened}; 95% intervals over users",
                )
        except UserError as error:
            note = f"{note}; {error}"
        blend, _ = load_blend(self.path / "blend")  # without the components, which take long to load
        weights = dict(zip(blend.names, blend.weights, strict=True))
        widest = max(map(abs, weights.values()), default=0.0)
        rows = []
        for model, mean, low, high, n in board.itertuples(index=False):
            w = weights.get(model)
            moved = ("", "") if w is None else (show.signed(w), show.bar(w, widest, show.colours([model])[model]))
            rows.append((model, show.interval(mean, low, high), int(n), *moved))
        counts = {key: self.metrics["data"][key] for key in ("users", "items", "interactions", "likes")}
        how = {"split": settings.split, "seed": settings.seed, "lists hide what was": settings.hide}
        return show.page(
            f"Run {self.path.name} on {self.metrics['data']['name']}",
            show.facts(counts | how | {"trained in": f"{self.manifest['seconds']['total']:.0f} s"}),
            show.table(("model", f"NDCG@{k}", "users", "weight (log-odds)", ""), rows),
            show.small(f"NDCG is of the {note}."),
        )


def find_runs(folder: Path) -> list[Path]:
    """Run directories directly under `folder`, newest first."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if not p.name.startswith(".") and (p / "manifest.json").is_file()]
    return sorted(found, key=lambda p: (p / "manifest.json").stat().st_mtime, reverse=True)


def confine(folder: Path, names: Iterable[str]) -> None:
    """Raises UserError if one of the names, or a link in the folder, leads out of it: a run of somebody else must not make us
    read other files. The folder itself may be a link."""
    inside = folder.resolve()
    found = [str(Path(here, name).relative_to(folder)) for here, below, files in os.walk(folder) for name in (*below, *files)]
    for name in (*names, *found):
        if (
            "\0" in name
            or Path(name).is_absolute()
            or ".." in Path(name).parts
            or not (inside / name).resolve().is_relative_to(inside)
        ):
            raise UserError(f"{folder}: {name!r} leads out of the run; do not use this run, or put the file itself there")


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of every file under a run folder but the manifest, by relative path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {p.relative_to(folder).as_posix(): sha256(p) for p in files}


def version_of(package: str) -> str | None:
    """The installed version of a package, None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the source checkout this package runs from; None if it is installed elsewhere."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _tried(model: Hybrid, n_items: int) -> Hybrid:
    """The model, if its components score this catalogue from a history of all of it: what leads beyond an array is met here.

    A component that reads texts pair by pair is not asked. Raises whatever a component raises.
    """
    everything = Histories.of([list(range(n_items))], n_items)
    for name, scorer in model.components.items():
        width = int(getattr(scorer, "n_items_", [n_items])[0])
        if width != n_items or len(model.cold) != n_items:
            raise ValueError(f"{name} is of another catalogue")
        if scorer.linear or not isinstance(scorer, TextReader):
            with np.errstate(all="ignore"):
                if scorer.score(everything).shape != (1, n_items):
                    raise ValueError(f"{name} does not score the catalogue")
    return model
