"""One running request, as the three doors see it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from botframework.errors import BotframeworkError
    from botframework.wire.messages import ChatRequest, Done, FimRequest, Token

QUEUE_HIGH_TOKENS = 1_024
"""Tokens that may wait for a slow reader; beyond them the link to the worker is paused, so the worker pauses too. About
20 s of a fast model, well under 1 MB."""
QUEUE_LOW_TOKENS = 256
"""The link goes on when the reader has come this far: not at once, or it would stutter."""


class Generation:
    """One request that a worker is answering.

    Iterate over it for the tokens, await `result` for the end; either may be left out. Who leaves the iteration early
    gives the rest of the tokens up; who does not want the answer at all calls `cancel`.

    Made by `Supervisor.submit` only; the methods with a leading underscore are the supervisor's.
    """

    def __init__(
        self,
        request: FimRequest | ChatRequest,
        *,
        on_cancel: Callable[[Generation], None],
        on_backlog: Callable[[Generation], None],
    ) -> None:
        self.id = request.id
        self.request = request
        self.cancelled = False
        self._on_cancel = on_cancel
        self._on_backlog = on_backlog
        self._tokens: deque[Token] = deque()
        self._something = asyncio.Event()
        self._ended = asyncio.Event()
        self._done: Done | None = None
        self._error: BotframeworkError | None = None
        self._iterated = False
        self._end_is_awaited = False
        self._unwanted = False
        self._backlogged = False

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "running"
        return f"<Generation {self.id} {type(self.request).__name__} {state}>"

    @property
    def has_ended(self) -> bool:
        """Whether `result` returns at once."""
        return self._ended.is_set()

    @property
    def is_backlogged(self) -> bool:
        """Whether so many tokens wait here that no more should come."""
        return self._backlogged

    async def __aiter__(self) -> AsyncIterator[Token]:
        """Yield the tokens as they come, until the answer ends; how it ended is told by `result`."""
        self._iterated = True
        try:
            while True:
                while self._tokens:
                    token = self._tokens.popleft()
                    self._note_backlog()
                    yield token
                if self.has_ended:
                    return
                self._something.clear()
                await self._something.wait()
        finally:
            if not self.has_ended:
                self._drop_tokens()

    async def result(self) -> Done:
        """Wait for the end of the answer.

        Raises
        ------
        BotframeworkError
            The answer did not come: the worker refused the request, died of it, or was taken away.
        """
        self._end_is_awaited = True
        if self._backlogged:
            self._note_backlog()
        await self._ended.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self._done is not None  # noqa: S101 - one of the two is set before the event
        return self._done

    def cancel(self) -> None:
        """Ask the worker to stop. The answer still ends, with ``cancelled`` or with what it had reached before."""
        if self.cancelled or self.has_ended:
            return
        self.cancelled = True
        self._drop_tokens()
        self._on_cancel(self)

    # --- the supervisor's side ----------------------------------------------------------------------------------------

    def _push(self, token: Token) -> None:
        if self._unwanted or self.has_ended:
            return
        self._tokens.append(token)
        self._something.set()
        self._note_backlog()

    def _finish(self, done: Done) -> None:
        if not self.has_ended:
            self._done = done
            self._end()

    def _fail(self, error: BotframeworkError) -> None:
        if not self.has_ended:
            self._error = error
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._something.set()
        self._set_backlogged(False)

    def _drop_tokens(self) -> None:
        self._unwanted = True
        self._tokens.clear()
        self._note_backlog()

    def _note_backlog(self) -> None:
        waiting = len(self._tokens)
        if waiting <= QUEUE_LOW_TOKENS:
            self._set_backlogged(False)
        elif waiting >= QUEUE_HIGH_TOKENS and not self.has_ended:
            if self._end_is_awaited and not self._iterated:
                # Nobody reads along. A backlog would pause the link, and the awaited end would never arrive.
                self._drop_tokens()
            else:
                self._set_backlogged(True)

    def _set_backlogged(self, value: bool) -> None:
        if self._backlogged != value:
            self._backlogged = value
            self._on_backlog(self)
