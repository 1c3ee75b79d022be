"""One training at a time, in a process of its own: started, followed, cancelled, gone when the server goes. No streamlit here.

The child is this module too (`python -m dashboard.training train ...`): the command line, and a thread that ends it with its
parent. What it prints goes to a log; how far it is, is told by the stages that `recsys_core.train` keeps beside the run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from dashboard.strings import plain
from recsys_core.errors import UserError, unknown
from recsys_core.scorers import names as scorer_names
from recsys_core.scorers import scorer_class
from recsys_core.splits import KINDS
from recsys_core.workshop import partial

QUICK = ("popularity", "ease", "next_item")  # as configs/quick.toml: closed forms, no search, no control
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
GRACE = 5.0  # seconds between asking a process to stop and stopping it
TAIL = 1 << 14  # bytes of the log that are read
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
Step = tuple[str, str]  # stage ("tuned", "final", ...; "run" at the end) and component


@dataclass(frozen=True)
class Order:
    """What to train: the run that is made, the prepared data, and settings; `text`: whether any item has some."""

    out: Path
    data: Path
    components: tuple[str, ...]
    split: str = "random"
    seed: int = 0
    quick: bool = False
    text: bool = True

    @property
    def name(self) -> str:
        return self.out.name

    def words(self, data: str, out: str) -> list[str]:
        """The arguments of `whyrec` that do it."""
        told = [f"components={','.join(self.components)}", *(["tune=false", "control=false"] if self.quick else [])]
        flags = ["--split", self.split, "--seed", str(self.seed), "--set", *told]
        return ["train", "--data", data, "--out", out, *flags]

    def steps(self) -> list[Step]:
        """What `recsys_core.train` will do, in its order."""
        readers = {name for name in self.components if scorer_class(name).reads_text}
        used = [name for name in self.components if self.text or name not in readers]
        again = [name for name in used if name in readers and name != "cross_encoder"]
        stages = {"tuned": used, "final": used, "rehearsal": again}
        stages |= {} if self.quick else {"control-tuned": again, "control-final": again}
        return [(stage, name) for stage, names in stages.items() for name in names] + [("run", "")]


@dataclass(frozen=True)
class Status:
    """How it stands: state is "none", "running", "stopping", "done", "failed" or "cancelled"."""

    state: str = "none"
    order: Order | None = None
    seconds: float = 0.0
    done: int = 0
    steps: tuple[Step, ...] = ()
    now: Step = ("", "")  # what it is doing
    said: tuple[str, ...] = ()  # what training says, a line a component, without what it prints besides
    log: str = ""
    error: str = ""
    number: int = 0  # of the training, so that a page knows the one that it has seen

    @property
    def busy(self) -> bool:
        return self.state in ("running", "stopping")


@dataclass
class Job:
    order: Order
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    number: int
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    cancelled: bool = False
    forgotten: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Training:
    """The one training that a server may have; safe to use from every session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None

    def start(self, order: Order) -> None:
        """Begin; returns at once.

        Raises:
            UserError: another training runs, the name cannot be used or is in use, or a setting is not known.
        """
        check(order)
        with self._lock:
            if self._job is not None and not self._job.over.is_set():
                raise UserError(plain("data.wrong.busy", name=self._job.order.name))
            number = self._job.number + 1 if self._job is not None else 1
            log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the job
            words = order.words(str(order.data), str(order.out))
            process = subprocess.Popen(
                [sys.executable, "-m", "dashboard.training", *words],
                stdin=subprocess.PIPE,  # never written to: its end tells the child that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
            if self._job is not None:
                self._job.log.close()
            self._job = Job(order, process, log, number)
            threading.Thread(target=_watch, args=(self._job,), daemon=True, name=f"training {order.name}").start()

    def cancel(self, wait: float = 0.0) -> None:
        """Stop it, if any, and take away what it has made; waits at most so many seconds for that."""
        with self._lock:
            job = self._job
            if job is None or job.over.is_set():
                return
            if not job.cancelled:
                job.cancelled = True
                _signal(job, signal.SIGTERM)
                threading.Timer(GRACE, lambda: None if job.over.is_set() else _signal(job, signal.SIGKILL)).start()
        job.over.wait(wait)

    def forget(self) -> None:
        """A training that is over is not told of any more."""
        with self._lock:
            if self._job is not None and self._job.over.is_set():
                self._job.forgotten = True

    def status(self) -> Status:
        with self._lock:
            job = self._job
            if job is None or job.forgotten:
                return Status(number=0 if job is None else job.number)
            log = _tail(job.log)
        order, over = job.order, job.over.is_set()
        said = _said(log, order)
        left_out = {line.partition(":")[0] for line in said if line.endswith("left out, no item has text")}
        steps = tuple(step for step in order.steps() if step[1] not in left_out)
        seconds = (job.ended or time.monotonic()) - job.started
        told = Status("running", order, seconds, steps=steps, said=said, log=log, number=job.number)
        if not over:
            waiting = [step for step in steps if not _made(order, step)]
            state = "stopping" if job.cancelled else "running"
            return replace(told, done=len(steps) - len(waiting), now=waiting[0], state=state)
        if (order.out / "manifest.json").is_file() and (job.process.returncode == 0 or job.cancelled):
            return replace(told, done=len(steps), state="done")  # cancelled too late: the run is whole
        if job.cancelled:
            return replace(told, state="cancelled")
        return replace(told, state="failed", error=_reason(log, job.process.returncode, order))


def check(order: Order) -> None:
    """Raises UserError if the order cannot be carried out, with the reason."""
    check_name(order.out.parent, order.name)
    if not order.components:
        raise UserError(plain("data.wrong.components"))
    for name in order.components:
        if name not in scorer_names():
            raise unknown("scorer", name, scorer_names())
    if order.split not in KINDS:
        raise unknown("split", order.split, KINDS)
    if not 0 <= order.seed < 1 << 32:
        raise UserError(plain("data.wrong.seed", seed=order.seed, most=(1 << 32) - 1))


def check_name(folder: Path, name: str) -> None:
    """Raises UserError if no run in the folder can be called so."""
    if not NAME.fullmatch(name):
        raise UserError(plain("data.wrong.name", name=repr(name[:60]) if name else plain("data.wrong.empty")))
    if os.path.lexists(folder / name):
        raise UserError(plain("data.wrong.used", name=name))


def shell(order: Order, data: str, out: str) -> str:
    """The shell command that trains the same."""
    return shlex.join(["whyrec", *order.words(data, out)])


def valid_ndcg(run: Path) -> tuple[int, float] | None:
    """(k, NDCG@k) of the blend on validation, as training wrote it; None if it cannot be read."""
    try:
        valid = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["valid"]
        return int(valid["k"]), float(valid["hybrid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(order: Order, step: Step) -> bool:
    return step[1] != "" and (partial(order.out) / step[0] / step[1]).exists()


def _environment() -> dict[str, str]:
    """Ours, with this package where the child finds it, and output that does not wait."""
    here = str(Path(__file__).parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1"}


def _watch(job: Job) -> None:
    """Wait for the end, so that nothing is left: no zombie, no other process of the group, no half run."""
    process = job.process
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # the group keeps its number until it is reaped
    _signal(job, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode:
        shutil.rmtree(partial(job.order.out), ignore_errors=True)
    job.ended = time.monotonic()
    job.over.set()


def _signal(job: Job, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(job.process.pid, number)  # start_new_session: the group has the child's number


def _tail(log: IO[bytes]) -> str:
    """The end of the log as plain text; of a line that was written over and over, its last state.

    Read by position: the child writes through the same open file, whose offset is shared.
    """
    size = os.fstat(log.fileno()).st_size
    data = os.pread(log.fileno(), TAIL, max(0, size - TAIL))
    lines = data.decode("utf-8", "replace").split("\n")
    return "\n".join(CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines).strip("\n")


def _said(log: str, order: Order) -> tuple[str, ...]:
    """Lines that training says about a component; anything else that is printed is not taken for one."""
    heads = (*order.components, "control", "weights")
    return tuple(line for line in log.split("\n") if line.partition(": ")[0] in heads and ": " in line)


def _reason(log: str, code: int, order: Order) -> str:
    """Why it failed, in one line."""
    lines = [line.strip() for line in log.split("\n") if line.strip()]
    told = [line.removeprefix("whyrec: ") for line in lines if line.startswith("whyrec: ")]
    if told:
        return told[-1].replace(str(order.data), "the data")[:600]
    if code < 0:
        name = signal.Signals(-code).name if -code in [*signal.Signals] else str(-code)
        return f"the process was ended by {name}; too little memory is the usual reason"
    return (lines[-1] if lines else f"the process ended with code {code}, without a word")[:600]


def _end_with_parent(out: Path | None) -> None:
    """In the child: when the other end of stdin closes, the parent is gone, and so are we and what is half done."""
    while os.read(0, 1024):
        pass
    if out is not None:
        shutil.rmtree(partial(out), ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def child(argv: Sequence[str]) -> int:
    """The command line, ended with its parent."""
    from recsys_core.cli import main

    os.nice(5)  # pages come first
    out = Path(argv[argv.index("--out") + 1]) if "--out" in argv else None
    threading.Thread(target=_end_with_parent, args=(out,), daemon=True).start()
    return main(argv)


TRAINING = Training()  # of this server

if __name__ == "__main__":
    sys.exit(child(sys.argv[1:]))
