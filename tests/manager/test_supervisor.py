"""One worker's life as its supervisor sees it, with a real process that misbehaves on command."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.errors import (
    InvalidParams,
    ModelLoading,
    RequestCancelled,
    ServerBusy,
    VersionMismatch,
    WorkerCrashed,
    WorkerUnavailable,
)
from botframework.manager import attach, generation, ledger
from botframework.manager.dispatch import MAX_IN_FLIGHT
from botframework.manager.state import WorkerState
from botframework.manager.supervisor import STOP_PATIENCE_S
from botframework.wire.flight import fingerprint
from botframework.wire.link import MAX_FRAME
from support.house import KEY, ask, gone, soon

if TYPE_CHECKING:
    from support.house import House


async def test_a_request_gets_its_tokens_and_its_end(house: House) -> None:
    """The tokens come in order, then the end; the worker's metadata is known."""
    supervisor = await house.ready()

    answer = supervisor.submit(ask("tokens=4"))
    tokens = [token.text async for token in answer]
    done = await answer.result()

    assert tokens == ["t0 ", "t1 ", "t2 ", "t3 "]
    assert done.finish_reason == "stop"
    assert supervisor.loaded is not None
    assert supervisor.loaded.model.name == "chaos"


async def test_while_loading_requests_are_told_how_far_it_is(house: House) -> None:
    """A request before the model is ready fails at once with `ModelLoading` and the fraction."""
    supervisor = house.supervisor("--load-s", "30")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.LOADING)
    await soon(lambda: supervisor.load_fraction > 0)

    with pytest.raises(ModelLoading) as caught:
        supervisor.submit(ask(""))

    assert caught.value.data == {"fraction": 0.5}


async def test_cancel_ends_a_request_early(house: House) -> None:
    """A cancelled request ends as cancelled; cancelling again, or after the end, does nothing."""
    supervisor = await house.ready()
    answer = supervisor.submit(ask("tokens=100000 step=5"))
    async for _ in answer:
        break

    answer.cancel()
    answer.cancel()
    done = await asyncio.wait_for(answer.result(), 1)
    answer.cancel()

    assert done.finish_reason == "cancelled"


async def test_requests_beyond_the_limit_are_refused_at_once(house: House) -> None:
    """Check 31: of 1,000 requests at once the surplus is refused with a time to retry, p99 under 50 ms, none lost."""
    supervisor = await house.ready()
    accepted, refusals, retry_after_ms = [], [], 0

    for _ in range(1_000):
        started = time.perf_counter()
        try:
            accepted.append(supervisor.submit(ask("tokens=2 step=20")))
        except ServerBusy as error:
            refusals.append(time.perf_counter() - started)
            retry_after_ms = error.data["retryAfterMs"]
    ends = await asyncio.gather(*(answer.result() for answer in accepted))

    assert retry_after_ms > 0
    assert (len(accepted), len(refusals)) == (MAX_IN_FLIGHT, 1_000 - MAX_IN_FLIGHT)
    assert {end.finish_reason for end in ends} == {"stop"}
    assert sorted(refusals)[int(len(refusals) * 0.99)] < 0.05
    assert supervisor.submit(ask("")).id > 0


async def test_a_request_larger_than_a_frame_is_the_callers_mistake(house: House) -> None:
    """It is refused before anything is sent, and the link goes on."""
    supervisor = await house.ready()

    with pytest.raises(InvalidParams, match="8 MiB"):
        supervisor.submit(ask("x" * (MAX_FRAME + 1)))

    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"


async def test_sessions_and_stats_are_asked_of_the_worker(house: House) -> None:
    """The answers come from the worker, for this connection alone."""
    first, second = await house.ready(), await house.ready()
    await first.submit(ask("", session="a.py")).result()
    await second.submit(ask("", session="b.py")).result()

    assert [session.session for session in await first.sessions()] == ["a.py"]
    assert await first.close_session("a.py") == ()
    assert [session.session for session in await second.sessions()] == ["b.py"]
    assert (await first.stats()).clients == 2


# --- sharing ----------------------------------------------------------------------------------------------------------


async def test_supervisors_that_race_share_one_worker(house: House) -> None:
    """Three that start at the same moment end up with one process and are all served."""
    racers = [house.supervisor("--load-s", "0.1") for _ in range(3)]

    await asyncio.gather(*(racer.start() for racer in racers))
    await house.until(lambda: all(racer.state is WorkerState.READY for racer in racers))
    ends = await asyncio.gather(*(racer.submit(ask("")).result() for racer in racers))

    assert len(house.spawns) == 1
    assert [end.finish_reason for end in ends] == ["stop"] * 3
    assert {racer.worker_pid for racer in racers} == set(house.spawns)


