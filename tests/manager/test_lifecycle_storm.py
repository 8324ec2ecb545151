"""Two windows do everything at once with three models, and memory comes and goes: nothing hangs, nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest

from botframework.config import Models, Settings
from botframework.config.settings import Worker
from botframework.errors import BotframeworkError
from botframework.manager import budget, exchange, holders, hosted
from botframework.manager.state import WorkerState
from botframework.wire.messages import ChatMessage, ChatRequest
from support.gguf_factory import tiny_llama
from support.house import ask, none_left
from support.memory import PLENTY, has_memory
from support.watched_router import WatchedRouter

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.manager.generation import Generation
    from botframework.models.recommendation import Role

STEPS = 120
ROLES: tuple[tuple[Role, ...], ...] = ((), ("fim",), ("chat",))
END_S = 20.0


class Window:
    """A router to which anything may happen, and what was asked of it."""

    def __init__(self, choose: random.Random, models: list[str]) -> None:
        self._choose = choose
        self._models = models
        settings = Settings(
            model=models[0],
            models=Models(chat=choose.choice([None, *models])),
            worker=Worker(idle_unload_minutes=0.3 / 60, preload=choose.random() < 0.5),
        )
        self.watched = WatchedRouter(settings, "--load-s", "0.02")
        self.router = self.watched.router
        self.asked: list[Generation] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def step(self) -> None:
        """Do one thing; refusals are part of the game."""
        choose, router = self._choose, self.router
        with contextlib.suppress(BotframeworkError):
            match choose.choices(range(8), weights=(6, 3, 3, 1, 1, 2, 2, 2))[0]:
                case 0:
                    self.asked.append(router.complete(ask(f"tokens={choose.randrange(1, 20)} step=3", session="a")))
                case 1:
                    talk = (ChatMessage(role="user", content="tokens=10 step=5"),)
                    self.asked.append(router.chat(ChatRequest(id=0, messages=talk)))
                case 2:
                    roles = choose.choice(ROLES)
                    self._later(router.load_model(choose.choice(self._models), roles))
                case 3:
                    self._later(router.unload_model())
                case 4:
                    self._later(router.restart())
                case 5:
                    self._later(router.wake(choose.choice(("fim", "chat"))))
                case 6:
                    self._later(router.snapshot())
                case _:
                    if self.tasks:
                        choose.choice(self.tasks).cancel()

    def _later(self, coroutine: Any) -> None:
        self.tasks.append(asyncio.create_task(coroutine))


@pytest.mark.parametrize("seed", range(4))
async def test_everything_at_once(
    seed: int, runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request ends, each task ends, a load brings a model back, and after the end no worker is left."""
    choose = random.Random(seed)
    monkeypatch.setattr(budget, "DRAIN_IDLE_S", 0.05)
    monkeypatch.setattr(exchange, "CHANGE_OVER_PATIENCE_S", 0.1)
    monkeypatch.setattr(holders, "LEAVE_DEADLINE_S", 0.5)
    monkeypatch.setattr(hosted, "MEMORY_RETRY_S", 0.1)
    has_memory(monkeypatch, lambda: choose.choice((0, PLENTY, PLENTY)))
    models = [str(tiny_llama(tmp_path / f"{name}.gguf")) for name in ("one", "two", "three")]
    windows = [Window(choose, models) for _ in range(2)]
    for window in windows:
        await window.router.start()
    for _ in range(STEPS):
        choose.choice(windows).step()
        await asyncio.sleep(choose.choice((0, 0.001, 0.02)))

    async with asyncio.timeout(END_S):
        for window in windows:
            await asyncio.gather(*window.tasks, return_exceptions=True)
            await asyncio.gather(*(generation.result() for generation in window.asked), return_exceptions=True)
        has_memory(monkeypatch, lambda: PLENTY)
        for window in windows:
            await window.router.load_model(models[1])
            assert window.router.state is WorkerState.READY
            assert (await window.router.complete(ask("tokens=1")).result()).finish_reason == "stop"
        await asyncio.gather(*(window.router.stop() for window in windows))
    await none_left(runtime_dir)
