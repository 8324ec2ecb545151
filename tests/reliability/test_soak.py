"""Check 43: an editor's day. Memory, descriptors and threads of both processes stay as they are."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from support.mixed_load import MixedLoad
from support.real_daemon import PATIENCE_S, ready_daemon, status

if TYPE_CHECKING:
    from support.lsp_client import LspClient

log = logging.getLogger(__name__)

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
"""Check 43 asks for 480 of them before a release."""
PAUSE_FILE = os.environ.get("SOAK_PAUSE_FILE")
"""While this file exists the soak rests: somebody measures on the same machine. The time does not count."""
SEED = 43
ROUND_S = 20.0
"""Load between two looks."""
WARM_UP_SHARE = 4
"""The first quarter counts for nothing: caches fill, conversations and documents are seen for the first time."""
DRIFT = 0.05
REST_S = 1.0
"""Nothing is computed and nothing comes for so long: everybody rests."""
LOOKS = 5
"""A file that is being written or deleted counts for a moment only."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at rest."""

    at_s: float
    rss: int
    fds: int
    threads: int


class Watched:
    """One process over time."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.samples: list[Sample] = []
        self._process = psutil.Process(pid)

    async def look(self, at_s: float) -> None:
        """Take a sample."""
        fds, threads = [], []
        for _ in range(LOOKS):
            fds.append(self._process.num_fds())
            threads.append(self._process.num_threads())
            await asyncio.sleep(0.05)
        rss = self._process.memory_info().rss
        self.samples.append(Sample(at_s, rss, min(fds), min(threads)))
        log.info("%s %s", self.name, self.samples[-1])

    @property
    def warm(self) -> list[Sample]:
        """What counts."""
        start = self.samples[-1].at_s / WARM_UP_SHARE
        return [sample for sample in self.samples if sample.at_s >= start]

    @property
    def drift(self) -> float:
        """How much of its memory a straight line through the samples gains or loses from their first to their last."""
        slope, start = statistics.linear_regression([s.at_s for s in self.warm], [s.rss for s in self.warm])
        first, last = self.warm[0].at_s, self.warm[-1].at_s
        return slope * (last - first) / (start + slope * first)

    def describe(self) -> str:
        """For the log and for a failure."""
        first, last = self.warm[0], self.warm[-1]
        return (
            f"{self.name}: RSS {first.rss / 1e6:.1f} to {last.rss / 1e6:.1f} MB in {last.at_s - first.at_s:.0f} s, "
            f"drift {self.drift:+.2%}, fds {[s.fds for s in self.warm]}, threads {[s.threads for s in self.warm]}"
        )


async def rest(client: LspClient) -> None:
    """Wait until nothing is computed any more, not even in the background."""
    seen, since = (0, 0), time.monotonic()
    deadline = since + PATIENCE_S
    while time.monotonic() - since < REST_S:
        assert time.monotonic() < deadline, "never at rest"
        now = await status(client)
        figures = now["promptTokensRead"], now["tokensGenerated"]
        if figures != seen:
            seen, since = figures, time.monotonic()
        await asyncio.sleep(0.1)


async def pause() -> float:
    """Wait while the file exists; seconds."""
    began = time.monotonic()
    while PAUSE_FILE and Path(PAUSE_FILE).exists():  # noqa: ASYNC110 - nobody tells when a file is deleted
        await asyncio.sleep(1.0)
    return time.monotonic() - began


async def soak(folder: Path, seconds: float, round_s: float) -> list[Watched]:
    """Work for so long and look at both processes after every round."""
    async with ready_daemon(folder) as client:
        worker, *others = psutil.Process(client.process.pid).children(recursive=True)
        assert not others
        watched = [Watched("daemon", client.process.pid), Watched("worker", worker.pid)]
        load = MixedLoad(client, random.Random(SEED))
        await load.open()
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < seconds:
            began += await pause()
            await load.work(round_s)
            await rest(client)
            for process in watched:
                await process.look(at_s + round_s)
        log.info("%s", load.done)
        assert all(load.done.values()), load.done
        # Nobody was replaced on the way.
        assert worker.is_running()
        assert await client.leave() == 0
    return watched


def check(watched: list[Watched]) -> None:
    """Assert the promise."""
    for process in watched:
        log.info("%s", process.describe())
        first = process.warm[0]
        assert all(sample.fds <= first.fds for sample in process.warm[-3:]), process.describe()
        assert all(sample.threads <= first.threads for sample in process.warm[-3:]), process.describe()
        assert process.drift <= DRIFT, process.describe()


@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_mixed_load_for_long(home: Path) -> None:
    """Check 43: under mixed load neither process gains memory (5 %), descriptors or threads, and nobody dies.

    Typing in eight documents, jumps, pastes, accepted suggestions, chats, cancels, closed documents; each request is
    answered exactly once. 30 minutes unless ``SOAK_MINUTES`` says otherwise.
    """
    check(await soak(home, MINUTES * 60, ROUND_S))
