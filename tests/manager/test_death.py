"""What a supervisor does when its worker dies: requests, restarts, budget, corrupt models."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.errors import ModelCorrupt, ModelLoading, WorkerCrashed, WorkerUnavailable
from botframework.manager import ledger
from botframework.manager.state import WorkerState
from support.chaos_worker import chaos
from support.house import KEY, LoopLatency, ask, gone, reaped, soon

if TYPE_CHECKING:
    from support.house import House


async def test_a_death_in_the_middle_of_an_answer_is_told_at_once_and_repaired(house: House) -> None:
    """Check 20: SIGSEGV mid-stream fails the request within 100 ms; service is back after back-off, load and 1 s."""
    supervisor = await house.ready(backoff_s=ledger.BACKOFF_S)
    answer = supervisor.submit(ask("tokens=100000 step=5"))
    async for _ in answer:
        break

    killed_at = time.monotonic()
    os.kill(house.spawns[0], signal.SIGSEGV)
    with pytest.raises(WorkerCrashed) as caught:
        await answer.result()
    told_in = time.monotonic() - killed_at
    await house.until(lambda: supervisor.state is WorkerState.READY)
    back_in = time.monotonic() - killed_at

    assert told_in < 0.1
    assert caught.value.retryable
    assert caught.value.data["retryAfterMs"] > 0
    assert back_in < ledger.BACKOFF_S[0] * 1.2 + 1.0
    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"


async def test_all_requests_of_all_daemons_are_told(house: House) -> None:
    """Every request with a dead worker gets its error, whoever sent it; the death counts once."""
    daemons = [await house.ready() for _ in range(3)]
    answers = [daemon.submit(ask("tokens=100000 step=20")) for daemon in daemons for _ in range(5)]

    os.kill(house.spawns[0], signal.SIGKILL)
    ends = await asyncio.wait_for(asyncio.gather(*(answer.result() for answer in answers), return_exceptions=True), 1)
    await house.until(lambda: all(daemon.state is WorkerState.READY for daemon in daemons))

    assert {type(end) for end in ends} == {WorkerCrashed}
    assert len(house.spawns) == 2
    assert ledger.read(house.folder / f"{KEY}.json").deaths(time.time()) == 1


@pytest.mark.parametrize("how", ["exit", "segv"])
@pytest.mark.parametrize("windows", [1, 3])
async def test_a_crash_loop_ends(house: House, how: str, windows: int) -> None:
    """Check 21: a worker that dies at its start is started five times, not once more, however many daemons want it."""
    daemons = [house.supervisor("--at-spawn", how) for _ in range(windows)]
    for daemon in daemons:
        await daemon.start()
    await house.until(lambda: all(daemon.state is WorkerState.ERROR for daemon in daemons))

    for daemon in daemons:
        with pytest.raises(WorkerUnavailable, match="no such library"):
            daemon.submit(ask(""))

    assert len(house.spawns) == ledger.BUDGET_STARTS


async def test_the_budget_is_for_a_window_of_time(house: House) -> None:
    """A daemon that comes when the window has passed may try again; one that comes earlier may not."""
    hours_later = 0.0

    def clock() -> float:
        return time.time() + hours_later

    first = house.supervisor("--at-spawn", "exit", clock=clock)
    await first.start()
    await house.until(lambda: first.state is WorkerState.ERROR)

    too_early = house.supervisor(clock=clock)
    await too_early.start()
    await house.until(lambda: too_early.state is WorkerState.ERROR)
    hours_later = ledger.BUDGET_WINDOW_S + 1
    late = house.supervisor(clock=clock)
    await late.start()
    await house.until(lambda: late.state is WorkerState.READY)

    assert len(house.spawns) == ledger.BUDGET_STARTS + 1
    assert first.state is WorkerState.ERROR


async def test_restart_begins_with_a_fresh_budget(house: House) -> None:
    """Somebody who asks for it gets another try at once."""
    supervisor = house.supervisor("--at-spawn", "exit")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)
    supervisor._place = dataclasses.replace(supervisor._place, command=chaos())

    await supervisor.restart()
    await house.until(lambda: supervisor.state is WorkerState.READY)

    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"


async def test_restarts_wait_longer_each_time(house: House) -> None:
    """The pauses between the starts grow as they should."""
    pauses = (0.05, 0.1, 0.2, 0.4, 0.8)
    supervisor = house.supervisor("--at-spawn", "exit", backoff_s=pauses)
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)
    starts = [start.at for start in ledger.read(house.folder / f"{KEY}.json").starts]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]

    assert len(gaps) == 4
    for gap, pause in zip(gaps, pauses, strict=False):
        assert gap > pause * 0.8


async def test_what_is_asked_of_a_dead_worker_is_answered(house: House) -> None:
    """Between a death and its burial there is nobody to ask, and nobody waits for ever."""
    supervisor = await house.ready()
    asked = [asyncio.create_task(supervisor.sessions()) for _ in range(2)]
    await asyncio.gather(*asked)
    os.kill(house.spawns[0], signal.SIGKILL)
    await house.until(lambda: supervisor.state is WorkerState.RESTARTING)

    for question in (supervisor.sessions(), supervisor.stats(), supervisor.close_session("a")):
        with pytest.raises((WorkerCrashed, ModelLoading)):
            await asyncio.wait_for(question, 1)
    with pytest.raises(ModelLoading):
        supervisor.submit(ask(""))


async def test_a_death_behind_a_backlog_is_seen(house: House) -> None:
    """Tokens that nobody reads pause the link, and still the end of the worker comes through."""
    supervisor = await house.ready()
    answers = [supervisor.submit(ask("tokens=100000")) for _ in range(3)]
    await soon(lambda: any(answer.is_backlogged for answer in answers))

    os.kill(house.spawns[0], signal.SIGKILL)

    for answer in answers:
        with pytest.raises(WorkerCrashed):
            await asyncio.wait_for(answer.result(), 2)


async def test_a_runtime_folder_that_is_swept_away_stops_nothing_but_the_next_start(house: House) -> None:
    """The connection goes on; a later death ends in an error with the reason, and a restart in a new folder works."""
    supervisor = await house.ready()
    pid = supervisor.worker_pid
    shutil.rmtree(house.folder)

    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"
    os.kill(pid, signal.SIGKILL)
    await house.until(lambda: supervisor.state is WorkerState.ERROR)
    reason = str(supervisor.last_error)
    house.folder.mkdir(mode=0o700)
    await supervisor.restart()
    await house.until(lambda: supervisor.state is WorkerState.READY)

    assert "No such file or directory" in reason


# --- models that kill -------------------------------------------------------------------------------------------------


async def test_a_model_that_kills_its_loader_is_corrupt(house: House) -> None:
    """Two deaths while loading, then `ModelCorrupt` with the file's name and the last words, for every daemon."""
    supervisor = house.supervisor("--at-load", "abort")
    started = time.monotonic()
    await supervisor.start()
    await house.until(lambda: isinstance(supervisor.last_error, ModelCorrupt))
    told_in = time.monotonic() - started
    await house.until(lambda: supervisor.state is WorkerState.ERROR)
    other = house.supervisor("--at-load", "abort")
    await other.start()
    await house.until(lambda: other.state is WorkerState.ERROR)

    for daemon in (supervisor, other):
        with pytest.raises(ModelCorrupt, match=r"model\.gguf.*GGML_ASSERT\(n_vocab > 0\)"):
            daemon.submit(ask(""))

    assert told_in < 2.0
    assert len(house.spawns) == ledger.LOAD_DEATHS_LIMIT


