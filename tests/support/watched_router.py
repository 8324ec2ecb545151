"""A router in a test: what it calls back is kept, and can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from botframework.manager.router import Router
from botframework.manager.state import WorkerState
from support.chaos_worker import chaos
from support.house import none_left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from botframework.config import Settings
    from botframework.wire.messages import Loaded

DEADLINE_S = 15


class WatchedRouter:
    """A router whose workers are `chaos_worker`s, and what it called back."""

    def __init__(self, settings: Settings, *arguments: str) -> None:
        self.changes = 0
        self.states: list[WorkerState] = []
        """Without repetitions."""
        self.fractions: list[float] = []
        self.loads: list[Loaded] = []
        self._changed = asyncio.Event()
        self.router = Router(
            settings,
            on_change=self._change,
            on_ready=self.loads.append,
            on_progress=self.fractions.append,
            command=chaos(*arguments),
        )

    def use(self, *arguments: str) -> None:
        """Start chaos workers with these arguments from now on."""
        self.router._hosting.command = chaos(*arguments)

    def _change(self) -> None:
        self.changes += 1
        if self.router.state not in self.states[-1:]:
            self.states.append(self.router.state)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> Router:
        """Wait for a change after which a condition holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
        return self.router

    async def until_state(self, state: WorkerState) -> Router:
        """Wait for a state."""
        return await self.until(lambda: self.router.state is state)

    async def until_ready(self) -> Router:
        """Start it and wait for its model."""
        await self.router.start()
        return await self.until_state(WorkerState.READY)

    @property
    def path(self) -> str:
        """Of the model that answers."""
        supervisor = self.router.supervisor("fim")
        return supervisor.loaded.model.path if supervisor is not None and supervisor.loaded is not None else ""


@contextlib.asynccontextmanager
async def watched_routers(folder: Path) -> AsyncIterator[Callable[..., WatchedRouter]]:
    """Routers made as asked for; at the end all are stopped, and no worker of the runtime folder is left."""
    made: list[WatchedRouter] = []

    def make(settings: Settings, *arguments: str) -> WatchedRouter:
        made.append(WatchedRouter(settings, *arguments))
        return made[-1]

    yield make
    await asyncio.gather(*(watched.router.stop() for watched in made))
    await none_left(folder)
