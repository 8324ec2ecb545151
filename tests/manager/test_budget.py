"""Windows share the machine's memory: idle models give way, busy ones stay, and who is refused learns who holds it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from botframework.config import Settings
from botframework.errors import InsufficientMemory, ModelDoesNotFit, ModelLoading
from botframework.manager import budget, holders, hosted
from botframework.manager.state import WorkerState
from botframework.process import is_alive
from botframework.wire.flight import FlightWriter
from botframework.wire.messages import Device, DeviceShare, Measured
from support.chaos_worker import RSS_BYTES, spawns
from support.gguf_factory import tiny_llama
from support.house import ask, gone, soon
from support.memory import PLENTY, has_memory, holds_one
from support.watched_router import WatchedRouter, watched_routers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from botframework.wire.messages import LoadModel

GIB = 1 << 30
IDLE_S = 0.2


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """Model files."""
    return [str(tiny_llama(tmp_path / f"{name}.gguf")) for name in ("one", "two", "three")]


@pytest.fixture
async def window(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make the routers of several windows; the machine holds one worker at a time."""
    monkeypatch.setattr(budget, "DRAIN_IDLE_S", IDLE_S)
    has_memory(monkeypatch, holds_one(runtime_dir))
    async with watched_routers(runtime_dir) as make:
        yield lambda model, *arguments: make(Settings(model=model), *arguments)


async def idle(folder: Path, count: int = 1) -> None:
    """Wait until so many workers may be asked to leave."""
    async with asyncio.timeout(10):
        while True:
            found = await holders.survey(folder)
            if sum((holder.idle_s or 0.0) > IDLE_S for holder in found) == count:
                return
            await asyncio.sleep(0.01)


async def refused(watched: WatchedRouter) -> InsufficientMemory:
    """Start a router that finds no memory; why."""
    await watched.router.start()
    await watched.until_state(WorkerState.ERROR)
    assert isinstance(watched.router.last_error, InsufficientMemory)
    return watched.router.last_error


async def test_an_idle_model_gives_way_and_comes_back(window: Any, models: list[str], runtime_dir: Path) -> None:
    """The window whose model had to go says that it sleeps; its next request asks the other for the memory in turn."""
    first, second = window(models[0]), window(models[1])
    await first.until_ready()
    await idle(runtime_dir)
    await second.until_ready()

    assert first.router.state is WorkerState.SLEEPING
    assert await gone(spawns(runtime_dir)[0], 2.0)

    await idle(runtime_dir)
    await first.router.wake("fim")
    assert (await first.router.complete(ask("tokens=2")).result()).finish_reason == "stop"
    assert second.router.state is WorkerState.SLEEPING


async def test_a_busy_model_stays_and_is_named(window: Any, models: list[str], runtime_dir: Path) -> None:
    """Its request goes on; who is refused is told the model, the process, the bytes, the windows, and what to do."""
    first = window(models[0])
    router = await first.until_ready()
    await idle(runtime_dir)
    running = router.complete(ask("silent"))
    error = await refused(window(models[1]))

    (holder,) = error.data["holders"]
    assert (holder["model"], holder["pid"], holder["bytes"]) == (models[0], spawns(runtime_dir)[0], RSS_BYTES)
    assert (holder["clients"], holder["idleS"]) == (1, 0.0)
    assert "one.gguf" in error.message
    assert f"process {holder['pid']}" in error.message
    assert router.state is WorkerState.READY
    running.cancel()
    assert (await running.result()).finish_reason == "cancelled"


