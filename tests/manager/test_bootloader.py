"""A worker whose process we did not start ourselves, but its bootloader did: a program of one file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from botframework.errors import WorkerCrashed
from botframework.manager import ledger
from botframework.manager.state import WorkerState
from botframework.manager.supervisor import Supervisor
from botframework.manager.workplace import Workplace
from botframework.process.identity import parent_of
from support.chaos_worker import chaos
from support.house import FAST_BACKOFF, KEY, LOAD, ask, gone

if TYPE_CHECKING:
    from support.house import House

TIDYING_S = 0.5
"""A slow disk: the real one takes a quarter of a second."""
BOOTLOADER = """
import os, subprocess, sys, time
code = subprocess.call(sys.argv[2:], close_fds=False)
time.sleep(float(sys.argv[1]))
sys.exit(code) if code >= 0 else os.kill(os.getpid(), -code)
"""
"""Like PyInstaller's: it inherits what we give, passes it on, waits, tidies up, and ends as its child did."""


def behind_a_bootloader(house: House, *arguments: str) -> Supervisor:
    """A supervisor of a chaos worker that has one."""
    command = (sys.executable, "-c", BOOTLOADER, str(TIDYING_S), *chaos(*arguments))
    place = Workplace(KEY, house.folder, command=command, backoff_s=FAST_BACKOFF)
    made = Supervisor(LOAD, place, on_change=house.changes.set)
    house.supervisors.append(made)
    return made


async def test_the_worker_s_death_is_told_before_its_bootloader_ends(house: House) -> None:
    """The bootloader holds what it inherited while it tidies up; the request fails within 100 ms all the same."""
    supervisor = behind_a_bootloader(house)
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.READY)
    answer = supervisor.submit(ask("tokens=100000 step=5"))
    async for _ in answer:
        break

    killed_at = time.monotonic()
    os.kill(house.spawns[0], signal.SIGSEGV)
    with pytest.raises(WorkerCrashed):
        await answer.result()
    told_in = time.monotonic() - killed_at
    await house.until(lambda: supervisor.state is WorkerState.READY)

    assert told_in < 0.1
    memory = ledger.read(house.folder / f"{KEY}.json")
    assert memory.deaths(time.time()) == 1
    assert [start.pid for start in memory.starts] == house.spawns
    assert "SIGSEGV" in memory.last_words
    await all_go(house, supervisor)


async def test_loading_that_kills_is_noticed_behind_a_bootloader(house: House) -> None:
    """The quarantine of a model counts the worker's deaths, not its bootloader's starts."""
    supervisor = behind_a_bootloader(house, "--at-load", "abort")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    assert len(house.spawns) == ledger.LOAD_DEATHS_LIMIT
    assert ledger.read(house.folder / f"{KEY}.json").model_is_quarantined


async def test_nobody_stays_when_the_daemon_leaves(house: House) -> None:
    """The first connection is given up for the second; when that ends too, worker and bootloader go."""
    supervisor = behind_a_bootloader(house)
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.READY)

    await all_go(house, supervisor)


async def all_go(house: House, supervisor: Supervisor) -> None:
    """Stop the daemon's side and wait for the last worker and its bootloader."""
    worker = house.spawns[-1]
    bootloader = parent_of(worker)
    assert bootloader is not None

    await asyncio.wait_for(supervisor.stop(), 10)

    assert await gone(worker, 2.0)
    assert await gone(bootloader, TIDYING_S + 2.0)
