"""Changes of what serves, one at a time: a newer wish calls the older one off, and none is left half done."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable


class Turns:
    """Gives out the turn to change something."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._newest: asyncio.Task[Any] | None = None

    def call_off(self) -> None:
        """End the task whose turn it is, if it may be called off."""
        newest, self._newest = self._newest, None
        if newest is not None:
            newest.cancel()

    @contextlib.asynccontextmanager
    async def turn(self, *, may_be_called_off: bool = False) -> AsyncIterator[None]:
        """Call off whoever may be called off, wait for the end of the change before, and have the turn for a block."""
        self.call_off()
        task = asyncio.current_task()
        if may_be_called_off:
            self._newest = task
        try:
            async with self._lock:
                yield
        finally:
            if self._newest is task:
                self._newest = None


async def to_the_end(work: Iterable[Awaitable[None]]) -> None:
    """Do several things at once, also if whoever wanted them is called off: half of one would leave a worker behind."""
    doing = asyncio.gather(*work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
