"""Requests about the daemon itself: its status, sessions, pause, restart, and why a suggestion was not shown."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

import msgspec

from botframework.errors import BotframeworkError, InvalidParams, ServerBusy
from botframework.lsp.asking import document_session
from botframework.lsp.messages import ACCEPTED_COMMAND, InspectResult, SessionsResult
from botframework.wire.messages import Inspection

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from lsprotocol import types

    from botframework.lsp.completion import Completion
    from botframework.lsp.documents import Documents
    from botframework.lsp.generate import House
    from botframework.lsp.messages import CloseSessionParams, DidVisitParams, InspectParams, NoParams
    from botframework.lsp.pulse import Pulse
    from botframework.manager.status import Snapshot

logger = logging.getLogger(__name__)

ANSWER_DEADLINE_S = 5.0
"""A worker answers these between two micro-batches; one that does not is not well."""

Answer = TypeVar("Answer")


class Commands:
    """Answers everything that is not a generation."""

    def __init__(self, house: House, pulse: Pulse, completion: Completion, documents: Documents) -> None:
        self._house = house
        self._pulse = pulse
        self._completion = completion
        self._documents = documents
        self._visits: dict[str, int] = {}
        """By the URI of an open document."""
        self._closed: dict[str, None] = {}
        """Sessions of closed documents of which the worker has not been told yet, oldest first."""
        self._closing: asyncio.Task[None] | None = None

    # --- the daemon ---------------------------------------------------------------------------------------------------

    async def status(self, _params: NoParams) -> Snapshot:
        """The heartbeat's content, now."""
        return await self._pulse.snapshot()

    async def restart(self, _params: NoParams) -> Snapshot:
        """Start the worker again, whatever has become of it, with a fresh budget of restarts."""
        await (await self._house.router_when_there()).restart()
        return await self._pulse.snapshot()

    async def pause(self, _params: NoParams) -> Snapshot:
        """No ghost text, and no work for it, until `resume`; chat and explicit completions are answered."""
        self._completion.pause()
        self._pulse.changed()
        return await self._pulse.snapshot()

    async def resume(self, _params: NoParams) -> Snapshot:
        """Ghost text again."""
        self._completion.resume()
        self._pulse.changed()
        return await self._pulse.snapshot()

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def list_sessions(self, _params: NoParams) -> SessionsResult:
        """The sessions of this client."""
        router = await self._house.router_when_there()
        return SessionsResult(sessions=await _in_time(router.sessions()))

    async def close_session(self, params: CloseSessionParams) -> SessionsResult:
        """Forget a session; what is left is answered."""
        router = await self._house.router_when_there()
        await _in_time(router.close_session(params.session))
        return SessionsResult(sessions=await _in_time(router.sessions()))

    async def clear_sessions(self, _params: NoParams) -> SessionsResult:
        """Forget all sessions and delete the workspace's snapshots; what is left is answered."""
        router = await self._house.router_when_there()
        return SessionsResult(sessions=await _in_time(router.clear_sessions()))

    # --- suggestions --------------------------------------------------------------------------------------------------

    async def inspect(self, params: InspectParams) -> InspectResult:
        """How a document's last suggestion was asked, and what became of it."""
        uri = params.text_document.uri
        self._documents.require(uri)
        outcome = self._completion.last_outcome(uri)
        try:
            router = await self._house.router_when_there()
            asked = await _in_time(router.inspect(document_session(uri)))
        except ServerBusy:
            raise
        except BotframeworkError:
            # There is no worker, and so no prompt; the outcome says why nothing is shown.
            asked = Inspection(id=0, found=False)
        prompt = msgspec.structs.asdict(asked)
        del prompt["id"]
        return InspectResult(
            shown=outcome.shown,
            reason=outcome.reason,
            detail=outcome.detail,
            source=outcome.source,
            timings=outcome.timings,
            visits=self._visits.get(uri, 0),
            **prompt,
        )

    def execute(self, params: types.ExecuteCommandParams) -> None:
        """Carry out ``workspace/executeCommand``; the only command says that a suggestion was accepted."""
        if params.command != ACCEPTED_COMMAND:
            raise InvalidParams("/command: unknown command", pointer="/command")
        arguments = params.arguments or []
        if len(arguments) > 1 or not all(isinstance(argument, str) for argument in arguments):
            raise InvalidParams("/arguments: expected the id of a suggestion", pointer="/arguments")
        self._completion.accepted(str(arguments[0]) if arguments else "")

    def did_visit(self, params: DidVisitParams) -> None:
        """Count a hint. Reading the region would move the document's session away from where its user types."""
        uri = params.text_document.uri
        if self._documents.get(uri) is not None:
            self._visits[uri] = self._visits.get(uri, 0) + 1

    # --- documents ----------------------------------------------------------------------------------------------------

    def did_open(self, uri: str) -> None:
        """Begin anew with a document. One that was closed just now, as when its language is changed, goes on."""
        self._visits.pop(uri, None)
        self._closed.pop(document_session(uri), None)

    def did_close(self, uri: str) -> None:
        """Forget a document, and free its session soon."""
        self._visits.pop(uri, None)
        if self._house.router is not None:
            self._closed[document_session(uri)] = None
            if self._closing is None:
                self._closing = asyncio.create_task(self._close_sessions(), name="closing sessions")

    async def _close_sessions(self) -> None:
        """One after the other: editors close everything at once, and the worker takes only so many questions."""
        while self._closed:
            session = next(iter(self._closed))
            del self._closed[session]
            try:
                await _in_time(self._house.require_router().close_session(session))
            except BotframeworkError as error:
                logger.debug("a session was not closed: %s", error)
            except Exception:
                logger.exception("a session was not closed, because of a defect")
        self._closing = None


async def _in_time(answer: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            return await answer
    except TimeoutError:
        raise ServerBusy("the worker does not answer", retryAfterMs=1000) from None
