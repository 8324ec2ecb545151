"""The texts that sessions stood at, so that a new model can read them before it serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import BotframeworkError

if TYPE_CHECKING:
    from botframework.manager.supervisor import Supervisor
    from botframework.wire.messages import FimRequest

MAX_SESSIONS = 4
"""Documents whose last text is kept, the newest: each is a page around the cursor, and nobody types in more at once."""
READING_S = 5.0
"""A new model reads for no longer before it serves; the rest it reads when it is asked."""


class RecentTexts:
    """The last completion that was asked of each of the newest sessions."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, FimRequest] = OrderedDict()

    def note(self, request: FimRequest) -> None:
        """A completion is asked, or read ahead."""
        if request.session:
            self._asked[request.session] = request
            self._asked.move_to_end(request.session)
            if len(self._asked) > MAX_SESSIONS:
                self._asked.popitem(last=False)

    def forget(self, session: str) -> None:
        """The document was closed."""
        self._asked.pop(session, None)

    def clear(self) -> None:
        """Forget everything."""
        self._asked.clear()

    async def hand_over(self, supervisor: Supervisor) -> None:
        """Let a model that is ready read them, the newest first; never raises for what becomes of it."""
        if supervisor.loaded is None or not supervisor.loaded.model.can_infill:
            return
        with contextlib.suppress(TimeoutError, BotframeworkError):
            async with asyncio.timeout(READING_S):
                for request in reversed(list(self._asked.values())):
                    reading = supervisor.submit(msgspec.structs.replace(request, max_tokens=0))
                    try:
                        await reading.result()
                    finally:
                        reading.cancel()  # Out of time: the model reads the rest when it is asked.