async def test_windows_that_wait_for_a_corrupt_model_share_its_deaths(house: House) -> None:
    """Three daemons that join one fatal load make two starts, not six."""
    daemons = [house.supervisor("--at-load", "abort", "--load-s", "0.2") for _ in range(3)]
    for daemon in daemons:
        await daemon.start()
    await house.until(lambda: all(daemon.state is WorkerState.ERROR for daemon in daemons))

    assert {type(daemon.last_error) for daemon in daemons} == {ModelCorrupt}
    assert len(house.spawns) == ledger.LOAD_DEATHS_LIMIT


async def test_a_llama_that_cannot_be_imported_is_not_the_models_fault(house: House) -> None:
    """A death before the model was touched uses the budget up and quarantines no file."""
    supervisor = house.supervisor("--at-load", "import")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    with pytest.raises(WorkerUnavailable, match=r"status 3: ImportError: libggml\.so"):
        supervisor.submit(ask(""))

    assert len(house.spawns) == ledger.BUDGET_STARTS
    assert not ledger.read(house.folder / f"{KEY}.json").model_is_quarantined


async def test_a_refusal_is_forgotten_by_a_restart(house: House) -> None:
    """What comes after is told, not what was before."""
    supervisor = house.supervisor("--at-load", "fail")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)
    supervisor._place = dataclasses.replace(supervisor._place, command=("/none/such/program",))

    await supervisor.restart()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    assert isinstance(supervisor.last_error, WorkerUnavailable)
    assert "/none/such/program" in str(supervisor.last_error)


