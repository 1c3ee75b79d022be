"""The folder of what is kept on disk: within its limit, the least lately used out first, and never in the way of an answer."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from encoders import tiny_bert

from recsys_core import cache, doctor
from recsys_core.cli import main
from recsys_core.errors import UserError
from recsys_core.explain import answer
from recsys_core.explain.answer import explain
from recsys_core.run import Run
from recsys_core.text import encode_cached

KB = 1 / 1024  # megabytes
ITEMS = [f"{kind}{n}" for kind in "hs" for n in range(1, 7)]


def room_for(monkeypatch: pytest.MonkeyPatch, kind: str, kilobytes: float) -> int:
    """Set the limit so that a kind has so much room; its bytes."""
    monkeypatch.setenv("WHYREC_CACHE_MB", str(kilobytes * KB / cache.SHARES[kind]))
    return cache.room(kind)


def size(*files: Path) -> int:
    return sum(max(f.stat().st_size, 512 * f.stat().st_blocks) for f in files)


def explanations() -> list[Path]:
    return sorted((p for p in (cache.folder() / "explanations").rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)


def test_the_limit_is_shared_out_and_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(cache.SHARES.values()) == 1
    assert cache.room("texts") == 1024 * 3 / 4 * 2**20
    monkeypatch.setenv("WHYREC_CACHE_MB", "8.5")
    assert cache.room("explanations") == 8.5 / 4 * 2**20


@pytest.mark.parametrize("told", ["much", "-1", "nan", "inf", "1,024"])
def test_a_limit_that_is_no_number_is_one_line(
    told: str, tiny_run: Run, tiny: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["explain", "--run", str(tiny_run.path), "--user", "u01", "--item", "h1", "--method", "loo"]
    assert main(words) == 0
    monkeypatch.setenv("WHYREC_CACHE_MB", told)
    capsys.readouterr()
    assert main(words) == 2
    said = f"WHYREC_CACHE_MB={told}: must be a number of megabytes"
    assert capsys.readouterr().err.startswith(f"whyrec: {said}")
    with pytest.raises(UserError, match="WHYREC_CACHE_MB"):
        encode_cached(["love"], tiny)
    found = list(doctor.folders(doctor.Machine(tmp_path, tmp_path, tmp_path, 0)))
    assert (found[0].state, found[0].found.startswith(said), found[0].fix) == ("problem", True, "set it to one, such as 1024")


def test_explanations_stay_within_their_room(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [(user, item) for user in ("u01", "u02", "u13") for item in ITEMS]
    first = [explain(tiny_run, user, item, method="loo") for user, item in asked]
    assert len(explanations()) == len(asked)  # without the limit all of them are kept
    most = room_for(monkeypatch, "explanations", 40)
    assert size(*explanations()) > most
    for (user, item), before in zip(asked, first, strict=True):
        found = explain(tiny_run, user, item, method="loo", refresh=True)
        np.testing.assert_array_equal(found.contributions, before.contributions)
        assert size(*explanations()) <= most
        assert explain(tiny_run, user, item, method="loo").cached  # what was just written is there
    left = explanations()
    assert len(left) > 1
    folders = {p for p in (cache.folder() / "explanations").iterdir()}
    assert folders == {p.parent for p in left}  # none is empty
    mine = tiny_run.histories[tiny_run.dataset.users.codes(["u13"], "user")]
    kept = len([p for p in left if p.parent == answer._folder(mine)])
    assert kept
    assert answer.forget([mine]) == kept
    assert not answer._folder(mine).exists()


def test_what_was_used_longest_ago_goes_first(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, item in enumerate(ITEMS[:4]):
        explain(tiny_run, "u01", item, method="loo")
        os.utime(explanations()[-1], (n, n))
    oldest, *others = explanations()
    assert explain(tiny_run, "u01", ITEMS[0], method="loo").cached
    assert explanations()[-1] == oldest  # now the one that was used last
    room_for(monkeypatch, "explanations", (size(oldest, *others) + 1) / 1024)
    explain(tiny_run, "u01", ITEMS[4], method="loo")
    left = explanations()
    assert oldest in left
    assert others[0] not in left


def test_what_another_process_writes_stays_and_what_it_left_half_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, "explanations", 4)
    place = tmp_path / "explanations" / "of a history"
    place.mkdir(parents=True)
    names = ("a.json", ".b.json.0a.part", ".c.json.0b.part", "d.json")
    files = [place / name for name in names]
    for file in files:
        file.write_bytes(b"x" * 3000)
    os.utime(files[0], (0, 0))
    with files[2].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cache.bound("explanations", files[3])
    assert [f.exists() for f in files] == [False, False, True, True]


def test_a_file_larger_than_all_the_room_stays_until_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, "explanations", 1)
    for name in ("a", "b"):
        file = tmp_path / "explanations" / name / f"{name}.json"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 5000)
        cache.bound("explanations", file)
        assert [p.name for p in (tmp_path / "explanations").rglob("*.json")] == [file.name]


def test_files_are_counted_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = room_for(monkeypatch, "explanations", 1000)
    seen: list[Path] = []
    monkeypatch.setattr(cache, "_tidy", lambda kind, written, room: seen.append(written))
    (tmp_path / "x").write_bytes(b"x" * (most // 250))
    for _ in range(1000):  # four times as much as there is room for
        cache.bound("explanations", tmp_path / "x")
    assert cache.LOOKS < len(seen) < 12 * cache.LOOKS  # 4 * LOOKS are due: six standard deviations to either side and more


@pytest.mark.parametrize("call", ["unlink", "lstat"])
def test_what_cannot_be_removed_costs_no_answer(call: str, tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, "explanations", 5)
    explain(tiny_run, "u01", "h1", method="loo")
    plain: Callable = getattr(Path, call)

    def broken(path: Path, *args: object, **how: object) -> object:
        if path.name.endswith(".json"):
            raise PermissionError(13, "no", str(path))
        return plain(path, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, broken)
        assert explain(tiny_run, "u01", "h2", method="loo").sentence
    assert len(explanations()) == 2


WRITER = """
import sys
from pathlib import Path
from recsys_core import cache
from recsys_core.whole import writing
for n in range(150):
    file = cache.folder() / "explanations" / str(n % 7) / f"{sys.argv[1]}-{n}.json"
    try:
        with writing(file) as fresh:
            fresh.write_bytes(b"x" * 2000)
    except (FileNotFoundError, FileExistsError):  # its folder was emptied and removed while it was made: it is not kept
        continue
    cache.bound("explanations", file)
