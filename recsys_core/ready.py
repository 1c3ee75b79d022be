"""A run to look at: what is there is opened, what is not is fetched, trained and judged. For notebooks and `whyrec demo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recsys_core.config import Settings
from recsys_core.data import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluate import evaluate
from recsys_core.fetch import KNOWN, LICENCE, fetch
from recsys_core.overview import judged
from recsys_core.readers import load_dataset
from recsys_core.run import Run
from recsys_core.train import train
from recsys_core.workshop import begun

Say = Callable[[str], None]


def data(folder: str | Path, say: Say = print) -> Dataset:
    """The data set in a folder; a public one whose name the folder has is fetched first if it is not there.

    Raises UserError as `fetch` and `load_dataset` do.
    """
    folder = Path(folder)
    if folder.name in KNOWN and not folder.exists():
        say(f"fetching {folder.name} into {folder}\n{LICENCE}")
        fetch(folder.name, folder)
    return load_dataset(folder)


def run(source: str | Path | Dataset, out: str | Path, settings: Settings | None = None, say: Say = print) -> Run:
    """The run `out`, trained on a data set or a folder of one and judged on its test part once, unless it is there; an
    interrupted training is taken up.

    Raises UserError as `train`, `evaluate` and `data` do, and if the run that is there was trained on other data.
    """
    out = Path(out)
    if out.exists():
        found = Run.load(out)
        _same_data(source, found)
    else:
        train(
            source if isinstance(source, Dataset) else data(source, say), settings or Settings(), out, resume=begun(out), say=say
        )
        found = Run.load(out)
    if judged(found) is None:
        report = evaluate(found, k=found.settings.k)
        report.save(found)
        hybrid = report.rows.query("model == 'hybrid' and metric == 'ndcg' and segment == 'all'").iloc[0]
        say("test: hybrid NDCG@{k} {mean:.4f} [{low:.4f}, {high:.4f}]; {n:,} users".format(**hybrid))
    return found


def _same_data(source: str | Path | Dataset, found: Run) -> None:
    """Raises UserError if the run is of other data than the source, where that can be read, now is."""
    if not isinstance(source, Dataset):
        if not Path(source).exists():
            return
        source = load_dataset(source)
    if source.fingerprint != found.manifest["fingerprint"]:
        fix = f"name another run, or remove {found.path}"
        raise UserError(f"{found.path}: the run that is there was trained on other data than {source.name} now is; {fix}")
