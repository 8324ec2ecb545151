"""How long a model has not been asked for anything, and what is done when that was long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class IdleWatch:
    """Calls back once nothing has been asked for so long.

    Parameters
    ----------
    limit_s
        Seconds; 0: never.
    is_busy
        Whether something that was asked is still being answered, which is not idle.
    on_idle
        Called in the event loop, once for each time that the watch is started.
    """

    def __init__(self, limit_s: float, is_busy: Callable[[], bool], on_idle: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._is_busy = is_busy
        self._on_idle = on_idle
        self._used_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Something is asked."""
        self._used_at = asyncio.get_running_loop().time()

    @property
    def idle_s(self) -> float:
        """Since something was asked or, as far as was noticed, answered."""
        if self._is_busy():
            self.touch()
        return asyncio.get_running_loop().time() - self._used_at

    def start(self) -> None:
        """Watch from now on."""
        self.stop()
        self.touch()
        if self._limit_s > 0:
            self._wait(self._limit_s)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        left = self._limit_s - self.idle_s
        if left > 0:
            self._wait(left)
        else:
            self._on_idle()
