"""Requests about the daemon itself: its status, its sessions, starting the worker again, accepted suggestions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from botframework.errors import InvalidParams, ServerBusy
from botframework.lsp.messages import ACCEPTED_COMMAND, SessionsResult

if TYPE_CHECKING:
    from lsprotocol import types

    from botframework.lsp.generate import House
    from botframework.lsp.messages import CloseSessionParams, NoParams
    from botframework.lsp.pulse import Pulse, Tally
    from botframework.manager.status import Snapshot
    from botframework.wire.messages import SessionInfo

SESSIONS_DEADLINE_S = 5.0
"""A worker answers these from its own thread; one that does not is not well."""


class Commands:
    """Answers everything that is not a generation."""

    def __init__(self, house: House, pulse: Pulse, tally: Tally) -> None:
        self._house = house
        self._pulse = pulse
        self._tally = tally

    async def status(self, _params: NoParams) -> Snapshot:
        """The heartbeat's content, now."""
        return await self._pulse.snapshot()

    async def restart(self, _params: NoParams) -> Snapshot:
        """Start the worker again, whatever has become of it, with a fresh budget of restarts."""
        await (await self._house.router_when_there()).restart()
        return await self._pulse.snapshot()

    async def list_sessions(self, _params: NoParams) -> SessionsResult:
        """The sessions of this client."""
        return SessionsResult(sessions=await _in_time((await self._house.router_when_there()).sessions()))

    async def close_session(self, params: CloseSessionParams) -> SessionsResult:
        """Forget a session; what is left is answered."""
        return SessionsResult(
            sessions=await _in_time((await self._house.router_when_there()).close_session(params.session))
        )

    def execute(self, params: types.ExecuteCommandParams) -> None:
        """Carry out ``workspace/executeCommand``; the only command says that a suggestion was accepted."""
        if params.command != ACCEPTED_COMMAND:
            raise InvalidParams("/command: unknown command", pointer="/command")
        arguments = params.arguments or []
        if len(arguments) > 1 or not all(isinstance(argument, str) for argument in arguments):
            raise InvalidParams("/arguments: expected the id of a suggestion", pointer="/arguments")
        self._tally.count_accepted()


async def _in_time(answer: Any) -> tuple[SessionInfo, ...]:
    try:
        sessions: tuple[SessionInfo, ...] = await asyncio.wait_for(answer, SESSIONS_DEADLINE_S)
    except TimeoutError:
        raise ServerBusy("the worker does not answer", retryAfterMs=1000) from None
    return sessions
