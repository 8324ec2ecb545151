"""The thread that reads snapshots while the scheduling thread computes: nobody else's tokens wait for a disk."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.worker.engine import LaneName
    from botframework.worker.inbox import Post
    from botframework.worker.parked import ParkedState
    from botframework.worker.sessions import Owner

log = logging.getLogger(__name__)


class Recalls:
    """What is being read, for which session. Used by the scheduling thread only."""

    def __init__(self) -> None:
        """Start no thread yet: it comes with the first thing to read."""
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="recall")
        self._under_way: dict[tuple[Owner, LaneName], object] = {}
        """By session, what tells one reading from the next."""

    def is_under_way(self, owner: Owner, lane: LaneName) -> bool:
        """Whether a session's state is being read."""
        return (owner, lane) in self._under_way

    def begin(
        self,
        owner: Owner,
        lane: LaneName,
        read: Callable[[], ParkedState | None],
        arrived: Callable[[ParkedState | None], None],
        post: Post,
    ) -> None:
        """Read a session's state, unless that is under way.

        Parameters
        ----------
        read
            Called in the reading thread.
        arrived
            Called in the scheduling thread with what was read, unless it was given up meanwhile.
        post
            Has something done by the scheduling thread.
        """
        place = (owner, lane)
        if place in self._under_way:
            return
        errand = self._under_way[place] = object()

        def end(state: ParkedState | None) -> None:
            if self._under_way.get(place) is errand:
                del self._under_way[place]
                arrived(state)

        def work() -> None:
            state = None
            try:
                state = read()
            except Exception:
                log.exception("a snapshot could not be read")
            post(lambda: end(state))

        self._reader.submit(work)

    def give_up(self, owner: Owner) -> None:
        """Drop what is read for a session that is closed."""
        for place in [place for place in self._under_way if place[0] == owner]:
            del self._under_way[place]

    def give_up_connection(self, connection: int) -> None:
        """Drop what is read for a connection's sessions."""
        for place in [place for place in self._under_way if place[0][0] == connection]:
            del self._under_way[place]
