"""A running generation of ghost text that a later request may make its own.

Who types what the model is writing at this moment does not want it stopped and asked again: the next request takes the
generation over, and is answered with what is left of it. So a generation belongs to the document and not to the request
that began it, and its text is streamed to be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError, RequestCancelled
from botframework.lsp.suggestions import Draft, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.lsp.generate import GenerationLike
    from botframework.lsp.suggestions import Base, Spot
    from botframework.wire.messages import Done

STALL_S = 0.1
"""A prefetch that says nothing for so long waits behind other work; who wants it now asks with a better priority."""


class Run:
    """One generation and all that it has said so far."""

    def __init__(self, number: str, base: Base, generation: GenerationLike, *, is_prefetch: bool = False) -> None:
        """Begin to listen.

        Parameters
        ----------
        number
            Of the suggestion.
        base
            Where it begins.
        generation
            Streaming.
        is_prefetch
            Nobody has asked for it yet.
        """
        self.number = number
        self.base = base
        self.is_prefetch = is_prefetch
        self.draft: Draft | None = None
        """The whole of it, when it has ended well."""
        self.error: BotframeworkError | None = None
        self._generation = generation
        self._said = ""
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[Run], None]] = []
        self._task = asyncio.create_task(self._listen(), name="ghost text")

    @property
    def has_spoken(self) -> bool:
        """Whether there is something to compare."""
        return bool(self._said)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be said."""
        return self._task.done() or self.draft is not None or self.error is not None

    def when_ended(self, listener: Callable[[Run], None]) -> None:
        """Call this once, at the end."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """Nobody wants it."""
        if not self.has_ended:
            self.error = RequestCancelled("cancelled")
            self._changed.set()
        self._generation.cancel()
        self._task.cancel()

    def agrees(self, spot: Spot) -> bool:
        """Whether the document has gone on from the base with what was said, and might go on so.

        Before the first word nobody can know: to wait for it would cost a key that goes another way a token's time.
        """
        typed = self.base.typed_until(spot)
        if typed is None or self.error is not None:
            return False
        said = plain(self._said.removesuffix("\r"))  # It may be the half of a line end.
        is_ahead = bool(said) and typed.startswith(said) and not self.has_ended
        return said.startswith(typed) or is_ahead

    async def left_at(self, spot: Spot) -> int | None:
        """Wait for the end, as long as it agrees; how much of it is typed then, or None if it is of no use."""
        while self.agrees(spot):
            if self.has_ended:
                return self._typed_at_end(spot)
            self._changed.clear()
            try:
                # Not wait_for: in Python 3.11 that swallows a cancel which comes together with the event.
                async with asyncio.timeout(STALL_S if self.is_prefetch else None):
                    await self._changed.wait()
            except TimeoutError:
                return None
        return None

    async def ended(self) -> None:
        """Wait for the end, however it comes."""
        while not self.has_ended:
            self._changed.clear()
            await self._changed.wait()

    def _typed_at_end(self, spot: Spot) -> int | None:
        typed = self.base.typed_until(spot)
        return len(typed) if self.draft is not None and typed is not None and self.draft.goes_on(typed) else None

    async def _listen(self) -> None:
        try:
            async for piece in self._generation:
                self._said += piece.text
                self._changed.set()
            done = await self._generation.result()
            self._said += done.text
            if done.finish_reason == "cancelled":
                self.error = RequestCancelled("cancelled")
            else:
                self.draft = self._drafted(done)
        except BotframeworkError as error:
            self.error = error
        except asyncio.CancelledError:
            self.error = RequestCancelled("cancelled")
        except Exception as error:  # noqa: BLE001 - whoever waits for it must hear of it
            self.error = BotframeworkError(f"a defect: {type(error).__name__}: {error}")
        finally:
            self._generation.cancel()
            self._changed.set()
            for listener in self._listeners:
                with contextlib.suppress(Exception):
                    listener(self)

    def _drafted(self, done: Done) -> Draft:
        return Draft(
            id=self.number,
            base=self.base,
            text=plain(self._said),
            was_cut=done.finish_reason in ("length", "deadline"),
            mean_logprob=done.mean_logprob,
            timings=done.timings,
            is_prefetched=self.is_prefetch,
        )
