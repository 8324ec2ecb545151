"""The requests that are with one worker: ids, limits, suspects one at a time, answers to their owners."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from botframework.errors import (
    BotframeworkError,
    FrameTooLarge,
    InvalidParams,
    RequestCancelled,
    RequestQuarantined,
    ServerBusy,
    WireError,
    WorkerCrashed,
    from_wire,
)
from botframework.manager.generation import Generation
from botframework.manager.ledger import Ledger
from botframework.wire import link
from botframework.wire.flight import fingerprint
from botframework.wire.messages import Cancel, Done, Failure, Inspection, Sessions, Stats, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.messages import ChatRequest, FimRequest, Message, ToDaemon

MAX_IN_FLIGHT = 64
"""Requests of one daemon that a worker may have; more would only wait there."""
MAX_OUTBOUND_BYTES = 2 * link.MAX_FRAME
"""Of frames that the worker has not read; it reads at once unless it hangs, and then nothing more is of use."""
BUSY_RETRY_MS = 250
"""About the time of one completion."""

_OUR_CLIENT = 0
"""Names the pause that is not one generation's own; ids begin at 1."""

Answer = TypeVar("Answer", Sessions, Inspection, Stats)


class Dispatch:
    """Sends requests over the present connection and gives the answers to their `Generation`."""

    def __init__(self, clock: Callable[[], float], on_harmless: Callable[[bytes], None]) -> None:
        self.memory = Ledger()
        """What is known of suspects; the supervisor keeps it current."""
        self._clock = clock
        self._on_harmless = on_harmless
        self._connection: link.Connection[ToDaemon] | None = None
        self._ids = itertools.count(1)
        self._running: dict[int, Generation] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._suspects: deque[Generation] = deque()
        self._suspect: Generation | None = None
        self._pauses: set[int] = set()
        self._is_ending = False
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    async def until_empty(self) -> None:
        """Wait for a moment in which nothing is unanswered, neither requests nor questions."""
        while self._running or self._asked:
            self._emptied.clear()
            await self._emptied.wait()

    def open(self, connection: link.Connection[ToDaemon]) -> None:
        """Use this connection from now on."""
        self._connection = connection
        self._is_ending = False
        self._apply_pauses()

    # --- requests -----------------------------------------------------------------------------------------------------

    def submit(self, request: FimRequest | ChatRequest) -> Generation:
        """Send a request, or queue it if it is suspected.

        Raises
        ------
        RequestQuarantined
            It has killed workers.
        ServerBusy
            Too many requests are unanswered.
        InvalidParams
            It is larger than a frame.
        WorkerCrashed
            There is no worker at this moment.
        """
        name = fingerprint(request)
        now = self._clock()
        refused_for_s = self.memory.refused_for_s(name, now)
        if refused_for_s > 0:
            raise RequestQuarantined(
                "this request has ended the worker each time it was computed and is refused for a while",
                retryAfterMs=round(refused_for_s * 1_000),
            )
        if len(self._running) >= MAX_IN_FLIGHT:
            raise ServerBusy(f"{MAX_IN_FLIGHT} requests are waiting for the model", retryAfterMs=BUSY_RETRY_MS)
        if self._connection is None:
            raise WorkerCrashed("the worker has ended")
        if self._connection.queued_bytes > MAX_OUTBOUND_BYTES:
            raise ServerBusy("the worker is not taking requests at the moment", retryAfterMs=BUSY_RETRY_MS)
        solo = self.memory.is_suspect(name, now)
        request = msgspec.structs.replace(request, id=next(self._ids), fingerprint=name, solo=solo)
        generation = Generation(request, on_cancel=self._cancel, on_backlog=self._backlog)
        if not solo:
            self._send_request(generation)
        self._running[generation.id] = generation
        if solo:
            self._suspects.append(generation)
            self._next_suspect()
        return generation

    def _send_request(self, generation: Generation) -> None:
        try:
            self._send(generation.request)
        except FrameTooLarge as error:
            limit = link.MAX_FRAME // (1024 * 1024)
            raise InvalidParams(f"the request is larger than {limit} MiB: {error.message}") from error

    def _next_suspect(self) -> None:
        while self._suspect is None and self._suspects:
            generation = self._suspects.popleft()
            try:
                self._send_request(generation)
            except InvalidParams as error:
                self._forget(generation.id)
                generation._fail(error)  # noqa: SLF001 - the supervisor's side of a generation
            else:
                self._suspect = generation

    def _cancel(self, generation: Generation) -> None:
        if generation in self._suspects:  # the worker has never seen it
            self._suspects.remove(generation)
            self._forget(generation.id)
            generation._fail(RequestCancelled("cancelled"))  # noqa: SLF001
        else:
            self._send(Cancel(id=generation.id))

    def _send(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message)

    async def ask(self, make: Callable[[int], Message], kind: type[Answer]) -> Answer:
        """Ask the worker something that it answers at once."""
        if self._connection is None:
            raise WorkerCrashed("the worker has ended")
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send(make(number))
            found = await answer
        finally:
            self._asked.pop(number, None)
            self._emptied.set()
        if not isinstance(found, kind):
            raise WireError(f"the worker answered with {type(found).__name__} instead of {kind.__name__}")
        return found

    # --- answers ------------------------------------------------------------------------------------------------------

    def take(self, message: ToDaemon) -> None:
        """Give an answer to its owner. One that nobody waits for is dropped: its asker has given up."""
        match message:
            case Token():
                generation = self._running.get(message.id)
                if generation is not None:
                    generation._push(message)  # noqa: SLF001
            case Done():
                generation = self._ended(message.id)
                if generation is not None:
                    generation._finish(message)  # noqa: SLF001
                    # A prefill that did no harm says nothing about the tokens after the prompt.
                    is_whole = message.finish_reason != "cancelled" and generation.request.max_tokens > 0
                    if generation.request.solo and is_whole:
                        self._on_harmless(generation.request.fingerprint)
            case Failure():
                self._take_failure(message)
            case Sessions() | Inspection() | Stats():
                asked = self._asked.get(message.id)
                if asked is not None and not asked.done():
                    asked.set_result(message)
            case _:
                pass

    def _take_failure(self, message: Failure) -> None:
        error = from_wire(message.kind, message.message, message.data)
        generation = self._ended(message.id)
        if generation is not None:
            generation._fail(error)  # noqa: SLF001
        asked = self._asked.get(message.id)
        if asked is not None and not asked.done():
            asked.set_exception(error)

    def _ended(self, number: int) -> Generation | None:
        generation = self._forget(number)
        if generation is not None and generation is self._suspect:
            self._suspect = None
            self._next_suspect()
        return generation

    def _forget(self, number: int) -> Generation | None:
        generation = self._running.pop(number, None)
        if not self._running:
            self._emptied.set()
        return generation

    def fail_all(self, error: BotframeworkError) -> None:
        """The worker is gone: answer everything that was with it, and everything that waited for it."""
        self._connection = None
        running, self._running = self._running, {}
        asked, self._asked = self._asked, {}
        self._suspects.clear()
        self._suspect = None
        self._emptied.set()
        for generation in running.values():
            generation._fail(error)  # noqa: SLF001
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(error)
        self._pauses.intersection_update({_OUR_CLIENT})

    # --- flow ---------------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Take nothing more from the worker, which then stops generating for us."""
        self._pauses.add(_OUR_CLIENT)
        self._apply_pauses()

    def resume_reading(self) -> None:
        """Go on, unless a generation's own reader is behind."""
        self._pauses.discard(_OUR_CLIENT)
        self._apply_pauses()

    def read_to_the_end(self) -> None:
        """The worker is dead: a link that is not read would never show its end."""
        self._is_ending = True
        self._apply_pauses()

    def _backlog(self, generation: Generation) -> None:
        if generation.is_backlogged:
            self._pauses.add(generation.id)
        else:
            self._pauses.discard(generation.id)
        self._apply_pauses()

    def _apply_pauses(self) -> None:
        if self._connection is None:
            return
        if self._pauses and not self._is_ending:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()