async def test_a_request_tries_again_when_there_may_be_memory(
    window: Any, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every key, but after a while; nobody has to know that a restart would help."""
    first, second = window(models[0]), window(models[1])
    router = await first.until_ready()
    running = router.complete(ask("silent"))
    await refused(second)
    with pytest.raises(InsufficientMemory):
        second.router.complete(ask(""))
    running.cancel()
    await first.router.stop()
    monkeypatch.setattr(hosted, "MEMORY_RETRY_S", 0.0)
    with pytest.raises(ModelLoading):
        second.router.complete(ask(""))

    await second.until_state(WorkerState.READY)


async def test_a_model_that_was_used_just_now_stays(window: Any, models: list[str], monkeypatch: Any) -> None:
    """Nobody's pause between two keys costs them their model."""
    monkeypatch.setattr(budget, "DRAIN_IDLE_S", 60.0)
    first = window(models[0])
    router = await first.until_ready()
    await router.complete(ask("tokens=1")).result()
    await refused(window(models[1]))

    assert router.state is WorkerState.READY


async def test_all_windows_of_a_model_have_to_agree(window: Any, models: list[str], runtime_dir: Path) -> None:
    """Two windows share a worker: when one of them is busy, it stays; when both are idle, both let go."""
    one, other = window(models[0]), window(models[0])
    await one.until_ready()
    router = await other.until_ready()
    running = router.complete(ask("silent"))
    third = window(models[1])
    await refused(third)
    assert [one.router.state, other.router.state] == [WorkerState.READY] * 2

    running.cancel()
    await running.result()
    await idle(runtime_dir)
    await third.router.restart()
    await third.until_state(WorkerState.READY)
    assert [one.router.state, other.router.state] == [WorkerState.SLEEPING] * 2


async def test_the_least_recently_used_goes_first(
    window: Any, models: list[str], runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more of them than needed."""
    first, second, third = (window(model) for model in models)
    has_memory(monkeypatch, lambda: PLENTY)
    await first.until_ready()
    await second.until_ready()
    await first.router.complete(ask("tokens=1")).result()
    await idle(runtime_dir, 2)
    pid = spawns(runtime_dir)[1]
    has_memory(monkeypatch, lambda: 0 if is_alive(pid) else PLENTY)
    await third.until_ready()

    assert first.router.state is WorkerState.READY
    assert second.router.state is WorkerState.SLEEPING


async def test_a_model_that_is_in_memory_already_needs_none(
    window: Any, models: list[str], monkeypatch: pytest.MonkeyPatch, runtime_dir: Path
) -> None:
    """A second window joins its worker, however full the machine is."""
    await window(models[0]).until_ready()
    has_memory(monkeypatch, lambda: 0, whole=0)
    await window(models[0]).until_ready()

    assert len(spawns(runtime_dir)) == 1


async def test_a_model_that_can_never_fit_takes_nobody_s_memory(
    window: Any, models: list[str], runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names both sizes, and no idle model was asked to leave for nothing."""
    first = window(models[0])
    await first.until_ready()
    await idle(runtime_dir)
    has_memory(monkeypatch, lambda: 0, whole=1_000)
    too_large = window(models[1])
    await too_large.router.start()
    await too_large.until_state(WorkerState.ERROR)

    error = too_large.router.last_error
    assert isinstance(error, ModelDoesNotFit)
    assert error.data["availableBytes"] == 1_000
    assert first.router.state is WorkerState.READY


@pytest.mark.parametrize(("says", "outcome"), [(1_000, WorkerState.READY), (1 << 40, WorkerState.ERROR)])
async def test_near_the_limit_llama_cpp_is_asked(
    window: Any, models: list[str], says: int, outcome: WorkerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its word counts and not the estimate, whichever way they differ."""
    has_memory(monkeypatch, lambda: 1 << 20)
    watched = window(models[0], "--weights", str(says))
    await watched.router.start()

    await watched.until_state(outcome)


def on_a_card(runtime_dir: Path, free: Callable[[int], int]) -> Callable[[LoadModel], Awaitable[Measured]]:
    """What llama.cpp says of a load of 6 GiB on a card of 8, of which so much is free beside so many workers."""

    async def measure(_load: LoadModel) -> Measured:
        alive = sum(is_alive(pid) for pid in spawns(runtime_dir))
        card = Device(name="Vulkan0", description="Card", kind="gpu", total_bytes=8 * GIB, free_bytes=free(alive))
        share = DeviceShare(device="Vulkan0", kv_bytes=6 * GIB, recurrent_bytes=0, compute_bytes=0)
        return Measured(shares=(share,), devices=(card,))

    return measure


@pytest.mark.parametrize("taken_gib", [1, 2, 3])
async def test_a_card_that_only_llama_cpp_sees(
    window: Any, models: list[str], runtime_dir: Path, monkeypatch: pytest.MonkeyPatch, taken_gib: int
) -> None:
    """Its memory counts until the load begins: llama.cpp is asked again after each worker that had to go."""
    first, second, third = (window(model) for model in models)
    has_memory(monkeypatch, lambda: PLENTY)
    await first.until_ready()
    await second.until_ready()
    await idle(runtime_dir, 2)
    has_memory(monkeypatch, lambda: 1)  # So little is near the limit, and llama.cpp is asked.
    third.router._hosting._budget._measure = on_a_card(runtime_dir, lambda alive: (8 - taken_gib * alive) * GIB)
    await third.until_ready()

    states = [watched.router.state for watched in (first, second)]
    # 6 GiB are free beside two workers of 1 GiB, beside one of 2, and beside none of 3.
    assert states.count(WorkerState.SLEEPING) == taken_gib - 1
    assert states.count(WorkerState.READY) == 3 - taken_gib


async def test_a_card_that_is_too_small_takes_nobody_s_memory(
    window: Any, models: list[str], runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would not fit if the card were empty is refused at once, also where only llama.cpp knows the card."""
    first, second = window(models[0]), window(models[1])
    has_memory(monkeypatch, lambda: PLENTY)
    await first.until_ready()
    await idle(runtime_dir)
    has_memory(monkeypatch, lambda: 1)
    measure = on_a_card(runtime_dir, lambda _: 0)

    async def measure_more(load: LoadModel) -> Measured:
        measured = await measure(load)
        (share,) = measured.shares
        return msgspec.structs.replace(measured, shares=(msgspec.structs.replace(share, kv_bytes=9 * GIB),))

    second.router._hosting._budget._measure = measure_more
    await second.router.start()
    await second.until_state(WorkerState.ERROR)

    assert isinstance(second.router.last_error, ModelDoesNotFit)
    assert first.router.state is WorkerState.READY


async def test_memory_that_a_load_will_take_is_not_free(window: Any, models: list[str], runtime_dir: Path) -> None:
    """A worker in the middle of loading is counted with the whole of its file, and is never asked to leave."""
    first = window(models[0], "--load-s", "60", "--file-bytes", str(5 * RSS_BYTES))
    await first.router.start()
    await first.until_state(WorkerState.LOADING)
    (holder,) = await holders.survey(runtime_dir)

    assert (holder.coming_bytes, holder.idle_s) == (4 * RSS_BYTES, None)
    assert not await holders.drain(runtime_dir, holder, 0.0)
    assert first.router.state is WorkerState.LOADING


async def test_a_worker_that_cannot_be_asked_is_known_by_its_process(runtime_dir: Path) -> None:
    """One of another version, or one that hangs: it costs a second, and is in the list with its memory."""
    FlightWriter(runtime_dir / "00000000000000ff.flight").set_phase("serving")
    (holder,) = await holders.survey(runtime_dir)

    assert (holder.pid, holder.model, holder.idle_s) == (os.getpid(), "", None)
    assert holder.held_bytes > 0


async def test_loads_are_admitted_one_after_the_other(window: Any, models: list[str], runtime_dir: Path) -> None:
    """Of two windows that start at once, on a machine with memory for one, one is served and one is refused."""
    windows = [window(model, "--load-s", "0.2") for model in models[:2]]
    await asyncio.gather(*(watched.router.start() for watched in windows))
    await soon(lambda: {watched.router.state for watched in windows} == {WorkerState.READY, WorkerState.ERROR})

    assert len(spawns(runtime_dir)) == 1
