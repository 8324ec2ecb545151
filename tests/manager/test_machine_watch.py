"""What has changed in the machine since the last daemon is said, once, and lists are made anew."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from botframework import config
from botframework.config import Settings
from botframework.manager.machine_watch import FILE_NAME
from botframework.manager.state import WorkerState
from botframework.models import hardware
from support.gguf_factory import tiny_llama
from support.house import none_left, soon
from support.memory import PLENTY, has_memory
from support.watched_router import WatchedRouter

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GIB = 1 << 30


async def test_a_gpu_that_is_gone_is_told(runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the heartbeat of the next daemon; the one after it, which finds the machine as it was, says nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    has_memory(monkeypatch, lambda: PLENTY)
    card = hardware.Gpu(0, "nvidia", "Test Card 24", 24 * GIB, 0)
    hardware.since_last_look(config.cache_dir() / FILE_NAME, dataclasses.replace(hardware.probe(), gpus=(card,)))
    model = str(tiny_llama(tmp_path / "model.gguf"))

    first, second = WatchedRouter(Settings(model=model)), WatchedRouter(Settings(model=model))
    await first.until_ready()
    await soon(lambda: bool(first.router._machine.told))
    assert "Test Card 24" in (await first.router.snapshot()).notice
    await first.router.stop()
    await second.until_ready()
    assert (await second.router.snapshot()).notice == ""
    await second.router.stop()
    assert second.router.state is WorkerState.STOPPED
    await none_left(runtime_dir)