"""


def test_several_processes_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    most = room_for(monkeypatch, "explanations", 64)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name], stderr=subprocess.PIPE, text=True) for name in "abc"]
    told = [w.communicate()[1] for w in writers]
    assert told == ["", "", ""]
    assert 0.5 * most < size(*explanations()) <= most
    assert not [p for p in explanations() if p.name.startswith(".")]


def test_nothing_is_written_where_there_is_no_room(tiny_run: Run, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYREC_CACHE_MB", "0")
    assert explain(tiny_run, "u01", "h1", method="loo").sentence
    assert encode_cached(["love", "robot"], tiny).shape == (2, 16)
    assert not cache.folder().exists()


def test_vectors_asked_for_last_stay(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["love", "robot", "space", "kiss", "wedding", "red", "night", "day"]
    room_for(monkeypatch, "texts", 5 * (32 + 16 * 4) / 1024)  # of five texts, a digest and 16 numbers each
    first = encode_cached(words[:5], tiny)
    encode_cached(words[:2], tiny)
    encode_cached([words[0], *words[5:7]], tiny)  # two more than there is room for; the first has been asked for again
    seen: list[str] = []
    monkeypatch.setattr(
        "recsys_core.text.Encoder.encode", lambda self, texts, **how: seen.extend(texts) or np.zeros((len(texts), 16))
    )
    assert encode_cached([words[0], *words[3:7]], tiny)[0].tobytes() == first[0].tobytes()
    assert not seen
    encode_cached(words[1:3], tiny)
    assert seen == words[1:3]


def test_more_texts_than_there_is_room_for_are_all_answered(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["love", "robot", "space", "kiss"]
    plain = encode_cached(words, tiny)
    monkeypatch.setenv("WHYREC_CACHE", str(cache.folder() / "small"))
    room_for(monkeypatch, "texts", 2 * (32 + 16 * 4) / 1024)
    for _ in range(2):
        np.testing.assert_allclose(encode_cached(words, tiny), plain, atol=1e-5)


def test_vectors_of_the_encoder_used_last_stay(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, third = (tiny_bert(tmp_path / f"other-{seed}", seed=seed) for seed in (1, 2))
    encode_cached(["love"], tiny)
    (first,) = cache.folder().iterdir()
    encode_cached(["love"], other)
    (second,) = {*cache.folder().iterdir()} - {first}
    for n, file in enumerate((first, second)):
        os.utime(file, (n, n))
    encode_cached(["love"], tiny)  # from the cache, which touches it
    (cache.folder() / "notes.txt").write_text("of somebody else")
    room_for(monkeypatch, "texts", 2.5 * size(first) / 1024)
    encode_cached(["love"], third)
    left = {p.name for p in cache.folder().iterdir()}
    assert first.name in left
    assert second.name not in left
    assert "notes.txt" in left
    assert len(left) == 3
