"""Supervisors of chaos workers that share one runtime folder."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Self

from botframework.manager.state import WorkerState
from botframework.manager.supervisor import Supervisor
from botframework.manager.workplace import Workplace
from botframework.process import is_alive
from botframework.wire.flight import read_flight
from botframework.wire.messages import FimRequest, LoadModel
from support.chaos_worker import chaos, spawns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "0123456789abcdef"
FAST_BACKOFF = tuple(pause / 20 for pause in (0.5, 1.0, 2.0, 4.0, 8.0))
"""The back-off at twenty times the speed."""

LOAD = LoadModel(
    path="model.gguf",
    n_gpu_layers=0,
    n_threads=(1,),
    n_ctx_fim=2_048,
    n_ctx_chat=2_048,
    n_seq_fim=2,
    n_seq_chat=2,
    n_ubatch_fim=64,
    n_ubatch_chat=128,
)


def ask(words: str, *, session: str = "") -> FimRequest:
    """A request that tells the chaos worker what to do."""
    return FimRequest(id=0, prefix=words, session=session)


class House:
    """Supervisors that share one runtime folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisors: list[Supervisor] = []
        self.changes = asyncio.Event()

    def supervisor(
        self,
        *arguments: str,
        backoff_s: tuple[float, ...] = FAST_BACKOFF,
        clock: Callable[[], float] = time.time,
    ) -> Supervisor:
        """A supervisor whose workers are chaos workers with these arguments."""
        place = Workplace(KEY, self.folder, command=chaos(*arguments), backoff_s=backoff_s, clock=clock)
        made = Supervisor(LOAD, place, on_change=self.changes.set)
        self.supervisors.append(made)
        return made

    async def ready(self, *arguments: str, backoff_s: tuple[float, ...] = FAST_BACKOFF) -> Supervisor:
        """One that has loaded its model."""
        made = self.supervisor(*arguments, backoff_s=backoff_s)
        await made.start()
        await self.until(lambda: made.state is WorkerState.READY)
        return made

    async def until(self, condition: Callable[[], bool], deadline_s: float = 15.0) -> None:
        """Wait for a state of the supervisors."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                self.changes.clear()
                await self.changes.wait()

    @property
    def spawns(self) -> list[int]:
        """The pids of all workers that were started."""
        return spawns(self.folder)

    async def close(self) -> None:
        """Stop everything; whatever survives is a leak, and is taken away."""
        await asyncio.gather(*(supervisor.stop() for supervisor in self.supervisors))
        for pid in self.spawns:
            if not await gone(pid, 2.0):
                os.kill(pid, signal.SIGKILL)
                await gone(pid, 2.0)
        # One turn for the ends of the workers' output.
        await asyncio.sleep(0)


async def soon(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Wait for something that nobody announces."""
    give_up_at = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.005)


async def gone(pid: int, deadline_s: float) -> bool:
    """Whether a process ends in time."""
    give_up_at = time.monotonic() + deadline_s
    while is_alive(pid):
        if time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(0.005)
    return True


async def none_left(folder: Path) -> None:
    """Every worker that was ever started in a runtime folder is gone, and what it printed has been read to its end."""
    for pid in [*spawns(folder), *recorded(folder)]:
        assert await gone(pid, 2.0)
    for _ in range(3):  # The end is seen, told, and the pipe closed.
        await asyncio.sleep(0)


def recorded(folder: Path) -> list[int]:
    """The pids of the last worker of each key, real ones too."""
    records = (read_flight(path) for path in folder.glob("*.flight"))
    return [record.pid for record in records if record is not None and record.pid != os.getpid()]


async def reaped(pid: int, deadline_s: float) -> bool:
    """Whether a child of ours ends in time and leaves no zombie."""
    give_up_at = time.monotonic() + deadline_s
    while time.monotonic() < give_up_at:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.005)
    return False


class LoopLatency:
    """Measures how late the event loop serves a timer, for as long as the context lasts."""

    STEP_S = 0.002

    def __init__(self) -> None:
        self.late_s: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            due = time.perf_counter() + self.STEP_S
            await asyncio.sleep(self.STEP_S)
            self.late_s.append(time.perf_counter() - due)

    def p99_s(self) -> float:
        """The delay that 99 of 100 timers stay under."""
        return sorted(self.late_s)[int(len(self.late_s) * 0.99)]
