"""A supervisor that may take the place of the one that is serving, once its model is loaded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from botframework.errors import WorkerUnavailable
from botframework.manager.supervisor import Supervisor, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.messages import Loaded


class MakeSupervisor(Protocol):
    """The rest of a supervisor's making."""

    def __call__(self, *, on_change: Callable[[], None], on_ready: Callable[[Loaded], None]) -> Supervisor:
        """Make it; it calls back here."""
        ...


class Candidate:
    """Keeps a supervisor's listeners from hearing of it until it is promoted.

    ``on_change`` and ``on_ready`` are the listeners.
    """

    def __init__(
        self, make: MakeSupervisor, *, on_change: Callable[[], None], on_ready: Callable[[Loaded], None]
    ) -> None:
        self._on_change = on_change
        self._on_ready = on_ready
        self._is_promoted = False
        self._changed = asyncio.Event()
        self.supervisor = make(on_change=self._note_change, on_ready=self._note_ready)

    def promote(self) -> None:
        """From now on its listeners hear everything."""
        self._is_promoted = True

    async def load(self) -> Loaded:
        """Start it and wait until the model is there.

        Raises
        ------
        BotframeworkError
            No further attempt will be made.
        """
        await self.supervisor.start()
        while True:
            if self.supervisor.state is WorkerState.READY and self.supervisor.loaded is not None:
                return self.supervisor.loaded
            if self.supervisor.state in {WorkerState.ERROR, WorkerState.STOPPED}:
                error = self.supervisor.last_error or WorkerUnavailable("the loading was given up")
                raise error.with_traceback(None)
            self._changed.clear()
            await self._changed.wait()

    def _note_change(self) -> None:
        self._changed.set()
        if self._is_promoted:
            self._on_change()

    def _note_ready(self, loaded: Loaded) -> None:
        if self._is_promoted:
            self._on_ready(loaded)
