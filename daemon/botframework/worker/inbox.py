"""What other threads want the scheduling thread to do."""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Post = Callable[[Callable[[], None]], None]
    """`Inbox.post`."""

log = logging.getLogger(__name__)


class Inbox:
    """Events in the order of their coming. `post` and `wake` may be used by any thread."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def post(self, event: Callable[[], None]) -> None:
        """Have something done soon."""
        self._events.put(event)

    def wake(self) -> None:
        """End the waiting of `work`, if it waits."""
        self.post(_nothing)

    def work(self, timeout: float | None) -> None:
        """Do what has come, waiting so long in seconds for the first of it; None: for as long as it takes.

        An event that fails is logged and forgotten.
        """
        # No more than have come by now: whoever posts without a pause must not keep everybody from computing.
        for _ in range(max(1, self._events.qsize())):
            try:
                event = self._events.get(block=timeout != 0.0, timeout=timeout)
            except queue.Empty:
                return
            try:
                event()
            except Exception:
                log.exception("an event failed")
            timeout = 0.0


def _nothing() -> None:
    """Do nothing."""
