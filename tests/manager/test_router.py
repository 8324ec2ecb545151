"""One model for all requests: from the settings to the answer, to the heartbeat, and through every bad end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Settings
from botframework.errors import (
    ModelCannotInfill,
    ModelCorrupt,
    ModelLoading,
    ModelNotFound,
    ModelRefused,
    WorkerUnavailable,
)
from botframework.manager.state import WorkerState
from botframework.models import hardware
from botframework.process import rss_bytes
from botframework.wire.messages import ChatMessage, ChatRequest
from support.chaos_worker import chaos, spawns
from support.gguf_factory import tiny_llama
from support.house import ask, gone
from support.watched_router import watched_routers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


DAEMON = """
import asyncio, sys
from botframework.config import Settings
from botframework.manager.router import Router

async def main():
    ready = lambda loaded: print("ready", flush=True)
    nothing = lambda *_: None
    router = Router(
        Settings(model=sys.argv[1]), on_change=nothing, on_ready=ready, on_progress=nothing, command=sys.argv[2:]
    )
    await router.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""A daemon without an editor."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file that the header check lets pass."""
    return tiny_llama(tmp_path / "tiny.gguf")


@pytest.fixture
async def watch(runtime_dir: Path) -> AsyncIterator[Any]:
    """Make routers that are stopped at the end."""
    async with watched_routers(runtime_dir) as make:
        yield lambda model, *arguments: make(Settings(model=str(model)), *arguments)


async def test_the_configured_model_answers(watch: Any, model: Path) -> None:
    """Completion and chat go to its worker; the callbacks tell of the way there, once per load."""
    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)

    completed = await router.complete(ask("tokens=2")).result()
    chatted = router.chat(ChatRequest(id=0, messages=(ChatMessage(role="user", content="tokens=3"),)))
    texts = [token.text async for token in chatted]

    assert completed.finish_reason == "stop"
    assert len(texts) == 3
    assert watched.fractions == [0.5]
    assert [loaded.model.path for loaded in watched.loads] == [str(model)]


async def test_before_the_model_is_ready_requests_may_be_retried(watch: Any, model: Path) -> None:
    """`ModelLoading` from the first moment; after `stop`, never again."""
    watched = watch(model, "--load-s", "30")
    await watched.router.start()

    with pytest.raises(ModelLoading) as caught:
        watched.router.complete(ask(""))
    router = await watched.until_state(WorkerState.LOADING)
    with pytest.raises(ModelLoading):
        router.complete(ask(""))
    await router.stop()
    with pytest.raises(WorkerUnavailable):
        router.complete(ask(""))

    assert caught.value.data == {"fraction": 0.0}
    assert caught.value.retryable


async def test_a_model_without_fim_tokens_only_chats(watch: Any, model: Path) -> None:
    """`ModelCannotInfill` names the model; chat is served."""
    watched = watch(model, "--no-infill")
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)

    with pytest.raises(ModelCannotInfill, match="chaos"):
        router.complete(ask(""))

    chatted = router.chat(ChatRequest(id=0, messages=(ChatMessage(role="user", content=""),)))
    assert (await chatted.result()).finish_reason == "stop"


async def test_a_bad_file_is_an_error_state_and_no_process(watch: Any, model: Path, runtime_dir: Path) -> None:
    """Missing or truncated: the reason is in the state, in each request and in the heartbeat; no worker is started."""
    missing, cut = watch(model.with_name("none.gguf")), watch(model.with_name("cut.gguf"))
    shutil.copy(model, model.with_name("cut.gguf"))
    os.truncate(model.with_name("cut.gguf"), 2_000)

    for watched, kind in ((missing, ModelNotFound), (cut, ModelRefused)):
        await watched.router.start()
        router = await watched.until_state(WorkerState.ERROR)
        with pytest.raises(kind, match=r"\.gguf"):
            router.complete(ask(""))
        snapshot = await router.snapshot()
        assert (snapshot.state, snapshot.error.kind) == ("error", kind.__name__)

    assert spawns(runtime_dir) == []


async def test_restart_looks_at_the_file_again(watch: Any, model: Path) -> None:
    """A file that was repaired meanwhile is loaded."""
    path = model.with_name("later.gguf")
    watched = watch(path)
    await watched.router.start()
    router = await watched.until_state(WorkerState.ERROR)

    shutil.copy(model, path)
    await router.restart()
    await watched.until_state(WorkerState.READY)

    assert (await router.complete(ask("")).result()).finish_reason == "stop"


async def test_restarts_at_the_same_time_are_one_after_the_other(watch: Any, model: Path, runtime_dir: Path) -> None:
    """No worker is started twice, and the last word is a model that is ready."""
    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)

    await asyncio.gather(*(router.restart() for _ in range(3)))
    await watched.until_state(WorkerState.READY)

    assert (await router.complete(ask("")).result()).finish_reason == "stop"
    snapshot = await router.snapshot()
    assert snapshot.clients == 1
    assert all([await gone(pid, 1.0) for pid in spawns(runtime_dir) if pid != snapshot.worker_pid])


