"""How does one dashboard server bear many sessions at once?

    python benchmarks/load.py --run RUN [--sessions 1 10 50] [--moves 6] [--think 2]

Starts `whyrec dashboard` and opens sessions that speak Streamlit's own protocol over its websocket, so that no browser competes
with the server for the processor. Each has a user of its own and moves a weight's slider every `think` seconds, more or less, as
people do; what is timed is the message to the end of the answer. Then a slow explanation is asked for and its reader leaves: how
long the server goes on for nobody. Last, one reader opens many users: what the caches keep. Writes results/load.json.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import websockets
from _common import ROOT, arguments, megabytes, result_file

sys.path.insert(0, str(ROOT / "tests"))
from served import serve
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from dashboard.strings import plain
from recsys_core.run import Run

SLIDER, BUDGET, PATIENCE = "ease", 5000, 300


@dataclass
class Session:
    """One reader: what the page has shown, and what has been typed into it."""

    socket: Any
    page: str = ""
    widgets: dict[str, tuple[Any, str]] = field(default_factory=dict)  # by label: the element, the fragment that it is in
    typed: dict[str, WidgetState] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    async def ask(self, fragment: str = "", **query: str) -> float:
        """Milliseconds from asking for the page, or one fragment of it, to the end of the answer."""
        message = BackMsg()
        message.rerun_script.query_string, message.rerun_script.page_name = urlencode(query), self.page
        message.rerun_script.widget_states.widgets.extend(self.typed.values())
        if fragment:
            message.rerun_script.fragment_id = fragment
        begun = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        await asyncio.wait_for(self.answered(), PATIENCE)
        return 1000 * (time.perf_counter() - begun)

    async def answered(self) -> None:
        while True:
            message = ForwardMsg.FromString(await self.socket.recv())
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                self.seen(message.delta)
            if kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    def seen(self, delta: Any) -> None:
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind in ("slider", "button", "number_input"):
            shown = getattr(element, kind)
            self.widgets[shown.label.split(" ")[0] if kind == "slider" else shown.label] = (shown, delta.fragment_id)
        if kind == "exception" or (kind == "alert" and element.alert.format == element.alert.ERROR):
            self.errors.append(str(element)[:300])

    async def move(self, step: int) -> float:
        slider, fragment = self.widgets[SLIDER]
        to = slider.default[0] + (slider.step if step % 2 else -slider.step)
        state = WidgetState(id=slider.id)
        state.double_array_value.data.append(min(max(to, slider.min), slider.max))
        self.typed = {slider.id: state}
        return await self.ask(fragment)


def at(url: str) -> Any:
    return websockets.connect(
        f"{url.replace('http', 'ws')}/_stcore/stream",
        subprotocols=["streamlit"],
        origin=url,
        max_size=None,
        open_timeout=PATIENCE,
    )


async def reader(url: str, user: str, moves: int, think: float, clock: random.Random) -> tuple[float, list[float], list[str]]:
    async with at(url) as socket:
        session = Session(socket)
        await asyncio.sleep(clock.random() * think)
        opened, times = await session.ask(user=user), []
        for step in range(moves):
            await asyncio.sleep(think * (0.5 + clock.random()))
            times.append(await session.move(step))
        return opened, times, session.errors


async def crowd(url: str, users: list[str], moves: int, think: float) -> dict[str, Any]:
    clock = random.Random(0)
    done = await asyncio.gather(*(reader(url, user, moves, think, clock) for user in users))
    opened, times = np.array([d[0] for d in done]), np.array([t for d in done for t in d[1]])
    return {
        "sessions": len(users),
        "moves": len(times),
        "errors": sum(len(d[2]) for d in done),
        "open_median_ms": round(float(np.median(opened)), 1),
        "open_p95_ms": round(float(np.percentile(opened, 95)), 1),
        "move_median_ms": round(float(np.median(times)), 1),
        "move_p95_ms": round(float(np.percentile(times, 95)), 1),
    }


async def left_alone(url: str, user: str, item: str, pid: int) -> dict[str, Any]:
    """Ask for a slow explanation of words, wait for it once, and once leave after a second: CPU seconds of the server."""
    found = {}
    for name, budget in (("stayed", BUDGET), ("left", BUDGET - 1)):  # another budget: nothing comes from a cache
        async with at(url) as socket:
            session = Session(socket, "explain")
            await session.ask(user=user, item=item)
            ask, fragment = session.widgets[plain("why.ask.words")]
            number, _ = session.widgets[plain("why.budget")]
            size, press = WidgetState(id=number.id, double_value=budget), WidgetState(id=ask.id, trigger_value=True)
            session.typed = {number.id: size}
            await session.ask(fragment)  # the button asks for what the page has seen
            session.typed |= {ask.id: press}
            begun = cpu(pid)
            asking = asyncio.ensure_future(session.ask(fragment))
            await (asking if name == "stayed" else asyncio.sleep(1))
            asking.cancel()
        quiet, last = time.monotonic(), cpu(pid)
        while time.monotonic() < quiet + 2:  # until it has rested for two seconds
            await asyncio.sleep(0.25)
            if cpu(pid) > last + 0.1:
                quiet, last = time.monotonic(), cpu(pid)
        found[f"{name}_cpu_seconds"] = round(cpu(pid) - begun, 2)
    return found


async def many_users(url: str, users: list[str], pid: int) -> list[dict[str, float]]:
    """Megabytes of the server while readers come and go, each for another user."""
    found = [{"users": 0, "mb": round(megabytes(pid))}]
    for n, user in enumerate(users, 1):
        async with at(url) as socket:
            await Session(socket).ask(user=user)
        if n % 100 == 0 or n == len(users):
            found.append({"users": n, "mb": round(megabytes(pid))})
    return found


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a run on MovieLens-100K")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--moves", type=int, default=6)
    parser.add_argument("--think", type=float, default=2.0, help="mean seconds between two moves of one reader")
    args = parser.parse_args()
    started, run, servers = time.perf_counter(), Run.load(args.run), []
    users = [str(u) for u in run.dataset.users.ids]
    result: dict[str, Any] = {"think_seconds": args.think, "load_before": os.getloadavg()[0], "crowds": []}
    with tempfile.TemporaryDirectory() as folder, serve(args.run, log=Path(folder) / "log.txt", told=servers) as url:
        pid = servers[-1].pid
        asyncio.run(crowd(url, users[:1], 2, 0.1))  # imports
        for n in args.sessions:
            before = megabytes(pid)
            found = asyncio.run(crowd(url, users[100 : 100 + n], args.moves, args.think))
            found |= {"mb_before": round(before), "mb_after": round(megabytes(pid))}
            result["crowds"].append(found)
            print(found, flush=True)
        item = str(run.dataset.items.ids[0])
        result["slow_explanation"] = {"evaluations": BUDGET} | asyncio.run(left_alone(url, users[0], item, pid))
        print(result["slow_explanation"], flush=True)
        result["many_users"] = asyncio.run(many_users(url, users[200:600], pid))
        print(result["many_users"], flush=True)
        result["log_tracebacks"] = (Path(folder) / "log.txt").read_text().count("Traceback")
    result_file("load", run.dataset, started, result)


if __name__ == "__main__":
    main()