async def test_the_worker_outlives_the_supervisor_that_started_it(house: House) -> None:
    """When its starter leaves, an answer in the middle of its tokens goes on for the other; then the worker ends."""
    starter, other = await house.ready(), await house.ready()
    await other.stats()
    await starter.stats()
    answer = other.submit(ask("tokens=40 step=5"))
    async for _ in answer:
        break

    left_at = time.monotonic()
    await starter.stop()
    left_in = time.monotonic() - left_at
    done = await answer.result()
    await other.stop()

    assert left_in < 0.5
    assert done.usage.completion_tokens == 40
    assert await gone(house.spawns[0], 0.2)


async def test_the_worker_goes_with_its_last_client(house: House) -> None:
    """Within 200 ms of `stop`, which itself waits for it."""
    supervisor = await house.ready()

    started = time.monotonic()
    await supervisor.stop()

    assert await gone(house.spawns[0], max(0.0, started + 0.2 - time.monotonic()) + 0.01)
    assert supervisor.state is WorkerState.STOPPED
    with pytest.raises(WorkerUnavailable):
        supervisor.submit(ask(""))


async def test_a_worker_that_hangs_is_left_to_its_own_watchdog(house: House) -> None:
    """`stop` gives up in time and does not kill a worker that others may be using."""
    supervisor = await house.ready()
    os.kill(house.spawns[0], signal.SIGSTOP)

    started = time.monotonic()
    await supervisor.stop()
    took = time.monotonic() - started
    os.kill(house.spawns[0], signal.SIGCONT)

    assert took < STOP_PATIENCE_S + 0.2
    assert await gone(house.spawns[0], 1.0)
    assert ledger.read(house.folder / f"{KEY}.json").deaths(time.time()) == 0


async def test_stopping_in_the_middle_of_a_start_leaves_nothing(house: House) -> None:
    """A worker that has not answered yet is taken away, and the start lock is free again."""
    supervisor = house.supervisor("--at-spawn", "hang")
    await supervisor.start()
    await soon(lambda: bool(house.spawns))

    await supervisor.stop()

    assert await gone(house.spawns[0], 0.5)
    assert (await house.ready()).state is WorkerState.READY


async def test_orderly_ends_do_not_use_the_budget_up(house: House) -> None:
    """Opening and closing an editor more often than workers may die is nobody's fault."""
    for _ in range(ledger.BUDGET_STARTS + 2):
        supervisor = await house.ready()
        await supervisor.stop()

    assert len(house.spawns) == ledger.BUDGET_STARTS + 2


async def test_the_worker_knows_nothing_of_the_workspace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 41: it runs in our own folder, in a session of its own, without the secrets of the environment."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    await house.ready()
    pid = house.spawns[0]
    proc = Path(f"/proc/{pid}")

    assert b"secret" not in (proc / "environ").read_bytes()
    assert (proc / "cwd").resolve() == house.folder.resolve()
    assert os.getsid(pid) == pid


# --- strangers and rubbish --------------------------------------------------------------------------------------------


async def test_a_worker_of_another_version_is_refused_clearly(house: House) -> None:
    """`VersionMismatch` with both versions, no further attempt."""
    supervisor = house.supervisor("--at-hello", "version")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    with pytest.raises(VersionMismatch, match=r"0\.0\.1-other.*this daemon"):
        supervisor.submit(ask(""))

    assert len(house.spawns) == 1


