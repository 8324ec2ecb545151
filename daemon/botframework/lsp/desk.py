"""Everything that is under way for one document.

At any moment there is at most one request of the client that waits, one generation that somebody wants, one prompt that
is read ahead, and one generation in the background for the time after the suggestion on the screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError
from botframework.lsp.filters import Outcome
from botframework.lsp.joining import Run
from botframework.process.power import on_battery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.lsp.generate import GenerationLike, House
    from botframework.lsp.suggestions import Base, Spot, Suggestions
    from botframework.wire.messages import FimRequest

logger = logging.getLogger(__name__)

JOIN_GRACE_S = 0.1
"""VS Code takes a request back at the key that may be the next character of its answer; the next request follows."""
PREFETCH_AFTER_S = 0.15
"""After a suggestion was sent: who goes on typing has typed by then, and nobody has read and accepted."""

MAX_READING = 4
"""Prompts that the worker is reading ahead or has not let go of yet. Keys may come faster than that, in a macro or
after a stall, and would fill the worker's queue with what nobody wants: beyond it only the newest waits."""


class Turn:
    """One request that waits for its answer, until a newer one takes its place."""

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self._is_superseded = False

    def is_superseded(self) -> bool:
        """Whether an empty answer is due."""
        return self._is_superseded

    def supersede(self) -> None:
        """The answer is of no use any more."""
        self._is_superseded = True
        if self.task is not None:
            self.task.cancel()


