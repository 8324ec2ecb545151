"""Two windows with real workers and memory for one model: llama.cpp is asked, and an idle worker leaves."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from botframework.config import Engine, Sessions, Settings
from botframework.manager import budget, holders
from botframework.manager.load import EMBEDDED_MODEL
from botframework.manager.router import Router
from botframework.manager.state import WorkerState
from botframework.process import is_alive
from botframework.wire.messages import FimRequest
from support.house import gone, none_left
from support.memory import PLENTY, has_memory

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PATIENCE_S = 60.0
IDLE_S = 0.3
REQUEST = FimRequest(id=0, prefix="def add(a, b):\n    ret", session="document", max_tokens=4)


async def window(model: str) -> Router:
    """A router whose model is ready."""
    ready = asyncio.Event()
    settings = Settings(model=model, engine=Engine(n_threads=1), sessions=Sessions(snapshots=False))
    made = Router(settings, on_change=lambda: None, on_ready=lambda _: ready.set(), on_progress=lambda _: None)
    await made.start()
    async with asyncio.timeout(PATIENCE_S):
        await ready.wait()
    return made


async def test_the_memory_goes_from_one_window_to_the_other(
    runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Llama.cpp's own measure is what is asked for; the first window's worker ends, its next key wakes it again."""
    models = [str(shutil.copy(EMBEDDED_MODEL, tmp_path / f"{name}.gguf")) for name in ("one", "two")]
    monkeypatch.setattr(budget, "DRAIN_IDLE_S", IDLE_S)
    has_memory(monkeypatch, lambda: PLENTY)
    first = await window(models[0])
    await first.complete(REQUEST).result()
    (holder,) = await holders.survey(runtime_dir)
    assert (holder.model, holder.clients) == (models[0], 1)
    assert holder.held_bytes > holder.mapped_bytes > 0

    await asyncio.sleep(IDLE_S)
    has_memory(monkeypatch, lambda: 0 if is_alive(holder.pid) else PLENTY)
    second = await window(models[1])
    assert await gone(holder.pid, 2.0)
    assert first.state is WorkerState.SLEEPING

    try:
        await first.wake("fim")
        assert (await first.complete(REQUEST).result()).usage.completion_tokens > 0
    finally:
        await asyncio.gather(first.stop(), second.stop())
    await none_left(runtime_dir)