async def test_a_worker_that_says_nothing_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never welcomes anybody is a failed start; five of them and the state is an error."""
    monkeypatch.setattr(attach, "START_DEADLINE_S", 0.3)
    monkeypatch.setattr(attach, "HELLO_DEADLINE_S", 0.3)
    supervisor = house.supervisor("--at-spawn", "hang")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    with pytest.raises(WorkerUnavailable, match="did not answer"):
        supervisor.submit(ask(""))

    starts = ledger.read(house.folder / f"{KEY}.json").starts
    assert len(starts) == ledger.BUDGET_STARTS
    assert all([await gone(start.pid, 1.0) for start in starts])


async def test_a_worker_that_talks_rubbish_is_given_up(house: House) -> None:
    """Bytes that are no frame instead of a welcome: bounded attempts, then an error."""
    supervisor = house.supervisor("--at-hello", "garbage")
    await supervisor.start()
    await house.until(lambda: supervisor.state is WorkerState.ERROR)

    assert len(house.spawns) == ledger.BUDGET_STARTS
    assert "a frame of" in str(supervisor.last_error)


async def test_hostile_frames_fail_the_requests_and_the_worker_is_found_again(house: House) -> None:
    """The link that carried them is ended, its requests get an error that may be retried, and service goes on."""
    supervisor = await house.ready()
    other = supervisor.submit(ask("tokens=10000 step=10"))

    with pytest.raises(WorkerCrashed) as caught:
        await supervisor.submit(ask("garbage")).result()
    with pytest.raises(WorkerCrashed):
        await other.result()
    await house.until(lambda: supervisor.state is WorkerState.READY)

    assert caught.value.retryable
    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"


@pytest.mark.parametrize("name", ["json", "flight", "sock", "lock"])
async def test_rubbish_in_the_runtime_folder_is_survived(house: House, name: str) -> None:
    """Whatever stands in the files of a key, a worker is started and served."""
    (house.folder / f"{KEY}.{name}").write_bytes(b'{"starts": [{"pid": "x"}]}' + os.urandom(4_096))

    supervisor = await house.ready()

    assert (await supervisor.submit(ask("")).result()).finish_reason == "stop"


async def test_a_stale_socket_is_replaced(house: House) -> None:
    """The socket of a worker that was killed does not keep a new one from starting."""
    first = await house.ready()
    os.kill(house.spawns[0], signal.SIGKILL)
    await house.until(lambda: first.state is not WorkerState.READY)
    await first.stop()
    assert (house.folder / f"{KEY}.sock").is_socket()

    second = await house.ready()

    assert second.worker_pid == house.spawns[-1]


# --- flow -------------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_loses_nothing_and_bounds_the_queue(house: House) -> None:
    """More tokens than the queue holds wait in the worker; all of them come, in order."""
    supervisor = await house.ready()
    total = generation.QUEUE_HIGH_TOKENS * 20
    answer = supervisor.submit(ask(f"tokens={total}"))
    longest, indices = 0, []

    async for token in answer:
        indices.append(token.index)
        longest = max(longest, len(answer._tokens))
        if token.index % 1_000 == 0:
            await asyncio.sleep(0.005)
    await answer.result()

    assert indices == list(range(total))
    # What one read of the socket brings comes on top of the limit.
    assert longest < generation.QUEUE_HIGH_TOKENS * 8


async def test_the_end_comes_without_a_reader(house: House) -> None:
    """Who only awaits the result is not stopped by tokens that nobody takes."""
    supervisor = await house.ready()

    done = await asyncio.wait_for(supervisor.submit(ask(f"tokens={generation.QUEUE_HIGH_TOKENS * 3}")).result(), 10)

    assert done.finish_reason == "stop"


async def test_leaving_the_iteration_does_not_stop_the_others(house: House) -> None:
    """A reader that breaks off gives its tokens up; the link goes on for everybody."""
    supervisor = await house.ready()
    answer = supervisor.submit(ask(f"tokens={generation.QUEUE_HIGH_TOKENS * 3}"))
    async for _ in answer:
        break

    done = await asyncio.wait_for(answer.result(), 10)

    assert done.finish_reason == "stop"
    assert (await asyncio.wait_for(supervisor.submit(ask("")).result(), 5)).finish_reason == "stop"


async def test_a_paused_link_holds_the_tokens_back(house: House) -> None:
    """Nothing arrives while our own client is behind, and everything does afterwards."""
    supervisor = await house.ready()
    supervisor.pause_reading()
    answer = supervisor.submit(ask("tokens=5"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.result(), 0.2)
    supervisor.resume_reading()

    assert [token.index async for token in answer] == [0, 1, 2, 3, 4]


async def test_death_is_seen_even_while_the_link_is_paused(house: House) -> None:
    """A socket that nobody reads shows no end; the process does."""
    supervisor = await house.ready()
    other = await house.ready()
    answers = [one.submit(ask("tokens=100000 step=5")) for one in (supervisor, other)]
    for one in (supervisor, other):
        one.pause_reading()

    os.kill(house.spawns[0], signal.SIGKILL)

    for answer in answers:
        with pytest.raises(WorkerCrashed):
            await asyncio.wait_for(answer.result(), 1)


async def test_a_stopped_supervisor_answers_its_requests(house: House) -> None:
    """Nobody is left waiting by `stop`, or by a request that is cancelled too late."""
    supervisor = await house.ready()
    answer = supervisor.submit(ask("silent"))

    await supervisor.stop()
    answer.cancel()

    with pytest.raises(WorkerUnavailable):
        await answer.result()


async def test_cancelling_a_suspect_that_waits_needs_no_worker(house: House) -> None:
    """The worker has never seen it, so it ends at once."""
    supervisor = await house.ready()
    now = time.time()
    suspects = [fingerprint(ask("silent")), fingerprint(ask(""))]
    supervisor._dispatch.memory = ledger.Ledger().died(1, now, since=now, loading=False, fatal=suspects)
    running, waiting = supervisor.submit(ask("silent")), supervisor.submit(ask(""))
    waiting.cancel()

    with pytest.raises(RequestCancelled):
        await waiting.result()
    running.cancel()
    assert (await running.result()).finish_reason == "cancelled"