class Desk:
    """The work for one document."""

    def __init__(self, uri: str, house: House, suggestions: Suggestions, numbers: Iterator[int]) -> None:
        self.uri = uri
        self.outcome = Outcome()
        """Of the last request."""
        self.line: int | None = None
        """Where the cursor was last seen."""
        self.turn: Turn | None = None
        self._house = house
        self._suggestions = suggestions
        self._numbers = numbers
        self._run: Run | None = None
        self._abandoning: asyncio.TimerHandle | None = None
        self._prefill: tuple[FimRequest, GenerationLike] | None = None
        self._reading: set[asyncio.Task[None]] = set()
        """One for each prompt that is read ahead, until the worker says that it is done with it."""
        self._to_read: FimRequest | None = None
        """The prompt to be read when there is room for it."""
        self._prefetch: Run | None = None
        self._prefetching: asyncio.Task[None] | None = None
        self._next: Base | None = None
        """Where the prefetch begins that runs, is due, or has failed."""
        self._way: tuple[Base, str] | None = None
        """The suggestion on the screen, at whose end the prefetch begins."""

    # --- the client's request -----------------------------------------------------------------------------------------

    def take_turn(self) -> Turn:
        """A new request has come; an older one gets its empty answer."""
        self.supersede()
        self.turn = Turn()
        return self.turn

    def supersede(self) -> None:
        """The waiting request is of no use any more. What is being generated for it may still be."""
        if self.turn is not None:
            self.turn.supersede()
            self.turn = None
            self.outcome = Outcome(reason="superseded")

    # --- what is being generated --------------------------------------------------------------------------------------

    def running(self, spot: Spot) -> Run | None:
        """The generation that is writing what this place needs; it is wanted from now on."""
        for run in (self._run, self._prefetch):
            if run is not None and not run.has_ended and run.agrees(spot):
                if run is self._prefetch:
                    self._prefetch = self._next = None
                    self._set_run(run)
                self._call_off_abandoning()
                return run
        return None

    def begin(self, request: FimRequest, base: Base) -> Run:
        """Generate; whatever else was generated for this document is given up.

        Raises
        ------
        BotframeworkError
            It cannot be computed now.
        """
        self.drop_prefetch()
        self._set_run(None)
        if self._prefill is not None and not _same_text(self._prefill[0], request):
            self.drop_prefill()
        # A running prefill of this very text goes on: the worker continues where it stands.
        self._prefill = self._to_read = None
        run = self._listen(request, base)
        self._set_run(run)
        return run

    def _listen(self, request: FimRequest, base: Base, *, is_prefetch: bool = False) -> Run:
        generation = self._house.require_router().complete(request)
        run = Run(str(next(self._numbers)), base, generation, is_prefetch=is_prefetch)
        run.when_ended(self._ended)
        return run

    def _set_run(self, run: Run | None) -> None:
        self._call_off_abandoning()
        if self._run is not None:
            self._run.cancel()
        self._run = run

    def _ended(self, run: Run) -> None:
        if run.draft is not None:
            self._suggestions.put(self.uri, run.draft)
        if run is self._run:
            self._run = None
        if run is self._prefetch:
            self._prefetch = None
            if run.draft is not None:
                self._next = None

    def stop_generating(self, spot: Spot) -> None:
        """A request was answered without the model; what is being generated for elsewhere is not wanted any more."""
        if self._run is not None and not self._run.agrees(spot):
            self._set_run(None)

    def abandon(self) -> None:
        """The client took its request back. What has been said may be what is being typed: wait a moment."""
        self._call_off_abandoning()
        if self._run is not None and self._run.has_spoken:
            self._abandoning = asyncio.get_running_loop().call_later(JOIN_GRACE_S, self._set_run, None)
        else:
            self._set_run(None)

    def _call_off_abandoning(self) -> None:
        if self._abandoning is not None:
            self._abandoning.cancel()
            self._abandoning = None

    def edited(self, spot: Spot | None) -> bool:
        """The document has changed; what leads elsewhere is given up.

        Parameters
        ----------
        spot
            Where the cursor seems to be; None if there may be several.

        Returns
        -------
        Whether something is still being generated that this place needs.
        """
        self.supersede()
        if self._run is not None and (spot is None or not self._run.agrees(spot)):
            self._set_run(None)
        if self._prefetching is not None or self._prefetch is not None:
            ahead = self._prefetch is not None and spot is not None and self._prefetch.agrees(spot)
            if not ahead and not (spot is not None and self._is_on_the_way(spot)):
                self.drop_prefetch()
        return self._run is not None

    # --- ahead of the client ------------------------------------------------------------------------------------------

    def prefill(self, request: FimRequest) -> None:
        """Have a prompt read, if anybody can read it now; the newest wins."""
        if self._prefill is not None and _same_text(self._prefill[0], request):
            return
        self.drop_prefill()
        if len(self._reading) >= MAX_READING:
            self._to_read = request
            return
        try:
            generation = self._house.require_router().complete(request)
        except BotframeworkError as error:
            logger.debug("not read ahead: %s", type(error).__name__)
            return
        self._prefill = request, generation
        reading = asyncio.create_task(_until_read(generation), name="reading ahead")
        self._reading.add(reading)
        reading.add_done_callback(lambda reading: self._has_read(reading, generation))

    def _has_read(self, reading: asyncio.Task[None], generation: GenerationLike) -> None:
        self._reading.discard(reading)
        if self._prefill is not None and self._prefill[1] is generation:
            self._prefill = None  # Its text is as long as a page of books, and documents may be many.
        if self._to_read is not None:
            self.prefill(self._to_read)

    def drop_prefill(self) -> None:
        """It leads nowhere any more."""
        self._to_read = None
        if self._prefill is not None:
            self._prefill[1].cancel()
            self._prefill = None

    def prefetch(self, request: FimRequest, base: Base, way: tuple[Base, str]) -> None:
        """Generate soon, in the background, what will be wanted when the suggestion on the screen is accepted.

        Parameters
        ----------
        request, base
            The place behind the suggestion.
        way
            The suggestion and where it begins.
        """
        if self._next != base:
            self.drop_prefetch()
            self._next = base
            self._prefetching = asyncio.create_task(self._prefetch_later(request, base), name="prefetch")
        self._way = way

    async def _prefetch_later(self, request: FimRequest, base: Base) -> None:
        try:
            await asyncio.sleep(PREFETCH_AFTER_S)
            if not await asyncio.to_thread(on_battery) and self._run is None:
                self._prefetch = self._listen(request, base, is_prefetch=True)
        except BotframeworkError as error:
            logger.debug("no prefetch: %s", type(error).__name__)
        except Exception:
            logger.exception("no prefetch, because of a defect")
        finally:
            if self._prefetching is asyncio.current_task():
                self._prefetching = None

    def drop_prefetch(self) -> None:
        """The user has gone elsewhere."""
        self._way = self._next = None
        if self._prefetching is not None:
            self._prefetching.cancel()
            self._prefetching = None
        if self._prefetch is not None:
            self._prefetch.cancel()
            self._prefetch = None

    def _is_on_the_way(self, spot: Spot) -> bool:
        if self._way is None:
            return False
        base, text = self._way
        typed = base.typed_until(spot)
        return typed is not None and text.startswith(typed)

    def stop(self) -> None:
        """Give everything up."""
        self.supersede()
        self._set_run(None)
        self.drop_prefill()
        self.drop_prefetch()


async def _until_read(generation: GenerationLike) -> None:
    with contextlib.suppress(BotframeworkError):
        await generation.result()


def _same_text(one: FimRequest, other: FimRequest) -> bool:
    return one.prefix == other.prefix and one.suffix == other.suffix