async def test_a_model_that_kills_its_worker_is_shown_as_corrupt(watch: Any, model: Path) -> None:
    """The heartbeat names the file and carries llama.cpp's words."""
    watched = watch(model, "--at-load", "abort")
    await watched.router.start()
    router = await watched.until_state(WorkerState.ERROR)

    snapshot = await router.snapshot()

    assert snapshot.error is not None
    assert snapshot.error.kind == ModelCorrupt.__name__
    assert "tiny.gguf" in snapshot.error.message
    assert "GGML_ASSERT" in snapshot.error.message
    assert snapshot.worker_pid == 0


async def test_the_snapshot_says_how_everything_is(watch: Any, model: Path, runtime_dir: Path) -> None:
    """Machine, daemon, worker and model in one value."""
    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)

    snapshot = await router.snapshot()

    assert snapshot.state == "ready"
    assert snapshot.error is None
    assert snapshot.model_path == str(model)
    assert snapshot.load_percent == 100
    assert snapshot.worker_pid == spawns(runtime_dir)[0]
    assert 0 < snapshot.ram_used < snapshot.ram_total == hardware.sample().ram_total
    assert abs(snapshot.daemon_rss - rss_bytes()) < 64 << 20
    assert (snapshot.worker_rss, snapshot.kv_cells, snapshot.clients) == (1_000_000, 2_048, 1)
    assert snapshot.chat_tokens_discarded == 7
    assert [(each.role, each.path, each.state, each.load_percent) for each in snapshot.models] == [
        ("fim", str(model), "ready", 100),
        ("chat", str(model), "ready", 100),
    ]
    assert snapshot.kv_bytes is not None
    assert snapshot.kv_bytes > 0
    assert (snapshot.downloads, snapshot.notice) == ((), "")
    assert snapshot.log_file.endswith("botframework.log")


async def test_the_snapshot_shows_every_device_and_the_battery(
    watch: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole card and our own share of it, for the worker's process; the sums of all cards; the battery."""
    asked = []

    def sample(pids: tuple[int, ...] = ()) -> hardware.MemorySample:
        asked.append(pids)
        cards = (
            hardware.DeviceMemory(0, "Large", "gpu", 24 << 30, 10 << 30, 4 << 30),
            hardware.DeviceMemory(1, "Small", "gpu", 8 << 30, 1 << 30, None),
        )
        return hardware.MemorySample(64 << 30, 32 << 30, cards, hardware.Battery(percent=70, plugged=False))

    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)
    monkeypatch.setattr(hardware, "sample", sample)
    snapshot = await router.snapshot()

    assert asked == [(snapshot.worker_pid,)]
    assert [(each.name, each.vram_total, each.vram_used, each.own_bytes) for each in snapshot.devices] == [
        ("Large", 24 << 30, 10 << 30, 4 << 30),
        ("Small", 8 << 30, 1 << 30, None),
    ]
    assert (snapshot.vram_total, snapshot.vram_used) == (32 << 30, 11 << 30)
    assert snapshot.battery is not None
    assert (snapshot.battery.percent, snapshot.battery.plugged) == (70, False)


async def test_a_worker_that_does_not_answer_delays_no_heartbeat(watch: Any, model: Path, runtime_dir: Path) -> None:
    """The last figures are told after 250 ms."""
    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)
    before = await router.snapshot()
    pid = spawns(runtime_dir)[0]
    os.kill(pid, signal.SIGSTOP)

    try:
        after = await asyncio.wait_for(router.snapshot(), 0.4)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert after.kv_cells == before.kv_cells


# --- daemons as processes ---------------------------------------------------------------------------------------------


async def daemon(model: Path) -> asyncio.subprocess.Process:
    """Start a daemon and wait until its model is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(model), *chaos(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 15) == b"ready\n"
    return process


async def test_the_starter_is_killed_and_the_others_go_on(watch: Any, model: Path, runtime_dir: Path) -> None:
    """SIGKILL to the daemon that started the worker, in the middle of another daemon's answer; nothing is lost."""
    starter = await daemon(model)
    watched = watch(model)
    await watched.router.start()
    router = await watched.until_state(WorkerState.READY)
    answer = router.complete(ask("tokens=60 step=5"))
    async for _ in answer:
        break

    starter.kill()
    await starter.wait()
    done = await answer.result()

    assert done.usage.completion_tokens == 60
    assert len(spawns(runtime_dir)) == 1
    assert (await router.snapshot()).clients == 1


async def test_all_daemons_are_killed_and_the_worker_goes(model: Path, runtime_dir: Path) -> None:
    """Within 200 ms of the last SIGKILL nothing is left."""
    daemons = [await daemon(model), await daemon(model)]
    (pid,) = spawns(runtime_dir)

    for process in daemons:
        process.kill()

    assert await gone(pid, 0.2)
    for process in daemons:
        await process.wait()
