"""What the worker does while nobody waits: lay windows anew, and write snapshots.

Everything here starts some time after a session's last answer and computes only while there is nothing else. A key that
arrives ends the running micro-batch; what was finished stays for the next pause.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from botframework.worker.requests import Job, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botframework.errors import BotframeworkError
    from botframework.wire import messages as wire
    from botframework.worker.infilling import Plan
    from botframework.worker.requests import Client
    from botframework.worker.residence import Residence
    from botframework.worker.sessions import Owner

PAUSE_S = 0.4
"""Longer than between two keys of a word: now a prompt of a second may be read that a key would throw away."""
SAVE_PAUSE_S = 1.0
"""Writing a state costs some milliseconds of this thread and megabytes of disk: only when somebody thinks."""


class Reanchoring(Job):
    """Reads a session's next window into a second sequence; nobody is told of it."""

    def __init__(self, client: Client, owner: Owner, plan: Plan, request: wire.FimRequest) -> None:
        """Make it for a session whose latest text is that of ``request``."""
        quiet = msgspec.structs.replace(
            request, id=0, session="", max_tokens=0, priority="background", deadline_ms=None, ghost=False
        )
        super().__init__(client, quiet)
        self.serves = owner
        self.plan: Plan = plan
        self.prompt: list[int] = plan.prompt

    def finish(self, reason: wire.FinishReason, evaluated: int) -> None:  # noqa: ARG002 - nobody waits for it
        """End."""
        self.phase = Phase.ENDED

    def fail(self, error: BotframeworkError) -> None:  # noqa: ARG002 - nobody waits for it
        """End."""
        self.phase = Phase.ENDED


class Background:
    """Knows what is due. Used by the scheduling thread only."""

    def __init__(self, residence: Residence) -> None:
        self._residence = residence
        self._windows: dict[Owner, float] = {}
        """When a session's window may be laid anew."""
        self._documents: dict[Owner, float] = {}
        """When a document's state may be written."""
        self._chats: dict[Owner, tuple[float, wire.ChatRequest]] = {}

    def touched(self, owner: Owner) -> None:
        """A document's session was worked on."""
        if owner[1]:
            now = time.monotonic()
            self._windows[owner] = now + PAUSE_S
            self._documents[owner] = now + SAVE_PAUSE_S

    def chatted(self, owner: Owner, request: wire.ChatRequest) -> None:
        """A conversation's answer ended."""
        if owner[1]:
            self._chats[owner] = (time.monotonic() + SAVE_PAUSE_S, request)

    def next_due(self) -> float | None:
        """When there will be something to do."""
        times = [*self._windows.values(), *self._documents.values(), *(at for at, _ in self._chats.values())]
        return min(times, default=None)

    def next_job(self, clients: Mapping[int, Client]) -> Reanchoring | None:
        """Do the small things that are due, or give the first large one."""
        now = time.monotonic()
        for owner in [owner for owner, at in self._windows.items() if at <= now]:
            del self._windows[owner]
            found = self._residence.next_window(owner)
            if found is not None and owner[0] in clients:
                plan, request = found
                return Reanchoring(clients[owner[0]], owner, plan, request)
        for owner in [owner for owner, at in self._documents.items() if at <= now]:
            del self._documents[owner]
            self._residence.save_document(owner)
            return None
        for owner, (at, chat) in list(self._chats.items()):
            if at <= now:
                del self._chats[owner]
                self._residence.save_chat(owner, chat)
                return None
        return None