async def test_restart_lifts_the_quarantine_of_a_model(house: House) -> None:
    """Asked for, the file is tried again."""
    supervisor = house.supervisor("--at-load", "segv")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    await supervisor.restart()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    assert len(house.spawns) == 2 * ledger.LOAD_DEATHS_LIMIT


async def test_a_refused_model_is_not_tried_again(house: House) -> None:
    """llama.cpp's own refusal is final: one start, its words, no restart."""
    supervisor = house.supervisor("--at-load", "fail")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    with pytest.raises(ModelCorrupt, match="says no") as caught:
        supervisor.submit(ask(""))

    assert caught.value.data == {"line": 1}
    assert len(house.spawns) == 1
    assert await gone(house.spawns[0], 1.0)


async def test_stopping_while_the_model_hangs_in_loading(house: House) -> None:
    """A load without end does not hold the daemon up."""
    supervisor = house.supervisor("--at-load", "hang")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.LOADING)

    started = time.monotonic()
    await supervisor.stop()

    assert time.monotonic() - started < 1.0
    assert await gone(house.spawns[0], 0.2)


# --- floods and leaks -------------------------------------------------------------------------------------------------


async def test_a_gigabyte_on_stderr_hurts_nobody(house: House) -> None:
    """Check 11: while the worker prints 1 GB the loop stays responsive (p99 under 50 ms) and requests are answered."""
    supervisor = await house.ready()
    status = Path("/proc/self/status")
    before = _rss_kib(status)

    async with LoopLatency() as latency:
        answer = supervisor.submit(ask("flood=1e9 silent"))
        served = 0
        process = supervisor._attached.process if supervisor._attached is not None else None
        assert process is not None
        output = process._output
        started = time.monotonic()
        while output.taken_bytes < 10**9 and time.monotonic() - started < 60:
            await supervisor.submit(ask("tokens=2")).result()
            served += 1
            await asyncio.sleep(0.02)
        answer.cancel()
        await answer.result()

    assert output.taken_bytes >= 10**9
    assert latency.p99_s() < 0.05
    assert served > 5
    assert _rss_kib(status) - before < 8 * 1024
    assert len(process.tail) <= 64 * 1024


def _rss_kib(status: Path) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))


async def test_deaths_leave_nothing_behind(house: House) -> None:
    """After several deaths there are as many descriptors and threads as after one, and no zombie."""
    supervisor = await house.ready()

    async def kill() -> None:
        os.kill(supervisor.worker_pid, signal.SIGKILL)
        await house.until(lambda: supervisor.state is not WorkerState.READY)
        await house.until(lambda: supervisor.state is WorkerState.READY)

    await kill()
    descriptors, threads = _entries("fd"), _entries("task")
    for _ in range(2):
        await kill()

    assert _entries("fd") == descriptors
    assert _entries("task") == threads
    assert all([await reaped(pid, 1.0) for pid in house.spawns[:-1]])


def _entries(name: str) -> int:
    return len(list(Path("/proc/self", name).iterdir()))
