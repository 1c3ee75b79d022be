"""A run: one directory a person can open, written whole, holding everything that recommending and explaining need.

config.toml manifest.json data/ split.npy scorers/ blend/ candidates/ history.jsonl metrics.json card.md [report.parquet]
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_core.candidates import Candidates
from recsys_core.config import Settings, load_settings
from recsys_core.data import Dataset, Histories, load_prepared
from recsys_core.errors import UserError
from recsys_core.hybrid import Hybrid
from recsys_core.splits import TRAIN, VALID, Split

SCHEMA = 1


@dataclass(frozen=True)
class Run:
    """A trained run on disk; parts are read when first asked for and must be treated as frozen."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Run:
        """Check schema and checksums. Raises UserError naming the file that is missing, changed or of another version."""
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = "no such folder" if not path.exists() else "not a run (no manifest.json)"
            raise UserError(f"{path}: {hint}; make one with: whyrec train --data DATA --out {path}") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise UserError(f"{path}/manifest.json: damaged; train the run again") from None
        if manifest.get("schema") != SCHEMA:
            raise UserError(f"{path}: run schema {manifest.get('schema')}, this version reads {SCHEMA}; train the run again")
        for name, digest in manifest["files"].items():
            if not (path / name).is_file():
                raise UserError(f"{path}/{name}: missing; train the run again")
            if sha256(path / name) != digest:
                raise UserError(f"{path}/{name}: changed since training (checksum differs); train the run again")
        return cls(path, manifest)

    @cached_property
    def settings(self) -> Settings:
        """Every setting, resolved, from `config.toml`."""
        return load_settings(self.path / "config.toml", [])

    @cached_property
    def dataset(self) -> Dataset:
        """All the data that the run was given, test part included."""
        return load_prepared(self.path / "data")

    @cached_property
    def split(self) -> Split:
        """The part of each interaction: train, valid, test or unused."""
        part = np.load(self.path / "split.npy", allow_pickle=False)
        return Split(part, self.settings.split, timed=self.settings.split in ("leave-last", "time"))

    @cached_property
    def model(self) -> Hybrid:
        """The hybrid, fitted on training and validation part, with the weights that were learned."""
        return Hybrid.load(self.path)

    @cached_property
    def known(self) -> Dataset:
        """The dataset with only what the model may know: training and validation interactions."""
        return self.dataset.subset(self.split.rows(TRAIN, VALID))

    @cached_property
    def histories(self) -> Histories:
        """(n_users, n_items) liked interactions the model knows."""
        return self.known.histories()

    @cached_property
    def hidden(self) -> Histories:
        """What lists hide by this run's convention (`hide` in config.toml)."""
        return self.hidden_by(self.settings.hide)

    @cached_property
    def fame(self) -> NDArray[np.float64]:
        """(n_items,) likes of each item that the model knows."""
        return np.bincount(self.histories.items, minlength=len(self.dataset.items)).astype(np.float64)

    def hidden_by(self, hide: str | None) -> Histories:
        """(n_users, n_items). "met": everything known to be met, liked or not; "liked": only likes; None: as the run says."""
        return self.hidden if hide is None else self.met if hide == "met" else self.histories

    @cached_property
    def met(self) -> Histories:
        """(n_users, n_items) everything the model knows to be met."""
        return self.known.met()

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


def find_runs(folder: Path) -> list[Path]:
    """Run directories directly under `folder`, newest first."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if not p.name.startswith(".") and (p / "manifest.json").is_file()]
    return sorted(found, key=lambda p: (p / "manifest.json").stat().st_mtime, reverse=True)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
