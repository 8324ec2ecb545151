"""A hosted model in the moments between two of its steps: while a thread works for it, or a worker is let go of."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Settings
from botframework.errors import WorkerUnavailable
from botframework.manager import shrink, snapshots
from botframework.manager.library import Library
from botframework.manager.state import WorkerState
from botframework.models.store import holds
from support.gguf_factory import tiny_llama
from support.house import ask, gone, soon
from support.memory import PLENTY, has_memory
from support.watched_router import watched_routers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STOPPED = WorkerUnavailable("stopped by a test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model's file."""
    return tiny_llama(tmp_path / "model.gguf", n_ctx_train=8_192)


@pytest.fixture
async def watch(runtime_dir: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Make routers on a machine with memory for everything."""
    has_memory(monkeypatch, lambda: PLENTY)
    async with watched_routers(runtime_dir) as make:
        yield lambda *arguments: make(Settings(model=str(path)), *arguments)


@pytest.mark.parametrize("is_reading", [True, False])
async def test_a_client_that_falls_behind_while_a_worker_is_prepared(
    watch: Any, monkeypatch: pytest.MonkeyPatch, *, is_reading: bool
) -> None:
    """What counts for a new worker is whether the client reads when it is there, not when its making began."""
    asked, answer = threading.Event(), threading.Event()

    def folder(*_: object) -> str:
        asked.set()
        assert answer.wait(10)
        return ""

    monkeypatch.setattr(snapshots, "folder", folder)
    watched = watch()
    if is_reading:
        watched.router.pause_reading()
    await watched.router.start()
    assert await asyncio.to_thread(asked.wait, 10)
    if is_reading:
        watched.router.resume_reading()
    else:
        watched.router.pause_reading()
    answer.set()
    await soon(lambda: watched.router.supervisor("fim") is not None)
    supervisor = watched.router.supervisor("fim")

    assert bool(supervisor._dispatch._pauses) is not is_reading
    watched.router.resume_reading()
    await watched.until_state(WorkerState.READY)


async def test_a_load_that_is_called_off_holds_no_file(watch: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it was called off while the hold was being taken: the file can be removed afterwards."""
    asked, answer, taken = threading.Event(), threading.Event(), threading.Event()

    def hold(_: Library, name: str) -> holds.Hold:
        asked.set()
        assert answer.wait(10)
        held = holds.Hold(type(path)(name))
        taken.set()
        return held

    monkeypatch.setattr(Library, "_hold", hold)
    watched = watch()
    await watched.router.start()
    assert await asyncio.to_thread(asked.wait, 10)
    await watched.router.stop()
    answer.set()
    assert await asyncio.to_thread(taken.wait, 10)

    await soon(lambda: not holds.is_held(path))


async def test_a_defect_while_loading_with_less_is_seen(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in an error that requests hear, and not in a model that is looked at for ever."""

    def shrunk(_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(shrink, "shrunk", shrunk)
    watched = watch("--most-ctx", "4096")
    await watched.router.start()
    await watched.until_state(WorkerState.ERROR)

    with pytest.raises(WorkerUnavailable, match="a defect"):
        watched.router.complete(ask("tokens=1"))


async def test_what_an_old_worker_says_last_is_not_the_model_s(watch: Any) -> None:
    """A worker that was let go of may be ready in this very moment: nobody is told so."""
    watched = watch()
    await watched.until_ready()
    (model,) = watched.router._hosted()
    supervisor = model.supervisor
    assert supervisor is not None
    loaded = supervisor.loaded
    stopping = asyncio.create_task(model.stop(STOPPED))
    await soon(lambda: model.supervisor is None)
    supervisor._take(loaded)
    await stopping

    assert watched.loads == [loaded]


@pytest.mark.parametrize("steps", range(8))
async def test_unloading_that_is_called_off_leaves_no_worker(watch: Any, steps: int) -> None:
    """Whenever it is: either the model still serves, or its worker goes; none is left that nobody knows of."""
    watched = watch()
    router = await watched.until_ready()
    pid = router.supervisor("fim").worker_pid
    unloading = asyncio.create_task(router.unload_model())
    for _ in range(steps):
        await asyncio.sleep(0)
    unloading.cancel()
    await asyncio.wait({unloading})

    if router.state is WorkerState.READY:
        assert router.complete(ask("tokens=1")) is not None
    else:
        assert await gone(pid, 5.0)


@pytest.mark.parametrize("steps", range(8))
async def test_a_restart_that_is_called_off_leaves_a_model(watch: Any, steps: int) -> None:
    """Whenever it is: the model serves again, and nobody has to ask for another restart."""
    watched = watch()
    router = await watched.until_ready()
    restarting = asyncio.create_task(router.restart())
    for _ in range(steps):
        await asyncio.sleep(0)
    restarting.cancel()
    await asyncio.wait({restarting})

    await watched.until_state(WorkerState.READY)
