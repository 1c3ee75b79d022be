"""Training in a process of its own: it starts, tells how far it is, ends, is cancelled, fails in one line, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY

from dashboard import training
from dashboard.training import Order, Status, Training
from recsys_core.errors import UserError
from recsys_core.run import Run


def ended(one: Training, seconds: float = 120) -> Status:
    limit = time.monotonic() + seconds
    while one.status().busy and time.monotonic() < limit:
        time.sleep(0.05)
    return one.status()


def order(folder: Path, **changes) -> Order:
    return Order(**{"out": folder / "a", "data": TINY, "components": ("popularity", "ease"), "quick": True} | changes)


def test_a_run_is_trained_and_nothing_is_left(tmp_path: Path) -> None:
    one = Training()
    assert one.status() == Status()
    one.start(order(tmp_path))
    assert one.status().state == "running"
    with pytest.raises(UserError, match="a is being trained"):
        one.start(order(tmp_path, out=tmp_path / "b"))
    found = ended(one)
    assert (found.state, found.done) == ("done", len(found.steps))
    assert [line.partition(":")[0] for line in found.said] == ["popularity", "ease", "weights"]
    assert Run.load(tmp_path / "a").model.names == ("popularity", "ease")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(ChildProcessError):
        os.waitpid(one._job.process.pid, os.WNOHANG)  # no zombie: it has been waited for
    one.forget()
    assert one.status().state == "none"


def test_cancel_leaves_no_half_run(tmp_path: Path) -> None:
    one = Training()
    one.start(order(tmp_path))
    one.cancel(wait=30)
    assert one.status().state == "cancelled"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(one._job.process.pid, 0)


def test_failure_is_one_line(tmp_path: Path) -> None:
    one = Training()
    one.start(order(tmp_path, data=tmp_path / "nowhere"))
    found = ended(one)
    assert found.state == "failed"
    assert "not a folder" in found.error
    assert "\n" not in found.error
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_the_server(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dashboard.training import Order, TRAINING as t\n"
        "t.start(Order(Path(sys.argv[1]) / 'a', Path(sys.argv[2]), ('ease',))); print(t._job.process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(TINY)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=TINY.parents[1]) as server:
        child = int(server.stdout.readline())
        server.kill()
    limit = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < limit:
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            break  # nobody waits for orphans in some containers
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("name", ["", ".hidden", "-flag", "a/b", "../a", "a b", "a\n", "x" * 61, "taken", "日"])
def test_names_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=r"^name "):
        training.check_name(tmp_path, name)
    training.check_name(tmp_path, "good-1_x.y")


@pytest.mark.parametrize(
    ("changes", "said"), [({"components": ()}, "empty"), ({"components": ("eas",)}, "ease"), ({"split": "x"}, "split")]
)
def test_settings_that_cannot_be_used(changes: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        Training().start(order(tmp_path, **changes))


def test_stages_follow_text_and_control() -> None:
    full = Order(Path("a"), Path("b"), ("ease", "bert"))
    stages = ["tuned", "tuned", "final", "final", "rehearsal", "control-tuned", "control-final", "run"]
    assert [stage for stage, _ in full.steps()] == stages
    assert [name for _, name in Order(Path("a"), Path("b"), ("ease", "bert"), text=False).steps()] == ["ease", "ease", ""]
